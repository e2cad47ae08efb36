//! What nothing could be faster than: signing alone, and sending what is signed already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Bytes, U256};
use anyhow::{Context as _, Result, ensure};
use plimsoll_chain::transport::open;
use plimsoll_chain::{EndpointConfig, Rpc};
use plimsoll_relayer::envelope::Unsigned;
use plimsoll_relayer::fees::Fees;
use plimsoll_relayer::keys::Key;
use plimsoll_relayer::request::Call;
use uuid::Uuid;

use super::ground::{GAS_LIMIT, anvil, calldata, counter, key};

/// Transactions of one batch.
const BATCH: usize = 100;
/// Batches that are under way at once.
const IN_FLIGHT: usize = 4;

fn unsigned(chain_id: u64, nonce: u64, call: Call) -> Unsigned {
    let fees = Fees { max_fee_per_gas: 10_000_000_000, max_priority_fee_per_gas: Some(1_000_000_000) };
    Unsigned { chain_id, nonce, fees, gas_limit: GAS_LIMIT, call }
}

async fn signed(key: &Arc<dyn Key>, unsigned: &[Unsigned]) -> Result<Vec<Bytes>> {
    let payloads: Vec<_> = unsigned.iter().map(Unsigned::payload).collect();
    let signatures = key.sign_all(&payloads).await;
    let raw = |(unsigned, signature): (&Unsigned, Result<_, _>)| Ok(unsigned.signed(&signature?).raw);
    unsigned.iter().zip(signatures).map(raw).collect()
}

/// Transactions signed a second, many at once.
#[allow(clippy::cast_precision_loss)]
pub(super) async fn signatures(count: usize) -> Result<f64> {
    let (key, call) = (key(), Call { to: None, value: U256::ZERO, data: calldata(Uuid::nil()) });
    let unsigned: Vec<_> = (0..count as u64).map(|nonce| unsigned(1, nonce, call.clone())).collect();
    let started = Instant::now();
    for part in unsigned.chunks(256) {
        signed(&key, part).await?;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// Whether somebody follows the chain meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nobody: the node has nothing to do but take and include.
    Nobody,
    /// Somebody who has the node tell each block's transactions and receipts once, as a proof of their inclusion takes, and does nothing with them.
    Reader,
}

/// From the first sending to the last inclusion, and to the last block that was told.
pub(super) async fn sent_raw(count: usize, beside: Beside) -> Result<Duration> {
    let anvil = anvil().await?;
    let (to, chain_id, key) = (counter(&anvil).await?, anvil.chain_id().await?, key());
    let call = || Call { to: Some(to), value: U256::ZERO, data: calldata(Uuid::new_v4()) };
    let unsigned: Vec<_> = (0..count as u64).map(|nonce| unsigned(chain_id, nonce, call())).collect();
    let raws = signed(&key, &unsigned).await?;
    let endpoint = EndpointConfig::new(anvil.url());
    let rpc = Rpc::over(open(&endpoint)?, &endpoint);

    let started = Instant::now();
    let reader = (beside == Beside::Reader).then(|| tokio::spawn(read_blocks(rpc.clone(), count)));
    let batches = raws.chunks(BATCH).map(|batch| {
        let rpc = rpc.clone();
        async move { rpc.send_raw(batch).await }
    });
    let answers: Vec<_> =
        futures::StreamExt::collect(futures::StreamExt::buffered(futures::stream::iter(batches), IN_FLIGHT))
            .await;
    ensure!(answers.iter().flatten().all(Result::is_ok), "the node refused a transaction");
    let last = count as u64;
    while anvil.quantity("eth_getTransactionCount", serde_json::json!([key.address(), "latest"])).await?
        < last
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if let Some(reader) = reader {
        reader.await??;
    }
    let elapsed = started.elapsed();
    anvil.stop().await?;
    Ok(elapsed)
}

/// Has each block told, until so many transactions were.
async fn read_blocks(rpc: Rpc, count: usize) -> Result<()> {
    let (mut next, mut told) = (1, 0);
    while told <= count {
        let head = rpc.head().await?.number;
        for number in next..=head {
            let mut headers = rpc.headers_by_number(number, number).await?;
            let hash = headers.pop().flatten().context("a block of the chain")?.hash;
            let (transactions, receipts) =
                rpc.reported_content(hash).await?.context("a block of the chain")?;
            ensure!(transactions.len() == receipts.len(), "a receipt for each transaction");
            told += transactions.len();
        }
        next = head + 1;
        if told <= count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
