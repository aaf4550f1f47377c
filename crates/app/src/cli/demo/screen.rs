//! What the demo shows while it works.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::listen::paint::{Paint, STRONG};

/// Lines that stay, and below them, on a terminal, how far it is.
pub struct Screen {
    bar: ProgressBar,
    paint: Paint,
    is_silent: bool,
}

impl Screen {
    /// For so many callbacks. A silent one leaves stdout alone.
    pub fn new(callbacks: u64, is_silent: bool) -> Self {
        let bar = ProgressBar::new(callbacks);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} callbacks  {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, paint: Paint::for_stdout(), is_silent }
    }

    /// How to colour what stays.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// Begins an act.
    pub fn title(&self, text: &str) -> io::Result<()> {
        self.line(&format!("\n{}", self.paint.paint(STRONG, text)))
    }

    /// Says what is going on now. It stays only where nothing moves.
    pub fn step(&self, text: &str) -> io::Result<()> {
        self.bar.set_message(text.to_owned());
        if self.bar.is_hidden() { self.line(&format!("  {text}")) } else { Ok(()) }
    }

    /// Writes a line that stays.
    pub fn line(&self, text: &str) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        self.bar.suspend(|| writeln!(io::stdout(), "{text}"))
    }

    /// Counts a callback.
    pub fn callback(&self) {
        self.bar.inc(1);
    }

    /// Shows nothing more that moves.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
