//! What is wanted of a block: the logs of the followed contracts, decoded, and the transactions of watched senders.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use plimsoll_chain::abi::{AbiMismatch, Contracts};
use plimsoll_chain::{Header, Log, LogFilter, Rpc};
use plimsoll_journal::backfills::Order;
use plimsoll_journal::{Content, Decoding, Event, Evidence, Filter, NewEvent, Transaction};
use plimsoll_types::{Amount, Completeness};

use crate::config::IngestConfig;
use crate::error::IngestError;
use crate::{new_block, proven};

/// What is asked of an endpoint, and how answers are read. Shared by the tasks of a backfill.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) chain_id: u64,
    pub(crate) contracts: Contracts,
    pub(crate) filter: LogFilter,
    /// Each from this block on.
    pub(crate) senders: HashMap<Address, u64>,
    /// The same filter, to be held against blooms.
    pub(crate) prover: plimsoll_proof::LogFilter,
    pub(crate) head_completeness: Completeness,
    pub(crate) backfill_completeness: Completeness,
}

impl Wanted {
    /// All that is configured.
    pub(crate) fn new(config: &IngestConfig, contracts: &Contracts) -> Arc<Self> {
        Self::only(config, contracts, &filter(config, contracts))
    }

    /// What this filter wants of it.
    pub(crate) fn only(config: &IngestConfig, contracts: &Contracts, asked: &Filter) -> Arc<Self> {
        let filter = LogFilter::of_addresses(asked.contracts.keys().copied());
        Arc::new(Self {
            chain_id: config.chain_id,
            prover: proven::prover(&filter.addresses),
            filter,
            contracts: contracts.clone(),
            senders: asked.senders.iter().map(|(address, from)| (*address, *from)).collect(),
            head_completeness: config.head_completeness,
            backfill_completeness: config.backfill_completeness,
        })
    }

    /// Whether a transaction of this sender in this block is wanted.
    pub(crate) fn watches(&self, sender: &Address, number: u64) -> bool {
        self.senders.get(sender).is_some_and(|from| number >= *from)
    }

    /// Whether anybody's is.
    pub(crate) fn watches_at(&self, number: u64) -> bool {
        self.senders.values().any(|from| number >= *from)
    }

    /// How what this endpoint said is known to be all.
    pub(crate) fn evidence(&self, rpc: &Rpc, level: Completeness) -> Evidence {
        Evidence { level, endpoint: rpc.endpoint().into() }
    }

    /// The logs as events: those of a contract before its start block are not wanted.
    pub(crate) fn events(&self, logs: &[Log]) -> Result<Vec<NewEvent>, Box<AbiMismatch>> {
        logs.iter()
            .filter(|log| self.contracts.get(&log.address).is_some_and(|c| log.block_number >= c.start_block))
            .map(|log| self.event(log))
            .collect()
    }

    fn event(&self, log: &Log) -> Result<NewEvent, Box<AbiMismatch>> {
        let decoded =
            self.contracts.decode(&log.address, &log.topics, &log.data, &log.tx_hash, log.log_index)?;
        let decoding = decoded.map(|decoded| {
            let mut payload = Vec::with_capacity(512);
            decoded.write_json(&mut payload);
            Decoding {
                request_id: decoded.request_id().map(|id| id.to_string()),
                seq: decoded.seq(),
                event_name: decoded.name,
                payload,
            }
        });
        let event = Event {
            id: 0,
            block_number: log.block_number,
            block_hash: log.block_hash,
            tx_hash: log.tx_hash,
            tx_index: log.tx_index,
            log_index: log.log_index,
            contract: log.address,
            topics: log.topics,
            data: log.data.clone(),
        };
        Ok(NewEvent { event, decoding })
    }

    /// The endpoint's answers do not fit together.
    pub(crate) fn inconsistent(&self, rpc: &Rpc, what: String) -> IngestError {
        IngestError::Inconsistent { endpoint: rpc.endpoint().to_owned(), chain_id: self.chain_id, what }
    }

    /// Everything wanted of one block, fetched by its hash and proven as far as it is configured.
    pub(crate) async fn content(&self, rpc: &Rpc, header: &Header) -> Result<Content, IngestError> {
        match self.head_completeness {
            Completeness::Receipts => return self.content_by_receipts(rpc, header).await,
            Completeness::Bloom | Completeness::Trusted => {}
        }
        let logs = async {
            if self.filter.addresses.is_empty() {
                Ok(Vec::new())
            } else {
                rpc.logs_of_block(header.hash, &self.filter).await
            }
        };
        let (logs, transactions) = tokio::try_join!(
            async { logs.await.map_err(IngestError::from) },
            self.transactions(rpc, header.number, header.hash)
        )?;
        if self.head_completeness == Completeness::Bloom {
            self.check_range(rpc, std::slice::from_ref(header), &logs, false).await?;
        }
        match self.events(&logs) {
            Ok(events) => {
                let evidence = self.evidence(rpc, self.head_completeness);
                Ok(Content { block: new_block(header), events, transactions, evidence })
            }
            Err(mismatch) => {
                let is_proven = self.head_completeness > Completeness::Trusted;
                let provable = if is_proven { std::slice::from_ref(header) } else { &[] };
                Err(self.mismatch(rpc, provable, &logs, mismatch).await)
            }
        }
    }

    /// The watched senders' transactions of a block, with what their receipts say.
    pub(crate) async fn transactions(
        &self,
        rpc: &Rpc,
        number: u64,
        hash: B256,
    ) -> Result<Vec<Transaction>, IngestError> {
        if !self.watches_at(number) {
            return Ok(Vec::new());
        }
        let inconsistent = |what| self.inconsistent(rpc, what);
        let block = rpc
            .block_with_transactions(hash)
            .await?
            .ok_or_else(|| inconsistent(format!("block {number} ({hash}) is gone between two answers")))?;
        let ours: Vec<_> =
            block.transactions.into_iter().filter(|tx| self.watches(&tx.from, number)).collect();
        let hashes: Vec<_> = ours.iter().map(|tx| tx.hash).collect();
        let receipts = rpc.receipts(&hashes).await?;
        ours.into_iter()
            .zip(receipts)
            .map(|(tx, receipt)| {
                let receipt = receipt.filter(|r| r.block_hash == hash).ok_or_else(|| {
                    inconsistent(format!("transaction {} is in block {hash}, its receipt is not", tx.hash))
                })?;
                let gas_used = Amount::from(receipt.gas_used);
                let price = Amount::from(receipt.effective_gas_price);
                Ok(Transaction {
                    id: 0,
                    block_number: number,
                    block_hash: hash,
                    tx_hash: tx.hash,
                    tx_index: tx.index,
                    sender: tx.from,
                    to: tx.to,
                    nonce: tx.nonce,
                    succeeded: receipt.status,
                    gas_used,
                    effective_gas_price: price,
                    gas_paid_wei: Amount(receipt.paid_wei()),
                    request_id: tx.to.and_then(|to| self.contracts.get(&to)?.request_id_of_call(&tx.input)),
                })
            })
            .collect()
    }
}

/// What a backfill looks for that was asked for: all that is wanted, or the logs of the contracts that it names.
pub(crate) fn filter_for(config: &IngestConfig, contracts: &Contracts, order: &Order) -> Filter {
    let mut filter = filter(config, contracts);
    if let Some(named) = &order.contracts {
        filter.contracts.retain(|address, _| named.contains(address));
        filter.senders.clear();
    }
    filter
}

/// What is wanted, as it is put on record.
#[must_use]
pub fn filter(config: &IngestConfig, contracts: &Contracts) -> Filter {
    Filter {
        contracts: contracts.iter().map(|contract| (contract.address, contract.start_block)).collect(),
        senders: config.watched_senders.clone(),
    }
}
