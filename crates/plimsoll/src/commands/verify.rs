//! `plimsoll verify`.

use plimsoll_bus::audit;
use plimsoll_ingest::verify::{self as completeness, CompletenessReport, VerifyError};
use plimsoll_store::Db;
use plimsoll_views::verify::{VerifyOptions, VerifyReport, verify};
use serde::Serialize;

use super::progress::Progress;
use super::repair::{self, Asked};
use super::{chosen, of_chain, or_dash, print, print_json, table};
use crate::cli::{VerifyAudit, VerifyCompleteness, VerifyViews};
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

pub(crate) async fn completeness(
    loaded: &Loaded,
    config: &Config,
    db: &Db,
    asked: &VerifyCompleteness,
) -> Result<(), Failure> {
    let options = completeness::VerifyOptions { from: asked.from, to: asked.to, level: asked.level.into() };
    let mut reports: Vec<Looked> = Vec::new();
    for chain in chosen(config, asked.chain)? {
        let pool = wiring::pool(loaded, chain)?;
        of_chain(loaded, chain, &pool).await?;
        let (contracts, ingest) = (wiring::contracts(chain), wiring::ingest(chain));
        let (mut line, chain_id) = (Progress::new(), chain.chain_id);
        let progress = |p: completeness::VerifyProgress| {
            line.line(|| {
                format!(
                    "chain {chain_id}: {} of {} blocks, {} differences",
                    p.blocks, p.of_blocks, p.different
                )
            });
        };
        let report = completeness::verify(db, &pool, &contracts, &ingest, options, progress).await;
        drop(line);
        let report = report.map_err(|error| match error {
            VerifyError::Backwards { .. } | VerifyError::Range { .. } => Failure::usage(error.to_string()),
            VerifyError::Endpoint { from, .. } => Failure::from(error).remedy(format!(
                "what was proven before is on record: go on with `--from {from}` when the node answers"
            )),
            error => Failure::from(error),
        })?;
        if !asked.json {
            print(&report.to_string())?;
        }
        let repair = match asked.repair.repair {
            true => Some(repair::ask(db, &report, &asked.repair).await?),
            false => None,
        };
        if let Some(repair) = repair.as_ref().filter(|_| !asked.json) {
            print(&repair.to_string())?;
        }
        reports.push(Looked { report, repair });
    }
    if asked.json {
        print_json(&reports)?;
    }
    verdict(&reports)
}

/// A chain that was looked at, and what is done about it.
#[derive(Serialize)]
struct Looked {
    #[serde(flatten)]
    report: CompletenessReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Asked>,
}

/// What was found, as the exit code tells it. That it is to be repaired makes it no better: another look does.
fn verdict(looked: &[Looked]) -> Result<(), Failure> {
    let reports = || looked.iter().map(|chain| &chain.report);
    let total = |of: fn(&CompletenessReport) -> u64| reports().map(of).sum::<u64>();
    let is_asked_for = looked.iter().any(|chain| chain.repair.as_ref().is_some_and(Asked::is_on_record));
    let once_repaired =
        "look again when the backfills are done: `plimsoll backfill show ID --wait` waits for one";
    let different = total(|report| report.different);
    if different > 0 {
        let failure =
            Failure::found(format!("journal and chain differ in {different} events or transactions"), FAILED);
        return Err(failure.remedy(match (is_asked_for, reports().any(|report| !report.holes.is_empty())) {
            (true, _) => format!("each is kept as an anomaly with both sides; {once_repaired}"),
            (false, true) => {
                "each is kept as an anomaly with both sides; `--repair` has what is missing fetched again, proven, and appended late".to_owned()
            }
            (false, false) => {
                "each is kept as an anomaly with both sides. Keep the database as the evidence, and follow the chain into a new one to have a journal that is whole"
                    .to_owned()
            }
        }));
    }
    let unproven = total(CompletenessReport::unproven_blocks);
    if unproven > 0 {
        return Err(Failure::found(format!("{unproven} blocks could not be proven; nothing else differs"), UNVERIFIED)
            .remedy(match is_asked_for {
                true => once_repaired,
                false => "the report says why; another endpoint may give what proves them, or `--level bloom` what there is to show",
            }));
    }
    let gaps: Vec<_> = reports().flat_map(|report| &report.uncovered).collect();
    if !gaps.is_empty() {
        let missing: u64 = gaps.iter().map(|gap| gap.missing).sum();
        let what = "not all blocks were ever asked for what is followed now";
        return Err(Failure::found(format!("{what}; {missing} of its events or transactions were found in them"), UNVERIFIED).remedy(
            "whoever follows the chain (`plimsoll run`) brings it in by itself, and `ingest_uncovered_blocks` says how much is left. Where nothing is missing, the \
             blocks are covered by having been proven: look at all of them, without `--from` and `--to`",
        ));
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
