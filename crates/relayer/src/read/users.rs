//! What is told of transactions that users signed: in the same form as of our own, with what was signed as its only attempt.

use std::collections::HashMap;

use alloy_primitives::hex;
use plimsoll_types::AttemptPurpose;
use plimsoll_types::api::{EndpointAnswer, Inclusion, Transaction, TransactionAttempt, TransactionKind};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::user_read::{self as repo, Row};
use crate::repo::{hash, to_u64};

/// Those of these ids that users signed.
pub(super) async fn whole(
    conn: &mut PgConnection,
    tenants: &[Uuid],
    ids: &[Uuid],
) -> Result<Vec<Transaction>, sqlx::Error> {
    let rows = repo::transactions(conn, tenants, ids).await?;
    let mut answers: HashMap<Uuid, Vec<EndpointAnswer>> = HashMap::new();
    for answer in repo::answers(conn, tenants, ids).await? {
        answers.entry(answer.transaction_id).or_default().push(EndpointAnswer {
            endpoint: answer.endpoint,
            answer: answer.answer,
            detail: answer.detail,
            sent_at: answer.sent_at,
        });
    }
    rows.into_iter()
        .map(|row| {
            let answers = answers.remove(&row.id).unwrap_or_default();
            told(row, answers)
        })
        .collect()
}

fn told(row: Row, answers: Vec<EndpointAnswer>) -> Result<Transaction, sqlx::Error> {
    let signed_hash = hash(&row.signed_hash)?;
    let attempt = TransactionAttempt {
        nonce: to_u64(row.nonce)?,
        number: 1,
        purpose: AttemptPurpose::Send,
        tx_hash: signed_hash,
        gas_limit: to_u64(row.gas_limit)?,
        max_fee_per_gas: row.max_fee_per_gas,
        max_priority_fee_per_gas: row.max_priority_fee_per_gas,
        why: "its user signed it so".to_owned(),
        committed_at: row.created_at,
        answers,
    };
    Ok(Transaction {
        revert: None,
        held: None,
        simulate: None,
        halts: Vec::new(),
        inclusion: inclusion(&row)?,
        transaction_id: row.id,
        kind: TransactionKind::UserSigned,
        request_id: row.request_id,
        operation_type: row.operation_type,
        state: row.state,
        version: row.version.cast_unsigned(),
        chain_id: to_u64(row.chain_id)?,
        signer: row.sender,
        to: row.to_address,
        value_wei: row.value_wei,
        data: hex::encode_prefixed(row.data),
        gas_limit: Some(attempt.gas_limit),
        max_fee_per_gas_limit: None,
        priority: 0,
        valid_until: None,
        valid_until_block: None,
        as_of_block_hash: None,
        nonce: Some(attempt.nonce),
        end_wanted: None,
        end_why: row.end_why,
        speed_up_wanted: None,
        attempts: vec![attempt],
        user_id: row.user_id,
        created_by: row.created_by,
        correlation_id: row.correlation_id,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn inclusion(row: &Row) -> Result<Option<Inclusion>, sqlx::Error> {
    let (Some(number), Some(block_hash), Some(tx_hash), Some(succeeded)) =
        (row.block_number, &row.block_hash, &row.tx_hash, row.succeeded)
    else {
        return Ok(None);
    };
    let is_it = *tx_hash == row.signed_hash;
    Ok(Some(Inclusion {
        block_number: to_u64(number)?,
        block_hash: hash(block_hash)?,
        tx_hash: hash(tx_hash)?,
        attempt: is_it.then_some(1),
        purpose: is_it.then_some(AttemptPurpose::Send),
        succeeded,
        gas_used: row.gas_used,
        gas_paid_wei: row.gas_paid_wei,
        is_final: row.is_final,
    }))
}
