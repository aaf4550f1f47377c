//! Placeholder.
use serde::{Deserialize, Serialize};
/// Custom headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CustomHeaders(Vec<(String, String)>);
impl CustomHeaders {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
