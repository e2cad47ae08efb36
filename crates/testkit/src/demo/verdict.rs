//! The judgement at the end of an unattended run: Plimsoll against the chain, and against itself.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::child::ask;
use super::repo;
use crate::deploy::Deployment;
use crate::node::Node;
use crate::projection::{JournalCheck, live_truth};
use crate::truth;

/// Differences that the summary shows of each kind.
const SHOWN: usize = 10;

/// What the run was.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub(super) duration_s: f64,
    pub(super) seed: u64,
    pub(super) transactions: u64,
    pub(super) reorgs_made: u64,
    pub(super) deepest_reorg_blocks: u64,
    pub(super) reorged_event_kinds: usize,
    /// Reorganisations that Plimsoll says it went through.
    pub(super) reorgs_seen: u64,
}

/// The closing summary. Every key is documented where it is not plain.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Length of the run, in seconds, without the verification.
    pub duration_s: f64,
    /// Seed of the traffic.
    pub seed: u64,
    /// Blocks from the deployment to the head.
    pub blocks: u64,
    /// Transactions that were sent in this run.
    pub transactions: u64,
    /// Events on the canonical chain, read from the node's receipts.
    pub events: u64,
    /// The journal's last record.
    pub journal_seq: i64,
    /// Numbers in the journal that no record has.
    pub journal_holes: i64,
    /// Whether what the journal holds, retractions counted, is what the raw store calls live.
    pub journal_sound: bool,
    /// Reorganisations that Plimsoll went through in this run.
    pub reorgs: u64,
    /// Reorganisations that were made in this run.
    pub reorgs_made: u64,
    /// Blocks that the deepest of them replaced.
    pub deepest_reorg_blocks: u64,
    /// The most kinds of events that one of them replaced.
    pub reorged_event_kinds: usize,
    /// `CacheUpdateFailed` events on the canonical chain.
    pub cache_update_failed: i64,
    /// Events that the node's receipts and the raw store do not agree on.
    pub event_differences: usize,
    /// Final blocks that `plimsoll verify completeness` fetched again and proved by their receipts.
    pub blocks_proven: u64,
    /// Final blocks that could not be proven.
    pub blocks_unproven: u64,
    /// Events in which the raw store differs from what was proven.
    pub completeness_differences: u64,
    /// Rows of all mirrors.
    pub mirror_rows: i64,
    /// Rows that `plimsoll verify views` compared with the contracts' getters.
    pub mirror_verified: u64,
    /// Rows that the contracts contradict.
    pub mirror_mismatches: u64,
    /// Rows that could not be compared.
    pub mirror_unverified: u64,
    /// Whether a replay of the journal from zero gives the same mirrors.
    pub replay_equal: bool,
    /// What was noticed that should not happen, by kind. Reorganisations deeper than the confirmations belong here.
    pub anomalies: std::collections::BTreeMap<String, i64>,
    /// What disagrees; empty when nothing does.
    pub disagreements: Vec<String>,
}

/// Compares everything. The traffic must have ended, and Plimsoll have caught up with the node's head.
pub(super) async fn judge(
    run: &Run,
    node: &Node,
    deployment: &Deployment,
    conn: &mut PgConnection,
    plimsoll: &Path,
    config: &Path,
) -> Result<Summary> {
    let chain_id = deployment.chain_id.cast_signed();
    println!("comparing the raw store with the node's receipts");
    let truth = truth::read(node, &deployment.followed(), 0).await?;
    let kept = live_truth(conn, deployment.chain_id).await?;
    let event_differences = truth::differences(&truth.events, &kept);
    let journal = JournalCheck::read(conn, deployment.chain_id).await?;
    println!("proving every final block by its receipts: plimsoll verify completeness");
    let whole = reports(ask(plimsoll, config, &["verify", "completeness"]).await?);
    println!("comparing every mirror row with its contract: plimsoll verify views");
    let verify = reports(ask(plimsoll, config, &["verify", "views"]).await?);
    println!("replaying the journal from zero: plimsoll replay views");
    let replay = reports(ask(plimsoll, config, &["replay", "views"]).await?);
    let sum = |of: &[Value], field: &str| -> Result<u64> {
        let counts = of.iter().map(|report| report[field].as_u64());
        counts.sum::<Option<u64>>().with_context(|| format!("a report lacks `{field}`"))
    };
    let unproven = whole.iter().filter_map(|report| report["unproven"].as_array()).flatten();
    let unproven = unproven.map(|range| Some(range["to"].as_u64()? + 1 - range["from"].as_u64()?));

    let mut summary = Summary {
        duration_s: run.duration_s,
        seed: run.seed,
        blocks: truth.head_number + 1 - deployment.start_block,
        transactions: run.transactions,
        events: truth.events.len() as u64,
        journal_seq: journal.last_seq,
        journal_holes: journal.holes,
        journal_sound: journal.is_sound(),
        reorgs: run.reorgs_seen,
        reorgs_made: run.reorgs_made,
        deepest_reorg_blocks: run.deepest_reorg_blocks,
        reorged_event_kinds: run.reorged_event_kinds,
        cache_update_failed: repo::live_events_named(conn, chain_id, "CacheUpdateFailed").await?,
        event_differences: event_differences.len(),
        blocks_proven: sum(&whole, "proven_blocks")?,
        blocks_unproven: unproven.sum::<Option<u64>>().context("a range that is not proven has no bounds")?,
        completeness_differences: sum(&whole, "different")?,
        mirror_rows: repo::mirror_rows(conn, chain_id).await?,
        mirror_verified: sum(&verify, "equal")?,
        mirror_mismatches: sum(&verify, "mismatched_rows")?,
        mirror_unverified: sum(&verify, "unverified_rows")?,
        replay_equal: !replay.is_empty() && replay.iter().all(|report| report["equal"] == true),
        anomalies: repo::anomalies(conn, chain_id).await?.into_iter().collect(),
        disagreements: Vec::new(),
    };
    summary.disagreements = summary.disagreements(&event_differences, &verify, &replay);
    Ok(summary)
}

/// The reports of a command: one for each chain, or one alone.
fn reports(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(reports) => reports,
        Value::Object(mut object) => match object.remove("chains") {
            Some(Value::Array(reports)) => reports,
            _ => vec![Value::Object(object)],
        },
        other => vec![other],
    }
}

impl Summary {
    fn disagreements(&self, events: &[String], verify: &[Value], replay: &[Value]) -> Vec<String> {
        let mut found = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                found.push(what);
            }
        };
        must(self.journal_holes == 0, format!("the journal has {} holes", self.journal_holes));
        must(self.journal_sound, "the journal and the live events do not say the same".into());
        must(
            self.mirror_mismatches == 0,
            format!("{} mirror rows differ from their contract", self.mirror_mismatches),
        );
        must(
            self.mirror_unverified == 0,
            format!("{} mirror rows could not be compared", self.mirror_unverified),
        );
        must(self.blocks_proven > 0, "no final block was proven".into());
        must(self.blocks_unproven == 0, format!("{} final blocks could not be proven", self.blocks_unproven));
        must(
            self.completeness_differences == 0,
            format!("{} events differ from what is proven", self.completeness_differences),
        );
        must(self.mirror_verified > 0, "no mirror row was compared".into());
        must(self.replay_equal, "a replay of the journal does not give the same mirrors".into());
        must(self.reorgs > 0, "Plimsoll went through no reorganisation".into());
        must(
            self.reorgs == self.reorgs_made,
            format!(
                "{} reorganisations were made, and Plimsoll went through {}",
                self.reorgs_made, self.reorgs
            ),
        );
        must(self.cache_update_failed > 0, "no CacheUpdateFailed was seen".into());
        must(self.event_differences == 0, "the raw store is not what the node's receipts say".into());
        found.extend(events.iter().take(SHOWN).cloned());
        for (list, what) in [("mismatches", "mismatch"), ("unverified", "unverified")] {
            let rows = verify.iter().filter_map(|report| report[list].as_array()).flatten();
            found.extend(rows.take(SHOWN).map(|row| format!("{what}: {row}")));
        }
        if !self.replay_equal {
            found.extend(replay.iter().map(|report| {
                format!("replay: {}", report.to_string().chars().take(2_000).collect::<String>())
            }));
        }
        found
    }

    /// Whether everything agrees.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.disagreements.is_empty()
    }

    /// The summary for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from("\nSummary\n");
        let mut row = |name: &str, value: String| _ = writeln!(text, "  {name:<22} {value}");
        row("duration", format!("{:.0} s, seed {}", self.duration_s, self.seed));
        row(
            "chain",
            format!(
                "{} blocks, {} events, {} transactions sent",
                self.blocks, self.events, self.transactions
            ),
        );
        row("journal", format!("{} records, {} holes", self.journal_seq, self.journal_holes));
        row(
            "reorganisations",
            format!(
                "{} made, {} survived, {} blocks deep at most, {} kinds of events replaced at most",
                self.reorgs_made, self.reorgs, self.deepest_reorg_blocks, self.reorged_event_kinds
            ),
        );
        row("CacheUpdateFailed", self.cache_update_failed.to_string());
        row("final blocks", format!("{} proven by their receipts", self.blocks_proven));
        row("raw store", format!("{} differences from the node's receipts", self.event_differences));
        row(
            "mirrors",
            format!(
                "{} rows, {} equal to their contract, {} mismatches, {} unverified",
                self.mirror_rows, self.mirror_verified, self.mirror_mismatches, self.mirror_unverified
            ),
        );
        row("replay from zero", if self.replay_equal { "equal" } else { "NOT EQUAL" }.into());
        for (kind, n) in &self.anomalies {
            row("anomaly", format!("{kind}: {n}"));
        }
        if self.agrees() {
            text.push_str("\nEverything agrees.\n");
        } else {
            text.push_str("\nThis disagrees:\n");
            self.disagreements.iter().for_each(|what| _ = writeln!(text, "  - {what}"));
        }
        text
    }
}
