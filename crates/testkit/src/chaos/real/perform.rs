//! The story told: one act after the other, while what is due comes to pass.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::stage::Stage;
use super::story::{Act, Story};
use crate::chaos::house::LOOK;

impl Stage {
    /// From the first start of the processes to the last act.
    pub(super) async fn tell(&mut self, story: &Story) -> Result<()> {
        for process in &mut self.house.processes {
            process.start()?;
        }
        for (number, (pause_ms, act)) in story.acts.iter().enumerate() {
            self.pause(Duration::from_millis(*pause_ms)).await?;
            self.house.note(format_args!("{number}. {act:?}"));
            self.perform(act).await.with_context(|| format!("in act {number}, {act:?}"))?;
        }
        Ok(())
    }

    async fn perform(&mut self, act: &Act) -> Result<()> {
        match act {
            Act::Grow { steps, every_ms } => {
                for _ in 0..*steps {
                    self.step().await?;
                    self.pause(Duration::from_millis(*every_ms)).await?;
                }
            }
            Act::Burst { steps, blocks } => {
                let calls = Arc::clone(&self.house.calls);
                let _none = calls.write().await;
                for _ in 0..*steps {
                    self.traffic.send_next(&self.house.node).await?;
                }
                self.house.node.mine(*blocks).await?;
            }
            Act::Reorganise { depth } => {
                let calls = Arc::clone(&self.house.calls);
                let _none = calls.write().await;
                let reorg = self.traffic.reorg(&self.house.node, *depth).await?;
                self.counts.reorgs += u64::from(reorg.depth > 0);
                self.counts.blocks_orphaned += reorg.depth;
                self.house.note(format_args!("   {} blocks above {} replaced", reorg.depth, reorg.ancestor));
            }
            Act::Trouble { place, trouble, permille, ms } => {
                self.house.trouble(*place, *trouble, *permille, *ms);
            }
            Act::Kill { process, down_ms } => self.house.kill(*process, *down_ms)?,
            Act::Freeze { process, ms } => self.house.freeze(*process, *ms)?,
            Act::EndSessions { all } => self.house.end_sessions(*all).await?,
            Act::RestartPostgres { crash } => self.house.restart_postgres(*crash)?,
            Act::Quiet { ms } => self.pause(Duration::from_millis(*ms)).await?,
        }
        self.house.attend().await
    }

    /// A step of traffic, and a block of it.
    pub(super) async fn step(&mut self) -> Result<()> {
        let calls = Arc::clone(&self.house.calls);
        let _none = calls.write().await;
        self.traffic.mine_next(&self.house.node).await?;
        Ok(())
    }

    /// Lets so much time go by.
    pub(super) async fn pause(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.house.attend().await?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(LOOK)).await;
        }
    }

    /// Everything that is still to come comes, and nothing is wrong with anybody any more.
    pub(super) async fn heal(&mut self) -> Result<()> {
        while self.house.has_more() {
            self.pause(LOOK).await?;
        }
        self.house.calm();
        Ok(())
    }
}
