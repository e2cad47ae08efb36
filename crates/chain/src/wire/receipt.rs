//! A transaction's receipt, without its logs: they come through `eth_getLogs`.

use alloy_primitives::{Address, B256, U256};
use plimsoll_proof::hex::Hex;
use serde::Deserialize;

/// What became of a transaction, in one particular block.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WireReceipt")]
pub struct Receipt {
    /// The transaction.
    pub tx_hash: B256,
    /// The block that includes it.
    pub block_hash: B256,
    /// Height of that block.
    pub block_number: u64,
    /// Position in that block.
    pub tx_index: u32,
    /// Sender.
    pub from: Address,
    /// Recipient; none when it created a contract.
    pub to: Option<Address>,
    /// Whether it succeeded (EIP-658); false means that it reverted and paid for it.
    pub status: bool,
    /// Gas used by this transaction alone.
    pub gas_used: u64,
    /// What a unit of gas cost, wei.
    pub effective_gas_price: u128,
    /// What it paid besides for its place on the chain below, wei: the OP stack's `l1Fee`. Nothing where a receipt does not say: on Arbitrum that part is in `gas_used`.
    pub l1_fee_wei: U256,
    /// The contract that it created.
    pub contract_address: Option<Address>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireReceipt {
    transaction_hash: Hex<B256>,
    block_hash: Option<Hex<B256>>,
    block_number: Option<Hex<u64>>,
    transaction_index: Option<Hex<u32>>,
    from: Hex<Address>,
    to: Option<Hex<Address>>,
    status: Option<Hex<u64>>,
    gas_used: Hex<u64>,
    effective_gas_price: Option<Hex<u128>>,
    l1_fee: Option<Hex<U256>>,
    contract_address: Option<Hex<Address>>,
}

impl Receipt {
    /// What its sender paid for it, wei: the gas at its price, and what it paid besides.
    #[must_use]
    pub fn paid_wei(&self) -> U256 {
        let gas = U256::from(self.gas_used).saturating_mul(U256::from(self.effective_gas_price));
        gas.saturating_add(self.l1_fee_wei)
    }
}

impl TryFrom<WireReceipt> for Receipt {
    type Error = &'static str;

    fn try_from(wire: WireReceipt) -> Result<Self, Self::Error> {
        Ok(Self {
            tx_hash: wire.transaction_hash.0,
            block_hash: wire.block_hash.ok_or("a receipt without a block (its blockHash is null)")?.0,
            block_number: wire.block_number.ok_or("a receipt without a block (its blockNumber is null)")?.0,
            tx_index: wire
                .transaction_index
                .ok_or("a receipt without a position (its transactionIndex is null)")?
                .0,
            from: wire.from.0,
            to: wire.to.map(|to| to.0),
            status: match wire.status.ok_or("a receipt without a status: whether it succeeded is unknown")?.0
            {
                0 => false,
                1 => true,
                _ => return Err("a receipt whose status is neither 0x0 nor 0x1"),
            },
            gas_used: wire.gas_used.0,
            effective_gas_price: wire.effective_gas_price.ok_or("a receipt without effectiveGasPrice")?.0,
            l1_fee_wei: wire.l1_fee.map_or(U256::ZERO, |fee| fee.0),
            contract_address: wire.contract_address.map(|address| address.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(status: &str) -> String {
        format!(
            r#"{{"type":"0x2","status":{status},"cumulativeGasUsed":"0xa410","logs":[{{"data":"0x"}}],"logsBloom":"0x00",
            "transactionHash":"0x{}","transactionIndex":"0x1","blockHash":"0x{}","blockNumber":"0x7","gasUsed":"0x5208",
            "effectiveGasPrice":"0x77359400","from":"0x{}","to":null,"contractAddress":"0x{}"}}"#,
            "b1".repeat(32),
            "a1".repeat(32),
            "f0".repeat(20),
            "cc".repeat(20),
        )
    }

    #[test]
    fn a_receipt_is_read_with_every_field() {
        let receipt: Receipt = serde_json::from_str(&golden(r#""0x1""#)).unwrap();
        assert_eq!(
            receipt,
            Receipt {
                tx_hash: B256::repeat_byte(0xb1),
                block_hash: B256::repeat_byte(0xa1),
                block_number: 7,
                tx_index: 1,
                from: Address::repeat_byte(0xf0),
                to: None,
                status: true,
                gas_used: 21_000,
                effective_gas_price: 2_000_000_000,
                l1_fee_wei: U256::ZERO,
                contract_address: Some(Address::repeat_byte(0xcc)),
            }
        );
        assert!(!serde_json::from_str::<Receipt>(&golden(r#""0x0""#)).unwrap().status);
    }

    #[test]
    fn what_was_paid_is_the_gas_at_its_price_and_the_fee_that_stands_beside_it() {
        let ethereum = golden(r#""0x1""#);
        let receipt: Receipt = serde_json::from_str(&ethereum).unwrap();
        assert_eq!(receipt.paid_wei(), U256::from(21_000_u64 * 2_000_000_000));
        // The OP stack's fee is not in the gas; what Arbitrum says of the chain below is.
        let optimism = ethereum.replace(r#""gasUsed""#, r#""l1Fee":"0x64","l1GasUsed":"0x640","gasUsed""#);
        let receipt: Receipt = serde_json::from_str(&optimism).unwrap();
        assert_eq!(receipt.paid_wei(), U256::from(21_000_u64 * 2_000_000_000 + 100));
        let arbitrum = ethereum.replace(r#""gasUsed""#, r#""gasUsedForL1":"0x3e8","gasUsed""#);
        let receipt: Receipt = serde_json::from_str(&arbitrum).unwrap();
        assert_eq!(receipt.paid_wei(), U256::from(21_000_u64 * 2_000_000_000));
    }

    #[test]
    fn a_receipt_that_does_not_say_whether_it_succeeded_is_refused() {
        for status in ["null", r#""0x2""#] {
            let error = serde_json::from_str::<Receipt>(&golden(status)).unwrap_err().to_string();
            assert!(error.contains("status"), "{error}");
        }
    }
}
