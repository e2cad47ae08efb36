//! Postings on record, read by whoever may see them: in a transaction of the caller's that is confined to their tenant.

use std::collections::HashMap;
use std::ops::Range;

use alloy_primitives::B256;
use plimsoll_proof::ledger::encoding::{Direction, SealedLine, SealedPosting};
use plimsoll_proof::ledger::export::{ExportedLine, ExportedPosting};
use plimsoll_types::Amount;
use plimsoll_types::api::{LedgerLine, LedgerPosting, LedgerVoucher};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::book::microseconds;
use crate::repo::read::{self as repo, Header, LineRow};
use crate::repo::{hash, to_i64, to_u64, unreadable};

/// Which postings of a tenant: those that all that is given is true of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this request.
    pub request_id: Option<Uuid>,
    /// For this user.
    pub user_id: Option<Uuid>,
    /// In these books.
    pub domain: Option<String>,
    /// Under this name.
    pub operation_type: Option<String>,
    /// With a line on this account.
    pub account_id: Option<Uuid>,
    /// About this transaction of a chain.
    pub chain_tx_hash: Option<B256>,
    /// Of what happened at that time or later.
    pub since: Option<OffsetDateTime>,
    /// Of what happened before that time.
    pub until: Option<OffsetDateTime>,
}

/// The newest postings, of one account by its versions, of all by their age: up to `limit` after the posting `below`.
///
/// # Errors
/// The database's.
pub async fn page(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    below: Option<Uuid>,
    limit: i64,
) -> Result<Vec<LedgerPosting>, sqlx::Error> {
    let ids = newest(conn, tenant_id, filter, below, limit).await?;
    whole(conn, tenant_id, &ids).await?.into_iter().map(|(header, lines)| shown(header, lines)).collect()
}

/// The ids of [`page`].
///
/// # Errors
/// The database's.
pub async fn newest(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    below: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    repo::plan_each(conn).await?;
    match filter.account_id {
        Some(account) => repo::newest_of_account(conn, tenant_id, account, filter, below, limit).await,
        None => repo::newest(conn, tenant_id, filter, below, limit).await,
    }
}

/// The vouchers of these postings, in their order: one in each currency in which an amount goes from one account to another (the view `vouchers`).
///
/// # Errors
/// The database's.
pub async fn vouchers(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    postings: &[Uuid],
) -> Result<Vec<LedgerVoucher>, sqlx::Error> {
    repo::vouchers(conn, tenant_id, postings).await
}

/// The tenant's posting of this id.
///
/// # Errors
/// The database's.
pub async fn by_id(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    posting_id: Uuid,
) -> Result<Option<LedgerPosting>, sqlx::Error> {
    let found = whole(conn, tenant_id, &[posting_id]).await?.pop();
    found.map(|(header, lines)| shown(header, lines)).transpose()
}

/// How many postings of the tenant are sealed.
///
/// # Errors
/// The database's.
pub async fn sealed(conn: &mut PgConnection, tenant_id: Uuid) -> Result<u64, sqlx::Error> {
    to_u64(repo::log_size(conn, tenant_id).await?)
}

/// Those of these entries of the tenant's log that pass the filter, in its order: as they are exported.
///
/// # Errors
/// The database's.
pub async fn export(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    entries: Range<u64>,
) -> Result<Vec<ExportedPosting>, sqlx::Error> {
    repo::plan_each(conn).await?;
    let (from, to) = (to_i64(entries.start), to_i64(entries.end));
    let ids = repo::of_log(conn, tenant_id, filter, from, to).await?;
    let found = whole(conn, tenant_id, &ids).await?;
    found.into_iter().map(|(header, lines)| exported(tenant_id, header, lines)).collect()
}

/// These postings with their lines, in the order given.
async fn whole(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    ids: &[Uuid],
) -> Result<Vec<(Header, Vec<LineRow>)>, sqlx::Error> {
    let headers = repo::headers(conn, tenant_id, ids).await?;
    let mut headers: HashMap<_, _> = headers.into_iter().map(|header| (header.posting_id, header)).collect();
    let mut lines: HashMap<Uuid, Vec<LineRow>> = HashMap::new();
    for line in repo::lines(conn, tenant_id, ids).await? {
        lines.entry(line.posting_id).or_default().push(line);
    }
    let whole = |id| Some((headers.remove(id)?, lines.remove(id).unwrap_or_default()));
    Ok(ids.iter().filter_map(whole).collect())
}

fn optional<T>(
    value: Option<T>,
    read: impl FnOnce(T) -> Result<B256, sqlx::Error>,
) -> Result<Option<B256>, sqlx::Error> {
    value.map(read).transpose()
}

fn shown(header: Header, lines: Vec<LineRow>) -> Result<LedgerPosting, sqlx::Error> {
    let metadata = serde_json::from_str(&header.metadata);
    Ok(LedgerPosting {
        posting_id: header.posting_id,
        request_id: header.request_id,
        user_id: header.user_id,
        operation_type: header.operation_type,
        checksum: hash(&header.checksum)?,
        domain: header.domain,
        effective_at: header.effective_at,
        booked_at: header.booked_at,
        recorded_at: header.recorded_at,
        internal_tx_id: header.internal_tx_id,
        trace_id: header.trace_id,
        chain_id: header.chain_id.map(to_u64).transpose()?,
        chain_tx_hash: optional(header.chain_tx_hash, |bytes| hash(&bytes))?,
        chain_block_number: header.chain_block_number.map(to_u64).transpose()?,
        chain_block_hash: optional(header.chain_block_hash, |bytes| hash(&bytes))?,
        chain_confirmations: header.confirmations.map(to_u64).transpose()?,
        reverses: header.reverses,
        reversed_by: header.reversed_by,
        compensates: header.compensates,
        compensated_by: header.compensated_by,
        reason: header.reason,
        created_by: header.created_by,
        correlation_id: header.correlation_id,
        causation_id: header.causation_id,
        metadata: metadata.map_err(|error| unreadable(format!("metadata: {error}")))?,
        lines: lines.into_iter().map(line_shown).collect::<Result<_, _>>()?,
        leaf_index: header.leaf_index.map(to_u64).transpose()?,
    })
}

fn line_shown(line: LineRow) -> Result<LedgerLine, sqlx::Error> {
    Ok(LedgerLine {
        sequence: line.sequence.unsigned_abs(),
        account_id: line.account_id,
        debit: line.debit,
        credit: line.credit,
        currency: line.currency,
        entry_type: line.entry_type,
        account_version: to_u64(line.account_version)?,
        balance_after: line.balance_after,
        checksum: hash(&line.checksum)?,
    })
}

fn exported(tenant_id: Uuid, header: Header, lines: Vec<LineRow>) -> Result<ExportedPosting, sqlx::Error> {
    let (Some(leaf_index), Some(prev_entry_hash), Some(entry_hash)) =
        (header.leaf_index, header.prev_entry_hash, header.entry_hash)
    else {
        return Err(unreadable(format!("posting {} is in the log and is not", header.posting_id)));
    };
    Ok(ExportedPosting {
        posting: SealedPosting {
            tenant_id,
            posting_id: header.posting_id,
            user_id: header.user_id,
            request_id: header.request_id,
            operation_type: header.operation_type,
            request_checksum: hash(&header.checksum)?,
            domain: header.domain,
            internal_tx_id: header.internal_tx_id,
            trace_id: header.trace_id,
            effective_at_us: microseconds(header.effective_at),
            booked_at_us: microseconds(header.booked_at),
            recorded_at_us: microseconds(header.recorded_at),
            chain_id: header.chain_id.map(to_u64).transpose()?,
            chain_tx_hash: optional(header.chain_tx_hash, |bytes| hash(&bytes))?,
            chain_block_number: header.chain_block_number.map(to_u64).transpose()?,
            chain_block_hash: optional(header.chain_block_hash, |bytes| hash(&bytes))?,
            reverses: header.reverses,
            compensates: header.compensates,
            reason: header.reason,
            created_by: header.created_by,
            correlation_id: header.correlation_id,
            causation_id: header.causation_id,
            metadata: header.metadata,
        },
        lines: lines.into_iter().map(line_exported).collect::<Result<_, _>>()?,
        leaf_index: to_u64(leaf_index)?,
        prev_entry_hash: hash(&prev_entry_hash)?,
        entry_hash: hash(&entry_hash)?,
    })
}

fn line_exported(line: LineRow) -> Result<ExportedLine, sqlx::Error> {
    let (direction, amount) = match (line.debit, line.credit) {
        (debit, Amount::ZERO) => (Direction::Debit, debit),
        (_, credit) => (Direction::Credit, credit),
    };
    Ok(ExportedLine {
        checksum: hash(&line.checksum)?,
        line: SealedLine {
            posting_id: line.posting_id,
            sequence: line.sequence.unsigned_abs(),
            account_id: line.account_id,
            direction,
            amount: amount.0,
            currency: line.currency,
            entry_type: line.entry_type,
            account_version: to_u64(line.account_version)?,
            balance_after: line.balance_after.0,
        },
    })
}
