//! Documents.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::{
    SqliteStore,
    rows::{integer, natural},
};
use crate::{
    documents::{Document, DocumentQuery, DocumentVersion, Documents, Expected, Kind},
    error::StoreError,
};

#[async_trait]
impl Documents for SqliteStore {
    async fn document(&self, kind: Kind, name: &str) -> Result<Option<Document>, StoreError> {
        let name = name.to_owned();
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT name, version, body FROM documents WHERE kind = ? AND name = ?")?
                .query_row((kind.as_str(), name), document)
                .optional()?)
        })
        .await
    }

    async fn documents(&self, kind: Kind, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        self.read(move |connection| {
            let (sql, from) = if query.descending {
                (
                    "SELECT name, version, body FROM documents WHERE kind = ?1 AND (?2 IS NULL OR name < ?2)
                  ORDER BY name DESC LIMIT ?3",
                    query.after,
                )
            } else {
                (
                    "SELECT name, version, body FROM documents WHERE kind = ?1 AND name > ?2
                  ORDER BY name LIMIT ?3",
                    Some(query.after.unwrap_or_default()),
                )
            };
            let mut statement = connection.prepare_cached(sql)?;
            let found = statement.query_map((kind.as_str(), from, query.limit), document)?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn documents_version(&self, kind: Kind) -> Result<DocumentVersion, StoreError> {
        self.read(move |connection| {
            let version = connection
                .prepare_cached("SELECT version FROM document_kinds WHERE kind = ?")?
                .query_row([kind.as_str()], |row| row.get(0))
                .optional()?;
            Ok(DocumentVersion(natural(version.unwrap_or(0))))
        })
        .await
    }

    async fn put_document(
        &self,
        kind: Kind,
        name: &str,
        body: String,
        expected: Expected,
    ) -> Result<DocumentVersion, StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            if !expected.holds(present(transaction, kind, &name)?) {
                return Err(StoreError::Conflict);
            }
            put(transaction, kind, &name, &body)
        })
        .await
    }

    async fn delete_document(&self, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |transaction| {
            let present = present(transaction, kind, &name)?.ok_or(StoreError::NotFound)?;
            if !expected.holds(Some(present)) {
                return Err(StoreError::Conflict);
            }
            next_version(transaction, kind)?;
            transaction
                .prepare_cached("DELETE FROM documents WHERE kind = ? AND name = ?")?
                .execute((kind.as_str(), name))?;
            Ok(())
        })
        .await
    }
}

/// Writes a document over the one that may be there.
pub(super) fn put(
    transaction: &Transaction<'_>,
    kind: Kind,
    name: &str,
    body: &str,
) -> Result<DocumentVersion, StoreError> {
    let version = next_version(transaction, kind)?;
    transaction
        .prepare_cached(
            "INSERT INTO documents (kind, name, version, body) VALUES (?, ?, ?, ?)
             ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, body = excluded.body",
        )?
        .execute((kind.as_str(), name, integer(version.0), body))?;
    Ok(version)
}

/// The version of the document of this name, if there is one.
pub(super) fn present(
    transaction: &Transaction<'_>,
    kind: Kind,
    name: &str,
) -> Result<Option<DocumentVersion>, StoreError> {
    let version = transaction
        .prepare_cached("SELECT version FROM documents WHERE kind = ? AND name = ?")?
        .query_row((kind.as_str(), name), |row| row.get(0))
        .optional()?;
    Ok(version.map(|version| DocumentVersion(natural(version))))
}

fn next_version(transaction: &Transaction<'_>, kind: Kind) -> Result<DocumentVersion, StoreError> {
    let version = transaction
        .prepare_cached(
            "INSERT INTO document_kinds (kind, version) VALUES (?, 1)
             ON CONFLICT (kind) DO UPDATE SET version = version + 1 RETURNING version",
        )?
        .query_row([kind.as_str()], |row| row.get(0))?;
    Ok(DocumentVersion(natural(version)))
}

fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document { name: row.get(0)?, version: DocumentVersion(natural(row.get(1)?)), body: row.get(2)? })
}
