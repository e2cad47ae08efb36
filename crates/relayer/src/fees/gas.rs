//! How much gas a transaction may use.

use alloy_primitives::U256;

use super::Fees;

/// Any transaction (yellow paper, `G_transaction`).
pub const TRANSACTION_GAS: u64 = 21_000;
/// One that creates a contract, in addition (EIP-2).
const CREATION: u64 = 32_000;
/// Each word of creation code (EIP-3860).
const INITCODE_WORD: u64 = 2;
const WORD_BYTES: usize = 32;
/// A token of calldata: a zero byte is one, any other byte is four (EIP-2028, EIP-7623).
const TOKEN: u64 = 4;
const TOKENS_OF_NONZERO_BYTE: u64 = 4;
/// The least that a token costs, whatever is executed (EIP-7623).
const TOKEN_FLOOR: u64 = 10;

/// The most that one transaction may have where EIP-7825 is in force: 2^24.
const TRANSACTION_MAX: u64 = 16_777_216;
/// Where it is (Fusaka): Ethereum, Holesky, Hoodi and Sepolia. Elsewhere the nodes' own word is waited for.
const WITH_TRANSACTION_MAX: [u64; 4] = [1, 17_000, 560_048, 11_155_111];

/// The most gas that a transaction may have on this chain, whose blocks have so much.
#[must_use]
pub fn most_gas(chain_id: u64, block_gas_limit: u64) -> u64 {
    if WITH_TRANSACTION_MAX.contains(&chain_id) {
        block_gas_limit.min(TRANSACTION_MAX)
    } else {
        block_gas_limit
    }
}

/// Why a transaction has no gas limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GasError {
    /// The limit that was asked for is below what any transaction with this data needs.
    #[error("a gas limit of {limit} is too low: a transaction with this data needs {minimum} at least")]
    TooLow {
        /// The limit that was asked for.
        limit: u64,
        /// What it needs.
        minimum: u64,
    },
    /// It needs more than a transaction may have.
    #[error("it needs {needed} gas, and a transaction may have {most} on this chain")]
    TooMuch {
        /// What was asked for, estimated, or needed for the data alone.
        needed: u64,
        /// The most that a transaction may have.
        most: u64,
    },
}

fn tokens(data: &[u8]) -> u64 {
    let zeros = data.iter().filter(|byte| **byte == 0).count();
    (zeros as u64).saturating_add(((data.len() - zeros) as u64).saturating_mul(TOKENS_OF_NONZERO_BYTE))
}

/// The gas that is used before anything is executed (EIP-2028, EIP-3860), of a transaction without access or authorization lists.
#[must_use]
pub fn intrinsic_gas(creates: bool, data: &[u8]) -> u64 {
    let words = data.len().div_ceil(WORD_BYTES) as u64;
    let creation = if creates { CREATION.saturating_add(words.saturating_mul(INITCODE_WORD)) } else { 0 };
    TRANSACTION_GAS.saturating_add(creation).saturating_add(tokens(data).saturating_mul(TOKEN))
}

/// The least gas limit with which a transaction is valid: its intrinsic gas, and the floor of its calldata (EIP-7623).
#[must_use]
pub fn minimum_gas(creates: bool, data: &[u8]) -> u64 {
    let floor = TRANSACTION_GAS.saturating_add(tokens(data).saturating_mul(TOKEN_FLOOR));
    intrinsic_gas(creates, data).max(floor)
}

/// The gas limit of a transaction: what was asked for, as it is, or the node's estimate and a margin in percent of it. `minimum`:
/// [`minimum_gas`]. `most`: [`most_gas`].
///
/// # Errors
/// What was asked for is too low, or it needs more than there may be. A margin alone never fails: it is cut.
pub fn gas_limit(
    asked: Option<u64>,
    estimate: u64,
    margin_percent: u64,
    minimum: u64,
    most: u64,
) -> Result<u64, GasError> {
    if let Some(limit) = asked {
        return match limit {
            _ if limit < minimum => Err(GasError::TooLow { limit, minimum }),
            _ if limit > most => Err(GasError::TooMuch { needed: limit, most }),
            _ => Ok(limit),
        };
    }
    let needed = estimate.max(minimum);
    if needed > most {
        return Err(GasError::TooMuch { needed, most });
    }
    let margin = (u128::from(needed) * u128::from(margin_percent)).div_ceil(100);
    Ok(u64::try_from(margin).map_or(most, |margin| needed.saturating_add(margin).min(most)))
}

/// What a transaction costs its sender at most, in wei: what the sender must have for a pool to take it.
#[must_use]
pub fn max_cost_wei(gas_limit: u64, fees: Fees, value_wei: U256) -> U256 {
    // 64 bits times 128 bits fit.
    (U256::from(gas_limit) * U256::from(fees.max_fee_per_gas)).saturating_add(value_wei)
}
