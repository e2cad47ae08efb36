//! Natural keys, each of which has one transaction in two tables: what signers of ours do (`managed_transactions`) and what users signed (`user_transactions`).
//!
//! Each table is unique by itself; that no key is in both takes a lock, since neither of two transactions sees what the other has not committed. Who puts a user's transaction holds the key's
//! *stripe* alone, who puts a batch of requests shares the stripes of all their keys; both until their transaction ends, and both look into the other's table by a statement that
//! begins after they have the lock. So of two with one key that touch both tables, one has ended before the other looks, and is seen.
//!
//! There are as many stripes as the locks of one transaction that Postgres reckons with (`max_locks_per_transaction`), however large a batch is. Batches share them, and so never wait for
//! each other here; one waits for a user's transaction that is just being committed. Stripes come after every other lock but those of the natural keys themselves, and the lower ones first.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

const STRIPES: u8 = 64;
/// Sets these apart from the database's other advisory locks of two numbers: "keys".
const CLASS: i32 = 0x6b65_7973;

/// Whatever else is in a key, equal ones have equal request ids, and those differ in their last byte.
fn stripe(request_id: Uuid) -> i32 {
    i32::from(request_id.as_bytes()[15] % STRIPES)
}

/// Keeps users' transactions from being put under keys with these request ids until the transaction ends.
pub(crate) async fn share(
    conn: &mut PgConnection,
    request_ids: impl IntoIterator<Item = Uuid>,
) -> Result<(), sqlx::Error> {
    let stripes: BTreeSet<_> = request_ids.into_iter().map(stripe).collect();
    let stripes: Vec<_> = stripes.into_iter().collect();
    sqlx::query!(
        "SELECT pg_advisory_xact_lock_shared($1, stripe) FROM unnest($2::integer[]) AS stripes(stripe)",
        CLASS,
        &stripes,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps everybody else from putting anything under a key with this request id until the transaction ends.
pub(crate) async fn hold(conn: &mut PgConnection, request_id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1, $2)", CLASS, stripe(request_id)).execute(conn).await?;
    Ok(())
}
