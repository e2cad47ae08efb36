//! Waiting until nothing is under way any more, with a reason for each moment of it.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::time::Instant;

use super::keys::KEYS;
use super::repo;
use super::stage::Stage;
use super::story::Story;
use crate::chaos::house::LOOK;

/// A machine with much else to do takes its time; what has not come to pass by then is taken for stuck.
const RESTS_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

impl Stage {
    /// All faults end, each signer is asked once more, and everything comes to its end while blocks go on.
    pub(super) async fn rest(&mut self, story: &Story) -> Result<()> {
        while self.house.has_more() {
            self.pause(LOOK).await?;
        }
        self.house.calm();
        self.house.note("all is well");
        let (began, mut noted) = (Instant::now(), String::new());
        self.submit(&story.last).await?;
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

    /// What is to come yet, in words.
    async fn missing(&self) -> Result<Option<String>> {
        if !self.calls.is_empty() {
            return Ok(Some(format!("answers of the API: {} calls", self.calls.len())));
        }
        let mut conn = self.house.connect().await?;
        if let Some(open) = repo::open(&mut conn).await? {
            return Ok(Some(open));
        }
        for sealed in KEYS.iter().take(self.settings.requeues.len()) {
            let params = json!([sealed.address, "latest"]);
            let used = self.house.node.quantity("eth_getTransactionCount", params).await?;
            let known = repo::consumed_next(&mut conn, self.chain_id, sealed.address).await?;
            if used != known {
                let signer = sealed.address;
                return Ok(Some(format!("the journal to see what {signer} used: {known} of {used} nonces")));
            }
        }
        for process in &self.house.processes {
            let name = process.name();
            match process.readiness().await {
                Ok((true, _)) => {}
                Ok((false, why)) => return Ok(Some(format!("{name} to be ready: {why}"))),
                Err(error) => return Ok(Some(format!("the readiness of {name}: {error:#}"))),
            }
        }
        Ok(None)
    }
}
