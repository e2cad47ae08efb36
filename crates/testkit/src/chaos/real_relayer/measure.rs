//! How long it takes in real processes when nothing else goes wrong: until another takes over from one that was killed, and until what is deep enough is told to be confirmed.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use plimsoll_relayer::post::lease_name;
use plimsoll_relayer::request::SignerId;
use tokio::time::Instant;
use uuid::Uuid;

use super::keys::KEYS;
use super::repo;
use super::stage::Stage;
use super::story::{Ask, Kind, Settings};

/// What has not come to pass by then never will.
pub(super) const HANGS_AFTER: Duration = Duration::from_secs(120);
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// As it is shipped, but for what is asked for here.
pub(super) fn settings(confirmations: u64, block_ms: u64) -> Settings {
    Settings {
        endpoints: 1,
        nodes: 2,
        api_sends: false,
        requeues: vec![true],
        window: 64,
        confirmations,
        finality_depth: 64,
        lease_term_ms: plimsoll_store::DEFAULT_TERM.as_secs() * 1_000,
        // As for a chain with a block a second.
        poll_ms: 100,
        request_timeout_ms: 10_000,
        policy_interval_ms: 1_000,
        resend_after_blocks: 3,
        bump_after_blocks: 6,
        block_ms,
    }
}

pub(super) fn ask() -> Ask {
    let kind = Kind::Count { has_limit: true };
    Ask { request_id: Uuid::new_v4(), kind, tenant: 0, signer: 0, priority: 0 }
}

/// The process that works the only signer is killed, so many times; for each, how long it took from then until a request that was handed in at that moment is in a block.
///
/// # Errors
/// Something could not be run, or nobody took over.
pub(crate) async fn takeovers(program: &Path, rounds: usize) -> Result<Vec<Duration>> {
    let mut stage = Stage::set(1, &settings(1, 100), program).await?;
    let mut took = Vec::new();
    for _ in 0..rounds {
        // Somebody works it, or there would be nobody to kill.
        stage.until_counted(ask()).await?;
        let place = stage.working().await?;
        let killed = Instant::now();
        ensure!(stage.house.processes[place].kill()?, "whoever works the signer runs");
        stage.until_counted(ask()).await?;
        took.push(killed.elapsed());
        ensure!(stage.working().await? != place, "another process works the signer");
        stage.house.processes[place].start()?;
        // It stands by again before the other one is killed.
        stage
            .until("the killed process to stand by", async |stage| {
                Ok(stage.house.processes[place].readiness().await.is_ok_and(|(is_ready, _)| is_ready))
            })
            .await?;
    }
    stage.end().await?;
    Ok(took)
}

/// Requests are handed in, a block a second; for each, how long after the block that is so many above its own was made it is told to be confirmed.
///
/// # Errors
/// Something could not be run, or was not confirmed.
pub(crate) async fn excess_over_confirmations(
    program: &Path,
    confirmations: u64,
    requests: usize,
) -> Result<Vec<Duration>> {
    let mut stage = Stage::set(1, &settings(confirmations, 1_000), program).await?;
    let mut waiting = Vec::new();
    for _ in 0..requests {
        let asked = ask();
        stage.until_counted(asked).await?;
        waiting.push(asked.request_id);
    }
    let mut conn = stage.house.connect().await?;
    let mut excess = Vec::new();
    for request_id in waiting {
        let until = Instant::now() + HANGS_AFTER;
        let number = loop {
            stage.attend().await?;
            if let Some(number) = repo::block_of(&mut conn, request_id).await? {
                break number;
            }
            ensure!(Instant::now() < until, "{request_id} is in no block");
            tokio::time::sleep(LOOK).await;
        };
        // This task makes the blocks, so it knows when each was made.
        while stage.house.node.block_number().await? < number + confirmations {
            stage.attend().await?;
            tokio::time::sleep(LOOK).await;
        }
        let deep_enough = stage.block_made;
        while !repo::is_confirmed(&mut conn, request_id).await? {
            ensure!(Instant::now() < until, "{request_id} is not confirmed");
            tokio::time::sleep(LOOK).await;
        }
        excess.push(deep_enough.elapsed());
    }
    drop(conn);
    stage.end().await?;
    Ok(excess)
}

impl Stage {
    /// The place of the process that works the only signer.
    pub(super) async fn working(&self) -> Result<usize> {
        let signer = SignerId { chain_id: self.chain_id, address: KEYS[0].address.parse()? };
        let holder = repo::holder(&mut self.house.connect().await?, &lease_name(signer)).await?;
        let pid = holder.rsplit(':').next().and_then(|pid| pid.parse().ok());
        let place = self.house.processes.iter().position(|process| process.pid() == pid);
        place.with_context(|| format!("{holder} works the signer, and is no process of ours"))
    }

    /// Hands a request in, and waits until the contract has counted it.
    pub(super) async fn until_counted(&mut self, ask: Ask) -> Result<()> {
        self.submit(&[ask]).await?;
        self.until("a request to be counted", async |stage| Ok(stage.effects(ask.request_id).await? > 0))
            .await
    }

    async fn until(&mut self, what: &str, is_so: impl AsyncFn(&Self) -> Result<bool>) -> Result<()> {
        let until = Instant::now() + HANGS_AFTER;
        while !is_so(self).await? {
            if Instant::now() > until {
                bail!("waited {HANGS_AFTER:?} for {what}");
            }
            self.attend().await?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
