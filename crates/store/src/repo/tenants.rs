//! The setting that row-level security reads, made together with the transaction that it holds for.
//!
//! Simple-protocol text, several statements in one message: BEGIN and what has to follow it at once are one round trip. What is written into it
//! is UUIDs and whole numbers alone, which cannot say anything else.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use uuid::Uuid;

/// Rules out reading whole tables, for what has keys to look by. A plan is kept for as long as its session, and the planner reads all of a table that was small, or not analysed, when it
/// made one: a session would go on so when the table has grown.
/// What is left is the same for any keys: nothing is planned twice.
pub(crate) const BY_KEYS: &str =
    "; SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/// Begins a transaction that is confined to `tenants`.
pub(crate) fn begin(tenants: &[Uuid]) -> SqlStr {
    begin_and(tenants, "")
}

/// As [`begin`], and goes on with `more`, whose every part is ours.
pub(crate) fn begin_and(tenants: &[Uuid], more: &str) -> SqlStr {
    let tenants = tenants.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",");
    AssertSqlSafe(format!("BEGIN; SET LOCAL plimsoll.tenants = '{tenants}'{more}")).into_sql_str()
}
