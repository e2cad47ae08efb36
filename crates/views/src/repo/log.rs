//! What has its journal record as key (`view_apply_entries`, `view_trail`, `position_push_links`), and `anomalies`.

use plimsoll_store::CopyBuffer;
use sqlx::PgConnection;

use super::to_i64;
use crate::batch::Anomaly;

/// Who says so, in `anomalies.source`.
pub(crate) const FOLD_SOURCE: &str = "fold:views";

pub(crate) const APPLY_ENTRY_COLUMNS: i16 = 13;
const APPLY_ENTRIES: &str = "COPY view_apply_entries (chain_id, journal_seq, block_number, event_id, fold, view_kind, apply_status, \
     key_user, key_asset, request_id, seq, reject_code, reject_detail) FROM STDIN (FORMAT binary)";

pub(crate) const TRAIL_COLUMNS: i16 = 11;
const TRAIL: &str = "COPY view_trail (chain_id, journal_seq, contract, view, key, tenant_id, value, block_number, block_hash, \
     tx_hash, log_index) FROM STDIN (FORMAT binary)";

pub(crate) const LINK_COLUMNS: i16 = 16;
const LINKS: &str = "COPY position_push_links (chain_id, journal_seq, router, \"user\", asset, tenant_id, event_name, request_id, \
     seq, outcome, position_view, version, reject_code, block_number, tx_hash, log_index) FROM STDIN (FORMAT binary)";

/// Rows of the three tables on their way in. The memory is kept from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) apply_entries: CopyBuffer,
    pub(crate) trail: CopyBuffer,
    pub(crate) links: CopyBuffer,
}

impl Rows {
    pub(crate) async fn write(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.apply_entries.write_and_clear(conn, APPLY_ENTRIES).await?;
        self.trail.write_and_clear(conn, TRAIL).await?;
        self.links.write_and_clear(conn, LINKS).await?;
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.apply_entries.clear();
        self.trail.clear();
        self.links.clear();
    }
}

/// Removes the trail and link rows of journal records that are taken back. The apply log keeps its rows: it is a log.
pub(crate) async fn take_back(
    conn: &mut PgConnection,
    chain_id: u64,
    seqs: &[i64],
) -> Result<(), sqlx::Error> {
    if seqs.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "DELETE FROM view_trail WHERE chain_id = $1 AND journal_seq = ANY($2)",
        to_i64(chain_id),
        seqs
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM position_push_links WHERE chain_id = $1 AND journal_seq = ANY($2)",
        to_i64(chain_id),
        seqs
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Each is on record once, however often its record is folded.
pub(crate) async fn add_anomalies(
    conn: &mut PgConnection,
    chain_id: u64,
    source: &str,
    anomalies: &[Anomaly],
) -> Result<(), sqlx::Error> {
    if anomalies.is_empty() {
        return Ok(());
    }
    let kinds: Vec<_> = anomalies.iter().map(|anomaly| anomaly.kind).collect();
    let seqs: Vec<_> = anomalies.iter().map(|anomaly| anomaly.journal_seq).collect();
    let details: Vec<_> = anomalies.iter().map(|anomaly| anomaly.detail.clone()).collect();
    sqlx::query!(
        "INSERT INTO anomalies (chain_id, source, kind, journal_seq, detail)
         SELECT $1, $2, * FROM unnest($3::text[], $4::bigint[], $5::jsonb[]) ON CONFLICT DO NOTHING",
        to_i64(chain_id),
        source,
        &kinds as _,
        &seqs,
        &details
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds an anomaly unless the contract has one of its kind.
pub(crate) async fn add_anomaly_once_a_contract(
    conn: &mut PgConnection,
    chain_id: u64,
    contract: &str,
    anomaly: &Anomaly,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO anomalies (chain_id, source, kind, journal_seq, detail)
         SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (
             SELECT FROM anomalies WHERE chain_id = $1 AND source = $2 AND kind = $3 AND detail ->> 'contract' = $6)
         ON CONFLICT DO NOTHING",
        to_i64(chain_id),
        FOLD_SOURCE,
        anomaly.kind,
        anomaly.journal_seq,
        anomaly.detail,
        contract
    )
    .execute(conn)
    .await?;
    Ok(())
}
