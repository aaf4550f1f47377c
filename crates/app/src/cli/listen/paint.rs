//! Colours, where they are wanted.

use std::{fmt::Display, io::IsTerminal as _};

use clap::builder::styling::{AnsiColor, Effects, Style};

/// Something went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something did not.
pub const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// Something deserves a look.
pub const NOTABLE: Style = AnsiColor::Yellow.on_default();
/// What the eye should find first.
pub const STRONG: Style = Style::new().effects(Effects::BOLD);
/// What it may pass over.
pub const FAINT: Style = Style::new().effects(Effects::DIMMED);

/// Paints text, or leaves it plain.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_on: bool,
}

impl Paint {
    /// Paints if stdout is a terminal, unless `NO_COLOR` is set.
    pub fn for_stdout() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_on: std::io::stdout().is_terminal() && !is_unwanted }
    }

    /// Never paints.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { is_on: false }
    }

    /// `text` in a style.
    pub fn paint(self, style: Style, text: impl Display) -> String {
        if self.is_on { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}
