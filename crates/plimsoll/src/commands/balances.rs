//! `plimsoll verify balances`.

use plimsoll_ledger::chain::check::{BalanceReport, CheckError, check};
use plimsoll_store::Db;
use plimsoll_types::Amount;

use super::{chosen, of_chain, or_dash, print, print_json, table};
use crate::cli::VerifyBalances;
use crate::config::{Config, Loaded};
use crate::failure::{FAILED, Failure, UNVERIFIED};
use crate::wiring;

pub(crate) async fn balances(
    loaded: &Loaded,
    config: &Config,
    db: &Db,
    asked: &VerifyBalances,
) -> Result<(), Failure> {
    let mut reports: Vec<BalanceReport> = Vec::new();
    for chain in chosen(config, asked.chain)?.into_iter().filter(|chain| chain.books.is_some()) {
        let pool = wiring::pool(loaded, chain)?;
        of_chain(loaded, chain, &pool).await?;
        let report = check(db, &pool, chain.chain_id, Amount::from(asked.tolerance)).await;
        let report = report.map_err(|error| match error {
            CheckError::Rpc(_) => Failure::from(error).remedy(
                "look again in a moment, when a reorganisation may be over; a node that keeps more state (an archive node) can answer more",
            ),
            error => Failure::from(error),
        })?;
        if !asked.json {
            shown(&report)?;
        }
        reports.push(report);
    }
    if asked.json {
        print_json(&reports)?;
    }
    let total = |of: fn(&BalanceReport) -> usize| reports.iter().map(of).sum::<usize>();
    let (breaks, unverified) = (total(|it| it.breaks.len()), total(|it| it.unverified.len()));
    if breaks > 0 {
        let openings = match breaks - total(BalanceReport::unexplained) {
            0 => String::new(),
            openings => format!("; {openings} of them are what accounts held before their first posting"),
        };
        return Err(Failure::found(format!("{breaks} balances of the books differ from the chain{openings}"), FAILED).remedy(
            "the postings that are named may explain it; what nothing explains the role `verify` of `plimsoll run` holds in suspense until its cause is booked",
        ));
    }
    if unverified > 0 {
        return Err(Failure::found(
            format!("{unverified} balances could not be verified; none differs"),
            UNVERIFIED,
        )
        .remedy("the report gives each account's reason"));
    }
    if reports.iter().all(|report| report.block_number.is_none()) {
        return Err(Failure::found("no books are kept from these chains yet", UNVERIFIED)
            .remedy("name a tenant under `books` of a [[chain]], and let `plimsoll run` follow it to a confirmed block"));
    }
    Ok(())
}

fn shown(report: &BalanceReport) -> Result<(), Failure> {
    let at = or_dash(report.block_number);
    print(&format!(
        "chain {}, block {at}: {} accounts, {} equal, {} differ, {} unverified\n",
        report.chain_id,
        report.accounts(),
        report.equal,
        report.breaks.len(),
        report.unverified.len()
    ))?;
    if !report.breaks.is_empty() {
        let rows = report.breaks.iter().map(|found| {
            let postings: Vec<_> = found.postings.iter().map(ToString::to_string).collect();
            vec![
                found.name.clone(),
                found.currency.clone(),
                found.ledger.to_string(),
                found.chain.to_string(),
                found.difference.to_string(),
                if found.is_opening { "held before its first posting".into() } else { postings.join(" ") },
            ]
        });
        let rows: Vec<_> = rows.collect();
        print(&table(
            &["account", "currency", "books", "chain", "chain less books", "postings that could explain it"],
            &rows,
        ))?;
    }
    for found in &report.unverified {
        print(&format!("not verified: {} ({}): {}\n", found.name, found.account_id, found.reason))?;
    }
    Ok(())
}
