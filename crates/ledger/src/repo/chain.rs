//! Books from the chain: what stands for what. Over the worker's role, which sees every tenant.

use alloy_primitives::B256;
use plimsoll_chain::probe::DeclaredProbe;
use plimsoll_types::Amount;
use sqlx::PgConnection;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_i64, to_u64, unreadable};
use crate::account::{AccountClass, AccountType};
use crate::book::NormalSide;
use crate::rules::Account;

/// The block that the books are true at, and the record that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) journal_seq: i64,
}

/// A posting, and what of the chain it is.
#[derive(Clone, Debug)]
pub(crate) struct Booked {
    pub(crate) posting_id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) occasion_tx: Option<B256>,
    pub(crate) log_index: Option<u32>,
    pub(crate) block_number: u64,
    pub(crate) block_hash: B256,
    pub(crate) journal_seq: i64,
    pub(crate) rule: String,
    pub(crate) rule_version: u16,
}

/// The currency that a token has in a tenant's books.
pub(crate) async fn currency(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    chain_id: u64,
    token: Option<&str>,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT currency FROM currencies WHERE tenant_id = $1 AND chain_id = $2 AND token_address IS NOT DISTINCT FROM $3",
        tenant_id,
        to_i64(chain_id),
        token
    )
    .fetch_optional(conn)
    .await
}

/// Which of these accounts are open.
pub(crate) async fn open_accounts(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!("SELECT account_id FROM accounts WHERE account_id = ANY ($1)", ids)
        .fetch_all(conn)
        .await
}

/// How the chain is asked about an account.
pub(crate) async fn put_probe(
    conn: &mut PgConnection,
    account_id: Uuid,
    tenant_id: Uuid,
    chain_id: u64,
    probe: &DeclaredProbe,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO chain_accounts (account_id, tenant_id, chain_id, probe) VALUES ($1, $2, $3, $4)",
        account_id,
        tenant_id,
        to_i64(chain_id),
        Json(probe) as _
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Notes what postings are of; of one that is noted already nothing changes.
pub(crate) async fn put_bookings(
    conn: &mut PgConnection,
    chain_id: u64,
    booked: &[Booked],
) -> Result<(), sqlx::Error> {
    fn column<T>(booked: &[Booked], of: impl Fn(&Booked) -> T) -> Vec<T> {
        booked.iter().map(of).collect()
    }
    sqlx::query!(
        "INSERT INTO chain_bookings (chain_id, posting_id, tenant_id, block_number, block_hash, tx_hash, log_index, journal_seq, rule, rule_version)
         SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::bytea[], $6::bytea[], $7::integer[], $8::bigint[], $9::text[], $10::integer[])
         ON CONFLICT (posting_id) DO NOTHING",
        to_i64(chain_id),
        &column(booked, |it| it.posting_id),
        &column(booked, |it| it.tenant_id),
        &column(booked, |it| to_i64(it.block_number)),
        &column(booked, |it| it.block_hash.to_vec()),
        &column(booked, |it| it.occasion_tx.map(|hash| hash.to_vec())) as &[Option<Vec<u8>>],
        &column(booked, |it| it.log_index.map(u32::cast_signed)) as &[Option<i32>],
        &column(booked, |it| it.journal_seq),
        &column(booked, |it| it.rule.clone()),
        &column(booked, |it| i32::from(it.rule_version)),
    )
    .execute(conn)
    .await
    .map(drop)
}

/// What was booked of a block before this record, and is not reversed: tenant, posting and story, the last first.
pub(crate) async fn standing_bookings(
    conn: &mut PgConnection,
    chain_id: u64,
    block_number: u64,
    block_hash: B256,
    before: i64,
) -> Result<Vec<(Uuid, Uuid, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT b.tenant_id, b.posting_id, p.correlation_id FROM chain_bookings b JOIN ledger_postings p USING (posting_id)
         WHERE b.chain_id = $1 AND b.block_number = $2 AND b.block_hash = $3 AND b.journal_seq < $4
           AND NOT EXISTS (SELECT FROM ledger_postings r WHERE r.reverses = b.posting_id)
         ORDER BY b.journal_seq DESC, b.posting_id DESC",
        to_i64(chain_id),
        to_i64(block_number),
        &block_hash[..],
        before
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.posting_id, row.correlation_id)).collect())
}

/// Notes how far what is confirmed is booked.
pub(crate) async fn stand(
    conn: &mut PgConnection,
    chain_id: u64,
    standing: &Standing,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO chain_books (chain_id, block_number, block_hash, journal_seq) VALUES ($1, $2, $3, $4)
         ON CONFLICT (chain_id) DO UPDATE SET block_number = EXCLUDED.block_number, block_hash = EXCLUDED.block_hash, journal_seq = EXCLUDED.journal_seq,
                                              updated_at = clock_timestamp()",
        to_i64(chain_id),
        to_i64(standing.block_number),
        &standing.block_hash[..],
        standing.journal_seq
    )
    .execute(conn)
    .await
    .map(drop)
}

/// The time of the first block from this one on.
pub(crate) async fn time_from(
    conn: &mut PgConnection,
    chain_id: u64,
    block_number: u64,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT time FROM chain_blocks WHERE chain_id = $1 AND number >= $2 AND state <> 'orphaned' ORDER BY number LIMIT 1",
        to_i64(chain_id),
        to_i64(block_number)
    )
    .fetch_optional(conn)
    .await
}

/// An account that the chain can be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) account_id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) currency: String,
    pub(crate) normal_side: NormalSide,
    pub(crate) account: Account,
    pub(crate) probe: DeclaredProbe,
}

/// A chain's accounts after this one, by id.
pub(crate) async fn probed(
    conn: &mut PgConnection,
    chain_id: u64,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Probed>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT account_id FROM chain_accounts WHERE chain_id = $1 AND account_id > $2 ORDER BY account_id LIMIT $3",
        to_i64(chain_id),
        after,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    probed_of(conn, chain_id, &ids).await
}

/// These of a chain's accounts, by id.
pub(crate) async fn probed_of(
    conn: &mut PgConnection,
    chain_id: u64,
    ids: &[Uuid],
) -> Result<Vec<Probed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT a.account_id, a.tenant_id, a.name, a.account_type AS "account_type: AccountType", a.class AS "class: AccountClass",
                  normal_side(a.class) AS "normal_side!: NormalSide", a.currency, a.address, c.token_address, p.probe AS "probe: Json<DeclaredProbe>"
           FROM chain_accounts p JOIN accounts a USING (account_id) JOIN currencies c ON c.tenant_id = a.tenant_id AND c.currency = a.currency
           WHERE p.chain_id = $1 AND p.account_id = ANY ($2) ORDER BY p.account_id"#,
        to_i64(chain_id),
        ids
    )
    .fetch_all(conn)
    .await?;
    let address = |text: Option<String>| {
        text.map(|text| text.parse().map_err(|_| unreadable(format!("{text} where an address must be"))))
            .transpose()
    };
    rows.into_iter()
        .map(|row| {
            let probe = row.probe.0;
            let account = Account {
                name: row.name,
                account_type: row.account_type,
                class: row.class,
                token: address(row.token_address)?,
                address: address(row.address)?,
                probe: Some(probe.clone()),
            };
            let (account_id, tenant_id, currency, normal_side) =
                (row.account_id, row.tenant_id, row.currency, row.normal_side);
            Ok(Probed { account_id, tenant_id, currency, normal_side, account, probe })
        })
        .collect()
}

/// How far the chain's books have come.
pub(crate) async fn standing(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT block_number, block_hash, journal_seq FROM chain_books WHERE chain_id = $1",
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| of_row(row.block_number, &row.block_hash, row.journal_seq)).transpose()
}

/// The same, and they do not move on until the transaction ends.
pub(crate) async fn lock_standing(
    conn: &mut PgConnection,
    chain_id: u64,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT block_number, block_hash, journal_seq FROM chain_books WHERE chain_id = $1 FOR NO KEY UPDATE",
        to_i64(chain_id)
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| of_row(row.block_number, &row.block_hash, row.journal_seq)).transpose()
}

fn of_row(block_number: i64, block_hash: &[u8], journal_seq: i64) -> Result<Standing, sqlx::Error> {
    Ok(Standing { block_number: to_u64(block_number)?, block_hash: hash(block_hash)?, journal_seq })
}

/// The time of a block that is confirmed now; none: it is not, or not any more.
pub(crate) async fn confirmed_time(
    conn: &mut PgConnection,
    chain_id: u64,
    block_number: u64,
    block_hash: B256,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT time FROM chain_blocks WHERE chain_id = $1 AND number = $2 AND hash = $3 AND state IN ('confirmed', 'final')",
        to_i64(chain_id),
        to_i64(block_number),
        &block_hash[..]
    )
    .fetch_optional(conn)
    .await
}

/// The block of an account's first posting; none: nothing is booked on it, its first posting is of no block, or something of it is in this suspense account, or was.
pub(crate) async fn first_block(
    conn: &mut PgConnection,
    account_id: Uuid,
    suspense: Uuid,
) -> Result<Option<u64>, sqlx::Error> {
    let block = sqlx::query_scalar!(
        "SELECT chain_block_number FROM ledger_entries WHERE account_id = $1 AND account_version = 1
           AND NOT EXISTS (SELECT FROM ledger_entries held JOIN ledger_entries other USING (posting_id) WHERE held.account_id = $2 AND other.account_id = $1)",
        account_id,
        suspense
    )
    .fetch_optional(conn)
    .await?;
    block.flatten().map(to_u64).transpose()
}

/// Postings on an account: those of just this amount first, then the last ones.
pub(crate) async fn explaining(
    conn: &mut PgConnection,
    account_id: Uuid,
    amount: Amount,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT posting_id FROM ledger_entries WHERE account_id = $1
           ORDER BY debit = $2 OR credit = $2 DESC, account_version DESC LIMIT $3"#,
        account_id,
        amount as _,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A line that is booked of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct BookedLine {
    pub(crate) posting_id: Uuid,
    pub(crate) block_number: u64,
    pub(crate) tx_hash: B256,
    pub(crate) log_index: Option<u32>,
    pub(crate) account_id: Uuid,
    pub(crate) name: String,
    pub(crate) is_debit: bool,
    pub(crate) amount: Amount,
    pub(crate) entry_type: String,
}

/// What is booked of a chain's transactions in these blocks and is not reversed, line by line.
pub(crate) async fn booked_lines(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Vec<BookedLine>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT b.posting_id, b.block_number, b.tx_hash AS "tx_hash!", b.log_index, e.account_id, a.name, e.debit AS "debit: Amount", e.credit AS "credit: Amount", e.entry_type
           FROM chain_bookings b JOIN ledger_entries e USING (posting_id) JOIN accounts a ON a.account_id = e.account_id
           WHERE b.chain_id = $1 AND b.block_number BETWEEN $2 AND $3 AND b.tx_hash IS NOT NULL
             AND NOT EXISTS (SELECT FROM ledger_postings r WHERE r.reverses = b.posting_id)
           ORDER BY b.posting_id, e.sequence"#,
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let is_debit = row.credit == Amount::ZERO;
            Ok(BookedLine {
                posting_id: row.posting_id,
                block_number: to_u64(row.block_number)?,
                tx_hash: hash(&row.tx_hash)?,
                log_index: row.log_index.map(i32::cast_unsigned),
                account_id: row.account_id,
                name: row.name,
                is_debit,
                amount: if is_debit { row.debit } else { row.credit },
                entry_type: row.entry_type,
            })
        })
        .collect()
}

/// The blocks of these heights that left the chain.
pub(crate) async fn orphans(
    conn: &mut PgConnection,
    chain_id: u64,
    from: u64,
    to: u64,
) -> Result<Vec<B256>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        "SELECT hash FROM chain_blocks WHERE chain_id = $1 AND number BETWEEN $2 AND $3 AND state = 'orphaned'",
        to_i64(chain_id),
        to_i64(from),
        to_i64(to)
    )
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| hash(row)).collect()
}
