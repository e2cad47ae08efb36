//! Accounts of the state against a header's `stateRoot` (yellow paper, section 4.1 and appendix D; EIP-1186).

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, proof::verify_proof};
use serde::Deserialize;

use crate::{
    header::ProvenHeader,
    hex::{self, Hex},
    rlp,
};

/// What a node says of an account, and the way to it (`eth_getProof`, EIP-1186), without the storage.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedAccount {
    /// How many transactions it has sent; of a contract, how many contracts it has created, and one.
    #[serde(deserialize_with = "hex::required")]
    nonce: u64,
    #[serde(deserialize_with = "hex::required")]
    balance: U256,
    #[serde(rename = "storageHash", deserialize_with = "hex::required")]
    storage_root: B256,
    #[serde(deserialize_with = "hex::required")]
    code_hash: B256,
    /// The trie's nodes on the way, root first.
    account_proof: Vec<Hex<Bytes>>,
}

/// An account after a block. One that does not exist has sent nothing and has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// How many transactions it has sent, which is its next nonce; of a contract, how many contracts it has created, and one.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Root of its storage.
    pub storage_root: B256,
    /// Keccak-256 of its code.
    pub code_hash: B256,
}

/// Why an account is not proven. It may come of a node whose state is not the one that its headers commit to (as Anvil's at its genesis), so it calls nobody a liar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "account {address} (nonce {nonce}, {balance} wei) is not shown to be under state root {root}: {reason}"
)]
pub struct AccountFault {
    /// Whose.
    pub address: Address,
    /// What was said of it.
    pub nonce: u64,
    /// What was said of it, in wei.
    pub balance: U256,
    /// The header's root.
    pub root: B256,
    /// What does not fit.
    pub reason: String,
}

impl Account {
    const ABSENT: Self =
        Self { nonce: 0, balance: U256::ZERO, storage_root: EMPTY_ROOT_HASH, code_hash: KECCAK256_EMPTY };

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        rlp::list(&mut out, |out| {
            let fields: [&dyn Encodable; 4] =
                [&self.nonce, &self.balance, &self.storage_root, &self.code_hash];
            for field in fields {
                field.encode(out);
            }
        });
        out
    }
}

impl ReportedAccount {
    /// Shows what the account was under this state root, or that there was none.
    ///
    /// # Errors
    /// Where the nodes do not lead from the root to what was said of it.
    pub fn verify(self, address: Address, root: B256) -> Result<Account, AccountFault> {
        let Self { nonce, balance, storage_root, code_hash, account_proof } = self;
        let key = Nibbles::unpack(keccak256(address));
        let nodes: Vec<_> = account_proof.into_iter().map(|node| node.0).collect();
        // Nodes write the hashes of what is not there as zeros or as those of what is empty.
        if nonce == 0 && balance.is_zero() && verify_proof(root, key, None, &nodes).is_ok() {
            return Ok(Account::ABSENT);
        }
        let account = Account { nonce, balance, storage_root, code_hash };
        verify_proof(root, key, Some(account.encode()), &nodes).map_err(|error| AccountFault {
            address,
            nonce,
            balance,
            root,
            reason: error.to_string(),
        })?;
        Ok(account)
    }
}

impl ProvenHeader {
    /// Shows what an account was after this block, or that there was none.
    ///
    /// # Errors
    /// As [`ReportedAccount::verify`], from this header's `stateRoot`.
    pub fn prove_account(
        &self,
        address: Address,
        reported: ReportedAccount,
    ) -> Result<Account, AccountFault> {
        reported.verify(address, self.state_root)
    }
}
