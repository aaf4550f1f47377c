//! Placeholder.
use serde::{Deserialize, Serialize};
/// Formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// The default.
    #[default]
    Hookcast,
}
