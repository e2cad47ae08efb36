//! `plimsoll verify`.

use plimsoll_store::Db;
use plimsoll_views::verify::{VerifyOptions, VerifyReport, verify};

use super::progress::Progress;
use super::{chosen, print, print_json};
use crate::cli::VerifyViews;
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
        let rpc = wiring::rpc(loaded, chain)?;
        let found =
            rpc.chain_id().await.map_err(|error| Failure::from(error).at(loaded, &chain.rpc_origin))?;
        if found != chain.chain_id {
            return Err(Failure::usage(format!(
                "the node at {} serves chain {found}, not {}",
                rpc.endpoint(),
                chain.chain_id
            ))
            .at(loaded, &chain.origin)
            .remedy("correct `chain_id`, or the node's URL"));
        }
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
        let report = verify(db, &rpc, chain.chain_id, &contracts, options, progress).await?;
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
