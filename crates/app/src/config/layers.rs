//! The layers that settings come from: two files, the environment, flags.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use toml::de::{DeInteger, DeTable, DeValue};

use super::{
    ConfigError, Source, Sources,
    errors::{did_you_mean, nearest},
    settings::{SETTINGS, Setting},
    value::{Raw, integer},
};

/// What the environment's names of settings begin with.
const PREFIX: &str = "HOOKCAST_";

/// Names of the environment that stand for flags of a command, so that passwords need not be on its command line.
const FLAGS: [&str; 4] = ["HOOKCAST_COPY_FROM", "HOOKCAST_COPY_TO", "HOOKCAST_ACCESS_TOKEN", "HOOKCAST_CREDENTIALS"];

/// Names of the prototype that stand for one setting.
const RENAMED: [(&str, &str); 2] =
    [("WEBHOOK_REGISTRATION_TOKEN", "registration.token"), ("WEBHOOK_TRIGGER_TOKEN", "trigger.token")];

/// The name of the prototype for the number of failures in a row after which a subscription is inactive at once.
const MAX_SEND_ATTEMPTS: &str = "MAX_SEND_ATTEMPTS";

/// A value that one layer gives to a setting.
pub(super) struct Entry {
    /// The value.
    pub raw: Raw,
    /// Where it stands.
    pub source: Source,
}

/// Everything that the layers say, not yet parsed.
#[derive(Default)]
pub(super) struct Layers {
    /// The values of a setting by its key, weakest first.
    entries: BTreeMap<&'static str, Vec<Entry>>,
    /// What is wrong.
    pub errors: Vec<ConfigError>,
    /// What looks wrong.
    pub warnings: Vec<String>,
    /// Whether a whole layer could not be read.
    pub incomplete: bool,
}

/// Reads all layers.
pub(super) fn read(sources: Sources) -> Layers {
    let Sources { config_path, directory, environment, flags } = sources;
    let mut layers = Layers::default();
    let required = config_path.is_some();
    let file = directory.join(config_path.unwrap_or_else(|| PathBuf::from("hookcast.toml")));
    layers.read_file(&file, required);
    layers.read_file(&local_beside(&file), false);
    layers.read_prototype(&environment);
    layers.read_environment(&environment);
    for (key, text, flag) in flags {
        layers.put(&key, Raw::Text(text), Source::Flag(flag));
    }
    layers
}

/// `conf/name.local.toml` for `conf/name.toml`.
fn local_beside(file: &Path) -> PathBuf {
    let mut name = file.file_stem().unwrap_or_default().to_owned();
    name.push(".local.toml");
    file.with_file_name(name)
}

impl Layers {
    /// The values of a setting, weakest first and its default first of all.
    pub(super) fn take(&mut self, setting: &Setting) -> Vec<Entry> {
        let mut entries = vec![Entry { raw: Raw::Text(setting.default.to_owned()), source: Source::Default }];
        entries.extend(self.entries.remove(setting.key).unwrap_or_default());
        entries
    }

    fn put(&mut self, key: &str, raw: Raw, source: Source) {
        match SETTINGS.iter().find(|setting| setting.key == key) {
            Some(setting) => self.entries.entry(setting.key).or_default().push(Entry { raw, source }),
            None => {
                let nearest = nearest(key, SETTINGS.iter().map(|setting| setting.key.to_owned()));
                self.errors.push(ConfigError::Unknown { place: source, key: key.to_owned(), nearest });
            }
        }
    }

    fn read_file(&mut self, path: &Path, required: bool) {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return,
            Err(error) => Err(error.to_string()),
        };
        match text {
            Ok(text) => self.read_toml(&File { path, text: &text }),
            Err(reason) => {
                self.errors.push(ConfigError::Unreadable { path: path.to_owned(), reason });
                self.incomplete = true;
            }
        }
    }

    fn read_toml(&mut self, file: &File<'_>) {
        match DeTable::parse(file.text) {
            Ok(table) => self.read_table(table.get_ref(), None, file),
            Err(error) => {
                // The error's `Display` quotes the line, and a secret may stand there.
                let place = file.place(error.span().map_or(0, |span| span.start));
                self.errors.push(ConfigError::Syntax { place, reason: error.message().to_owned() });
                self.incomplete = true;
            }
        }
    }

    fn read_table(&mut self, table: &DeTable<'_>, parent: Option<&str>, file: &File<'_>) {
        for (name, value) in table {
            let key =
                parent.map_or_else(|| name.get_ref().to_string(), |parent| format!("{parent}.{}", name.get_ref()));
            match value.get_ref() {
                DeValue::Table(inner) if !is_setting(&key) && (!inner.is_empty() || is_group(&key)) => {
                    self.read_table(inner, Some(&key), file);
                }
                value => self.put(&key, raw(value), file.place(name.span().start)),
            }
        }
    }

    /// The prototype's names are settings of the environment, but weaker than its own, so that one can move from the
    /// former to the latter without a moment in between.
    fn read_prototype(&mut self, environment: &[(OsString, OsString)]) {
        for (name, value) in environment {
            if let Some((name, key)) = RENAMED.iter().find(|(old, _)| name == old) {
                self.put(key, raw_variable(value), Source::Environment((*name).to_owned()));
            } else if name == MAX_SEND_ATTEMPTS {
                self.read_max_send_attempts(&raw_variable(value));
            }
        }
    }

    fn read_max_send_attempts(&mut self, raw: &Raw) {
        let source = Source::Environment(MAX_SEND_ATTEMPTS.to_owned());
        match raw.one(integer(1..=1_000_000_u32)) {
            Ok(attempts) => {
                self.put("delivery.max_failures", Raw::Text((attempts - 1).to_string()), source.clone());
                self.put("delivery.deactivate_after", Raw::Text("0".to_owned()), source);
            }
            Err(invalid) => {
                let allowed = "an integer from 1 to 1000000";
                self.errors.push(ConfigError::invalid(source, "delivery.max_failures", invalid, allowed));
            }
        }
    }

    fn read_environment(&mut self, environment: &[(OsString, OsString)]) {
        let own = environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
        for (name, value) in own.filter(|(name, _)| name.starts_with(PREFIX) && !FLAGS.contains(name)) {
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) {
                self.put(setting.key, raw_variable(value), Source::Environment(name.to_owned()));
            } else {
                // Only a warning: an orchestrator may set names of its own with our prefix (`HOOKCAST_SERVICE_HOST`).
                let hint = did_you_mean(nearest(name, SETTINGS.iter().map(Setting::variable)).as_deref());
                self.warnings.push(format!("environment variable {name} is not a setting and has no effect{hint}"));
            }
        }
    }
}

/// A file that is being read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// Where the byte at `offset` stands.
    fn place(&self, offset: usize) -> Source {
        let line = 1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        Source::File { path: self.path.to_owned(), line }
    }
}

fn is_setting(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key == key)
}

fn is_group(key: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

fn raw_variable(value: &OsStr) -> Raw {
    value.to_str().map_or(Raw::Other("text that is not UTF-8"), |text| Raw::Text(text.to_owned()))
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::Table(_) => Raw::Other("a table"),
        DeValue::Datetime(_) => Raw::Other("a date or time"),
        DeValue::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| scalar(item.get_ref())).collect();
            items.map_or(Raw::Other("a list of something else than texts and numbers"), Raw::List)
        }
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            Raw::Text(scalar(value).unwrap_or_default())
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(decimal(number)),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// TOML's `+5`, `1_000` and `0xff` in plain digits. What is too large for that stays as it is; no setting takes it.
fn decimal(number: &DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |number| number.to_string())
}
