//! `plimsoll replay`.

use plimsoll_store::Db;
use plimsoll_views::replay::{ReplayProgress, ReplayReport, replay};

use super::progress::Progress;
use super::{chosen, print, print_json};
use crate::cli::ReplayViews;
use crate::config::Config;
use crate::failure::{FAILED, Failure};
use crate::wiring;

pub(crate) async fn views(config: &Config, db: &Db, asked: &ReplayViews) -> Result<(), Failure> {
    let mut reports: Vec<ReplayReport> = Vec::new();
    for chain in chosen(config, asked.chain)? {
        let contracts = wiring::contracts(chain);
        let mut line = Progress::new();
        let progress = |p: ReplayProgress| {
            line.line(|| format!("chain {}: record {} of {}", chain.chain_id, p.seq, p.of_seq));
        };
        let report = replay(db, chain.chain_id, &contracts, progress).await?;
        drop(line);
        if !asked.json {
            print(&format!("{report}\n"))?;
        }
        reports.push(report);
    }
    if asked.json {
        print_json(&reports)?;
    }
    let differing: Vec<String> =
        reports.iter().filter(|r| !r.equal).map(|r| r.chain_id.to_string()).collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Failure::found(format!("the replay differs from what is there on chain {}", differing.join(", ")), FAILED)
        .remedy("keep the report as evidence: the mirrors were changed by something else than the journal, or the program's folding has changed"))
}
