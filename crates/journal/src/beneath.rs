//! What a fold's undo stack would restore, changed from beneath.
//!
//! Late history is never taken back, but what stands above it may be: the state that taking it back restores is then the late one. The
//! *oldest* entry of a key holds what the key was before everything that may still be taken back, so it alone is changed.

use serde_json::Value;
use sqlx::PgConnection;

use crate::repo::cursor;

/// An entry of a fold's undo stack.
#[derive(Clone, Debug, PartialEq)]
pub struct Oldest {
    /// The index of its key among those that were asked for.
    pub key: usize,
    /// The record that it takes back.
    pub seq: i64,
    /// How.
    pub undo: Value,
}

/// Of each key the oldest entry that contains it (as JSONB does), where there is one.
///
/// # Errors
/// When the database fails.
pub async fn oldest_undos(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    keys: &[Value],
) -> Result<Vec<Oldest>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    cursor::oldest_undos(conn, fold, chain_id, keys).await
}

/// Writes entries anew, by their records.
///
/// # Errors
/// When the database fails.
pub async fn replace_undos(
    conn: &mut PgConnection,
    fold: &str,
    chain_id: u64,
    undos: &[(i64, Value)],
) -> Result<(), sqlx::Error> {
    if undos.is_empty() {
        return Ok(());
    }
    cursor::replace_undos(conn, fold, chain_id, undos).await
}
