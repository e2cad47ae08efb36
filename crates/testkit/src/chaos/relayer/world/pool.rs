//! What nodes take into their pools, and in which words they refuse the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{LEAST_TIP, World};
use crate::chaos::dice::Dice;
use crate::chaos::relayer::transaction::Signed;

/// A replacement offers so much more, in percent.
const BUMP_PERCENT: u128 = 10;
/// So many nonces ahead of the chain a node keeps what it is sent.
const AHEAD: u64 = 64;
/// What any transaction needs.
const INTRINSIC: u64 = 21_000;

/// Whose words a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chaos::relayer) enum Client {
    Geth,
    Nethermind,
    Reth,
    Besu,
    Erigon,
    Nitro,
}

impl Client {
    pub(in crate::chaos::relayer) const ALL: [Self; 6] =
        [Self::Geth, Self::Nethermind, Self::Reth, Self::Besu, Self::Erigon, Self::Nitro];

    /// Whether it refuses what it cannot put into the next block, instead of keeping it.
    const fn is_strict(self) -> bool {
        matches!(self, Self::Nitro | Self::Nethermind)
    }

    /// Whether it serves proofs of accounts.
    pub(in crate::chaos::relayer) const fn proves(self) -> bool {
        !matches!(self, Self::Besu | Self::Erigon)
    }
}

/// Why a node does not take a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chaos::relayer) enum Refusal {
    Known,
    NonceTooLow(u64),
    NonceTooHigh(u64),
    Underpriced,
    ReplacementUnderpriced,
    BelowBaseFee,
    InsufficientFunds,
    IntrinsicGas,
    /// What nobody else calls by a name.
    Odd(&'static str),
}

impl Refusal {
    /// As this client says it.
    pub(in crate::chaos::relayer) fn words(self, client: Client) -> String {
        use Client::{Besu, Erigon, Geth, Nethermind, Nitro, Reth};
        let text = match (self, client) {
            (Self::Odd(text), _) => text,
            (Self::Known, Geth | Reth | Nitro) => "already known",
            (Self::Known, Nethermind) => "AlreadyKnown",
            (Self::Known, Besu) => "Known transaction",
            (Self::Known, Erigon) => "existing tx with same hash",
            (Self::NonceTooLow(next), Geth | Reth | Nitro) => {
                return format!("nonce too low: next nonce {next}, tx nonce lower");
            }
            (Self::NonceTooLow(next), Nethermind) => {
                return format!("OldNonce, Current nonce: {next}, nonce of rejected tx: lower");
            }
            (Self::NonceTooLow(_), Besu) => "Nonce too low",
            (Self::NonceTooLow(_), Erigon) => "nonce too low",
            (Self::NonceTooHigh(next), Nethermind) => {
                return format!("NonceGap, Future nonce. Expected nonce: {next}");
            }
            (Self::NonceTooHigh(_), Besu) => "Transaction nonce is too distant from current sender nonce",
            (Self::NonceTooHigh(next), _) => {
                return format!("nonce too high: tx nonce higher, state: {next}");
            }
            (Self::Underpriced, Nethermind) => "FeeTooLow, MaxFeePerGas too low",
            (Self::Underpriced, Besu) => "Gas price below configured minimum gas price",
            (Self::Underpriced, Erigon) => "underpriced",
            (Self::Underpriced, _) => "transaction underpriced: tip needed 1000, tip permitted less",
            (Self::ReplacementUnderpriced, Nethermind) => "ReplacementNotAllowed",
            (Self::ReplacementUnderpriced, Erigon) => "could not replace existing tx",
            (Self::ReplacementUnderpriced, _) => "replacement transaction underpriced",
            (Self::BelowBaseFee, Nethermind) => "MaxFeePerGas too low, below base fee",
            (Self::BelowBaseFee, _) => "max fee per gas less than block base fee",
            (Self::InsufficientFunds, Nethermind) => "InsufficientFunds, Account balance: 0",
            (Self::InsufficientFunds, Besu) => "Upfront cost exceeds account balance",
            (Self::InsufficientFunds, _) => "insufficient funds for gas * price + value",
            (Self::IntrinsicGas, _) => "intrinsic gas too low: gas less, minimum needed 21000",
        };
        text.to_owned()
    }
}

impl World {
    /// A node is given a transaction, and tells the others of what it takes.
    pub(in crate::chaos::relayer) fn send(&mut self, place: usize, tx: &Arc<Signed>) -> Result<(), Refusal> {
        self.tick();
        self.submit(place, tx)?;
        let now = Instant::now();
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            if !self.dice.permille(self.course.deaf_permille) {
                let at = now + Duration::from_millis(self.dice.up_to(self.course.rumour_ms));
                self.rumours.push((at, other, Arc::clone(tx)));
            }
        }
        Ok(())
    }

    /// A node takes a transaction into its pool, or does not.
    pub(super) fn submit(&mut self, place: usize, tx: &Arc<Signed>) -> Result<(), Refusal> {
        let account = self.account_of(place, tx.sender);
        let base_fee = self.head_of(place).base_fee;
        let (latest, pending) = {
            let node = &self.nodes[place];
            let mut pending = account.nonce;
            while node.pool.contains_key(&(tx.sender, pending)) {
                pending += 1;
            }
            (account.nonce, pending)
        };
        let node = &mut self.nodes[place];
        node.pool.retain(|(sender, nonce), _| *sender != tx.sender || *nonce >= latest);
        let there = node.pool.get(&(tx.sender, tx.nonce));
        let raised = |old: u128| old + old * BUMP_PERCENT / 100;
        match there {
            Some(there) if there.hash == tx.hash => return Err(Refusal::Known),
            _ if tx.nonce < latest => return Err(Refusal::NonceTooLow(latest)),
            _ if tx.gas_limit < INTRINSIC => return Err(Refusal::IntrinsicGas),
            _ if tx.tip < LEAST_TIP => return Err(Refusal::Underpriced),
            _ if account.balance < tx.max_cost() => return Err(Refusal::InsufficientFunds),
            _ if node.client.is_strict() && tx.max_fee < base_fee => return Err(Refusal::BelowBaseFee),
            Some(there) if tx.max_fee < raised(there.max_fee) || tx.tip < raised(there.tip) => {
                return Err(Refusal::ReplacementUnderpriced);
            }
            None if node.client.is_strict() && tx.nonce > pending => {
                return Err(Refusal::NonceTooHigh(latest));
            }
            None if tx.nonce > latest + AHEAD => return Err(Refusal::NonceTooHigh(latest)),
            _ => {}
        }
        node.pool.insert((tx.sender, tx.nonce), Arc::clone(tx));
        Ok(())
    }

    /// A node loses so many of a thousand that wait in its pool.
    pub(in crate::chaos::relayer) fn forget(
        &mut self,
        place: usize,
        permille: u32,
        dice: &mut Dice,
    ) -> usize {
        self.tick();
        let pool = &mut self.nodes[place].pool;
        let before = pool.len();
        pool.retain(|_, _| !dice.permille(permille));
        before - pool.len()
    }

    /// What waits at a node at this nonce.
    pub(in crate::chaos::relayer) fn waiting(
        &self,
        place: usize,
        sender: alloy_primitives::Address,
        nonce: u64,
    ) -> Option<&Arc<Signed>> {
        self.nodes[place].pool.get(&(sender, nonce))
    }
}
