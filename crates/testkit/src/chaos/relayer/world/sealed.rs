//! What a block's hash commits to: its header, and in that the root of all accounts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_rlp::{BytesMut, Encodable, Header as ListHead};
use alloy_trie::{EMPTY_ROOT_HASH, HashBuilder, Nibbles, proof::ProofRetainer};
use plimsoll_proof::Header;

use super::{Account, BLOCK_GAS, Block, World};

/// All accounts as a block's header commits to them.
pub(in crate::chaos::relayer) type Accounts = Arc<BTreeMap<Address, Account>>;

/// An account, and the way to it from a block's root.
#[derive(Debug)]
pub(in crate::chaos::relayer) struct Shown {
    pub(in crate::chaos::relayer) account: Account,
    pub(in crate::chaos::relayer) nodes: Vec<Bytes>,
}

fn leaf(account: &Account) -> BytesMut {
    let fields: [&dyn Encodable; 4] = [&account.nonce, &account.balance, &EMPTY_ROOT_HASH, &KECCAK256_EMPTY];
    let payload_length = fields.iter().map(|field| Encodable::length(*field)).sum();
    let mut out = BytesMut::new();
    ListHead { list: true, payload_length }.encode(&mut out);
    fields.iter().for_each(|field| field.encode(&mut out));
    out
}

fn trie(accounts: &BTreeMap<Address, Account>, shown: Option<Address>) -> HashBuilder {
    let path = |address: &Address| Nibbles::unpack(keccak256(address));
    let retained = ProofRetainer::new(shown.iter().map(path).collect());
    let mut trie = HashBuilder::default().with_proof_retainer(retained);
    let leaves: BTreeMap<_, _> =
        accounts.iter().map(|(address, account)| (path(address), leaf(account))).collect();
    leaves.into_iter().for_each(|(path, leaf)| trie.add_leaf(path, &leaf));
    trie
}

impl Block {
    /// Gives it its hash, with this salt, to tell it from others that are the same otherwise.
    pub(super) fn seal(&mut self, salt: u64) {
        self.salt = salt;
        self.accounts = Arc::new(self.state.accounts.clone());
        self.state_root = trie(&self.accounts, None).root();
        let header: Header =
            serde_json::from_str(&self.header()).expect("a header is written as nodes write it");
        self.hash = header.compute_hash().expect("it has all the fields of its fork");
    }

    /// The header as nodes write it. Of its roots only the accounts' is one: nobody here looks at what the others commit to.
    pub(in crate::chaos::relayer) fn header(&self) -> String {
        let mut text = String::with_capacity(1_600);
        let zero = B256::ZERO;
        write!(
            text,
            r#"{{"number":"{:#x}","hash":"{}","parentHash":"{zero}","timestamp":"{:#x}","logsBloom":"0x{}","receiptsRoot":"{zero}","transactionsRoot":"{zero}","stateRoot":"{}","sha3Uncles":"{zero}","miner":"{}","difficulty":"0x0","extraData":"0x{:016x}","nonce":"0x0000000000000000","mixHash":"{zero}","gasUsed":"{:#x}","gasLimit":"{BLOCK_GAS:#x}","baseFeePerGas":"{:#x}","size":"0x400","uncles":[],"transactions":[]}}"#,
            self.number,
            self.hash,
            self.timestamp,
            "0".repeat(512),
            self.state_root,
            Address::ZERO,
            self.salt,
            self.gas_used,
            self.base_fee,
        )
        .expect("a string can be written to");
        text
    }
}

impl World {
    /// The block with this hash, if the node has it on its branch.
    pub(in crate::chaos::relayer) fn block_of(&self, place: usize, hash: B256) -> Option<&Block> {
        self.block(hash).filter(|block| self.is_on(self.nodes[place].tip, hash, block.number))
    }

    /// An account after a block, and the way to it, as a node shows it; one that lies shows the way to the truth half of the time, and calls it something else.
    pub(in crate::chaos::relayer) fn show(
        &mut self,
        place: usize,
        hash: B256,
        address: Address,
    ) -> Option<Shown> {
        let forges = self.nodes[place].lie.0 != 0 && self.dice.permille(500);
        let lie = if forges { self.nodes[place].lie.0 } else { 0 };
        let accounts = &self.block_of(place, hash)?.accounts;
        let mut account =
            accounts.get(&address).copied().unwrap_or(Account { nonce: 0, balance: U256::ZERO });
        account.nonce = account.nonce.saturating_add_signed(lie);
        let mut trie = trie(accounts, Some(address));
        trie.root();
        let nodes = trie.take_proof_nodes().into_nodes_sorted().into_iter().map(|(_, node)| node).collect();
        Some(Shown { account, nodes })
    }
}
