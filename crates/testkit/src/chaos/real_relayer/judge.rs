//! What a run left, held against the chain, which is read from the node itself and never through the endpoints.
//!
//! Everything that is wrong is told, each promise by itself:
//! - the contract counted no request more than once, and each exactly once unless its end says why not, and rightly so;
//! - each request that was handed in was answered with one transaction, which is there, and there is no other;
//! - nothing is under way, and no nonce that was given is unused;
//! - what a request's row says of its inclusion is in that block of the chain, and what the chain has of a signer is an attempt, or a stranger's;
//! - whatever was sent to any endpoint was committed before, byte for byte.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::{B256, keccak256};
use anyhow::Result;
use plimsoll_relayer::post::lease_name;
use plimsoll_relayer::request::SignerId;
use serde_json::json;
use sqlx::Connection as _;
use uuid::Uuid;

use super::asked::Asked;
use super::chain::Sent;
use super::keys::KEYS;
use super::repo::{self, Attempt, Managed};
use super::stage::Stage;
use crate::chaos::house::Proxy;

impl Stage {
    /// Everything that is wrong; empty if nothing is. What was looked at is counted.
    pub(super) async fn judge(&mut self) -> Result<Vec<String>> {
        let mut conn = self.house.connect().await?;
        let (managed, attempts) = (repo::managed(&mut conn).await?, repo::attempts(&mut conn).await?);
        let sent = self.sent().await?;
        let mut wrong = self.contradictions.clone();
        wrong.extend(self.judge_requests(&managed).await?);
        wrong.extend(rows(&managed, &sent, &attempts));
        wrong.extend(self.judge_senders(&sent, &attempts));
        wrong.extend(self.judge_broadcasts(&attempts));
        self.counts.takeovers = 0;
        for sealed in KEYS.iter().take(self.settings.requeues.len()) {
            let signer = sealed.address;
            let lease = lease_name(SignerId { chain_id: self.chain_id, address: signer.parse()? });
            let (next, taken) = repo::signer(&mut conn, self.chain_id, signer, &lease).await?;
            self.counts.takeovers += taken.saturating_sub(1);
            wrong.extend(self.judge_nonces(signer, next).await?);
        }
        conn.close().await?;
        self.count(&managed, &attempts);
        Ok(wrong)
    }

    async fn judge_requests(&mut self, managed: &[Managed]) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let of_tenants = managed.iter().filter(|row| row.tenant_id.is_some());
        let mut rows: BTreeMap<Uuid, Vec<&Managed>> = BTreeMap::new();
        of_tenants.for_each(|row| rows.entry(row.request_id).or_default().push(row));
        self.counts.effects = 0;
        for asked in &self.asked {
            let request_id = asked.ask.request_id;
            let effects = self.effects(request_id).await?;
            self.counts.effects += effects;
            if effects > 1 {
                wrong.push(format!("the request {request_id} took effect {effects} times"));
            }
            let found = rows.remove(&request_id).unwrap_or_default();
            let [row] = found[..] else {
                wrong.push(format!("of the request {request_id} there are {} transactions", found.len()));
                continue;
            };
            if asked.transaction_id != Some(row.id) {
                let told = asked.transaction_id;
                wrong.push(format!(
                    "the request {request_id} was answered with {told:?}, and is transaction {}",
                    row.id
                ));
            }
            if let Err(why) = self.is_right(asked, row, effects) {
                wrong.push(format!("the request {request_id} ({:?}) {why}: {row:?}", asked.ask.kind));
            }
        }
        let unasked = rows.keys().map(|id| format!("nobody asked for the request {id}"));
        wrong.extend(unasked);
        Ok(wrong)
    }

    /// Whether this is how the request may have ended.
    fn is_right(&self, asked: &Asked, row: &Managed, effects: u64) -> Result<(), String> {
        let expected = u64::from(row.state == "confirmed");
        if effects != expected {
            return Err(format!("is {} and took effect {effects} times", row.state));
        }
        let may_be_so = match &*row.state {
            "confirmed" => row.succeeded == Some(true),
            "failed" => asked.reverts(),
            "cancelled" => asked.is_called_off,
            "expired" => asked.may_expire(),
            "replaced" => !self.settings.requeues[asked.ask.signer],
            _ => return Err("has not ended".to_owned()),
        };
        if !may_be_so {
            return Err(format!("is {} without a reason", row.state));
        }
        if row.state != "confirmed" && row.end_why.is_none() {
            return Err("does not say why it ended".to_owned());
        }
        if row.nonce.is_some() && !row.is_final {
            return Err("has ended for good in no final block".to_owned());
        }
        Ok(())
    }

    /// What the chain has of the signers.
    fn judge_senders(&mut self, sent: &Sent, attempts: &[Attempt]) -> Vec<String> {
        let ours: BTreeSet<B256> = attempts.iter().map(|attempt| attempt.tx_hash).collect();
        let of_strangers = sent.values().filter(|included| self.strangers.contains(&included.tx_hash));
        self.counts.strangers_on_chain = of_strangers.count() as u64;
        sent.iter()
            .filter(|(_, included)| {
                !ours.contains(&included.tx_hash) && !self.strangers.contains(&included.tx_hash)
            })
            .map(|((signer, nonce), included)| {
                format!("nonce {nonce} of {signer} was used by {}, which nobody sent", included.tx_hash)
            })
            .collect()
    }

    /// Whatever was sent to an endpoint.
    fn judge_broadcasts(&mut self, attempts: &[Attempt]) -> Vec<String> {
        let committed: HashMap<B256, &Attempt> =
            attempts.iter().map(|attempt| (attempt.tx_hash, attempt)).collect();
        let altered = attempts
            .iter()
            .filter(|attempt| keccak256(&attempt.raw) != attempt.tx_hash)
            .map(|attempt| format!("the bytes of {} are not its own", attempt.tx_hash));
        let mut wrong: Vec<String> = altered.collect();
        let mut broadcasts = HashMap::new();
        for (hash, at) in self.house.proxies.iter().flat_map(Proxy::broadcasts) {
            let first = broadcasts.entry(hash).or_insert(at);
            *first = at.min(*first);
        }
        self.counts.broadcasts = broadcasts.len() as u64;
        for (hash, at) in broadcasts {
            match committed.get(&hash) {
                None => wrong.push(format!("{hash} was sent and is no attempt that was committed")),
                Some(attempt) if attempt.committed_at > at => {
                    wrong.push(format!("{hash} was sent before it was committed"));
                }
                Some(_) => {}
            }
        }
        wrong
    }

    async fn judge_nonces(&self, signer: &str, next: u64) -> Result<Vec<String>> {
        let of = |tag| self.house.node.quantity("eth_getTransactionCount", json!([signer, tag]));
        let (latest, pending) = (of("latest").await?, of("pending").await?);
        let mut wrong = Vec::new();
        if latest < next {
            wrong.push(format!("{signer} was given nonces up to {next}, and the chain has used {latest}"));
        }
        if pending != latest {
            wrong.push(format!("transactions of {signer} wait: {latest} are used, {pending} with those"));
        }
        Ok(wrong)
    }

    fn count(&mut self, managed: &[Managed], attempts: &[Attempt]) {
        let of_state = |state: &str| {
            let rows = managed.iter().filter(|row| row.tenant_id.is_some() && row.state == state);
            rows.count() as u64
        };
        let of_purpose =
            |purpose: &str| attempts.iter().filter(|attempt| attempt.purpose == purpose).count() as u64;
        let mut nonces: BTreeMap<Uuid, BTreeSet<u64>> = BTreeMap::new();
        for attempt in attempts {
            nonces.entry(attempt.transaction_id).or_default().insert(attempt.nonce);
        }
        self.counts.confirmed = of_state("confirmed");
        self.counts.reverted = of_state("failed");
        self.counts.cancelled = of_state("cancelled");
        self.counts.expired = of_state("expired");
        self.counts.replaced = of_state("replaced");
        self.counts.attempts = attempts.len() as u64;
        self.counts.bumps = of_purpose("bump");
        self.counts.cancels = of_purpose("cancel");
        self.counts.fills = managed.iter().filter(|row| row.tenant_id.is_none()).count() as u64;
        self.counts.requeued = nonces.values().filter(|nonces| nonces.len() > 1).count() as u64;
        self.counts.rpc_requests = 0;
        self.counts.faults.clear();
        for tally in self.house.proxies.iter().map(Proxy::tally) {
            self.counts.rpc_requests += tally.requests;
            for (kind, count) in tally.faults {
                *self.counts.faults.entry(kind).or_default() += count;
            }
        }
    }
}

/// What the rows say of the chain.
fn rows(managed: &[Managed], sent: &Sent, attempts: &[Attempt]) -> Vec<String> {
    let ours: HashMap<B256, &Attempt> = attempts.iter().map(|attempt| (attempt.tx_hash, attempt)).collect();
    let mut wrong = Vec::new();
    for row in managed {
        let Some(nonce) = row.nonce else { continue };
        let on_chain = sent.get(&(row.signer.clone(), nonce));
        let told = (row.tx_hash, row.block_hash, row.succeeded);
        if on_chain.map(|of| (Some(of.tx_hash), Some(of.block_hash), Some(of.succeeded))) != Some(told) {
            wrong.push(format!("the chain has {on_chain:?} where there should be {row:?}"));
        }
        let attempt = row.tx_hash.and_then(|hash| ours.get(&hash));
        let is_own = attempt.is_some_and(|attempt| attempt.transaction_id == row.id);
        if is_own != row.attempt.is_some() || attempt.map(|of| &of.purpose) != row.purpose.as_ref() {
            wrong.push(format!("the attempts do not say whose it was: {attempt:?}, {row:?}"));
        }
    }
    wrong
}
