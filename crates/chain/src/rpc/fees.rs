//! What gas cost in the last blocks.

use plimsoll_proof::hex::Hex;
use serde::Deserialize;

use super::Rpc;
use crate::error::{Method, RpcError};

const FEE_HISTORY: Method = Method::Borrowed("eth_feeHistory");
const GAS_PRICE: Method = Method::Borrowed("eth_gasPrice");

/// Parts of a whole, where a ratio is one.
const MILLION: f64 = 1e6;

/// What gas cost in some of the last blocks, oldest first, and its base fee in the next one (`eth_feeHistory`). Prices are in wei for a
/// unit of gas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeeHistory {
    /// Height of the first block.
    pub oldest_block: u64,
    /// Each block's base fee.
    pub base_fees: Vec<u128>,
    /// The base fee of the block after the last, which follows from the last (EIP-1559).
    pub next_base_fee: u128,
    /// How full each block was, in millionths of its gas limit.
    pub gas_used_ppm: Vec<u32>,
    /// Of each block, the priority fee paid at each percentile that was asked for, weighted by gas; zero in an empty block.
    pub rewards: Vec<Vec<u128>>,
}

impl FeeHistory {
    /// Height of the last block.
    #[must_use]
    pub fn newest_block(&self) -> u64 {
        self.oldest_block.saturating_add(self.base_fees.len() as u64).saturating_sub(1)
    }
}

/// What a chain tells of its fees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeeMarket {
    /// It has base fees.
    History(FeeHistory),
    /// It has one price only, or its node does not tell more: the price that the node would offer, in wei for a unit of gas.
    GasPrice(u128),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHistory {
    oldest_block: Hex<u64>,
    base_fee_per_gas: Vec<Hex<u128>>,
    gas_used_ratio: Vec<f64>,
    reward: Option<Vec<Vec<Hex<u128>>>>,
}

impl WireHistory {
    fn history(self, percentiles: usize) -> Result<FeeHistory, String> {
        let blocks = self.gas_used_ratio.len();
        let rewards = self.reward.unwrap_or_default();
        // geth and others leave the rewards out where no percentile was asked for.
        let rewards = if percentiles == 0 { vec![Vec::new(); blocks] } else { numbers_of(rewards) };
        if self.base_fee_per_gas.len() != blocks + 1 || rewards.len() != blocks {
            return Err(format!(
                "{} base fees and {} lists of rewards for {blocks} blocks",
                self.base_fee_per_gas.len(),
                rewards.len()
            ));
        }
        if let Some(odd) = rewards.iter().find(|of_block| of_block.len() != percentiles) {
            return Err(format!("{} rewards of a block for {percentiles} percentiles", odd.len()));
        }
        let mut base_fees: Vec<_> = self.base_fee_per_gas.into_iter().map(|fee| fee.0).collect();
        let next_base_fee = base_fees.pop().ok_or("no base fee at all")?;
        let gas_used_ppm = self.gas_used_ratio.into_iter().map(millionths).collect();
        Ok(FeeHistory { oldest_block: self.oldest_block.0, base_fees, next_base_fee, gas_used_ppm, rewards })
    }
}

fn numbers_of(rewards: Vec<Vec<Hex<u128>>>) -> Vec<Vec<u128>> {
    rewards.into_iter().map(|of_block| of_block.into_iter().map(|fee| fee.0).collect()).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
fn millionths(ratio: f64) -> u32 {
    (ratio.clamp(0.0, 1.0) * MILLION).round() as u32
}

impl Rpc {
    /// What gas cost in the last blocks, as many as the node tells of and `blocks` at most; rewards at these percentiles, which ascend.
    ///
    /// # Errors
    /// See [`RpcError::class`]; [`RpcError::is_method_missing`] on a chain that has no base fees.
    pub async fn fee_history(&self, blocks: u64, percentiles: &[u8]) -> Result<FeeHistory, RpcError> {
        let params = (format!("{blocks:#x}"), "latest", percentiles);
        let told: WireHistory = self.one(&FEE_HISTORY, &params).await?;
        let history = told.history(percentiles.len());
        history.map_err(|what| self.client.malformed(&FEE_HISTORY, what, ""))
    }

    /// The price that the node would offer for a unit of gas, in wei (`eth_gasPrice`). With base fees it contains the base fee.
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn gas_price(&self) -> Result<u128, RpcError> {
        self.one::<Hex<u128>>(&GAS_PRICE, &()).await.map(|price| price.0)
    }

    /// [`Rpc::fee_history`], or where the node does not have it [`Rpc::gas_price`].
    ///
    /// # Errors
    /// See [`RpcError::class`].
    pub async fn fee_market(&self, blocks: u64, percentiles: &[u8]) -> Result<FeeMarket, RpcError> {
        match self.fee_history(blocks, percentiles).await {
            Ok(history) => Ok(FeeMarket::History(history)),
            Err(error) if error.is_method_missing() => self.gas_price().await.map(FeeMarket::GasPrice),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_json_rpc::{RequestPacket, Response, ResponsePacket};
    use serde_json::{Value, json};

    use super::*;
    use crate::{EndpointConfig, ErrorClass, transport};

    /// A node that answers each method with this body: a result or an error.
    fn node(answer: impl Fn(&str) -> Value + Clone + Send + Sync + 'static) -> Rpc {
        let transport = transport::answering(move |packet: RequestPacket| {
            let request = &packet.requests()[0];
            let mut body = answer(request.method());
            body["id"] = serde_json::to_value(request.id()).unwrap();
            body["jsonrpc"] = json!("2.0");
            let response: Response = serde_json::from_str(&body.to_string()).unwrap();
            std::future::ready(Ok(ResponsePacket::Single(response)))
        });
        Rpc::over(transport, &EndpointConfig { max_retries: 0, ..EndpointConfig::new("http://node") })
    }

    fn told() -> Value {
        json!({
            "oldestBlock": "0x10",
            "baseFeePerGas": ["0x7", "0x8", "0x9"],
            "gasUsedRatio": [0, 0.333_333_3],
            "reward": [["0x0", "0x0"], ["0x1", "0x3b9aca00"]],
        })
    }

    #[tokio::test]
    async fn the_last_base_fee_is_the_next_blocks() {
        let history = node(|_| json!({ "result": told() })).fee_history(2, &[10, 50]).await.unwrap();
        let expected = FeeHistory {
            oldest_block: 16,
            base_fees: vec![7, 8],
            next_base_fee: 9,
            gas_used_ppm: vec![0, 333_333],
            rewards: vec![vec![0, 0], vec![1, 1_000_000_000]],
        };
        assert_eq!(history.newest_block(), 17);
        assert_eq!(history, expected);
        for reward in [json!(null), json!([])] {
            let mut told = told();
            told["reward"] = reward;
            let rpc = node(move |_| json!({ "result": told }));
            assert_eq!(rpc.fee_history(2, &[]).await.unwrap().rewards, [[], []] as [[u128; 0]; 2]);
        }
    }

    #[tokio::test]
    async fn a_history_that_does_not_fit_together_is_no_answer() {
        for (field, value) in [
            ("baseFeePerGas", json!(["0x7", "0x8"])),
            ("baseFeePerGas", json!([])),
            ("reward", json!(null)),
            ("reward", json!([["0x0", "0x0"]])),
            ("reward", json!([["0x0", "0x0"], ["0x1"]])),
            ("gasUsedRatio", json!([0.5])),
            ("oldestBlock", json!(16)),
        ] {
            let mut told = told();
            told[field] = value.clone();
            let error = node(move |_| json!({ "result": told })).fee_history(2, &[10, 50]).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Protocol, "{field} {value}: {error}");
        }
    }

    #[tokio::test]
    async fn a_node_without_a_history_has_a_price_and_one_that_fails_has_none() {
        let missing = json!({ "error": { "code": -32_601, "message": "the method does not exist" } });
        let failing = json!({ "error": { "code": -32_603, "message": "internal error" } });
        let price = json!({ "result": "0x2a" });
        let with = |history: Value| {
            let price = price.clone();
            node(move |method| if method == "eth_feeHistory" { history.clone() } else { price.clone() })
        };
        assert_eq!(with(missing).fee_market(2, &[50]).await.unwrap(), FeeMarket::GasPrice(42));
        assert!(with(failing).fee_market(2, &[50]).await.is_err());
        let FeeMarket::History(history) =
            with(json!({ "result": told() })).fee_market(2, &[10, 50]).await.unwrap()
        else {
            panic!("a node with a history")
        };
        assert_eq!(history.next_base_fee, 9);
    }
}
