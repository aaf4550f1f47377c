//! Documents.

use async_trait::async_trait;
use tokio_postgres::{Row, types::Type};

use super::{
    PostgresStore, Shared,
    pool::{Commit, Statement, Transaction, retrying},
    rows::{get, integer, natural, single},
};
use crate::{
    documents::{Document, DocumentQuery, DocumentVersion, Documents, Expected, Kind},
    error::StoreError,
};

const DOCUMENT: Statement = Statement {
    sql: "SELECT name, version, body FROM hookcast.documents WHERE kind = $1 AND name = $2",
    types: &[Type::TEXT, Type::TEXT],
};
const ASCENDING: Statement = Statement {
    sql: "SELECT name, version, body FROM hookcast.documents WHERE kind = $1 AND name > $2 ORDER BY name LIMIT $3",
    types: &[Type::TEXT, Type::TEXT, Type::INT8],
};
const DESCENDING: Statement = Statement {
    sql: "SELECT name, version, body FROM hookcast.documents WHERE kind = $1 AND ($2::text IS NULL OR name < $2)
          ORDER BY name DESC LIMIT $3",
    types: &[Type::TEXT, Type::TEXT, Type::INT8],
};
const VERSION: Statement =
    Statement { sql: "SELECT version FROM hookcast.document_kinds WHERE kind = $1", types: &[Type::TEXT] };
/// The row stays locked until the transaction ends.
const NEXT_VERSION: Statement = Statement {
    sql: "INSERT INTO hookcast.document_kinds AS k (kind, version) VALUES ($1, 1)
          ON CONFLICT (kind) DO UPDATE SET version = k.version + 1 RETURNING version",
    types: &[Type::TEXT],
};
const PRESENT: Statement = Statement {
    sql: "SELECT version FROM hookcast.documents WHERE kind = $1 AND name = $2",
    types: &[Type::TEXT, Type::TEXT],
};
const PUT: Statement = Statement {
    sql: "INSERT INTO hookcast.documents (kind, name, version, body) VALUES ($1, $2, $3, $4)
          ON CONFLICT (kind, name) DO UPDATE SET version = excluded.version, body = excluded.body",
    types: &[Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT],
};
const DELETE: Statement =
    Statement { sql: "DELETE FROM hookcast.documents WHERE kind = $1 AND name = $2", types: &[Type::TEXT, Type::TEXT] };

#[async_trait]
impl Documents for PostgresStore {
    async fn document(&self, kind: Kind, name: &str) -> Result<Option<Document>, StoreError> {
        let found = self.shared.pool.query(&DOCUMENT, &[&kind.as_str(), &name]).await?;
        found.first().map(document).transpose()
    }

    async fn documents(&self, kind: Kind, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        let limit = i64::from(query.limit);
        let found = if query.descending {
            self.shared.pool.query(&DESCENDING, &[&kind.as_str(), &query.after, &limit]).await?
        } else {
            self.shared.pool.query(&ASCENDING, &[&kind.as_str(), &query.after.unwrap_or_default(), &limit]).await?
        };
        found.iter().map(document).collect()
    }

    async fn documents_version(&self, kind: Kind) -> Result<DocumentVersion, StoreError> {
        let found = self.shared.pool.query(&VERSION, &[&kind.as_str()]).await?;
        let version = found.first().map_or(Ok(0), |row| get(row, 0))?;
        Ok(DocumentVersion(natural(version)))
    }

    async fn put_document(
        &self,
        kind: Kind,
        name: &str,
        body: String,
        expected: Expected,
    ) -> Result<DocumentVersion, StoreError> {
        retrying(|| put(&self.shared, kind, name, &body, expected)).await
    }

    async fn delete_document(&self, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
        retrying(|| delete(&self.shared, kind, name, expected)).await
    }
}

async fn put(
    shared: &Shared,
    kind: Kind,
    name: &str,
    body: &str,
    expected: Expected,
) -> Result<DocumentVersion, StoreError> {
    let transaction = shared.pool.begin(Commit::Durable).await?;
    let (version, present) = change(&transaction, kind, name).await?;
    if !expected.holds(present) {
        transaction.rollback().await?;
        return Err(StoreError::Conflict);
    }
    write(&transaction, kind, name, version, body).await?;
    transaction.commit().await?;
    Ok(version)
}

async fn delete(shared: &Shared, kind: Kind, name: &str, expected: Expected) -> Result<(), StoreError> {
    let mut transaction = shared.pool.begin(Commit::Durable).await?;
    let refusal = match change(&transaction, kind, name).await? {
        (_, None) => Some(StoreError::NotFound),
        (_, present) if !expected.holds(present) => Some(StoreError::Conflict),
        _ => None,
    };
    if let Some(refusal) = refusal {
        transaction.rollback().await?;
        return Err(refusal);
    }
    transaction.finish(&[(&DELETE, &[&kind.as_str(), &name])]).await.map(drop)
}

/// Begins a change: the kind's next version, and that of the document of this name if there is one.
pub(super) async fn change(
    transaction: &Transaction,
    kind: Kind,
    name: &str,
) -> Result<(DocumentVersion, Option<DocumentVersion>), StoreError> {
    let answers = transaction.all(&[(&NEXT_VERSION, &[&kind.as_str()]), (&PRESENT, &[&kind.as_str(), &name])]).await?;
    let [version, present] = answers.as_slice() else { return Err(StoreError::NotFound) };
    let present = present.first().map(|row| get(row, 0)).transpose()?;
    Ok((DocumentVersion(natural(single(version)?)), present.map(|version| DocumentVersion(natural(version)))))
}

/// Writes a document over the one that may be there.
pub(super) async fn write(
    transaction: &Transaction,
    kind: Kind,
    name: &str,
    version: DocumentVersion,
    body: &str,
) -> Result<(), StoreError> {
    transaction.query(&PUT, &[&kind.as_str(), &name, &integer(version.0), &body]).await.map(drop)
}

fn document(row: &Row) -> Result<Document, StoreError> {
    Ok(Document { name: get(row, 0)?, version: DocumentVersion(natural(get(row, 1)?)), body: get(row, 2)? })
}
