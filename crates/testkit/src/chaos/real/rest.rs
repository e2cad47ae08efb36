//! Waiting until nothing moves any more, with a reason for each moment of it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use super::repo;
use super::stage::Stage;
use super::story::Story;
use crate::chaos::house::{Process, Proxy};
use crate::demo::status::covers;
use crate::traffic::Scenario;

/// A machine with much else to do takes its time; what has not come to pass by then is taken for stuck.
const RESTS_WITHIN: Duration = Duration::from_secs(240);
/// A liar that was caught is passed over for a minute, and asked again after that.
const NAMED_WITHIN: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(100);
/// A liar is given something new to lie about so often.
const NEW_BLOCK_EACH: Duration = Duration::from_millis(500);
/// Blocks that come when all is well again.
const LAST_BLOCKS: u32 = 2;

impl Stage {
    /// All faults end; whoever lied is named; and the processes come to where the chain is.
    pub(super) async fn rest(&mut self, story: &Story) -> Result<()> {
        self.heal().await?;
        self.house.note("all is well");
        let began = Instant::now();
        self.name_liars().await?;
        self.house.proxies.iter().for_each(|proxy| proxy.lie(0));
        if story.has_last_blocks {
            for _ in 0..LAST_BLOCKS {
                self.step().await?;
            }
        }
        self.settle().await?;
        self.house.note("at rest");
        self.counts.rest_ms_max = u64::try_from(began.elapsed().as_millis())?;
        Ok(())
    }

    /// Waits until every process shows the node's head as its own, all of it folded, what is deep enough final, and calls itself ready.
    async fn settle(&mut self) -> Result<()> {
        let (began, mut noted) = (Instant::now(), String::new());
        while let Some(missing) = self.missing().await? {
            self.house.attend().await?;
            // What is waited for, without how far it has come.
            let what: String = missing.chars().take_while(|c| !c.is_ascii_digit()).collect();
            if what != noted {
                self.house.note(format_args!("   waiting for {what}…"));
                noted = what;
            }
            if began.elapsed() > RESTS_WITHIN {
                bail!(
                    "it did not come to rest within {RESTS_WITHIN:?} of the last fault: waited for {missing}"
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// What is to come yet, in words.
    async fn missing(&self) -> Result<Option<String>> {
        let head = self.house.node.block_number().await?;
        let hash =
            self.house.node.block_hash(head).await?.context("the node has no block at its own head")?;
        for process in &self.house.processes {
            let name = process.name();
            let chain = match process.chain().await {
                Ok(chain) => chain,
                Err(error) => return Ok(Some(format!("the API of the {name} process: {error:#}"))),
            };
            let deep = head.checked_sub(self.settings.finality_depth);
            let what = if !covers(&chain, hash) {
                format!("journal and folds to cover block {head} {hash}")
            } else if deep.is_some_and(|deep| chain.final_number.is_none_or(|number| number < deep)) {
                format!("block {deep:?} to be final")
            } else {
                match process.readiness().await {
                    Ok((true, _)) => continue,
                    Ok((false, why)) => format!("it to be ready: {why}"),
                    Err(error) => format!("its readiness: {error:#}"),
                }
            };
            let shown = serde_json::to_string(&chain)?;
            return Ok(Some(format!("{what}, as the {name} process shows it: {shown}")));
        }
        Ok(None)
    }

    /// Every liar is asked, and nobody else, until he is named.
    async fn name_liars(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut next_block = Instant::now();
        loop {
            let unnamed = self.unnamed_liars().await?;
            if unnamed.is_empty() {
                break;
            }
            for (place, proxy) in self.house.proxies.iter().enumerate() {
                if unnamed.contains(&place) {
                    proxy.lie(1_000);
                } else {
                    proxy.reserve();
                }
            }
            if began.elapsed() > NAMED_WITHIN {
                bail!(
                    "endpoint {unnamed:?} lies, and was not named within {NAMED_WITHIN:?} of the last fault"
                );
            }
            if Instant::now() >= next_block {
                self.deposit().await?;
                next_block = Instant::now() + NEW_BLOCK_EACH;
            }
            self.pause(POLL).await?;
        }
        self.house.proxies.iter().for_each(Proxy::calm);
        self.counts.liars_named = self.liars().len() as u64;
        Ok(())
    }

    /// Places of the endpoints that lied.
    pub(super) fn liars(&self) -> Vec<usize> {
        let lied = self.house.proxies.iter().enumerate().filter(|(_, proxy)| proxy.tally().lies > 0);
        lied.map(|(place, _)| place).collect()
    }

    /// A liar is named by an anomaly; in the log too, where the process or the database was disturbed as the anomaly was to be kept.
    async fn unnamed_liars(&self) -> Result<Vec<usize>> {
        let liars: Vec<_> =
            (0..).zip(&self.settings.lies_permille).filter(|(_, permille)| **permille > 0).collect();
        if liars.is_empty() {
            return Ok(Vec::new());
        }
        let anomalies =
            repo::anomalies(&mut self.house.connect().await?, self.chain_id().cast_signed()).await?;
        let logs: String = self.house.processes.iter().map(Process::log).collect();
        let is_disturbed = self.house.disturbed.is_some() || self.house.blows.kills > 0;
        let is_named = |name: &str| {
            let kept = anomalies.iter().any(|anomaly| names(&anomaly.detail, name));
            let logged = |line: &str| line.contains("contradicts itself") && line.contains(name);
            kept || (is_disturbed && logs.lines().any(logged))
        };
        Ok(liars
            .into_iter()
            .map(|(place, _)| place)
            .filter(|place| !is_named(&self.house.proxies[*place].name()))
            .collect())
    }

    /// A block with events of several kinds.
    async fn deposit(&mut self) -> Result<()> {
        let calls = Arc::clone(&self.house.calls);
        let _none = calls.write().await;
        for call in self.traffic.step(Scenario::Deposit).calls {
            self.house.node.send(&call).await?;
        }
        self.house.node.mine(1).await?;
        Ok(())
    }
}

/// Whether an anomaly's detail is about the endpoint of this name.
pub(super) fn names(detail: &Value, endpoint: &str) -> bool {
    detail["endpoint"].as_str() == Some(endpoint)
}
