//! What operators have paused: hosts, or everything.

use std::{collections::HashMap, fmt, sync::Arc};

use hookcast_core::{clock::Timestamp, pause::Scope};
use hookcast_store::{
    Store, StoreError,
    documents::{Document, Expected, Kind},
};
use serde::{Deserialize, Serialize};

use crate::target::Target;

/// What is kept of a pause, beside what it is of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    reason: Option<String>,
    paused_at: Timestamp,
}

/// Something that is paused.
#[derive(Clone, Debug)]
pub struct Pause {
    /// What it is.
    pub scope: Scope,
    /// Why, by the word of who has paused it.
    pub reason: Option<String>,
    /// Since when.
    pub paused_at: Timestamp,
}

impl Pause {
    /// What a document says. Where it cannot be read its name still says what is paused.
    fn of(document: &Document) -> Option<Self> {
        let Kept { reason, paused_at } = serde_json::from_str(&document.body).unwrap_or_default();
        Some(Self { scope: document.name.parse().ok()?, reason, paused_at })
    }

    /// Keeps it in the store. Whoever pauses again what is paused gives it another reason.
    ///
    /// # Errors
    /// The store failed.
    pub async fn keep(&self, store: &dyn Store) -> Result<(), StoreError> {
        let kept = Kept { reason: self.reason.clone(), paused_at: self.paused_at };
        let text = serde_json::to_string(&kept).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        store.put_document(Kind::Pauses, &self.scope.to_string(), text, Expected::Any).await.map(drop)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Everything => f.write_str("an operator has paused all deliveries")?,
            Scope::Host(host) => write!(f, "an operator has paused deliveries to `{host}`")?,
        }
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

/// Everything that is paused.
#[derive(Debug, Default)]
pub struct Pauses {
    everything: Option<Arc<Pause>>,
    hosts: HashMap<String, Arc<Pause>>,
}

impl Pauses {
    /// What the documents of this kind say.
    #[must_use]
    pub fn of(documents: &[Document]) -> Self {
        let mut pauses = Self::default();
        for pause in documents.iter().filter_map(Pause::of).map(Arc::new) {
            match &pause.scope {
                Scope::Everything => pauses.everything = Some(pause),
                Scope::Host(host) => drop(pauses.hosts.insert(host.clone(), Arc::clone(&pause))),
            }
        }
        pauses
    }

    /// Whether nothing is sent at all.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.everything.is_some()
    }

    /// Why nothing is sent to a target, if it is paused.
    #[must_use]
    pub fn of_target(&self, target: &Target) -> Option<&Arc<Pause>> {
        // Mostly nothing is paused, and this is on the way of every delivery.
        let of_host = || if self.hosts.is_empty() { None } else { self.hosts.get(&*target.host) };
        self.everything.as_ref().or_else(of_host)
    }

    /// Every one: that of everything first, then those of hosts by their names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pause>> {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_unstable_by_key(|(host, _)| *host);
        self.everything.iter().chain(hosts.into_iter().map(|(_, pause)| pause)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use hookcast_store::documents::DocumentVersion;

    use super::*;

    #[test]
    fn a_pause_that_cannot_be_read_is_one_all_the_same() {
        let document = |name: &str, body: &str| Document {
            name: name.to_owned(),
            version: DocumentVersion(1),
            body: body.to_owned(),
        };
        let kept = r#"{"reason":"moving","paused_at":"2026-11-24T03:30:10.887Z"}"#;
        let pauses = Pauses::of(&[document("b", "{"), document("a", kept), document("no host", kept)]);
        let said: Vec<_> = pauses.all().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["an operator has paused deliveries to `a`: moving", "an operator has paused deliveries to `b`"]
        );
        assert!(!pauses.is_everything());
        assert!(Pauses::of(&[document("*", "{}")]).is_everything());
    }
}
