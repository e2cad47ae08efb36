//! `plimsoll replay books`.

use plimsoll_ledger::chain::dry_run::{Change, DryLine, DryRun, dry_run};
use plimsoll_ledger::rules::RULES;
use plimsoll_store::Db;
use serde_json::json;

use super::{chosen, or_dash, print, print_json, table};
use crate::cli::ReplayBooks;
use crate::config::Config;
use crate::failure::{FAILED, Failure, UNVERIFIED};
use crate::wiring;

/// Changes that are shown; JSON has more.
const SHOWN: usize = 20;

pub(crate) async fn books(config: &Config, db: &Db, asked: &ReplayBooks) -> Result<(), Failure> {
    let to = asked.to.unwrap_or(u64::MAX);
    if asked.from > to {
        return Err(Failure::usage(format!("`--from` {} is behind `--to` {to}", asked.from))
            .remedy("name the first block, and the last one"));
    }
    let mut runs: Vec<(u64, DryRun)> = Vec::new();
    for chain in chosen(config, asked.chain)? {
        let Some(books) = wiring::books(config, chain) else { continue };
        let run = dry_run(db, books, &wiring::contracts(chain), RULES, asked.from..=to).await?;
        runs.push((chain.chain_id, run));
    }
    if asked.json {
        let all = runs.iter().map(|(chain_id, run)| json!({ "chain_id": chain_id, "result": run }));
        print_json(&all.collect::<Vec<_>>())?;
    } else {
        for (chain_id, run) in &runs {
            shown(*chain_id, run)?;
        }
    }
    if runs.is_empty() {
        return Err(Failure::found("no books are kept from a configured chain", UNVERIFIED)
            .remedy("name a tenant under `books` of a [[chain]]"));
    }
    let changed: u64 = runs.iter().map(|(_, run)| run.changed).sum();
    if changed == 0 {
        return Ok(());
    }
    Err(Failure::found(format!("the rules would book {changed} things otherwise than they are booked"), FAILED)
        .remedy("where that is meant, raise the rule's version: what is booked stays as it is, and is put right by compensations"))
}

fn shown(chain_id: u64, run: &DryRun) -> Result<(), Failure> {
    print(&format!(
        "chain {chain_id}: {} events and transactions, {} would be booked otherwise\n",
        run.occasions, run.changed
    ))?;
    for change in run.changes.iter().take(SHOWN) {
        print(&of_change(change))?;
    }
    if run.changed > SHOWN as u64 {
        print(&format!("… and {} more: --json has the first thousand\n", run.changed - SHOWN as u64))?;
    }
    if run.accounts.is_empty() {
        return Ok(());
    }
    let rows = run.accounts.iter().map(|account| {
        vec![
            account.name.clone(),
            account.account_id.to_string(),
            account.booked.to_string(),
            account.would_book.to_string(),
        ]
    });
    print(&table(&["account", "id", "booked", "would book"], &rows.collect::<Vec<_>>()))
}

fn of_change(of: &Change) -> String {
    let what = of.log_index.map_or_else(|| "gas".to_owned(), |index| format!("log {index}"));
    let rule = match (of.rule, of.rule_version) {
        (Some(rule), Some(version)) => format!("{rule} version {version}"),
        _ => "no rule".into(),
    };
    let lines = |lines: &[DryLine]| {
        let line = |line: &DryLine| {
            let side = if line.is_debit { "debit" } else { "credit" };
            format!("{side} {} {} {}", line.amount, line.account_id, line.entry_type)
        };
        if lines.is_empty() {
            "nothing".into()
        } else {
            lines.iter().map(line).collect::<Vec<_>>().join(", ")
        }
    };
    let would = of.error.as_ref().map_or_else(|| lines(&of.would_book), |error| format!("cannot: {error}"));
    format!(
        "block {}, {} of {}\n  booked (posting {}): {}\n  would book ({rule}): {would}\n",
        of.block_number,
        what,
        of.tx_hash,
        or_dash(of.posting_id),
        lines(&of.booked)
    )
}
