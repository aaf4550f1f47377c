//! Advisory locks, which transactions hold until their end. They live in the server's memory, queue fairly, and work behind a
//! pooler.
//!
//! - The *catalogue* lock: [accepting](super::accept) shares it, whoever changes subscriptions has it alone. Thus an event is
//!   accepted under the catalogue of its commit.
//! - A *lease* lock for each incarnation: whoever makes it hold something shares it, whoever ends it has it alone. Thus nothing
//!   is held by one that has ended.
//! - The *cancelling* lock: whoever marks an event as cancelled has it alone, whoever lets deliveries wait again shares it. Thus one either
//!   sees the mark, or waits before it is looked what waits of the event.
//! - A lock for each idempotency key in use, and one each for making and dropping partitions, and for migrations.
//!
//! Where several are taken, in this order; then [lanes](super::lanes), in the order of their keys; then deliveries.

use tokio_postgres::types::Type;

use super::pool::Statement;
use crate::engine::Incarnation;

pub(super) const SHARE_CATALOGUE: Statement =
    Statement { sql: "SELECT pg_advisory_xact_lock_shared(1, 0)", types: &[] };
pub(super) const CATALOGUE: Statement = Statement { sql: "SELECT pg_advisory_xact_lock(1, 0)", types: &[] };
pub(super) const SHARE_LEASES: Statement = Statement {
    sql: "SELECT pg_advisory_xact_lock_shared(2, holder) FROM unnest($1::int4[]) AS holder",
    types: &[Type::INT4_ARRAY],
};
pub(super) const LEASE: Statement = Statement { sql: "SELECT pg_advisory_xact_lock(2, $1)", types: &[Type::INT4] };
pub(super) const SHARE_CANCELLING: Statement =
    Statement { sql: "SELECT pg_advisory_xact_lock_shared(7, 0)", types: &[] };
pub(super) const CANCELLING: Statement = Statement { sql: "SELECT pg_advisory_xact_lock(7, 0)", types: &[] };
pub(super) const IDEMPOTENCY_KEYS: Statement = Statement {
    sql: "SELECT pg_advisory_xact_lock(3, key) FROM unnest($1::int4[]) AS key",
    types: &[Type::INT4_ARRAY],
};
pub(super) const PARTITIONS: &str = "SELECT pg_advisory_xact_lock(4, 0)";
pub(super) const MIGRATION: &str = "SELECT pg_advisory_xact_lock(1215262571, 5)";
/// Answers whether it was free.
pub(super) const TRY_PURGE: Statement = Statement { sql: "SELECT pg_try_advisory_xact_lock(6, 0)", types: &[] };

/// A lock's number; that two things share one does no harm.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is as good as any")]
pub(super) fn lease(holder: Incarnation) -> i32 {
    holder.0 as i32
}

/// The lock's number of an idempotency key (FNV-1a).
pub(super) fn idempotency_key(key: &str) -> i32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.cast_signed()
}
