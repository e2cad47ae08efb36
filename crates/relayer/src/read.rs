//! What is told of transactions and signers.
//!
//! A transaction is read before its attempts, and these before what was answered to them: what is told of it is never of a later moment than what is told of the rest.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, hex};
use plimsoll_types::api::{
    Budget, EndpointAnswer, Halt, Held, Inclusion, Revert, Signer, SignerLease, Spent, Transaction,
    TransactionAttempt, TransactionKind,
};
use plimsoll_types::{Amount, TransactionState, address_text};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::allowance::DAY;
use crate::grant::{Limit, SignerPolicy};
use crate::post::{self, lease_name};
use crate::repo::read::{self as repo, AnswerRow, AttemptRow, Row, Wanted};
use crate::repo::spending::{self, first_id_of};
use crate::repo::{hash, to_u64, unreadable, user_read};
use crate::request::SignerId;

/// Which transactions of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this request.
    pub request_id: Option<Uuid>,
    /// Under this name.
    pub operation_type: Option<String>,
    /// That stand here.
    pub state: Option<TransactionState>,
    /// On this chain.
    pub chain_id: Option<i64>,
    /// Of the signers with this address.
    pub signer: Option<Address>,
    /// Accepted at or after this time, to the millisecond.
    pub since: Option<OffsetDateTime>,
}

/// The tenant's transaction of this id. `conn` is confined to the tenant, as everywhere here.
///
/// # Errors
/// The database's.
pub async fn by_id(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    id: Uuid,
) -> Result<Option<Transaction>, sqlx::Error> {
    Ok(these(conn, &[tenant_id], &[id]).await?.pop())
}

/// The tenant's transaction that has an attempt with this hash.
///
/// # Errors
/// The database's.
pub async fn by_hash(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    tx_hash: &B256,
) -> Result<Option<Transaction>, sqlx::Error> {
    match repo::id_of(conn, tx_hash).await? {
        Some(id) => by_id(conn, tenant_id, id).await,
        None => Ok(None),
    }
}

/// Anybody's transaction of this id: a tenant's, or one with which the platform filled a nonce. `conn` is the worker's.
///
/// # Errors
/// The database's.
pub async fn anybodys(
    conn: &mut PgConnection,
    whose: Option<Uuid>,
    id: Uuid,
) -> Result<Option<Transaction>, sqlx::Error> {
    Ok(these(conn, whose.as_slice(), &[id]).await?.pop())
}

/// The tenant's transactions below an id, at most `limit` of them, the newest first.
///
/// # Errors
/// The database's.
pub async fn page(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    filter: &Filter,
    below: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Transaction>, sqlx::Error> {
    let wanted = Wanted {
        request_id: filter.request_id,
        operation_type: filter.operation_type.clone(),
        state: filter.state,
        chain_id: filter.chain_id,
        signer: filter.signer.as_ref().map(address_text),
        from: filter.since.map(first_id_of),
        below,
    };
    let ids = repo::ids(conn, tenant_id, &wanted, limit).await?;
    these(conn, &[tenant_id], &ids).await
}

/// What a tenant is told of these signers, in their order; nothing of those that are not registered yet. `leases`: the worker's pool.
///
/// # Errors
/// The database's.
pub async fn signers(
    conn: &mut PgConnection,
    leases: &PgPool,
    tenant_id: Uuid,
    policies: &[&SignerPolicy],
) -> Result<Vec<Signer>, sqlx::Error> {
    let id = |policy: &SignerPolicy| SignerId { chain_id: policy.chain_id, address: policy.address };
    let chain_ids: Vec<_> = policies.iter().map(|policy| crate::repo::to_i64(policy.chain_id)).collect();
    let addresses: Vec<_> = policies.iter().map(|policy| address_text(&policy.address)).collect();
    let names: Vec<_> = policies.iter().map(|policy| lease_name(id(policy))).collect();
    let known = repo::signers(conn, &chain_ids, &addresses).await?;
    let known: HashMap<_, _> = known.iter().map(|row| ((row.chain_id, row.address.as_str()), row)).collect();
    let halts = repo::halts(conn, &[tenant_id]).await?;
    let standing_by = post::standing_by(&mut *leases.acquire().await?).await?;
    let leases = repo::leases(leases, &names).await?;
    let mut told = Vec::with_capacity(policies.len());
    for (place, policy) in policies.iter().enumerate() {
        let (chain_id, address) = (chain_ids[place], addresses[place].as_str());
        let Some(row) = known.get(&(chain_id, address)) else { continue };
        let lease = leases.iter().find(|lease| lease.name == names[place]);
        let budget = budget(conn, policy, tenant_id).await?;
        told.push(Signer {
            chain_id: policy.chain_id,
            address: address.to_owned(),
            name: policy.name.clone(),
            window: policy.window.get(),
            next_nonce: to_u64(row.next_nonce)?,
            consumed_next: to_u64(row.consumed_next)?,
            chain_nonce: row.chain_nonce.map(to_u64).transpose()?,
            seen_at: row.seen_at,
            rotated_to: row.rotated_to.clone(),
            // Of the chain, and not of the database: whoever asks adds it.
            balance: None,
            lease: lease
                .map(|lease| {
                    Ok::<_, sqlx::Error>(SignerLease {
                        holder: lease.holder.clone(),
                        token: to_u64(lease.fencing_token)?,
                        expires_at: lease.expires_at,
                    })
                })
                .transpose()?,
            route: post::among(&standing_by, id(policy)),
            halts: halts_of(&halts, Some(tenant_id), chain_id, address),
            budget,
        });
    }
    Ok(told)
}

/// Those that hold back a tenant's requests to this signer.
fn halts_of(halts: &[repo::HaltRow], tenant_id: Option<Uuid>, chain_id: i64, signer: &str) -> Vec<Halt> {
    let holds = |halt: &&repo::HaltRow| {
        (halt.tenant_id.is_none() || halt.tenant_id == tenant_id)
            && (halt.signer.is_none()
                || (halt.chain_id, halt.signer.as_deref()) == (Some(chain_id), Some(signer)))
    };
    halts
        .iter()
        .filter(holds)
        .map(|halt| Halt {
            is_for_tenant: halt.tenant_id.is_some(),
            is_for_signer: halt.signer.is_some(),
            reason: halt.reason.clone(),
            thrown_at: halt.thrown_at,
        })
        .collect()
}

/// What the tenant may spend with this signer, and, where a day is limited, what the last one counts.
async fn budget(
    conn: &mut PgConnection,
    policy: &SignerPolicy,
    tenant_id: Uuid,
) -> Result<Budget, sqlx::Error> {
    let grant = policy.grant_of(tenant_id).map_err(|refusal| unreadable(refusal.to_string()))?;
    let wei = |limit: Limit| match limit {
        Limit::Wei(wei) => Some(Amount(wei)),
        Limit::None => None,
    };
    let (value, gas) = (wei(grant.max_value_wei_per_day), wei(grant.max_gas_wei_per_day));
    let spent = if value.is_some() || gas.is_some() {
        let signer = SignerId { chain_id: policy.chain_id, address: policy.address };
        let since = OffsetDateTime::now_utc() - DAY;
        let day = spending::spent(conn, tenant_id, signer, since, policy.fee_cap()).await?;
        Some(Spent {
            value_wei: Amount(day.spending.value_wei),
            gas_wei: Amount(day.spending.gas_wei),
            unbounded: day.unbounded,
        })
    } else {
        None
    };
    let max_value_wei = wei(grant.max_value_wei);
    Ok(Budget { max_value_wei, max_value_wei_per_day: value, max_gas_wei_per_day: gas, spent })
}

/// Those of these that are the tenants', the newest first.
pub(crate) async fn these(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<Transaction>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = repo::transactions(conn, tenants, ids).await?;
    // What is as it was accepted has none.
    let (attempts, answers) = match rows.iter().any(|row| row.version > 1) {
        true => (repo::attempts(conn, ids).await?, repo::answers(conn, ids).await?),
        false => (Vec::new(), Vec::new()),
    };
    let mut told = whole(conn, tenants, TransactionKind::Managed, rows, attempts, answers).await?;
    if told.len() < ids.len() {
        let rows = user_read::transactions(conn, tenants, ids).await?;
        let attempts = user_read::attempts(conn, tenants, ids).await?;
        let answers = user_read::answers(conn, tenants, ids).await?;
        told.extend(whole(conn, tenants, TransactionKind::UserSigned, rows, attempts, answers).await?);
        told.sort_by_key(|of| std::cmp::Reverse(of.transaction_id));
    }
    Ok(told)
}

/// What was put just now: nobody has attempted it.
pub(crate) async fn new(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    rows: Vec<Row>,
) -> Result<Vec<Transaction>, sqlx::Error> {
    whole(conn, tenants, TransactionKind::Managed, rows, Vec::new(), Vec::new()).await
}

/// Transactions with their attempts, these with what was answered to them, and what holds them back.
async fn whole(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    kind: TransactionKind,
    rows: Vec<Row>,
    all_attempts: Vec<AttemptRow>,
    all_answers: Vec<AnswerRow>,
) -> Result<Vec<Transaction>, sqlx::Error> {
    let mut attempts: HashMap<Uuid, Vec<AttemptRow>> = HashMap::new();
    for attempt in all_attempts {
        attempts.entry(attempt.transaction_id).or_default().push(attempt);
    }
    let mut answers: HashMap<(Uuid, Vec<u8>), Vec<AnswerRow>> = HashMap::new();
    for mut answer in all_answers {
        let key = (answer.transaction_id, std::mem::take(&mut answer.tx_hash));
        answers.entry(key).or_default().push(answer);
    }
    let may_be_halted =
        rows.iter().any(|row| row.state == TransactionState::Pending && row.are_switches_thrown);
    let halts = if may_be_halted { repo::halts(conn, tenants).await? } else { Vec::new() };
    rows.into_iter()
        .map(|row| {
            let halts = match row.state {
                TransactionState::Pending => halts_of(&halts, row.tenant_id, row.chain_id, &row.signer),
                _ => Vec::new(),
            };
            let attempts = attempts.remove(&row.id).unwrap_or_default();
            let attempts = attempts.into_iter().map(|attempt| {
                let answers =
                    answers.remove(&(attempt.transaction_id, attempt.tx_hash.clone())).unwrap_or_default();
                told_attempt(attempt, answers)
            });
            let attempts = attempts.collect::<Result<_, _>>()?;
            told(kind, row, halts, attempts)
        })
        .collect()
}

fn told(
    kind: TransactionKind,
    row: Row,
    halts: Vec<Halt>,
    attempts: Vec<TransactionAttempt>,
) -> Result<Transaction, sqlx::Error> {
    Ok(Transaction {
        halts,
        inclusion: inclusion(&row)?,
        revert: revert(&row)?,
        held: held(&row),
        simulate: row.simulate,
        transaction_id: row.id,
        kind,
        request_id: row.request_id,
        operation_type: row.operation_type,
        state: row.state,
        version: row.version.cast_unsigned(),
        chain_id: to_u64(row.chain_id)?,
        signer: row.signer,
        to: row.to_address,
        value_wei: row.value_wei,
        data: hex::encode_prefixed(row.data),
        gas_limit: row.gas_limit.map(to_u64).transpose()?,
        max_fee_per_gas_limit: row.max_fee_limit,
        priority: row.priority,
        valid_until: row.valid_until,
        valid_until_block: row.valid_until_block.map(to_u64).transpose()?,
        as_of_block_hash: row.as_of_block_hash.as_deref().map(hash).transpose()?,
        nonce: row.nonce.map(to_u64).transpose()?,
        end_wanted: row.end_wanted,
        end_why: row.end_why,
        // Of what is in a block it means nothing any more.
        speed_up_wanted: row.speed_up_wanted.filter(|_| row.state == TransactionState::Tracking),
        attempts,
        user_id: row.user_id,
        created_by: row.created_by,
        correlation_id: row.correlation_id,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn revert(row: &Row) -> Result<Option<Revert>, sqlx::Error> {
    let Some(source) = row.revert_source else { return Ok(None) };
    let (Some(code), Some(text)) = (row.revert_code.clone(), row.revert_text.clone()) else {
        return Err(unreadable("a source of a reason, without the reason"));
    };
    Ok(Some(Revert { code, text, source }))
}

/// What holds it; what did before it entered is over.
fn held(row: &Row) -> Option<Held> {
    let (why, since) = row.held_why.clone().zip(row.held_at)?;
    (row.state == TransactionState::Pending).then_some(Held { why, looked_at: since })
}

fn inclusion(row: &Row) -> Result<Option<Inclusion>, sqlx::Error> {
    let Some(block_number) = row.block_number else { return Ok(None) };
    let (Some(block_hash), Some(tx_hash), Some(succeeded)) = (&row.block_hash, &row.tx_hash, row.succeeded)
    else {
        return Err(unreadable("a block without its hash, or what is in it"));
    };
    Ok(Some(Inclusion {
        block_number: to_u64(block_number)?,
        block_hash: hash(block_hash)?,
        tx_hash: hash(tx_hash)?,
        attempt: row.attempt.map(i32::cast_unsigned),
        purpose: row.purpose,
        succeeded,
        gas_used: row.gas_used,
        gas_paid_wei: row.gas_paid_wei,
        is_final: row.is_final,
    }))
}

fn told_attempt(attempt: AttemptRow, answers: Vec<AnswerRow>) -> Result<TransactionAttempt, sqlx::Error> {
    Ok(TransactionAttempt {
        nonce: to_u64(attempt.nonce)?,
        number: attempt.attempt.cast_unsigned(),
        purpose: attempt.purpose,
        tx_hash: hash(&attempt.tx_hash)?,
        gas_limit: to_u64(attempt.gas_limit)?,
        max_fee_per_gas: attempt.max_fee_per_gas,
        max_priority_fee_per_gas: attempt.max_priority_fee_per_gas,
        why: attempt.why,
        committed_at: attempt.committed_at,
        answers: answers
            .into_iter()
            .map(|answer| EndpointAnswer {
                endpoint: answer.endpoint,
                answer: answer.answer,
                detail: answer.detail,
                sent_at: answer.sent_at,
            })
            .collect(),
    })
}
