//! What the chain tells of its fees and its head: asked once for all signers of a chain, and for a moment good for all.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_chain::{FeeMarket, Pool, RpcError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::fees::{HISTORY_BLOCKS, REWARD_PERCENTILES};

/// How long an answer is good.
const GOOD_FOR: Duration = Duration::from_millis(500);

/// One moment of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Prices {
    /// What gas costs.
    pub(crate) market: FeeMarket,
    /// The newest block.
    pub(crate) head: u64,
    /// The most gas that a block has.
    pub(crate) block_gas_limit: u64,
}

/// When it was asked, and what was told.
type Answer = (Instant, Arc<Prices>);

/// The fees of one chain. Clones share what was asked last.
#[derive(Clone)]
pub struct Market {
    pool: Pool,
    last: Arc<Mutex<Option<Answer>>>,
}

impl std::fmt::Debug for Market {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.pool.endpoints()).finish()
    }
}

impl Market {
    /// Of the chain behind these endpoints.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self { pool, last: Arc::default() }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What was told last, if it is good still, else what is told now. Those who come meanwhile wait for the same answer.
    pub(crate) async fn look(&self) -> Result<Arc<Prices>, RpcError> {
        let mut last = self.last.lock().await;
        if let Some((asked, prices)) = &*last
            && asked.elapsed() < GOOD_FOR
        {
            return Ok(Arc::clone(prices));
        }
        let asked = Instant::now();
        let ask = |rpc: plimsoll_chain::Rpc| async move {
            let (head, market) =
                futures::try_join!(rpc.head(), rpc.fee_market(HISTORY_BLOCKS, &REWARD_PERCENTILES))?;
            Ok(Prices { market, head: head.number, block_gas_limit: head.gas_limit })
        };
        let prices = Arc::new(self.pool.ask(None, ask).await?);
        *last = Some((asked, Arc::clone(&prices)));
        Ok(prices)
    }
}
