//! Statements of `replay`: temporary tables that stand before the live ones, and both sides' rows in key order.
//!
//! Their texts are put together from the constants of this file alone.

use sqlx::{AssertSqlSafe, PgConnection};

use super::to_i64;
use crate::FOLD_NAME;

/// What the fold and the journal's step write to: on the replaying connection each has a temporary table of its name.
const SHADOWED: &[&str] = &[
    "position_cache_mirror",
    "view_mirror",
    "view_trail",
    "position_push_links",
    "view_apply_entries",
    "anomalies",
    "fold_cursors",
    "fold_undo",
];

/// A table that live and replayed must agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compared {
    pub(crate) name: &'static str,
    key: KeyColumns,
    /// When it was written, which is not what it says.
    times: &'static [&'static str],
    condition: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum KeyColumns {
    Seq,
    /// The texts of the primary key, in its order, and where the key has `chain_id` among them.
    Texts {
        columns: [&'static str; 3],
        chain_id_at: usize,
    },
}

impl KeyColumns {
    /// The primary key's columns, and a row of parameters to compare them with: `$1` is the chain, `$2` to `$4` the texts.
    fn ordered(columns: [&str; 3], chain_id_at: usize) -> (String, String) {
        let mut columns = columns.to_vec();
        let mut bounds = vec!["$2", "$3", "$4"];
        columns.insert(chain_id_at, "chain_id");
        bounds.insert(chain_id_at, "$1");
        (columns.join(", "), bounds.join(", "))
    }
}

pub(crate) const COMPARED: &[Compared] = &[
    Compared {
        name: "position_cache_mirror",
        key: KeyColumns::Texts { columns: ["\"user\"", "asset", "contract"], chain_id_at: 2 },
        times: &["last_updated_at"],
        condition: "true",
    },
    Compared {
        name: "view_mirror",
        key: KeyColumns::Texts { columns: ["contract", "view", "key"], chain_id_at: 0 },
        times: &["last_updated_at"],
        condition: "true",
    },
    Compared { name: "view_trail", key: KeyColumns::Seq, times: &["recorded_at"], condition: "true" },
    Compared { name: "position_push_links", key: KeyColumns::Seq, times: &[], condition: "true" },
    Compared {
        name: "view_apply_entries",
        key: KeyColumns::Seq,
        times: &["observed_at"],
        condition: "fold = 'views'",
    },
];

/// A row's key within its chain; ordered as Postgres orders it (the texts have collation "C").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    Seq(i64),
    Texts(Vec<String>),
}

/// Puts the temporary tables in front of the live ones, for this session.
pub(crate) async fn shadow(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    for table in SHADOWED {
        let statement = format!("CREATE TEMPORARY TABLE {table} (LIKE {table} INCLUDING ALL)");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Lifts the limits that are meant for requests.
pub(crate) async fn lift_timeouts(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT set_config('statement_timeout', '0', false) AS statement,
                set_config('idle_in_transaction_session_timeout', '0', false) AS idle"
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// The fold's cursor, 0 before its first record.
pub(crate) async fn cursor(conn: &mut PgConnection, chain_id: u64) -> Result<i64, sqlx::Error> {
    let seq = sqlx::query_scalar!(
        "SELECT seq FROM fold_cursors WHERE fold = $1 AND chain_id = $2",
        FOLD_NAME,
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    Ok(seq.unwrap_or(0))
}

impl Compared {
    fn row(&self) -> String {
        self.times.iter().fold("to_jsonb(t)".to_owned(), |row, time| format!("({row} - '{time}')"))
    }

    /// Up to `limit` rows after `after`: each key with a digest of everything but times.
    pub(crate) async fn digests(
        &self,
        conn: &mut PgConnection,
        chain_id: u64,
        after: Option<&RowKey>,
        limit: i64,
    ) -> Result<Vec<(RowKey, String)>, sqlx::Error> {
        let (name, row, condition) = (self.name, self.row(), self.condition);
        match self.key {
            KeyColumns::Seq => {
                let after = if let Some(RowKey::Seq(seq)) = after { *seq } else { 0 };
                let statement = format!(
                    "SELECT journal_seq, md5({row}::text) FROM {name} t \
                     WHERE chain_id = $1 AND journal_seq > $2 AND {condition} ORDER BY journal_seq LIMIT $3"
                );
                let rows: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(statement))
                    .bind(to_i64(chain_id))
                    .bind(after)
                    .bind(limit)
                    .fetch_all(conn)
                    .await?;
                Ok(rows.into_iter().map(|(seq, digest)| (RowKey::Seq(seq), digest)).collect())
            }
            KeyColumns::Texts { columns, chain_id_at } => {
                let start = vec![String::new(); 3];
                let after = if let Some(RowKey::Texts(texts)) = after { texts } else { &start };
                let (order, bounds) = KeyColumns::ordered(columns, chain_id_at);
                let statement = format!(
                    "SELECT ARRAY[{}], md5({row}::text) FROM {name} t \
                     WHERE chain_id = $1 AND ({order}) > ({bounds}) AND {condition} ORDER BY {order} LIMIT $5",
                    columns.join(", ")
                );
                let rows: Vec<(Vec<String>, String)> = sqlx::query_as(AssertSqlSafe(statement))
                    .bind(to_i64(chain_id))
                    .bind(&after[0])
                    .bind(&after[1])
                    .bind(&after[2])
                    .bind(limit)
                    .fetch_all(conn)
                    .await?;
                Ok(rows.into_iter().map(|(texts, digest)| (RowKey::Texts(texts), digest)).collect())
            }
        }
    }

    /// A whole row as JSON text.
    pub(crate) async fn row_at(
        &self,
        conn: &mut PgConnection,
        chain_id: u64,
        key: &RowKey,
    ) -> Result<Option<String>, sqlx::Error> {
        let (name, row, condition) = (self.name, self.row(), self.condition);
        let select = format!("SELECT {row}::text FROM {name} t WHERE chain_id = $1 AND {condition} AND");
        match (key, self.key) {
            (RowKey::Seq(seq), _) => {
                sqlx::query_scalar(AssertSqlSafe(format!("{select} journal_seq = $2")))
                    .bind(to_i64(chain_id))
                    .bind(seq)
                    .fetch_optional(conn)
                    .await
            }
            (RowKey::Texts(texts), KeyColumns::Texts { columns, chain_id_at }) => {
                let (order, bounds) = KeyColumns::ordered(columns, chain_id_at);
                sqlx::query_scalar(AssertSqlSafe(format!("{select} ({order}) = ({bounds})")))
                    .bind(to_i64(chain_id))
                    .bind(&texts[0])
                    .bind(&texts[1])
                    .bind(&texts[2])
                    .fetch_optional(conn)
                    .await
            }
            (RowKey::Texts(_), KeyColumns::Seq) => Ok(None),
        }
    }
}

/// The apply log's rows of a chain, by status and reject code.
pub(crate) async fn status_counts(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Vec<(String, Option<String>, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT apply_status::text AS "status!", reject_code, count(*) AS "rows!" FROM view_apply_entries
           WHERE chain_id = $1 AND fold = $2 GROUP BY 1, 2 ORDER BY 1, 2"#,
        to_i64(chain_id),
        FOLD_NAME
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.status, row.reject_code, row.rows)).collect())
}
