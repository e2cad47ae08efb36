//! The statements of the projection. They only read, and take no lock that a writer would notice.

use sqlx::PgConnection;

use super::JournalCheck;

pub(super) struct RawEvent {
    pub(super) block_number: i64,
    pub(super) block_hash: Vec<u8>,
    pub(super) tx_hash: Vec<u8>,
    pub(super) tx_index: i32,
    pub(super) log_index: i32,
    pub(super) contract_address: String,
    pub(super) topic0: Option<Vec<u8>>,
    pub(super) topics: Vec<u8>,
    pub(super) data: Vec<u8>,
}

pub(super) struct RawTransaction {
    pub(super) block_number: i64,
    pub(super) block_hash: Vec<u8>,
    pub(super) tx_index: i32,
    pub(super) tx_hash: Vec<u8>,
    pub(super) sender: String,
    pub(super) to_address: Option<String>,
    pub(super) nonce: String,
    pub(super) succeeded: bool,
    pub(super) gas_used: String,
    pub(super) effective_gas_price: String,
}

pub(super) async fn raw_transactions(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<Vec<RawTransaction>, sqlx::Error> {
    sqlx::query_as!(
        RawTransaction,
        r#"SELECT t.block_number, t.block_hash, t.tx_index, t.tx_hash, t.sender, t.to_address, t.nonce::text AS "nonce!",
                  t.succeeded, t.gas_used::text AS "gas_used!", t.effective_gas_price::text AS "effective_gas_price!"
         FROM journal j
         JOIN chain_tx_meta t ON t.chain_id = j.chain_id AND t.block_number = j.block_number AND t.id = j.ref
         WHERE j.chain_id = $1 AND j.kind IN ('included', 'late_included')
           AND NOT EXISTS (SELECT FROM journal r WHERE r.chain_id = j.chain_id AND r.kind = 'retract' AND r.ref = j.seq)"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn raw_events(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<RawEvent>, sqlx::Error> {
    sqlx::query_as!(
        RawEvent,
        "SELECT e.block_number, e.block_hash, e.tx_hash, e.tx_index, e.log_index, e.contract_address, e.topic0, e.topics, e.data
         FROM chain_live l
         JOIN chain_events e ON e.chain_id = l.chain_id AND e.block_number = l.block_number AND e.id = l.event_id
         WHERE l.chain_id = $1",
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn live_events(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (to_jsonb(e) - 'id' - 'created_at')::text COLLATE "C" AS "row!"
         FROM chain_live l
         JOIN chain_events e ON e.chain_id = l.chain_id AND e.block_number = l.block_number AND e.id = l.event_id
         WHERE l.chain_id = $1 ORDER BY 1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn live_transactions(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (to_jsonb(t) - 'id' - 'created_at')::text COLLATE "C" AS "row!"
         FROM journal j
         JOIN chain_tx_meta t ON t.chain_id = j.chain_id AND t.block_number = j.block_number AND t.id = j.ref
         WHERE j.chain_id = $1 AND j.kind IN ('included', 'late_included')
           AND NOT EXISTS (SELECT FROM journal r WHERE r.chain_id = j.chain_id AND r.kind = 'retract' AND r.ref = j.seq)
         ORDER BY 1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn positions(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (to_jsonb(m) - 'last_journal_seq' - 'last_updated_at')::text COLLATE "C" AS "row!"
         FROM position_cache_mirror m WHERE m.chain_id = $1 ORDER BY 1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn mirror(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (to_jsonb(m) - 'last_journal_seq' - 'last_updated_at')::text COLLATE "C" AS "row!"
         FROM view_mirror m WHERE m.chain_id = $1 ORDER BY 1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn trail(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (to_jsonb(t) - 'journal_seq' - 'recorded_at')::text COLLATE "C" AS "row!"
         FROM view_trail t WHERE t.chain_id = $1 ORDER BY 1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn links(conn: &mut PgConnection, chain_id: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT (to_jsonb(k) - 'journal_seq')::text COLLATE "C" AS "row!"
         FROM position_push_links k WHERE k.chain_id = $1 ORDER BY 1"#,
        chain_id
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn journal_check(
    conn: &mut PgConnection,
    chain_id: i64,
) -> Result<JournalCheck, sqlx::Error> {
    sqlx::query_as!(
        JournalCheck,
        r#"WITH records AS (SELECT coalesce(max(seq), 0) AS last_seq, count(*) AS n FROM journal WHERE chain_id = $1),
         net AS (
             SELECT j.ref FROM journal j
             WHERE j.chain_id = $1 AND j.kind IN ('append', 'late_append')
               AND NOT EXISTS (SELECT FROM journal r WHERE r.chain_id = j.chain_id AND r.kind = 'retract' AND r.ref = j.seq)
         ),
         live AS (SELECT event_id FROM chain_live WHERE chain_id = $1)
         SELECT last_seq AS "last_seq!", last_seq - n AS "holes!",
                (SELECT count(*) FROM net) AS "net_appends!", (SELECT count(*) FROM live) AS "live!",
                (SELECT count(*) FROM net FULL JOIN live ON net.ref = live.event_id WHERE ref IS NULL OR event_id IS NULL) AS "astray!"
         FROM records"#,
        chain_id
    )
    .fetch_one(conn)
    .await
}
