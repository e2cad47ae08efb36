//! Waiting until nothing is under way any more, with a reason for each moment of it.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use plimsoll_types::hash_text;
use tokio::time::Instant;

use super::repo;
use super::stage::Stage;
use crate::chaos::house::LOOK;

/// A machine with much else to do takes its time; what has not come to pass by then is taken for stuck.
const RESTS_WITHIN: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(200);

impl Stage {
    /// All faults end, clients get their last answers, the last events get deep enough; and everything is booked, compared, sealed and signed.
    pub(super) async fn rest(&mut self) -> Result<()> {
        while self.house.has_more() {
            self.pause(LOOK).await?;
        }
        self.quieten();
        self.house.note("all is well");
        let (began, mut noted) = (Instant::now(), String::new());
        while self.asking() > 0 {
            self.pause(LOOK).await?;
        }
        self.house.mine(self.settings.confirmations + 1).await?;
        while let Some(missing) = self.missing().await? {
            self.pause(POLL).await?;
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
        }
        self.house.note("at rest");
        self.counts.rest_ms_max = u64::try_from(began.elapsed().as_millis())?;
        Ok(())
    }

    /// The block that everything that is deep enough is at or below.
    pub(super) async fn deep_enough(&self) -> Result<u64> {
        Ok(self.house.node.block_number().await?.saturating_sub(self.settings.confirmations))
    }

    /// What is to come yet, in words.
    async fn missing(&self) -> Result<Option<String>> {
        let number = self.deep_enough().await?;
        let hash = self.house.node.block_hash(number).await?.context("the node has its own blocks")?;
        let mut conn = self.house.connect().await?;
        let stands = repo::stands(&mut conn).await?;
        if stands != Some((number, hash)) {
            let stands = stands.map(|(number, hash)| format!("{number} {}", hash_text(&hash)));
            return Ok(Some(format!("the books to stand at {number}: they stand at {stands:?}")));
        }
        for process in &self.house.processes {
            let name = process.name();
            match process.readiness().await {
                Ok((true, _)) => {}
                Ok((false, why)) => return Ok(Some(format!("{name} to be ready: {why}"))),
                Err(error) => return Ok(Some(format!("the readiness of {name}: {error:#}"))),
            }
        }
        match self.balances().await {
            Ok((Some(0), _)) => {}
            Ok((_, report)) => return Ok(Some(format!("the books to agree with the chain: {report}"))),
            Err(error) => {
                return Ok(Some(format!("the books to be compared with the chain: {error:#}")));
            }
        }
        // Last: what has no cause is booked by whoever compares, and is to be sealed as well.
        Ok(repo::waiting(&mut conn).await?)
    }
}
