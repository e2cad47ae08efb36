//! What a run left, held against what clients were told and what the node says.
//!
//! Everything that is wrong is told, each promise by itself:
//! - what was answered is on record once, with that posting and that checksum, and with the lines that were offered; what was given up is there once or not at all; and nobody has what nobody offered;
//! - what a rule is about is booked once from the blocks that are deep enough, and what left the chain is taken back;
//! - the laws of the books: sums of nothing, balances that are their lines', one event a posting, a log without a gap that is signed to its end;
//! - `plimsoll verify ledger` finds nothing, and `plimsoll verify balances` finds every balance to be the chain's to the last unit.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::U256;
use anyhow::Result;
use plimsoll_types::hash_text;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::clients::Offered;
use super::repo::{self, LAWS, Recorded};
use super::stage::Stage;
use crate::chaos::people::{TENANTS, tenant_id};

/// So many that break one law are named.
const NAMED: usize = 5;

impl Stage {
    /// Everything that is wrong; empty if nothing is. What was looked at is counted.
    pub(super) async fn judge(&mut self) -> Result<Vec<String>> {
        let mut conn = self.house.connect().await?;
        let tenants: Vec<_> = (0..TENANTS.len()).map(tenant_id).collect();
        let recorded = repo::recorded(&mut conn, &tenants).await?;
        let mut wrong = self.book.contradictions.clone();
        wrong.extend(self.judge_offers(recorded));
        for (what, law) in LAWS {
            let broken = repo::broken(&mut conn, law).await?;
            wrong.extend(broken.iter().take(NAMED).map(|which| format!("{which} {what}")));
            if broken.len() > NAMED {
                wrong.push(format!("and so {} others: each {what}", broken.len() - NAMED));
            }
        }
        wrong.extend(self.judge_chain(&mut conn).await?);
        (self.counts.sealed, self.counts.checkpoints) = repo::sealed(&mut conn).await?;
        conn.close().await?;
        wrong.extend(self.ask_the_commands().await?);
        Ok(wrong)
    }

    fn judge_offers(&mut self, mut recorded: HashMap<Uuid, Vec<Recorded>>) -> Vec<String> {
        let (book, counts) = (&self.book, &mut self.counts);
        let mut wrong = Vec::new();
        counts.offered = book.offered.len() as u64;
        (counts.retries, counts.repeats, counts.conflicts) = (book.retries, book.repeats, book.conflicts);
        (counts.answered, counts.reversals, counts.given_up, counts.given_up_and_booked) = (0, 0, 0, 0);
        for offered in &book.offered {
            counts.reversals += u64::from(offered.reverses.is_some());
            counts.answered += u64::from(offered.answer.is_some());
            let request_id = offered.request_id;
            let found = recorded.remove(&request_id).unwrap_or_default();
            match (&found[..], offered.answer) {
                ([], None) => counts.given_up += 1,
                ([row], answer) => {
                    if answer.is_none() {
                        (counts.given_up, counts.given_up_and_booked) =
                            (counts.given_up + 1, counts.given_up_and_booked + 1);
                    }
                    if let Some(why) = differs(offered, row) {
                        wrong.push(format!("the request {request_id} {why}"));
                    }
                }
                ([], Some((posting_id, _))) => {
                    wrong.push(format!(
                        "the request {request_id} was answered with {posting_id}, and is lost"
                    ));
                }
                (rows, _) => {
                    let ids: Vec<_> = rows.iter().map(|row| row.posting_id).collect();
                    wrong.push(format!("the request {request_id} is on record {} times: {ids:?}", ids.len()));
                }
            }
        }
        wrong.extend(
            recorded.into_keys().map(|request_id| format!("nobody offered the request {request_id}")),
        );
        wrong
    }

    async fn judge_chain(&mut self, conn: &mut PgConnection) -> Result<Vec<String>> {
        let through = self.deep_enough().await?;
        let (mut missing, mut wrong) = (self.occasions(through).await?, Vec::new());
        (self.counts.booked, self.counts.taken_back) = (0, 0);
        self.counts.blocks = self.house.node.block_number().await? + 1;
        for ((tx_hash, log_index), is_taken_back) in repo::booked(conn).await? {
            self.counts.booked += 1;
            if is_taken_back {
                self.counts.taken_back += 1;
            } else if !missing.remove(&(tx_hash, log_index)) {
                let what = log_index.map_or("gas".into(), |index| format!("log {index}"));
                wrong.push(format!("{} {what} is booked twice, or is not on the chain", hash_text(&tx_hash)));
            }
        }
        wrong.extend(missing.into_iter().map(|(tx_hash, log_index)| {
            let what = log_index.map_or("gas".into(), |index| format!("log {index}"));
            format!("{} {what} is on the chain, and is not booked", hash_text(&tx_hash))
        }));

        let holders = repo::holders(conn).await?;
        let unexplained: BTreeMap<_, _> = self
            .unexplained(&holders)
            .await?
            .into_iter()
            .filter(|(_, amount)| !amount.is_zero())
            .map(|(token, amount): (_, U256)| (token, amount.to_string()))
            .collect();
        let held = repo::suspense(conn).await?;
        let held: BTreeMap<_, _> = held.into_iter().filter(|(_, amount)| amount != "0").collect();
        if held != unexplained {
            wrong.push(format!("in suspense is {held:?}, and without a cause is {unexplained:?}"));
        }
        Ok(wrong)
    }

    /// What an operator is told.
    async fn ask_the_commands(&mut self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let (code, report) = self.house.processes[0].command(&["verify", "ledger"]).await?;
        let of_tenants = report.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_whole = |of: &Value| of["waiting"] == 0 && of["unchecked_signatures"] == 0;
        if code != Some(0) || of_tenants.len() <= TENANTS.len() || !of_tenants.iter().all(is_whole) {
            wrong.push(format!("`plimsoll verify ledger` ends with {code:?}: {report}"));
        }
        let (code, report) = self.balances().await?;
        self.counts.balances_equal = report["equal"].as_u64().unwrap_or_default();
        if code != Some(0) || self.counts.balances_equal == 0 {
            wrong.push(format!("`plimsoll verify balances` ends with {code:?}: {report}"));
        }
        Ok(wrong)
    }

    /// The books against the chain, to the last unit.
    pub(super) async fn balances(&self) -> Result<(Option<i32>, Value)> {
        self.house.processes[0].command(&["verify", "balances", "--tolerance", "0"]).await
    }
}

/// In what a posting on record is not what was offered, and answered.
fn differs(offered: &Offered, row: &Recorded) -> Option<String> {
    let amount = i128::from(offered.amount);
    let lines = [(offered.debit, amount), (offered.credit, -amount)];
    let same_lines = row.lines.len() == lines.len() && lines.iter().all(|line| row.lines.contains(line));
    let same_kind = (row.tenant_id, &*row.operation_type, row.reverses)
        == (offered.tenant_id, offered.operation_type, offered.reverses);
    if !same_lines || !same_kind {
        return Some(format!("was offered as {offered:?}, and is on record as {row:?}"));
    }
    let told = (row.posting_id, row.checksum);
    offered
        .answer
        .filter(|answer| *answer != told)
        .map(|answer| format!("was answered with {answer:?}, and is on record as {told:?}"))
}
