//! `plimsoll tx`: transactions, as whoever runs the platform sees and moves them.
//!
//! What is a tenant's is read and written as the app's role, confined to the tenant, as over HTTP: the same grants bound what is handed in, and the same rules what is called off.

mod show;
mod submit;

use plimsoll_relayer::story::{self, Name, Whose};
use plimsoll_relayer::{call_off_in, read};
use plimsoll_store::Db;
use plimsoll_types::api::Transaction;
use plimsoll_types::{TransactionState, parse_address, parse_hash};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::admin::Admin;
use super::admin::change::{As, Done};
use super::admin::sheet::{self, Sheet};
use super::print_json;
use super::signers::named;
use crate::cli::{Final, TransactionList, Transactions};
use crate::config::Config;
use crate::failure::Failure;

pub(crate) async fn ask(config: &Config, db: &Db, asked: &Transactions) -> Result<(), Failure> {
    match asked {
        Transactions::List(asked) => list(config, db, asked).await,
        Transactions::Show { name, json } => show::show(config, db, name, *json).await,
        Transactions::Submit(asked) => submit::submit(config, db, asked).await,
        Transactions::Cancel { name, change } => cancel(config, db, name, change).await,
    }
}

async fn list(config: &Config, db: &Db, asked: &TransactionList) -> Result<(), Failure> {
    let tenant = Admin { db, config }.tenant(&asked.whose).await?;
    let (mut chain, mut signer) = (asked.chain, None);
    if let Some(name) = &asked.signer {
        signer = Some(match parse_address(name) {
            Ok(address) => address,
            Err(_) => {
                let known = named(db, name, chain).await?.signer;
                chain = Some(known.chain_id);
                known.address
            }
        });
    }
    let filter = read::Filter {
        request_id: asked.request_id,
        state: asked.state,
        chain_id: chain.map(|chain| i64::try_from(chain).unwrap_or(i64::MAX)),
        signer,
        ..read::Filter::default()
    };
    let mut tx = db.tenant_tx(&[tenant.tenant_id]).await?;
    let found = read::page(&mut tx, tenant.tenant_id, &filter, asked.below, asked.limit).await?;
    if asked.json {
        return print_json(&json!(found));
    }
    let sheets: Vec<_> = found.iter().map(in_brief).collect();
    let columns = [
        "transaction_id",
        "operation_type",
        "state",
        "chain",
        "signer",
        "nonce",
        "attempts",
        "accepted",
        "held_back_by",
    ];
    sheet::list(&sheets, &columns, "there is no such transaction", false)
}

fn in_brief(of: &Transaction) -> Sheet {
    let state = match of.end_wanted.filter(|_| !of.state.is_end()) {
        Some(end) => format!("{}, to be {end}", of.state),
        None => of.state.to_string(),
    };
    Sheet::new()
        .with("transaction_id", of.transaction_id.to_string())
        .with("operation_type", &*of.operation_type)
        .with("state", state)
        .with("chain", of.chain_id)
        .with("signer", &*of.signer)
        .with("nonce", of.nonce)
        .with("attempts", of.attempts.len())
        .at("accepted", of.created_at)
        .with("held_back_by", held_back_by(of))
}

/// What keeps it from a nonce: operators' words, and what held it when it was looked at.
fn held_back_by(of: &Transaction) -> Vec<String> {
    let halts = of.halts.iter().map(|halt| halt.reason.clone());
    halts.chain(of.held.as_ref().map(|held| held.why.clone())).collect()
}

async fn cancel(config: &Config, db: &Db, asked: &str, change: &Final) -> Result<(), Failure> {
    let Whose { id, tenant_id } = whose(db, asked).await?;
    let tenant_id = tenant_id.ok_or_else(|| {
        Failure::new(format!(
            "transaction {id} is the platform's own: it fills a nonce, and what is behind it waits for it"
        ))
    })?;
    Admin { db, config }
        .change(&change.order(), As::Tenant(tenant_id), async |conn| {
            let before = of_id(conn, tenant_id, id).await?;
            if !call_off_in(conn, id, &change.reason).await? {
                let failure = Failure::new(match before.end_wanted.filter(|_| !before.state.is_end()) {
                    Some(end) => format!("transaction {id} is to be {end} already"),
                    None => format!("transaction {id} is {} and stays so", before.state),
                });
                return Err(failure.remedy(format!("`plimsoll tx show {id}` says what became of it")));
            }
            let after = of_id(conn, tenant_id, id).await?;
            Ok(Done {
                action: "relayer.transaction.cancel",
                target_type: "transaction",
                target_id: id.to_string(),
                order: format!("call off the transaction {id} ({})", before.operation_type),
                confirmation: before.operation_type.clone(),
                before: Some(wish(&before)),
                after: Some(wish(&after)),
                secret: None,
                note: Some(format!(
                    "the chain may decide otherwise: `plimsoll tx show {id}` says what comes of it"
                )),
            })
        })
        .await
}

fn wish(of: &Transaction) -> Sheet {
    Sheet::new()
        .with("state", of.state.as_str())
        .with("end_wanted", of.end_wanted.map(TransactionState::as_str))
        .with("end_why", of.end_why.clone())
}

async fn of_id(conn: &mut PgConnection, tenant_id: Uuid, id: Uuid) -> Result<Transaction, Failure> {
    read::by_id(conn, tenant_id, id).await?.ok_or_else(|| unknown(&id.to_string()))
}

/// Whose the transaction of this id, or with this hash, is.
async fn whose(db: &Db, asked: &str) -> Result<Whose, Failure> {
    let name = match (asked.parse(), parse_hash(asked)) {
        (Ok(id), _) => Name::Id(id),
        (_, Ok(hash)) => Name::Hash(hash),
        _ => {
            return Err(Failure::usage(format!("{asked:?} is neither a transaction's id nor a hash"))
                .remedy("`plimsoll tx list` shows ids; a hash is `0x` and 64 hexadecimal digits"));
        }
    };
    story::whose(&mut *db.worker().acquire().await?, name).await?.ok_or_else(|| unknown(asked))
}

fn unknown(asked: &str) -> Failure {
    Failure::new(format!("there is no transaction {asked}"))
        .remedy("`plimsoll tx list` shows those that there are; a hash is known once an attempt has it")
}
