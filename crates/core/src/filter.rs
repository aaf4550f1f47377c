//! Placeholder.
use std::{convert::Infallible, str::FromStr, sync::Arc};
use crate::event::Event;
use serde_json::Value;
/// A filter.
#[derive(Clone, Debug)]
pub struct Filter(Arc<str>);
impl Filter {
    /// text
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// nothing
    #[must_use]
    pub fn nothing() -> Self {
        Self("".into())
    }
    /// matches
    #[must_use]
    pub fn matches(&self, _: &Value) -> bool {
        !self.0.is_empty()
    }
}
impl FromStr for Filter {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}
/// value
///
/// # Errors
/// none
pub fn event_value(event: &Event) -> Result<Value, serde_json::Error> {
    serde_json::from_str(event.payload.get())
}
