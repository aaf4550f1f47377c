//! Documents.

use async_trait::async_trait;

use super::{RedisStore, reply::Reply, scripts};
use crate::{
    documents::{Document, DocumentQuery, DocumentVersion, Documents, Expected, Kind},
    error::StoreError,
};

#[async_trait]
impl Documents for RedisStore {
    async fn document(&self, kind: Kind, name: &str) -> Result<Option<Document>, StoreError> {
        let mut call = self.call(&scripts::DOCUMENT);
        call.arg(kind.as_str()).arg(name);
        let mut reply = self.run(&call).await?;
        if reply.is_empty() { Ok(None) } else { document(reply.list()?).map(Some) }
    }

    async fn documents(&self, kind: Kind, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        let mut call = self.call(&scripts::DOCUMENTS);
        call.arg(kind.as_str()).arg(query.limit).arg(i32::from(query.descending)).arg(query.after.unwrap_or_default());
        let mut reply = self.run(&call).await?;
        let mut documents = Vec::new();
        while !reply.is_empty() {
            documents.push(document(reply.list()?)?);
        }
        Ok(documents)
    }

    async fn documents_version(&self, kind: Kind) -> Result<DocumentVersion, StoreError> {
        let mut call = self.call(&scripts::DOCUMENTS_VERSION);
        call.arg(kind.as_str());
        Ok(DocumentVersion(self.run(&call).await?.natural()?))
    }

    async fn put_document(
        &self,
        kind: Kind,
        name: &str,
        body: String,
        expected: Expected,
    ) -> Result<DocumentVersion, StoreError> {
        let is_kept = kind.is_kept_when_full();
        let mut call = self.call(if is_kept { &scripts::KEEP_DOCUMENT } else { &scripts::PUT_DOCUMENT });
        call.arg(kind.as_str()).arg(name).arg(word(expected)).arg(body);
        Ok(DocumentVersion(self.run(&call).await?.natural()?))
    }

    async fn delete_document(&self, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::DELETE_DOCUMENT);
        call.arg(kind.as_str()).arg(name).arg(word(expected));
        self.run(&call).await.map(drop)
    }
}

/// What is expected, as the scripts have it: `any`, `none`, or a version.
fn word(expected: Expected) -> String {
    match expected {
        Expected::Any => "any".into(),
        Expected::None => "none".into(),
        Expected::Version(version) => version.0.to_string(),
    }
}

pub(super) fn document(mut row: Reply) -> Result<Document, StoreError> {
    Ok(Document { name: row.text()?, version: DocumentVersion(row.natural()?), body: row.text()? })
}
