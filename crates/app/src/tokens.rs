//! The registration, the trigger and the admin token: configured, or made at the first start and kept beside the store.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use hookcast_core::token;
use hookcast_store::Location;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Config;

/// The file's name is the database's and this.
const SUFFIX: &str = ".tokens.toml";

/// The tokens of those who register accounts, trigger events, and see to everything.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// For `POST /webhooks/account`.
    pub registration: SecretString,
    /// For `POST /webhooks/trigger`.
    pub trigger: SecretString,
    /// For `/webhooks/admin`, which nobody may use without one.
    pub admin: Option<SecretString>,
    /// The file that has those of them that are not configured.
    pub file: Option<PathBuf>,
}

impl Tokens {
    /// The configured tokens, and in place of those that are not configured the generated ones, which are made where there
    /// are none yet.
    ///
    /// # Errors
    /// The file cannot be read or written; there is no place for one beside a database server.
    pub fn find_or_generate(config: &Config) -> anyhow::Result<Self> {
        Self::find_with(config, || {
            let path = file(config)?;
            if let Some(generated) = Generated::read(&path)? {
                return Ok((generated, path.clone()));
            }
            match Generated::new().write(&path) {
                // Another process was first.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => result.with_context(|| format!("{} cannot be written", path.display()))?,
            }
            let generated = Generated::read(&path)?;
            Ok((generated.with_context(|| format!("{} is not there any more", path.display()))?, path.clone()))
        })
    }

    /// The tokens, configured or generated earlier.
    ///
    /// # Errors
    /// There are none yet, or the file cannot be read.
    pub fn find(config: &Config) -> anyhow::Result<Self> {
        Self::find_with(config, || {
            let path = file(config)?;
            let generated = Generated::read(&path)?.with_context(|| {
                format!("no tokens are configured and {} is not there: start the server first", path.display())
            })?;
            Ok((generated, path.clone()))
        })
    }

    fn find_with(
        config: &Config,
        generated: impl FnOnce() -> anyhow::Result<(Generated, PathBuf)>,
    ) -> anyhow::Result<Self> {
        if let (Some(registration), Some(trigger)) = (&config.registration.token, &config.trigger.token) {
            let admin = config.admin.token.clone();
            return Ok(Self { registration: registration.clone(), trigger: trigger.clone(), admin, file: None });
        }
        let (generated, file) = generated()?;
        Ok(Self {
            registration: config.registration.token.clone().unwrap_or(generated.registration),
            trigger: config.trigger.token.clone().unwrap_or(generated.trigger),
            admin: config.admin.token.clone().or(generated.admin),
            file: Some(file),
        })
    }
}

fn file(config: &Config) -> anyhow::Result<PathBuf> {
    match Location::parse(config.database.url.expose())? {
        Location::Sqlite(location) => Ok(location.beside(SUFFIX)),
        // Every node would make its own ones.
        location => anyhow::bail!(
            "with a {} store the tokens must be configured, the same for every node: set registration.token and \
             trigger.token (WEBHOOK_REGISTRATION_TOKEN and WEBHOOK_TRIGGER_TOKEN in the environment)",
            location.kind()
        ),
    }
}

/// What the file holds.
struct Generated {
    registration: SecretString,
    trigger: SecretString,
    /// A file of an earlier version has none.
    admin: Option<SecretString>,
}

impl Generated {
    fn new() -> Self {
        Self {
            registration: token::generate("hkc_registration_", rand::random()),
            trigger: token::generate("hkc_trigger_", rand::random()),
            admin: Some(token::generate("hkc_admin_", rand::random())),
        }
    }

    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        // The parser's own message would quote the file, and so a token.
        let table: toml::Table =
            text.parse().map_err(|_| anyhow::anyhow!("{} is no TOML: delete it for new tokens", path.display()))?;
        let token = |key: &str| {
            table
                .get(key)
                .and_then(toml::Value::as_str)
                .map(SecretString::from)
                .with_context(|| format!("{} has no `{key}`: delete the file for new tokens", path.display()))
        };
        let admin = table.contains_key("admin_token").then(|| token("admin_token")).transpose()?;
        Ok(Some(Self { registration: token("registration_token")?, trigger: token("trigger_token")?, admin }))
    }

    /// Writes the file for its owner's eyes only, whole or not at all.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut draft = path.as_os_str().to_owned();
        draft.push(format!(".{}", std::process::id()));
        let draft = PathBuf::from(draft);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let written = writeln!(
            file,
            "# Made at the first start, for tokens that are not configured; one that is configured is in force instead of the\n\
             # one here. Whoever reads this may register accounts, trigger events and see to\n\
             # everything. Delete it for new tokens.\n\
             registration_token = \"{}\"\ntrigger_token = \"{}\"\nadmin_token = \"{}\"",
            self.registration.expose_secret(),
            self.trigger.expose_secret(),
            self.admin.as_ref().map_or("", |admin| admin.expose_secret())
        )
        .and_then(|()| file.sync_all())
        // A link, unlike a rename, leaves a file that is there already as it is.
        .and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        written.and(removed)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn generated_tokens_are_kept_and_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/hookcast.db.tokens.toml");
        assert!(Generated::read(&path).unwrap().is_none());
        let generated = Generated::new();
        generated.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Generated::read(&path).unwrap().unwrap();
        assert_eq!(read.registration.expose_secret(), generated.registration.expose_secret());
        assert_eq!(read.trigger.expose_secret(), generated.trigger.expose_secret());
        assert_eq!(Generated::new().write(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_shows_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        fs::write(&path, "registration_token = \"secret").unwrap();
        let error = Generated::read(&path).err().unwrap();
        assert!(!format!("{error:#}").contains("secret"));
    }
}
