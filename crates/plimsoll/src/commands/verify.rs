//! `plimsoll verify`.

use plimsoll_bus::audit;
use plimsoll_store::Db;
use plimsoll_views::verify::{VerifyOptions, VerifyReport, verify};

use super::progress::Progress;
use super::{chosen, of_chain, or_dash, print, print_json, table};
use crate::cli::{VerifyAudit, VerifyViews};
use crate::config::{Config, Loaded};
use crate::failure::{FAILED, Failure, UNVERIFIED};
use crate::wiring;

pub(crate) async fn views(
    loaded: &Loaded,
    config: &Config,
    db: &Db,
    asked: &VerifyViews,
) -> Result<(), Failure> {
    let options = VerifyOptions { max_rows: asked.limit, ..VerifyOptions::default() };
    let mut reports: Vec<VerifyReport> = Vec::new();
    for chain in chosen(config, asked.chain)? {
        let pool = wiring::pool(loaded, chain)?;
        of_chain(loaded, chain, &pool).await?;
        let contracts = wiring::contracts(chain);
        let mut line = Progress::new();
        let progress = |p: plimsoll_views::verify::VerifyProgress| {
            line.line(|| {
                format!(
                    "chain {}: {} of {} rows, {} mismatched, {} unverified",
                    chain.chain_id, p.rows, p.of_rows, p.mismatched_rows, p.unverified_rows
                )
            });
        };
        let report = verify(db, &pool, chain.chain_id, &contracts, options, progress).await?;
        drop(line);
        if !asked.json {
            print(&format!("{report}\n"))?;
        }
        reports.push(report);
    }
    if asked.json {
        print_json(&reports)?;
    }
    let total = |rows: fn(&VerifyReport) -> u64| reports.iter().map(rows).sum::<u64>();
    let (mismatched, unverified) = (total(|r| r.mismatched_rows), total(|r| r.unverified_rows));
    let unchecked = total(|r| r.unchecked_rows);
    if mismatched > 0 {
        return Err(Failure::found(format!("{mismatched} mirror rows differ from the chain"), FAILED)
            .remedy("`plimsoll replay views` tells whether the journal gives the mirror that is there; keep the report as evidence"));
    }
    if unverified > 0 {
        return Err(Failure::found(format!("{unverified} mirror rows could not be verified; none differs"), UNVERIFIED)
            .remedy("the report gives each row's reason; a node that keeps more state (an archive node) can answer more"));
    }
    if unchecked > 0 {
        return Err(Failure::found(
            format!("{unchecked} mirror rows were left out; none of the others differs"),
            UNVERIFIED,
        )
        .remedy("raise `--limit`, or leave it away to check every row"));
    }
    Ok(())
}

pub(crate) async fn audit(db: &Db, asked: &VerifyAudit) -> Result<(), Failure> {
    let report = match audit::verify(db, asked.from, asked.to).await {
        Err(error @ audit::VerifyError::Range { .. }) => return Err(Failure::usage(error.to_string())),
        other => other?,
    };
    if asked.json {
        print_json(&report)?;
    } else {
        let row = vec![
            report.from.to_string(),
            report.to.to_string(),
            report.rows.to_string(),
            or_dash(report.broken.as_ref().map(|broken| broken.sequence)),
            or_dash(report.head_hash.as_ref()),
        ];
        print(&table(
            &["from", "to", "rows that hold", "first broken", "hash of the last that holds"],
            &[row],
        ))?;
    }
    match report.broken {
        None => Ok(()),
        Some(broken) => Err(Failure::found(
            format!("row {} of the audit log does not hold: {}", broken.sequence, broken.what),
            FAILED,
        )
        .remedy("somebody wrote past the application: keep the report and the database as they are, and compare with a backup from before (`plimsoll restore` makes a second database)")),
    }
}
