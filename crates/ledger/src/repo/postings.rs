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
//! Under READ COMMITTED each statement sees what was committed before it began. What is computed from must be read after it is locked, by the statement that locks it, or be found to be what that statement reads; and postings, lines and what
//! is to be sealed are one statement, at whose end the database checks postings and lines together. The clock may be read before an account is waited for: no line has an earlier time than the one
//! before it (`book`).
//!
//! # Why LATERAL and LIMIT, and IS NOT DISTINCT FROM
//! A plan is kept for as long as its session. One made for small tables would join by reading all of a table; this one can only look each key up. And a tenant that no index can be asked for
//! leaves one index for a request: the one that begins with it.

use std::collections::HashMap;

use alloy_primitives::B256;
use plimsoll_types::{Amount, Balance};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
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
                               WHERE tenant_id IS NOT DISTINCT FROM given.tenant_id AND request_id = given.request_id AND operation_type = given.operation_type
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

/// How far the books of each tenant are closed, which holds until the transaction ends (none: not at all; a tenant without books is not in it); and the database's clock.
pub(crate) async fn lock_books(
    conn: &mut PgConnection,
    tenants: &[Uuid],
) -> Result<(HashMap<Uuid, Option<OffsetDateTime>>, OffsetDateTime), sqlx::Error> {
    let rows = sqlx::query!(
        r#"WITH gate AS MATERIALIZED (
               SELECT tenant_id, pg_advisory_xact_lock_shared(hashtextextended('plimsoll ledger_books ' || tenant_id, 0)) FROM unnest($1::uuid[]) AS given(tenant_id))
           SELECT b.tenant_id, NULLIF(b.closed_through, '-infinity') AS closed_through, clock_timestamp() AS "now!" FROM gate
           CROSS JOIN LATERAL (SELECT tenant_id, closed_through FROM ledger_books WHERE tenant_id = gate.tenant_id LIMIT 1 FOR SHARE) AS b"#,
        tenants
    )
    .fetch_all(conn)
    .await?;
    // Without books nothing is booked, and no time is asked for.
    let now = rows.iter().map(|row| row.now).max().unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Ok((rows.into_iter().map(|row| (row.tenant_id, row.closed_through)).collect(), now))
}

/// What these accounts hold, locked until the transaction ends.
pub(crate) async fn lock_accounts(
    conn: &mut PgConnection,
    accounts: &[Uuid],
) -> Result<HashMap<Uuid, Standing>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Standing,
        r#"SELECT b.account_id, b.tenant_id, a.domain, b.token_address AS currency, normal_side(a.class) AS "normal_side!: NormalSide", a.closed_at IS NOT NULL AS "is_closed!",
                  a.min_balance AS "min_balance: Balance", a.max_balance AS "max_balance: Balance", b.raw_balance AS "raw_balance: Balance", b.version,
                  NULLIF(b.latest_effective_at, '-infinity') AS latest_effective_at, NULLIF(b.last_recorded_at, '-infinity') AS last_recorded_at,
                  b.last_updated_block AS latest_block
           FROM asset_balances b JOIN accounts a USING (account_id) WHERE b.account_id = ANY ($1) ORDER BY b.account_id FOR NO KEY UPDATE OF b"#,
        accounts
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|standing| (standing.account_id, standing)).collect())
}

/// What writes postings with their lines, in the order of their keys, and puts them into the queue of what is sealed, in the order of booking. All of it is put into words here, so that nothing but
/// to send it is left for when the accounts are locked.
pub(crate) fn insertion(booked: &[Booked<'_>]) -> Query<'static, Postgres, PgArguments> {
    let mut in_order: Vec<_> = booked.iter().collect();
    in_order.sort_by_key(|booked| {
        let draft = booked.posting.draft();
        (booked.posting.tenant_id(), draft.context.request_id, &draft.operation_type, draft.context.user_id)
    });
    let header = Headers::of(&in_order);
    let line = Lines::of(booked);
    let staged = Staged::of(booked);
    sqlx::query!(
        r#"WITH headers AS (
               INSERT INTO ledger_postings (posting_id, tenant_id, user_id, request_id, operation_type, checksum, domain, internal_tx_id, trace_id, effective_at,
                                            booked_at, recorded_at, chain_id, chain_tx_hash, chain_block_number, chain_block_hash, reverses, compensates, reason,
                                            created_by, correlation_id, causation_id, metadata, line_count, digest)
               SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[], $7::text[], $8::uuid[], $9::uuid[], $10::timestamptz[],
                                    $11::timestamptz[], $12::timestamptz[], $13::bigint[], $14::bytea[], $15::bigint[], $16::bytea[], $17::uuid[], $18::uuid[],
                                    $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::smallint[], $25::bytea[])),
           staged AS (
               INSERT INTO ledger_staging (tenant_id, postings, digests)
               SELECT tenant_id, array_agg(posting_id ORDER BY place), string_agg(digest, '' ORDER BY place)
               FROM unnest($42::uuid[], $43::uuid[], $44::bytea[]) WITH ORDINALITY AS booked(tenant_id, posting_id, digest, place) GROUP BY tenant_id)
           INSERT INTO ledger_entries (posting_id, sequence, tenant_id, account_id, debit, credit, currency, entry_type, account_version, balance_after, effective_at,
                                       latest_effective_at, recorded_at, chain_block_number, latest_block, checksum)
           SELECT * FROM unnest($26::uuid[], $27::smallint[], $28::uuid[], $29::uuid[], $30::numeric[], $31::numeric[], $32::text[], $33::text[], $34::bigint[],
                                $35::numeric[], $36::timestamptz[], $37::timestamptz[], $38::timestamptz[], $39::bigint[], $40::bigint[], $41::bytea[])"#,
        &header.posting_id,
        &header.tenant_id,
        given(&header.user_id) as &[Option<Uuid>],
        &header.request_id,
        &header.operation_type as &[&str],
        &header.checksum as &[[u8; 32]],
        &header.domain as &[&str],
        given(&header.internal_tx_id) as &[Option<Uuid>],
        given(&header.trace_id) as &[Option<Uuid>],
        &header.effective_at,
        &header.booked_at,
        &header.recorded_at,
        given(&header.chain_id) as &[Option<i64>],
        given(&header.chain_tx_hash) as &[Option<[u8; 32]>],
        given(&header.chain_block_number) as &[Option<i64>],
        given(&header.chain_block_hash) as &[Option<[u8; 32]>],
        given(&header.reverses) as &[Option<Uuid>],
        given(&header.compensates) as &[Option<Uuid>],
        given(&header.reason) as &[Option<&str>],
        &header.created_by as &[&str],
        &header.correlation_id as &[&str],
        given(&header.causation_id) as &[Option<&str>],
        &header.metadata as &[&str],
        &header.line_count,
        &header.digest as &[[u8; 32]],
        &line.posting_id,
        &line.sequence,
        &line.tenant_id,
        &line.account_id,
        &line.debit as &[Amount],
        &line.credit as &[Amount],
        &line.currency as &[&str],
        &line.entry_type as &[&str],
        &line.account_version,
        &line.balance_after as &[Balance],
        &line.effective_at,
        &line.latest_effective_at,
        &line.recorded_at,
        given(&line.chain_block_number) as &[Option<i64>],
        given(&line.latest_block) as &[Option<i64>],
        &line.checksum as &[[u8; 32]],
        &staged.tenant_id,
        &staged.posting_id,
        &staged.digest as &[[u8; 32]],
    )
}

/// A column that no row has anything in is not sent: `unnest` fills up what is shorter with NULL.
fn given<T>(column: &[Option<T>]) -> &[Option<T>] {
    if column.iter().all(Option::is_none) { &[] } else { column }
}

#[derive(Default)]
struct Headers<'a> {
    posting_id: Vec<Uuid>,
    tenant_id: Vec<Uuid>,
    user_id: Vec<Option<Uuid>>,
    request_id: Vec<Uuid>,
    operation_type: Vec<&'a str>,
    checksum: Vec<[u8; 32]>,
    domain: Vec<&'a str>,
    internal_tx_id: Vec<Option<Uuid>>,
    trace_id: Vec<Option<Uuid>>,
    effective_at: Vec<OffsetDateTime>,
    booked_at: Vec<OffsetDateTime>,
    recorded_at: Vec<OffsetDateTime>,
    chain_id: Vec<Option<i64>>,
    chain_tx_hash: Vec<Option<[u8; 32]>>,
    chain_block_number: Vec<Option<i64>>,
    chain_block_hash: Vec<Option<[u8; 32]>>,
    reverses: Vec<Option<Uuid>>,
    compensates: Vec<Option<Uuid>>,
    reason: Vec<Option<&'a str>>,
    created_by: Vec<&'a str>,
    correlation_id: Vec<&'a str>,
    causation_id: Vec<Option<&'a str>>,
    metadata: Vec<&'a str>,
    line_count: Vec<i16>,
    digest: Vec<[u8; 32]>,
}

impl<'a> Headers<'a> {
    fn of(booked: &[&'a Booked<'_>]) -> Self {
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
            rows.operation_type.push(&draft.operation_type);
            rows.checksum.push(it.posting.checksum().0);
            rows.domain.push(&draft.domain);
            rows.internal_tx_id.push(draft.internal_tx_id);
            rows.trace_id.push(draft.trace_id);
            rows.effective_at.push(it.effective_at);
            rows.booked_at.push(it.booked_at);
            rows.recorded_at.push(it.recorded_at);
            rows.chain_id.push(draft.on_chain.map(|on| to_i64(on.chain_id)));
            rows.chain_tx_hash.push(draft.on_chain.and_then(|on| on.tx_hash).map(|hash| hash.0));
            rows.chain_block_number.push(block.map(|(number, _)| to_i64(number)));
            rows.chain_block_hash.push(block.map(|(_, hash)| hash.0));
            rows.reverses.push(reverses);
            rows.compensates.push(compensates);
            rows.reason.push(draft.correction.as_ref().map(|(_, reason)| reason.as_str()));
            rows.created_by.push(&draft.context.actor);
            rows.correlation_id.push(&draft.context.correlation_id);
            rows.causation_id.push(draft.context.causation_id.as_deref());
            rows.metadata.push(it.posting.metadata());
            rows.line_count.push(i16::try_from(it.lines.len()).unwrap_or(i16::MAX));
            rows.digest.push(it.digest.0);
        }
        rows
    }
}

#[derive(Default)]
struct Lines<'a> {
    posting_id: Vec<Uuid>,
    sequence: Vec<i16>,
    tenant_id: Vec<Uuid>,
    account_id: Vec<Uuid>,
    debit: Vec<Amount>,
    credit: Vec<Amount>,
    currency: Vec<&'a str>,
    entry_type: Vec<&'a str>,
    account_version: Vec<i64>,
    balance_after: Vec<Balance>,
    effective_at: Vec<OffsetDateTime>,
    latest_effective_at: Vec<OffsetDateTime>,
    recorded_at: Vec<OffsetDateTime>,
    chain_block_number: Vec<Option<i64>>,
    latest_block: Vec<Option<i64>>,
    checksum: Vec<[u8; 32]>,
}

impl<'a> Lines<'a> {
    fn of(booked: &'a [Booked<'_>]) -> Self {
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
                rows.currency.push(&line.currency);
                rows.entry_type.push(&line.entry_type);
                rows.account_version.push(written.account_version);
                rows.balance_after.push(written.balance_after);
                rows.effective_at.push(it.effective_at);
                rows.latest_effective_at.push(written.latest_effective_at);
                rows.recorded_at.push(it.recorded_at);
                rows.chain_block_number.push(block);
                rows.latest_block.push(written.latest_block);
                rows.checksum.push(written.checksum.0);
            }
        }
        rows
    }
}

/// What is to be sealed.
#[derive(Default)]
struct Staged {
    tenant_id: Vec<Uuid>,
    posting_id: Vec<Uuid>,
    digest: Vec<[u8; 32]>,
}

impl Staged {
    fn of(booked: &[Booked<'_>]) -> Self {
        let mut rows = Self::default();
        for it in booked {
            rows.tenant_id.push(it.posting.tenant_id());
            rows.posting_id.push(it.posting_id);
            rows.digest.push(it.digest.0);
        }
        rows
    }
}

/// Puts on record that keys were used for something else: what came under them, and the posting that has each.
pub(crate) async fn note_conflicts(
    conn: &mut PgConnection,
    conflicts: &[(&Posting, Uuid)],
) -> Result<(), sqlx::Error> {
    fn column<T>(conflicts: &[(&Posting, Uuid)], of: impl Fn(&Posting) -> T) -> Vec<T> {
        conflicts.iter().map(|(posting, _)| of(posting)).collect()
    }
    let events: Vec<_> = conflicts.iter().map(|_| Uuid::now_v7()).collect();
    let holders: Vec<_> = conflicts.iter().map(|(_, posting_id)| *posting_id).collect();
    sqlx::query!(
        "INSERT INTO bf_events (event_id, tenant_id, user_id, request_id, operation_type, status, posting_id, checksum, created_by, correlation_id)
         SELECT event_id, tenant_id, user_id, request_id, operation_type, 'conflict', posting_id, checksum, created_by, correlation_id
         FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::uuid[], $7::bytea[], $8::text[], $9::text[])
              AS given(event_id, tenant_id, user_id, request_id, operation_type, posting_id, checksum, created_by, correlation_id)",
        &events,
        &column(conflicts, Posting::tenant_id),
        &column(conflicts, |it| it.draft().context.user_id) as &[Option<Uuid>],
        &column(conflicts, |it| it.draft().context.request_id),
        &column(conflicts, |it| it.draft().operation_type.clone()),
        &holders,
        &column(conflicts, |it| it.checksum().to_vec()),
        &column(conflicts, |it| it.draft().context.actor.clone()),
        &column(conflicts, |it| it.draft().context.correlation_id.clone()),
    )
    .execute(conn)
    .await
    .map(drop)
}
