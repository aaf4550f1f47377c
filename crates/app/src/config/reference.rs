//! The table of settings as a page to read.

use super::settings::{SETTINGS, Setting};

/// All settings as a table in Markdown: key, name in the environment, default, meaning.
#[must_use]
pub fn reference() -> String {
    let head = "| Setting | Environment | Default | Meaning |\n|---|---|---|---|\n";
    SETTINGS.iter().fold(head.to_owned(), |table, setting| table + &row(setting))
}

fn row(setting: &Setting) -> String {
    let default = if setting.default.is_empty() { "(empty)".to_owned() } else { format!("`{}`", setting.default) };
    let (key, variable, doc, allowed) = (setting.key, setting.variable(), setting.doc, setting.allowed);
    format!("| `{key}` | `{variable}` | {default} | {doc} Takes {allowed}. |\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    const MARK: &str = "<!-- From here on generated: UPDATE_DOCS=1 cargo test -p hookcast config -->\n\n";

    #[test]
    fn the_page_is_up_to_date() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (words, table) = page.split_once(MARK).expect("docs/configuration.md has lost the mark above its table");
        if table == reference() {
            return;
        }
        assert!(
            std::env::var_os("UPDATE_DOCS").is_some(),
            "docs/configuration.md is out of date; `UPDATE_DOCS=1 cargo test -p hookcast config` rewrites its table"
        );
        std::fs::write(PAGE, format!("{words}{MARK}{}", reference())).unwrap();
    }

    #[test]
    fn no_cell_breaks_the_table() {
        let table = reference();
        assert!(table.lines().all(|line| line.matches('|').count() == 5), "{table}");
    }
}
