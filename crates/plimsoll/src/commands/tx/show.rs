//! `plimsoll tx show`: the story of a transaction.

use std::fmt::Write as _;

use plimsoll_relayer::read;
use plimsoll_relayer::story::{self, Change};
use plimsoll_store::Db;
use plimsoll_types::api::{Transaction, TransactionAttempt};
use plimsoll_types::{AttemptPurpose, TransactionState};
use serde_json::{Value, json};

use super::{held_back_by, whose};
use crate::commands::admin::Admin;
use crate::commands::admin::sheet::{Sheet, shown};
use crate::commands::{or_dash, print, print_json, table, when};
use crate::config::Config;
use crate::failure::Failure;

pub(super) async fn show(config: &Config, db: &Db, asked: &str, json: bool) -> Result<(), Failure> {
    let known = whose(db, asked).await?;
    let mut conn = db.worker().acquire().await?;
    let of =
        read::anybodys(&mut conn, known.tenant_id, known.id).await?.ok_or_else(|| super::unknown(asked))?;
    let history = story::changes(&mut conn, of.transaction_id, of.version).await?;
    drop(conn);
    let tenant = match known.tenant_id {
        Some(id) => Admin { db, config }.tenant_if_named(Some(&id.to_string())).await?,
        None => None,
    };
    let name = tenant.map_or_else(|| "the platform".to_owned(), |tenant| tenant.name);
    if json {
        return print_json(
            &json!({ "tenant_id": known.tenant_id, "tenant": name, "transaction": of, "history": history }),
        );
    }
    print(&told(&name, &of, &history))
}

fn told(tenant: &str, of: &Transaction, history: &[Change]) -> String {
    let mut out = head(tenant, of).lines();
    if !of.attempts.is_empty() {
        out.push_str("\nattempts\n");
        for attempt in &of.attempts {
            out.push_str(&attempt_of(attempt));
        }
    }
    if !history.is_empty() {
        out.push_str("\nhistory\n");
        let rows: Vec<_> = history.iter().map(row).collect();
        out.push_str(&table(&["", "when", "into", "because", "why", "by"], &rows));
    }
    out
}

fn head(tenant: &str, of: &Transaction) -> Sheet {
    let inclusion = of.inclusion.as_ref().map(|of| {
        let whose = of.attempt.map_or_else(
            || "none of ours".to_owned(),
            |n| match of.purpose {
                Some(AttemptPurpose::Cancel) => format!("attempt {n}, which does nothing"),
                _ => format!("attempt {n}"),
            },
        );
        let came = if of.succeeded { "succeeded" } else { "reverted" };
        let sure = if of.is_final { "final" } else { "not final" };
        let paid = of.gas_paid_wei.map_or_else(String::new, |wei| format!(", {wei} wei were paid"));
        format!("block {} {} ({sure}): {whose}, {came}{paid}", of.block_number, of.block_hash)
    });
    Sheet::new()
        .with("transaction", of.transaction_id.to_string())
        .with("tenant", tenant)
        .with("request", of.request_id.to_string())
        .with("operation_type", &*of.operation_type)
        .with("state", format!("{} (version {})", of.state, of.version))
        .with("end_wanted", of.end_wanted.map(TransactionState::as_str))
        .with("why", of.end_why.clone())
        .with("held_back_by", held_back_by(of))
        .with("signer", format!("{} on chain {}", of.signer, of.chain_id))
        .with("nonce", of.nonce)
        .with("to", of.to.clone().unwrap_or_else(|| "a contract is created".to_owned()))
        .with("value_wei", of.value_wei.to_string())
        .with("data", data(&of.data))
        .with("gas_limit", of.gas_limit)
        .with("max_fee_per_gas", of.max_fee_per_gas_limit.map(|fee| fee.to_string()))
        .with("priority", of.priority)
        .at("valid_until", of.valid_until)
        .with("valid_until_block", of.valid_until_block)
        .with("included", inclusion)
        .with("asked_by", &*of.created_by)
        .with("correlation", &*of.correlation_id)
        .at("accepted", of.created_at)
        .at("changed", of.updated_at)
}

/// Calldata in brief: `--json` has all of it.
fn data(hex: &str) -> String {
    const SHOWN: usize = 74; // a selector and one argument
    let bytes = hex.len().saturating_sub(2) / 2;
    match hex.get(..SHOWN) {
        Some(start) if hex.len() > SHOWN => format!("{start}… ({bytes} bytes)"),
        _ => hex.to_owned(),
    }
}

fn attempt_of(attempt: &TransactionAttempt) -> String {
    let mut out = String::new();
    let tip = or_dash(attempt.max_priority_fee_per_gas);
    let _infallible = writeln!(
        out,
        "  {} {} at nonce {}: {}\n    {}  {}\n    gas {}, at most {} wei for a unit, {tip} of these as tip",
        attempt.number,
        attempt.purpose,
        attempt.nonce,
        safe(&attempt.why),
        when(attempt.committed_at),
        attempt.tx_hash,
        attempt.gas_limit,
        attempt.max_fee_per_gas,
    );
    for answer in &attempt.answers {
        let detail = answer.detail.as_deref().map_or_else(String::new, |said| format!(": {}", safe(said)));
        let _infallible =
            writeln!(out, "    {}  {} said {}{detail}", when(answer.sent_at), answer.endpoint, answer.answer);
    }
    out
}

fn row(change: &Change) -> Vec<String> {
    vec![
        change.version.to_string(),
        when(change.at).to_string(),
        or_dash(change.to),
        safe(change.because.as_deref().unwrap_or("-")),
        safe(change.why.as_deref().unwrap_or("-")),
        safe(&change.actor),
    ]
}

/// What a node or a client wrote, without anything that could move a terminal's cursor.
fn safe(text: &str) -> String {
    shown(&Value::from(text))
}
