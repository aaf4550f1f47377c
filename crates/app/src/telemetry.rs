//! What the process says about itself: lines on standard error.

use tracing::Level;
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};

use crate::config::LogFormat;

/// Begins to log. To be called once; what comes later has no effect.
pub fn start(level: Level, format: LogFormat) {
    // Where nobody reads the log any more, complaining about it on the same pipe would end whoever complains.
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(lines.with_filter(LevelFilter::from_level(level))).try_init();
}
