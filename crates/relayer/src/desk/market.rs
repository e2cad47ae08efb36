//! What the chain tells of its fees and its head: asked once for all signers of a chain, and for a moment good for all.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_chain::{FeeMarket, Pool, RpcError};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::fees::{HISTORY_BLOCKS, REWARD_PERCENTILES};

/// How long an answer is new.
const NEW_FOR: Duration = Duration::from_millis(500);
/// How long it is good, while another is asked for: a busy node takes its time, and nobody waits for it meanwhile.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// One moment of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Prices {
    /// What gas costs.
    pub(crate) market: FeeMarket,
    /// Whether it has base fees (EIP-1559), as its newest block says.
    pub(crate) has_base_fee: bool,
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
    last: watch::Sender<Option<Answer>>,
    /// Held by whoever asks.
    asking: Arc<Mutex<()>>,
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
        Self { pool, last: watch::Sender::default(), asking: Arc::default() }
    }

    /// Those endpoints.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What was told last, if it is good still, else what is told now. Those who come meanwhile wait for the same answer.
    pub(crate) async fn look(&self) -> Result<Arc<Prices>, RpcError> {
        if let Some(prices) = self.told_within(NEW_FOR) {
            return Ok(prices);
        }
        if let Some(prices) = self.told_within(GOOD_FOR) {
            if let Ok(asks) = Arc::clone(&self.asking).try_lock_owned() {
                let market = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = market.ask().await {
                        tracing::debug!(%error, "the chain does not tell its fees: the last ones are good for a while");
                    }
                    drop(asks);
                });
            }
            return Ok(prices);
        }
        let _asks = self.asking.lock().await;
        match self.told_within(NEW_FOR) {
            Some(prices) => Ok(prices),
            None => self.ask().await,
        }
    }

    fn told_within(&self, time: Duration) -> Option<Arc<Prices>> {
        let last = self.last.borrow();
        last.as_ref().filter(|(asked, _)| asked.elapsed() < time).map(|(_, prices)| Arc::clone(prices))
    }

    async fn ask(&self) -> Result<Arc<Prices>, RpcError> {
        let asked = Instant::now();
        let ask = |rpc: plimsoll_chain::Rpc| async move {
            let (head, market) =
                futures::try_join!(rpc.head(), rpc.fee_market(HISTORY_BLOCKS, &REWARD_PERCENTILES))?;
            let has_base_fee = head.base_fee_per_gas.is_some();
            // Where there are none, nodes tell of a history of zeros.
            let market = if has_base_fee { market } else { FeeMarket::GasPrice(rpc.gas_price().await?) };
            Ok(Prices { market, has_base_fee, head: head.number, block_gas_limit: head.gas_limit })
        };
        let prices = Arc::new(self.pool.ask(None, ask).await?);
        self.last.send_replace(Some((asked, Arc::clone(&prices))));
        Ok(prices)
    }
}
