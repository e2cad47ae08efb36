//! What a run left, held against the truth, which is read from the node's own receipts and never through the endpoints.
//!
//! Everything that is wrong is told, each promise by itself:
//! - the live events are the chain's, of every kind; the live transactions of watched senders are the chain's;
//! - the journal is dense, its laws hold, and what was proven as it came is its blocks;
//! - `plimsoll verify completeness` proves every final block anew and finds nothing different, `plimsoll verify views` finds every mirror row in its
//!   contract, and `plimsoll replay views` makes the same mirrors from the journal;
//! - what was noticed that should not happen has a cause: an endpoint that lied, or traffic that is out of order on purpose.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::B256;
use anyhow::Result;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::repo::{self, Anomaly};
use super::rest::names;
use super::stage::Stage;
use crate::chaos::house::Proxy;
use crate::laws::stored;
use crate::projection::{JournalCheck, live_senders, live_truth};
use crate::truth::{self, TruthEvent};

/// Characters of a report that are shown.
const SHOWN: usize = 3_000;
/// Anomalies that the traffic causes on purpose: it pushes what is out of order, as a contract may.
const ON_PURPOSE: &str = "out_of_order_seq";

impl Stage {
    /// Everything that is wrong; empty if nothing is. What was looked at is counted.
    pub(super) async fn judge(&mut self) -> Result<Vec<String>> {
        let mut conn = self.house.connect().await?;
        let mut wrong = self.judge_rows(&mut conn).await?;
        wrong.extend(self.judge_by_commands().await?);
        let anomalies = repo::anomalies(&mut conn, self.chain_id().cast_signed()).await?;
        wrong.extend(anomalies.iter().filter(|anomaly| !self.is_explained(anomaly)).map(
            |Anomaly { source, kind, detail }| {
                format!("an anomaly that nobody is the cause of: {source} {kind} {detail}")
            },
        ));
        self.counts.takeovers = repo::lease_taken(&mut conn, &plimsoll_ingest::lease_name(self.chain_id()))
            .await?
            .saturating_sub(1);
        conn.close().await?;
        self.count_endpoints();
        Ok(wrong)
    }

    async fn judge_rows(&mut self, conn: &mut PgConnection) -> Result<Vec<String>> {
        let (deployment, chain_id) = (self.deployment(), self.chain_id());
        let truth = truth::read(&self.house.node, &deployment.followed(), 0).await?;
        let kept = live_truth(conn, chain_id).await?;
        let mut wrong = truth::differences(&truth.events, &kept);
        let (expected, found) = (by_kind(&truth.events), by_kind(&kept));
        let kinds: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        for kind in kinds.into_iter().filter(|kind| expected.get(*kind) != found.get(*kind)) {
            let [on_chain, kept] = [&expected, &found].map(|of| of.get(kind).copied().unwrap_or(0));
            wrong.push(format!("of the kind {kind:?} the chain has {on_chain} events, and {kept} are kept"));
        }
        let watched = [deployment.keeper];
        let sent = truth::read_senders(&self.house.node, &truth, &watched, deployment.start_block).await?;
        wrong.extend(truth::sender_differences(&sent, &live_senders(conn, chain_id).await?));
        let journal = JournalCheck::read(conn, chain_id).await?;
        if !journal.is_sound() {
            wrong.push(format!("the journal does not say what is live: {journal:?}"));
        }
        if let Err(broken) = stored::check_on(conn, chain_id).await {
            wrong.push(format!("a law of the journal is broken: {broken}"));
        }
        self.counts.blocks = truth.head_number + 1;
        self.counts.events = truth.events.len() as u64;
        self.counts.event_kinds_max = expected.len() as u64;
        self.counts.transactions = sent.len() as u64;
        self.counts.journal_records = journal.last_seq.unsigned_abs();
        self.counts.retractions = repo::retractions(conn, chain_id.cast_signed()).await?;
        Ok(wrong)
    }

    async fn judge_by_commands(&mut self) -> Result<Vec<String>> {
        let process = &self.house.processes[0];
        let (completeness, views, replay) = tokio::join!(
            process.command(&["verify", "completeness"]),
            process.command(&["verify", "views"]),
            process.command(&["replay", "views"]),
        );
        let (completeness, views, replay) = (completeness?, views?, replay?);
        self.counts.blocks_proven = completeness.1["proven_blocks"].as_u64().unwrap_or(0);
        self.counts.mirror_rows = views.1["equal"].as_u64().unwrap_or(0);
        let report = &completeness.1;
        let is_whole =
            report["different"] == 0 && report["unproven"] == json!([]) && report["uncovered"] == json!([]);
        let are_true = views.1["mismatched_rows"] == 0 && views.1["unverified_rows"] == 0;
        let mut wrong = Vec::new();
        for (what, (code, report), holds) in [
            ("verify completeness", &completeness, is_whole && self.counts.blocks_proven > 0),
            ("verify views", &views, are_true && self.counts.mirror_rows > 0),
            ("replay views", &replay, replay.1["equal"] == true),
        ] {
            if *code != Some(0) || !holds {
                wrong.push(format!("`plimsoll {what}` ends with {code:?}: {}", shown(report)));
            }
        }
        Ok(wrong)
    }

    fn is_explained(&self, anomaly: &Anomaly) -> bool {
        match (&*anomaly.source, &*anomaly.kind) {
            ("ingest", "endpoint_contradiction") => {
                self.liars().iter().any(|place| names(&anomaly.detail, &self.house.proxies[*place].name()))
            }
            ("fold:views", ON_PURPOSE) => true,
            _ => false,
        }
    }

    fn count_endpoints(&mut self) {
        (self.counts.requests, self.counts.lies) = (0, 0);
        self.counts.faults.clear();
        for tally in self.house.proxies.iter().map(Proxy::tally) {
            self.counts.requests += tally.requests;
            self.counts.lies += tally.lies;
            for (kind, count) in tally.faults {
                *self.counts.faults.entry(kind).or_default() += count;
            }
        }
    }
}

/// How many events there are of each kind: by the contract's first topic.
fn by_kind(events: &[TruthEvent]) -> BTreeMap<Option<B256>, usize> {
    let mut kinds = BTreeMap::new();
    for event in events {
        *kinds.entry(event.topics.first().copied()).or_default() += 1;
    }
    kinds
}

fn shown(report: &Value) -> String {
    report.to_string().chars().take(SHOWN).collect()
}
