//! The guard against callbacks that would make Hookcast knock at doors of its own network (server-side request
//! forgery).
//!
//! It judges twice. [`CallbackUrl::parse`] judges the text when a subscription is made, so that a mistake is told at
//! once. [`check_resolved`] judges the addresses when a connection is made, which is what protects: only then is it
//! known where a name leads. [`Rules`] are what the operator decides about both. Nothing here resolves a name or opens a
//! connection.

mod address;
mod callback_url;
mod embedded;
mod local_name;
mod networks;
mod rules;
mod special;
#[cfg(test)]
mod tests;

pub use address::{SpecialAddress, check_address, check_resolved};
pub use callback_url::{CallbackUrl, Host, MAX_URL_LENGTH, UrlRefused, mask_query};
pub use networks::AllowedNetworks;
pub use rules::{AllowedPorts, RuleBroken, Rules};
pub use special::AddressKind;
