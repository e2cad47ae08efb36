//! `plimsoll fold`: where folds stand, and the operator's word about a record that one cannot apply.

use plimsoll_journal::SkipError;
use plimsoll_store::Db;
use serde_json::Value;

use super::{or_dash, print, print_json, table};
use crate::cli::{FoldRetry, FoldSkip};
use crate::failure::Failure;
use crate::repo::{self, FoldStatus, to_i64};

pub(crate) async fn status(db: &Db, chain_id: Option<u64>, json: bool) -> Result<(), Failure> {
    let folds = repo::folds(db.worker(), chain_id.map(to_i64)).await?;
    if json {
        return print_json(&folds);
    }
    if folds.is_empty() {
        return print("no fold has run yet\n");
    }
    let rows: Vec<Vec<String>> = folds
        .iter()
        .map(|f| {
            let behind = f.journal_seq.map(|end| end - f.seq);
            vec![
                f.chain_id.to_string(),
                f.fold.clone(),
                f.state.clone(),
                f.seq.to_string(),
                or_dash(behind),
                or_dash(f.block_number),
            ]
        })
        .collect();
    let mut out = table(&["chain", "fold", "state", "seq", "behind", "block"], &rows);
    for fold in &folds {
        if let Some(stop) = &fold.stop {
            out.push_str(&format!(
                "\nfold {} of chain {} has stopped:\n{}\n",
                fold.fold,
                fold.chain_id,
                pretty(stop)
            ));
        }
    }
    print(&out)
}

pub(crate) async fn skip(db: &Db, skip: &FoldSkip) -> Result<(), Failure> {
    let skipped = plimsoll_journal::skip(
        db,
        &skip.fold,
        skip.chain,
        skip.seq,
        &skip.decision.operator,
        &skip.decision.reason,
    )
    .await;
    if let Err(error) = skipped {
        return Err(match &error {
            SkipError::NoSuchFold { .. } => {
                no_such_fold(&skip.fold, skip.chain, &folds(db, skip.chain).await?)
            }
            SkipError::NotStopped { .. } => Failure::new(error).remedy("nothing needs to be done"),
            SkipError::StoppedElsewhere { .. } => Failure::new(error)
                .remedy("`plimsoll fold status` shows the record and why; skip exactly that one"),
            SkipError::Database(_) => Failure::new(error),
        });
    }
    print(&format!(
        "fold {} of chain {} passes over record {} and goes on\n",
        skip.fold, skip.chain, skip.seq
    ))
}

pub(crate) async fn retry(db: &Db, retry: &FoldRetry) -> Result<(), Failure> {
    stopped(db, &retry.fold, retry.chain).await?;
    plimsoll_journal::retry(db, &retry.fold, retry.chain).await?;
    print(&format!("fold {} of chain {} tries again\n", retry.fold, retry.chain))
}

/// The fold, if it has stopped.
async fn stopped(db: &Db, name: &str, chain_id: u64) -> Result<FoldStatus, Failure> {
    let mut folds = folds(db, chain_id).await?;
    let Some(at) = folds.iter().position(|f| f.fold == name) else {
        return Err(no_such_fold(name, chain_id, &folds));
    };
    let fold = folds.swap_remove(at);
    if fold.state != "stopped" {
        return Err(Failure::new(format!("fold {name} of chain {chain_id} has not stopped"))
            .remedy("nothing needs to be done"));
    }
    Ok(fold)
}

async fn folds(db: &Db, chain_id: u64) -> Result<Vec<FoldStatus>, Failure> {
    Ok(repo::folds(db.worker(), Some(to_i64(chain_id))).await?)
}

fn no_such_fold(name: &str, chain_id: u64, folds: &[FoldStatus]) -> Failure {
    let known: Vec<&str> = folds.iter().map(|f| f.fold.as_str()).collect();
    let remedy = match known.as_slice() {
        [] => "no fold has run on that chain yet; `plimsoll fold status` shows all".into(),
        known => format!("the folds of that chain are {}", known.join(", ")),
    };
    Failure::new(format!("there is no fold {name} of chain {chain_id}")).remedy(remedy)
}

/// What a person reads of a stop or a halt.
pub(super) fn pretty(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) => format!("  {key}: {text}"),
                other => format!("  {key}: {other}"),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        other => format!("  {other}"),
    }
}
