//! The setting that row-level security reads, made together with the transaction that it holds for.
//!
//! Simple-protocol text, several statements in one message: BEGIN and what has to follow it at once are one round trip. What is written into it
//! is UUIDs and whole numbers alone, which cannot say anything else.

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};
use uuid::Uuid;

/// Begins a transaction that is confined to `tenants`.
pub(crate) fn begin(tenants: &[Uuid]) -> SqlStr {
    begin_and(tenants, "")
}

/// As [`begin`], and goes on with `more`, whose every part is ours.
pub(crate) fn begin_and(tenants: &[Uuid], more: &str) -> SqlStr {
    let tenants = tenants.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",");
    AssertSqlSafe(format!("BEGIN; SET LOCAL plimsoll.tenants = '{tenants}'{more}")).into_sql_str()
}
