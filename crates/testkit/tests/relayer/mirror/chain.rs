//! What the chain does, and the fold makes of it.

use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_journal::{Body, Fold as _, Record, Transaction, Undone};
use plimsoll_testkit::chaos::relayer::{Entry, Seen};
use plimsoll_types::{Amount, JournalKind};
use time::OffsetDateTime;

use super::{Mined, Twins};

impl Twins {
    /// A block, with what consumes the next nonces: attempts of ours, or a stranger's.
    pub(super) async fn grows(&mut self) {
        let number = self.chain.last().map_or(1, |block| block.number + 1);
        let hash = self.bytes();
        let used = self.used();
        let mut included = Vec::new();
        for (place, nonce) in (used..used + self.dice.up_to(3)).enumerate() {
            let attempts: Vec<_> = {
                let store = self.tables.store();
                let of_nonce = store.attempts.range((self.at, nonce, 0)..=(self.at, nonce, u32::MAX));
                of_nonce.map(|(_, row)| row.attempt.tx_hash).collect()
            };
            let is_theirs = attempts.is_empty() || self.dice.permille(200);
            let tx_hash = if is_theirs { self.bytes() } else { attempts[self.dice.index(attempts.len())] };
            included.push(Transaction {
                id: self.dice.any().cast_signed() >> 1,
                block_number: number,
                block_hash: hash,
                tx_hash,
                tx_index: u32::try_from(place).unwrap(),
                sender: self.at.address,
                to: None,
                nonce,
                succeeded: !self.dice.permille(250),
                gas_used: Amount::from(21_000_u64),
                effective_gas_price: Amount::from(2_u64),
                gas_paid_wei: Amount::from(42_000_u64),
                request_id: None,
            });
        }
        self.keeps(number, hash, &included).await;
        let seen: Vec<_> = included.iter().map(seen).collect();
        let records: Vec<_> = included.iter().map(|tx| self.record(JournalKind::Included, tx)).collect();
        self.folds(&records, &seen.iter().map(|seen| Entry::Included(*seen)).collect::<Vec<_>>()).await;
        self.chain.push(Mined { number, hash, included });
    }

    /// How many of the signer's transactions are on the chain.
    fn used(&self) -> u64 {
        let included = self.chain.iter().flat_map(|block| &block.included);
        included.filter(|tx| tx.sender == self.at.address).count() as u64
    }

    /// What the chain's writer keeps of a block.
    async fn keeps(&self, number: u64, hash: B256, included: &[Transaction]) {
        let chain_id = self.at.chain_id.cast_signed();
        sqlx::query("INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state) VALUES ($1, $2, $3, $2, $3, now(), 'seen')")
            .bind(chain_id)
            .bind(number.cast_signed())
            .bind(hash.to_vec())
            .execute(self.db.worker())
            .await
            .unwrap();
        for tx in included {
            sqlx::query(
                "INSERT INTO chain_tx_meta (chain_id, block_number, block_hash, tx_index, id, tx_hash, sender, nonce, succeeded, gas_used, effective_gas_price, gas_paid_wei)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8::bigint, $9, 21000, 2, 42000)",
            )
            .bind(chain_id)
            .bind(number.cast_signed())
            .bind(hash.to_vec())
            .bind(tx.tx_index.cast_signed())
            .bind(tx.id)
            .bind(tx.tx_hash.to_vec())
            .bind(plimsoll_types::address_text(&tx.sender))
            .bind(tx.nonce.cast_signed())
            .bind(tx.succeeded)
            .execute(self.db.worker())
            .await
            .unwrap();
        }
        let mut store = self.tables.store();
        store.journal.blocks.insert(hash, true);
        store.journal.inclusions.extend(included.iter().map(seen));
    }

    fn record(&mut self, kind: JournalKind, tx: &Transaction) -> Record {
        self.seq += 1;
        Record {
            seq: self.seq,
            kind,
            block_number: tx.block_number,
            body: Body::Transaction(Arc::new(tx.clone())),
        }
    }

    async fn folds(&mut self, records: &[Record], entries: &[Entry]) {
        if records.is_empty() {
            return;
        }
        let mut tx = self.db.begin_worker().await.unwrap();
        self.fold.apply(&mut tx, None, records).await.unwrap();
        tx.commit().await.unwrap();
        self.tables.store().apply(self.at.chain_id, entries);
    }

    /// The newest block leaves the chain, if it is not final.
    pub(super) async fn leaves(&mut self) {
        let Some(block) = self.chain.pop_if(|block| block.number > self.final_number) else { return };
        sqlx::query("UPDATE chain_blocks SET state = 'orphaned' WHERE chain_id = $1 AND hash = $2")
            .bind(self.at.chain_id.cast_signed())
            .bind(block.hash.to_vec())
            .execute(self.db.worker())
            .await
            .unwrap();
        self.tables.store().journal.blocks.insert(block.hash, false);
        let mut undone = Vec::new();
        for tx in block.included.iter().rev() {
            let record = self.record(JournalKind::Included, tx);
            undone.push(Undone { retract_seq: record.seq, record, undo: None });
        }
        let mut tx = self.db.begin_worker().await.unwrap();
        self.fold.undo(&mut tx, undone).await.unwrap();
        tx.commit().await.unwrap();
        let seen: Vec<_> = block.included.iter().rev().map(seen).collect();
        self.tables.store().undo(self.at.chain_id, &seen);
    }

    /// A block has the confirmations, or is final.
    pub(super) async fn marks(&mut self) {
        let Some(top) = self.chain.last().map(|block| block.number) else { return };
        let is_final = self.dice.permille(500);
        let number = top.saturating_sub(self.dice.up_to(3));
        if number == 0 || is_final && number <= self.final_number {
            return;
        }
        self.seq += 1;
        let block = plimsoll_journal::Block {
            id: 1,
            number,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            time: OffsetDateTime::UNIX_EPOCH,
        };
        let (kind, entry) = match is_final {
            true => (JournalKind::Finalize, Entry::Finalize(number)),
            false => (JournalKind::Confirm, Entry::Confirm(number)),
        };
        if is_final {
            self.final_number = number;
        }
        let record = Record { seq: self.seq, kind, block_number: number, body: Body::Block(Arc::new(block)) };
        self.folds(&[record], &[entry]).await;
    }
}

fn seen(tx: &Transaction) -> Seen {
    Seen {
        sender: tx.sender,
        nonce: tx.nonce,
        tx_hash: tx.tx_hash,
        block_number: tx.block_number,
        block_hash: tx.block_hash,
        succeeded: tx.succeeded,
        gas_used: tx.gas_used.0,
        gas_paid_wei: tx.gas_paid_wei.0,
    }
}
