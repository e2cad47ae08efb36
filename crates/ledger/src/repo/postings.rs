//! Postings: found by their keys, and written with their lines.
//!
//! # The order of locks
//! Books of tenants for sharing, by tenant; then balances, by account; then the keys of postings, in their order, as they are inserted. Whoever posts takes them so, so nobody waits in
//! a circle. Keys are looked for first, without a lock: one that somebody else commits meanwhile makes the insertion fail, and the batch is tried again.
//!
//! # Why there is a gate
//! A row that some hold for sharing can be held by more of them while somebody waits to have it alone, for ever. Who asks for the gate waits behind whoever waits for it, so a period is
//! closed as soon as what was under way is committed. The gate comes before the row, for those who post and for whoever closes.
//!
//! # Why separate statements
//! Under READ COMMITTED each statement sees what was committed before it began. What is computed from must be read after it is locked, by the statement that locks it; and postings and lines
//! are one statement, at whose end the database checks both together.
//!
//! # Why LATERAL and LIMIT
//! A plan is kept for as long as its session. One made for small tables would join by reading all of a table; this one can only look each key up.

use std::collections::HashMap;

use alloy_primitives::B256;
use plimsoll_types::{Amount, Balance};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{hash, to_i64, unreadable};
use crate::book::{Booked, NormalSide, Standing};
use crate::posting::{Correction, Direction, Posting};

/// A posting that has a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) place: usize,
    pub(crate) posting_id: Uuid,
    pub(crate) checksum: B256,
}

/// What is there under the keys of these postings, by their places.
pub(crate) async fn find(conn: &mut PgConnection, postings: &[&Posting]) -> Result<Vec<Found>, sqlx::Error> {
    let tenants: Vec<_> = postings.iter().map(|posting| posting.tenant_id()).collect();
    let requests: Vec<_> = postings.iter().map(|posting| posting.draft().context.request_id).collect();
    let operations: Vec<_> = postings.iter().map(|posting| posting.draft().operation_type.clone()).collect();
    let users: Vec<_> = postings.iter().map(|posting| posting.draft().context.user_id).collect();
    let rows = sqlx::query!(
        r#"SELECT given.place AS "place!", p.posting_id, p.checksum
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) WITH ORDINALITY AS given(tenant_id, request_id, operation_type, user_id, place)
           CROSS JOIN LATERAL (SELECT posting_id, checksum FROM ledger_postings
                               WHERE tenant_id = given.tenant_id AND request_id = given.request_id AND operation_type = given.operation_type
                                 AND user_id IS NOT DISTINCT FROM given.user_id LIMIT 1) AS p"#,
        &tenants,
        &requests,
        &operations,
        &users as &[Option<Uuid>],
    )
    .fetch_all(conn)
    .await?;
    let place = |n: i64| usize::try_from(n - 1).map_err(|_| unreadable("an ordinality below 1"));
    rows.into_iter()
        .map(|row| {
            Ok(Found { place: place(row.place)?, posting_id: row.posting_id, checksum: hash(&row.checksum)? })
        })
        .collect()
}

/// How far the books of each tenant are closed, which holds until the transaction ends; none: not at all. A tenant without books is not in it.
pub(crate) async fn lock_books(
    conn: &mut PgConnection,
    tenants: &[Uuid],
) -> Result<HashMap<Uuid, Option<OffsetDateTime>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"WITH gate AS MATERIALIZED (
               SELECT tenant_id, pg_advisory_xact_lock_shared(hashtextextended('plimsoll ledger_books ' || tenant_id, 0)) FROM unnest($1::uuid[]) AS given(tenant_id))
           SELECT b.tenant_id, NULLIF(b.closed_through, '-infinity') AS closed_through FROM gate
           CROSS JOIN LATERAL (SELECT tenant_id, closed_through FROM ledger_books WHERE tenant_id = gate.tenant_id LIMIT 1 FOR SHARE) AS b"#,
        tenants
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.closed_through)).collect())
}

/// What these accounts hold, locked until the transaction ends.
pub(crate) async fn lock_accounts(
    conn: &mut PgConnection,
    accounts: &[Uuid],
) -> Result<HashMap<Uuid, Standing>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT b.account_id, b.tenant_id, a.domain, b.token_address, normal_side(a.class) AS "normal_side!: NormalSide", a.closed_at IS NOT NULL AS "is_closed!",
                  a.min_balance AS "min_balance: Balance", a.max_balance AS "max_balance: Balance", b.raw_balance AS "raw_balance: Balance", b.version,
                  NULLIF(b.latest_effective_at, '-infinity') AS latest_effective_at, NULLIF(b.last_recorded_at, '-infinity') AS last_recorded_at,
                  b.last_updated_block
           FROM asset_balances b JOIN accounts a USING (account_id) WHERE b.account_id = ANY ($1) ORDER BY b.account_id FOR NO KEY UPDATE OF b"#,
        accounts
    )
    .fetch_all(conn)
    .await?;
    let standings = rows.into_iter().map(|row| Standing {
        account_id: row.account_id,
        tenant_id: row.tenant_id,
        domain: row.domain,
        currency: row.token_address,
        normal_side: row.normal_side,
        is_closed: row.is_closed,
        min_balance: row.min_balance,
        max_balance: row.max_balance,
        raw_balance: row.raw_balance,
        version: row.version,
        latest_effective_at: row.latest_effective_at,
        last_recorded_at: row.last_recorded_at,
        latest_block: row.last_updated_block,
    });
    Ok(standings.map(|standing| (standing.account_id, standing)).collect())
}

/// The database's clock, now.
pub(crate) async fn clock(conn: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(conn).await
}

/// Writes postings with their lines, in the order of their keys.
pub(crate) async fn insert(conn: &mut PgConnection, booked: &[Booked<'_>]) -> Result<(), sqlx::Error> {
    let mut in_order: Vec<_> = booked.iter().collect();
    in_order.sort_by_key(|booked| {
        let draft = booked.posting.draft();
        (booked.posting.tenant_id(), draft.context.request_id, &draft.operation_type, draft.context.user_id)
    });
    let header = Headers::of(&in_order);
    let line = Lines::of(booked);
    sqlx::query!(
        r#"WITH headers AS (
               INSERT INTO ledger_postings (posting_id, tenant_id, user_id, request_id, operation_type, checksum, domain, internal_tx_id, trace_id, effective_at,
                                            booked_at, recorded_at, chain_id, chain_tx_hash, chain_block_number, chain_block_hash, reverses, compensates, reason,
                                            created_by, correlation_id, causation_id, metadata, line_count, digest)
               SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[], $7::text[], $8::uuid[], $9::uuid[], $10::timestamptz[],
                                    $11::timestamptz[], $12::timestamptz[], $13::bigint[], $14::bytea[], $15::bigint[], $16::bytea[], $17::uuid[], $18::uuid[],
                                    $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::smallint[], $25::bytea[]))
           INSERT INTO ledger_entries (posting_id, sequence, tenant_id, account_id, debit, credit, currency, entry_type, account_version, balance_after, effective_at,
                                       latest_effective_at, recorded_at, chain_block_number, latest_block, checksum)
           SELECT * FROM unnest($26::uuid[], $27::smallint[], $28::uuid[], $29::uuid[], $30::numeric[], $31::numeric[], $32::text[], $33::text[], $34::bigint[],
                                $35::numeric[], $36::timestamptz[], $37::timestamptz[], $38::timestamptz[], $39::bigint[], $40::bigint[], $41::bytea[])"#,
        &header.posting_id,
        &header.tenant_id,
        &header.user_id as &[Option<Uuid>],
        &header.request_id,
        &header.operation_type,
        &header.checksum,
        &header.domain,
        &header.internal_tx_id as &[Option<Uuid>],
        &header.trace_id as &[Option<Uuid>],
        &header.effective_at,
        &header.booked_at,
        &header.recorded_at,
        &header.chain_id as &[Option<i64>],
        &header.chain_tx_hash as &[Option<Vec<u8>>],
        &header.chain_block_number as &[Option<i64>],
        &header.chain_block_hash as &[Option<Vec<u8>>],
        &header.reverses as &[Option<Uuid>],
        &header.compensates as &[Option<Uuid>],
        &header.reason as &[Option<String>],
        &header.created_by,
        &header.correlation_id,
        &header.causation_id as &[Option<String>],
        &header.metadata,
        &header.line_count,
        &header.digest,
        &line.posting_id,
        &line.sequence,
        &line.tenant_id,
        &line.account_id,
        &line.debit as &[Amount],
        &line.credit as &[Amount],
        &line.currency,
        &line.entry_type,
        &line.account_version,
        &line.balance_after as &[Balance],
        &line.effective_at,
        &line.latest_effective_at,
        &line.recorded_at,
        &line.chain_block_number as &[Option<i64>],
        &line.latest_block as &[Option<i64>],
        &line.checksum,
    )
    .execute(conn)
    .await
    .map(drop)
}

#[derive(Default)]
struct Headers {
    posting_id: Vec<Uuid>,
    tenant_id: Vec<Uuid>,
    user_id: Vec<Option<Uuid>>,
    request_id: Vec<Uuid>,
    operation_type: Vec<String>,
    checksum: Vec<Vec<u8>>,
    domain: Vec<String>,
    internal_tx_id: Vec<Option<Uuid>>,
    trace_id: Vec<Option<Uuid>>,
    effective_at: Vec<OffsetDateTime>,
    booked_at: Vec<OffsetDateTime>,
    recorded_at: Vec<OffsetDateTime>,
    chain_id: Vec<Option<i64>>,
    chain_tx_hash: Vec<Option<Vec<u8>>>,
    chain_block_number: Vec<Option<i64>>,
    chain_block_hash: Vec<Option<Vec<u8>>>,
    reverses: Vec<Option<Uuid>>,
    compensates: Vec<Option<Uuid>>,
    reason: Vec<Option<String>>,
    created_by: Vec<String>,
    correlation_id: Vec<String>,
    causation_id: Vec<Option<String>>,
    metadata: Vec<String>,
    line_count: Vec<i16>,
    digest: Vec<Vec<u8>>,
}

impl Headers {
    fn of(booked: &[&Booked<'_>]) -> Self {
        let mut rows = Self::default();
        for it in booked {
            let draft = it.posting.draft();
            let (reverses, compensates) = match draft.correction {
                Some((Correction::Reverses(id), _)) => (Some(id), None),
                Some((Correction::Compensates(id), _)) => (None, Some(id)),
                None => (None, None),
            };
            let block = draft.on_chain.and_then(|on| on.block);
            rows.posting_id.push(it.posting_id);
            rows.tenant_id.push(it.posting.tenant_id());
            rows.user_id.push(draft.context.user_id);
            rows.request_id.push(draft.context.request_id);
            rows.operation_type.push(draft.operation_type.clone());
            rows.checksum.push(it.posting.checksum().to_vec());
            rows.domain.push(draft.domain.clone());
            rows.internal_tx_id.push(draft.internal_tx_id);
            rows.trace_id.push(draft.trace_id);
            rows.effective_at.push(it.effective_at);
            rows.booked_at.push(it.booked_at);
            rows.recorded_at.push(it.recorded_at);
            rows.chain_id.push(draft.on_chain.map(|on| to_i64(on.chain_id)));
            rows.chain_tx_hash.push(draft.on_chain.and_then(|on| on.tx_hash).map(|hash| hash.to_vec()));
            rows.chain_block_number.push(block.map(|(number, _)| to_i64(number)));
            rows.chain_block_hash.push(block.map(|(_, hash)| hash.to_vec()));
            rows.reverses.push(reverses);
            rows.compensates.push(compensates);
            rows.reason.push(draft.correction.as_ref().map(|(_, reason)| reason.clone()));
            rows.created_by.push(draft.context.actor.clone());
            rows.correlation_id.push(draft.context.correlation_id.clone());
            rows.causation_id.push(draft.context.causation_id.clone());
            rows.metadata.push(it.posting.metadata().to_owned());
            rows.line_count.push(i16::try_from(it.lines.len()).unwrap_or(i16::MAX));
            rows.digest.push(it.digest.to_vec());
        }
        rows
    }
}

#[derive(Default)]
struct Lines {
    posting_id: Vec<Uuid>,
    sequence: Vec<i16>,
    tenant_id: Vec<Uuid>,
    account_id: Vec<Uuid>,
    debit: Vec<Amount>,
    credit: Vec<Amount>,
    currency: Vec<String>,
    entry_type: Vec<String>,
    account_version: Vec<i64>,
    balance_after: Vec<Balance>,
    effective_at: Vec<OffsetDateTime>,
    latest_effective_at: Vec<OffsetDateTime>,
    recorded_at: Vec<OffsetDateTime>,
    chain_block_number: Vec<Option<i64>>,
    latest_block: Vec<Option<i64>>,
    checksum: Vec<Vec<u8>>,
}

impl Lines {
    fn of(booked: &[Booked<'_>]) -> Self {
        let mut rows = Self::default();
        for it in booked {
            let draft = it.posting.draft();
            let block = draft.on_chain.and_then(|on| on.block).map(|(number, _)| to_i64(number));
            for ((sequence, line), written) in (1..).zip(&draft.lines).zip(&it.lines) {
                let (debit, credit) = match line.direction {
                    Direction::Debit => (line.amount, Amount::ZERO),
                    Direction::Credit => (Amount::ZERO, line.amount),
                };
                rows.posting_id.push(it.posting_id);
                rows.sequence.push(sequence);
                rows.tenant_id.push(it.posting.tenant_id());
                rows.account_id.push(line.account_id);
                rows.debit.push(debit);
                rows.credit.push(credit);
                rows.currency.push(line.currency.clone());
                rows.entry_type.push(line.entry_type.clone());
                rows.account_version.push(written.account_version);
                rows.balance_after.push(written.balance_after);
                rows.effective_at.push(it.effective_at);
                rows.latest_effective_at.push(written.latest_effective_at);
                rows.recorded_at.push(it.recorded_at);
                rows.chain_block_number.push(block);
                rows.latest_block.push(written.latest_block);
                rows.checksum.push(written.checksum.to_vec());
            }
        }
        rows
    }
}

/// Puts on record that a key was used for something else.
pub(crate) async fn note_conflict(
    conn: &mut PgConnection,
    posting: &Posting,
    posting_id: Uuid,
) -> Result<(), sqlx::Error> {
    let context = &posting.draft().context;
    sqlx::query!(
        "INSERT INTO bf_events (event_id, tenant_id, user_id, request_id, operation_type, status, posting_id, checksum, created_by, correlation_id)
         VALUES ($1, $2, $3, $4, $5, 'conflict', $6, $7, $8, $9)",
        Uuid::now_v7(),
        posting.tenant_id(),
        context.user_id,
        context.request_id,
        posting.draft().operation_type,
        posting_id,
        &posting.checksum()[..],
        context.actor,
        context.correlation_id,
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Puts a tenant's postings into the queue of what is sealed, in this order.
pub(crate) async fn stage(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    postings: &[Uuid],
    digests: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO ledger_staging (tenant_id, postings, digests) VALUES ($1, $2, $3)",
        tenant_id,
        postings,
        digests
    )
    .execute(conn)
    .await
    .map(drop)
}
