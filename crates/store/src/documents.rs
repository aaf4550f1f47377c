//! Small things that are read whole and seldom written, each a JSON text under a name of its kind: what would be a table with the
//! same five methods in every store.

use async_trait::async_trait;

use crate::error::StoreError;

/// The most bytes of a document's name.
pub const NAME_MAX: usize = 512;

/// What documents are about. Each kind has names of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What was changed by whom, by time.
    Audit,
    /// What accounts have taken of their events of a day, by day and account.
    Budgets,
    /// Types of events that are known, by type.
    EventTypes,
    /// What is not sent to for now, by host.
    Pauses,
    /// What an account may have, by account.
    Quotas,
    /// Jobs that send past events again, by id.
    Replays,
    /// Tokens of producers, by name.
    TriggerTokens,
}

impl Kind {
    /// Every kind, in the order of their names.
    pub const ALL: [Self; 7] =
        [Self::Audit, Self::Budgets, Self::EventTypes, Self::Pauses, Self::Quotas, Self::Replays, Self::TriggerTokens];

    /// Its name in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Budgets => "budgets",
            Self::EventTypes => "event-types",
            Self::Pauses => "pauses",
            Self::Quotas => "quotas",
            Self::Replays => "replays",
            Self::TriggerTokens => "trigger-tokens",
        }
    }

    /// Whether they are small and what is there cannot be worked on without them, so that they are kept even where a store is so full
    /// that it refuses what is new.
    pub(crate) fn is_kept_when_full(self) -> bool {
        match self {
            Self::Budgets | Self::Pauses | Self::Quotas => true,
            Self::Audit | Self::EventTypes | Self::Replays | Self::TriggerTokens => false,
        }
    }

    pub(crate) fn read(name: &str) -> Result<Self, StoreError> {
        let unknown = || StoreError::Corrupt(format!("there are documents of a kind `{name}`, which is not known"));
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(unknown)
    }
}

/// Counts the changes of documents of one kind. A document's version is that of its last change; 0 is before everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentVersion(pub u64);

/// A JSON text under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its name, unique among its kind: at most [`NAME_MAX`] bytes.
    pub name: String,
    /// When it was last changed.
    pub version: DocumentVersion,
    /// The text.
    pub body: String,
}

/// What must be there for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever there is.
    Any,
    /// No document of this name.
    None,
    /// The document as it was read.
    Version(DocumentVersion),
}

impl Expected {
    /// Whether this is so, where a document of this version is there or none.
    pub(crate) fn holds(self, present: Option<DocumentVersion>) -> bool {
        match self {
            Self::Any => true,
            Self::None => present.is_none(),
            Self::Version(version) => present == Some(version),
        }
    }
}

/// Which documents of a kind are wanted, in the order of the bytes of their names.
#[derive(Clone, Debug, Default)]
pub struct DocumentQuery {
    /// Only those whose names come after this one, in the order in which they are read.
    pub after: Option<String>,
    /// The last name first.
    pub descending: bool,
    /// At most so many.
    pub limit: u32,
}

/// The most documents that [`all`] reads at once.
const PAGE: u32 = 500;

/// Every document of a kind, in the order of their names.
///
/// # Errors
/// The store failed.
pub async fn all(store: &(impl Documents + ?Sized), kind: Kind) -> Result<Vec<Document>, StoreError> {
    let mut documents: Vec<Document> = Vec::new();
    loop {
        let after = documents.last().map(|last| last.name.clone());
        let found = store.documents(kind, DocumentQuery { after, descending: false, limit: PAGE }).await?;
        let is_last = found.len() < PAGE as usize;
        documents.extend(found);
        if is_last {
            return Ok(documents);
        }
    }
}

/// Documents. What it has answered is on disk.
#[async_trait]
pub trait Documents: Send + Sync {
    /// The document of this name, if there is one.
    ///
    /// # Errors
    /// The store failed.
    async fn document(&self, kind: Kind, name: &str) -> Result<Option<Document>, StoreError>;

    /// Documents of a kind.
    ///
    /// # Errors
    /// The store failed.
    async fn documents(&self, kind: Kind, query: DocumentQuery) -> Result<Vec<Document>, StoreError>;

    /// The version of the last change of any document of a kind, deletions among them: as long as it stays, all of them do.
    ///
    /// # Errors
    /// The store failed.
    async fn documents_version(&self, kind: Kind) -> Result<DocumentVersion, StoreError>;

    /// Writes a document, if there is what is expected. Answers its new version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is something else.
    async fn put_document(
        &self,
        kind: Kind,
        name: &str,
        body: String,
        expected: Expected,
    ) -> Result<DocumentVersion, StoreError>;

    /// Deletes a document, if there is what is expected.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such document, [`StoreError::Conflict`] when it is not the expected one.
    async fn delete_document(&self, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError>;
}
