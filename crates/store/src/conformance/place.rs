//! Where the stores under test are.

use crate::{Limits, Store, connect};
use std::sync::Arc;
use tempfile::TempDir;

/// An empty place for a store, for as long as this value lives.
pub(super) struct Place {
    url: String,
    _folder: TempDir,
}

impl Place {
    /// A handle of its own on the store at this place.
    pub(super) async fn open(&self, limits: Limits) -> Arc<dyn Store> {
        connect(&self.url, limits).await.unwrap()
    }
}

/// A folder that goes with the place.
pub(super) fn sqlite() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { url: format!("sqlite://{}", folder.path().join("hookcast.db").display()), _folder: folder }
}
