//! The story told: one act after the other, while blocks come, clients are answered, and what is due comes to pass.

use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asked::{Asked, Told};
use super::keys::KEYS;
use super::stage::Stage;
use super::story::{Act, Ask, Story};
use crate::chaos::client::{self, Call, Heard};
use crate::chaos::house::LOOK;
use crate::node;

/// What a call of the API is about: a request, by its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// It is handed in, for the first time or once more.
    Submission { place: usize, is_repeat: bool },
    /// It is handed in with something else in it.
    Conflict { place: usize },
    /// It is called off.
    CallingOff { place: usize },
}

impl Stage {
    /// From the first act to the last.
    pub(super) async fn tell(&mut self, story: &Story) -> Result<()> {
        for (number, (pause_ms, act)) in story.acts.iter().enumerate() {
            self.pause(Duration::from_millis(*pause_ms)).await?;
            self.house.note(format_args!("{number}. {act}"));
            self.perform(act).await.with_context(|| format!("in act {number}, {act}"))?;
        }
        Ok(())
    }

    async fn perform(&mut self, act: &Act) -> Result<()> {
        match act {
            Act::Submit { asks } => self.submit(asks).await?,
            Act::SubmitThroughKill { asks, after_ms, down_ms } => {
                self.submit(asks).await?;
                tokio::time::sleep(Duration::from_millis(*after_ms)).await;
                self.house.kill(self.settings.api(), *down_ms)?;
            }
            Act::Repeat { picks } => self.repeat(picks),
            Act::CallOff { picks } => {
                for pick in picks {
                    let Some(place) = self.pick(*pick) else { continue };
                    let asked = &self.asked[place];
                    if let Some(call) = asked.calling_off(&self.people[asked.ask.tenant]) {
                        self.call(About::CallingOff { place }, call);
                    }
                }
            }
            Act::Stranger { signer, count, empties_pool } => {
                let from = KEYS[*signer].address.parse()?;
                if *empties_pool {
                    self.drop_from_pool(None).await?;
                }
                for _ in 0..*count {
                    let call = node::Call { from, to: Some(from), data: Vec::new().into() };
                    self.strangers.insert(self.house.node.send(&call).await?);
                    self.counts.strangers += 1;
                }
            }
            Act::Dear { gwei } => {
                let fee = format!("{:#x}", gwei * 1_000_000_000);
                self.house.node.raw("anvil_setNextBlockBaseFeePerGas", json!([fee])).await?;
            }
            Act::Reorganise { depth, empties_pool } => {
                let calls = self.house.calls.clone();
                let _none = calls.write().await;
                if *empties_pool {
                    self.house.node.drop_all_transactions().await?;
                }
                self.house.node.reorg(*depth, &[]).await?;
                self.counts.reorgs += 1;
                self.counts.blocks_orphaned += depth;
            }
            Act::DropFromPool { picks } => self.drop_from_pool(picks.as_deref()).await?,
            Act::Trouble { place, trouble, permille, ms } => {
                self.house.trouble(*place, *trouble, *permille, *ms);
            }
            Act::Kill { process, down_ms } => self.house.kill(*process, *down_ms)?,
            Act::Freeze { process, ms } => self.house.freeze(*process, *ms)?,
            Act::EndSessions { all } => self.house.end_sessions(*all).await?,
            Act::RestartPostgres { crash } => self.house.restart_postgres(*crash)?,
            Act::Quiet { ms } => self.pause(Duration::from_millis(*ms)).await?,
        }
        self.attend().await
    }

    /// Hands these in, all at once.
    pub(super) async fn submit(&mut self, asks: &[Ask]) -> Result<()> {
        let head = self.house.node.block_number().await?;
        for ask in asks {
            let person = &self.people[ask.tenant];
            let asked = Asked::new(*ask, person, self.chain_id, self.counter, head);
            let (place, call) = (self.asked.len(), asked.submission(person));
            self.asked.push(asked);
            self.counts.requests += 1;
            self.call(About::Submission { place, is_repeat: false }, call);
        }
        Ok(())
    }

    fn repeat(&mut self, picks: &[u64]) {
        for pick in picks {
            let Some(place) = self.pick(*pick) else { continue };
            let asked = &self.asked[place];
            let person = &self.people[asked.ask.tenant];
            let (about, call) = match pick % 3 {
                0 => (About::Submission { place, is_repeat: true }, asked.submission(person)),
                1 => (About::Submission { place, is_repeat: true }, asked.repetition(person)),
                // What is not on record yet could come to be, with something else in it.
                _ if asked.transaction_id.is_none() => continue,
                _ => (About::Conflict { place }, asked.conflict(person)),
            };
            self.call(about, call);
        }
    }

    /// Hands in once more what was handed in, under its first key, and waits for the answers; how many there were.
    pub(super) async fn hand_in_again(&mut self) -> Result<u64> {
        let before = self.counts.repeats;
        for place in 0..self.asked.len() {
            let asked = &self.asked[place];
            let call = asked.submission(&self.people[asked.ask.tenant]);
            self.call(About::Submission { place, is_repeat: true }, call);
        }
        while !self.calls.is_empty() {
            self.pause(LOOK).await?;
        }
        Ok(self.counts.repeats - before)
    }

    fn pick(&self, pick: u64) -> Option<usize> {
        usize::try_from(pick.checked_rem(self.asked.len() as u64)?).ok()
    }

    fn call(&mut self, about: About, call: Call) {
        let base = self.house.processes[self.settings.api()].url();
        let asking = client::ask(self.http.clone(), vec![base], call);
        self.calls.spawn(async move { (about, asking.await) });
    }

    async fn drop_from_pool(&mut self, picks: Option<&[u64]>) -> Result<()> {
        let content: Value = self.house.node.raw("txpool_content", json!([])).await?;
        let waiting: Vec<B256> = ["pending", "queued"]
            .iter()
            .filter_map(|part| content[part].as_object())
            .flat_map(|senders| senders.values().filter_map(Value::as_object))
            .flat_map(|nonces| nonces.values().filter_map(|tx| tx["hash"].as_str()?.parse().ok()))
            .collect();
        if picks.is_none() {
            self.house.node.drop_all_transactions().await?;
            self.counts.dropped_from_pool += waiting.len() as u64;
            return Ok(());
        }
        for pick in picks.into_iter().flatten() {
            let Some(place) = pick.checked_rem(waiting.len() as u64) else { break };
            let dropped = self.house.node.drop_transaction(waiting[usize::try_from(place)?]).await?;
            self.counts.dropped_from_pool += u64::from(dropped);
        }
        Ok(())
    }

    /// Lets so much time go by.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.attend().await?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Does what is due, makes the block whose time has come, and takes what clients were answered.
    pub(super) async fn attend(&mut self) -> Result<()> {
        self.house.attend().await?;
        if Instant::now() >= self.next_block {
            self.house.mine(1).await?;
            self.block_made = Instant::now();
            self.next_block = self.block_made + Duration::from_millis(self.settings.block_ms);
        }
        while let Some(answered) = self.calls.try_join_next() {
            let (about, told) = answered.context("a client panicked")?;
            self.take(about, told?)?;
        }
        Ok(())
    }

    fn take(&mut self, about: About, Told { heard, retries }: Told) -> Result<()> {
        self.counts.retries += retries;
        match (about, heard) {
            (About::Submission { place, is_repeat }, Heard::Accepted(found)) => {
                let asked = &mut self.asked[place];
                let request_id = asked.ask.request_id;
                ensure!(
                    found.request_id == request_id,
                    "{request_id} is answered with the request {}",
                    found.request_id
                );
                let first = *asked.transaction_id.get_or_insert(found.transaction_id);
                if first != found.transaction_id {
                    let then = found.transaction_id;
                    self.contradictions.push(format!(
                        "the request {request_id} was answered with transaction {first}, and then with {then}"
                    ));
                }
                self.counts.repeats += u64::from(is_repeat);
            }
            (About::Submission { place, .. }, Heard::Refused(why)) => {
                let request_id = self.asked[place].ask.request_id;
                self.contradictions.push(format!("the request {request_id} is refused: {why}"));
            }
            (About::Conflict { .. }, Heard::Refused(_)) => self.counts.conflicts += 1,
            (About::Conflict { place }, Heard::Accepted(found)) => {
                let (request_id, id) = (self.asked[place].ask.request_id, found.transaction_id);
                self.contradictions.push(format!(
                    "the request {request_id}, with something else in it, is answered with transaction {id}"
                ));
            }
            (About::CallingOff { place }, Heard::Accepted(_)) => {
                self.asked[place].is_called_off = true;
                self.counts.called_off += 1;
            }
            // It has ended, or its end was asked for before: also by a call that was not answered.
            (About::CallingOff { place }, Heard::Refused(why)) => {
                self.asked[place].is_called_off |= why.contains("is to be cancelled already");
            }
        }
        Ok(())
    }
}
