//! Documents of one kind in memory, made ready for use, and brought up to date from the store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookcast_store::{
    Store, StoreError,
    documents::{self, Document, DocumentVersion, Kind},
};
use tokio::sync::Mutex;

/// How long what is known is taken for true: so late may a change of another node take effect here.
const FRESH: Duration = Duration::from_secs(1);

/// Something that is made of all documents of a kind.
pub struct Cached<T> {
    kind: Kind,
    make: fn(&[Document]) -> T,
    known: Mutex<Option<Known<T>>>,
}

struct Known<T> {
    value: Arc<T>,
    version: DocumentVersion,
    looked_at: Instant,
}

impl<T> Cached<T> {
    /// Nothing is read yet.
    pub fn new(kind: Kind, make: fn(&[Document]) -> T) -> Self {
        Self { kind, make, known: Mutex::new(None) }
    }

    /// What the documents make, as they were a moment ago at the most.
    ///
    /// # Errors
    /// The store failed.
    pub async fn get(&self, store: &dyn Store) -> Result<Arc<T>, StoreError> {
        let mut known = self.known.lock().await;
        let now = Instant::now();
        if let Some(known) = &mut *known {
            if now.duration_since(known.looked_at) < FRESH {
                return Ok(Arc::clone(&known.value));
            }
            if store.documents_version(self.kind).await? == known.version {
                known.looked_at = now;
                return Ok(Arc::clone(&known.value));
            }
        }
        // The version first: what changes meanwhile is read again.
        let version = store.documents_version(self.kind).await?;
        let value = Arc::new((self.make)(&documents::all(store, self.kind).await?));
        *known = Some(Known { value: Arc::clone(&value), version, looked_at: now });
        Ok(value)
    }

    /// Has the documents read again when they are next wanted: this node has changed one.
    pub async fn forget(&self) {
        *self.known.lock().await = None;
    }
}
