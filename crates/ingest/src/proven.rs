//! What is wanted of a block, proven from its header.
//!
//! A header whose hash was recomputed is as true as the hash. Its bloom then rules logs out: a block whose bloom does not have the contracts needs no
//! further question. For any other the receipts are asked for, and must give the header's `receiptsRoot`: then they are all there, with
//! all their logs. The transactions must give `transactionsRoot`, which proves the hashes that the receipts name, and the senders.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_chain::abi::AbiMismatch;
use plimsoll_chain::{Header, Log, Rpc, Topics};
use plimsoll_journal::{Content, Transaction};
use plimsoll_proof::{
    Explanation, Finding, Outcome, ProvenHeader, ProvenReceipts, ReportedReceipt, Transaction as Reported,
};
use plimsoll_types::{Amount, Completeness};
use serde_json::json;

use crate::content::Wanted;
use crate::error::IngestError;
use crate::new_block;

/// In a range, the receipts of so many blocks are asked for although the bloom alone would do: where it may have logs of a contract of which none
/// was returned…
const MIN_ASKED_RECEIPTS: usize = 8;
/// …or of one block in so many, if that is more. Where the bloom of busy blocks says "perhaps" to everything, it is left at that.
const ASKED_RECEIPTS_SHARE: usize = 16;

/// So few signatures are looked at where the answer arrives.
const CHECKED_INLINE: usize = 16;

/// What a check found wrong, as an error of the endpoint.
pub(crate) fn fault(
    wanted: &Wanted,
    rpc: &Rpc,
    header: &Header,
    finding: Finding,
    what: &dyn std::fmt::Display,
) -> IngestError {
    let (endpoint, chain_id) = (rpc.endpoint().to_owned(), wanted.chain_id);
    let what = format!("block {}: {what}", header.number);
    match finding {
        Finding::Contradiction => {
            let evidence = json!({
                "block_number": header.number,
                "block_hash": header.hash,
                "parent_hash": header.parent_hash,
                "transactions_root": header.transactions_root,
                "receipts_root": header.receipts_root,
                "logs_bloom": header.logs_bloom,
            });
            IngestError::Contradiction { endpoint, chain_id, what, evidence: Box::new(evidence) }
        }
        Finding::Unproven => IngestError::Unproven { endpoint, chain_id, what },
    }
}

/// The header, if its fields have its hash.
pub(crate) fn header(wanted: &Wanted, rpc: &Rpc, header: &Header) -> Result<ProvenHeader, IngestError> {
    header.clone().prove().map_err(|error| fault(wanted, rpc, header, error.finding(), &error))
}

impl Wanted {
    /// Everything wanted of one block, with the logs of its receipts.
    pub(crate) async fn content_by_receipts(
        &self,
        rpc: &Rpc,
        header: &Header,
    ) -> Result<Content, IngestError> {
        let proven = self::header(self, rpc, header)?;
        let has_logs = self.has_contracts() && self.prover.may_match(&proven.logs_bloom);
        let (mut events, mut transactions) = (Vec::new(), Vec::new());
        if let Some((body, receipts)) = self.body(rpc, &proven, has_logs).await? {
            transactions = self.included(rpc, header, &body, &receipts).await?;
            events = self.events(&self.logs_of(header, &receipts))?;
        }
        let evidence = self.evidence(rpc, Completeness::Receipts);
        Ok(Content { block: new_block(header), events, transactions, evidence })
    }

    /// The watched senders' transactions of one block, proven.
    pub(crate) async fn proven_transactions(
        &self,
        rpc: &Rpc,
        header: &Header,
    ) -> Result<Vec<Transaction>, IngestError> {
        let proven = self::header(self, rpc, header)?;
        match self.body(rpc, &proven, false).await? {
            Some((body, receipts)) => self.included(rpc, header, &body, &receipts).await,
            None => Ok(Vec::new()),
        }
    }

    /// Transactions and receipts of a block. `None` where nothing of them is wanted: it `has_logs` of no contract, and no transaction of a watched sender.
    async fn body(
        &self,
        rpc: &Rpc,
        header: &ProvenHeader,
        has_logs: bool,
    ) -> Result<Option<(Vec<Reported>, ProvenReceipts)>, IngestError> {
        if !has_logs && !self.watches_at(header.number) {
            return Ok(None);
        }
        let gone = || {
            self.inconsistent(
                rpc,
                format!("block {} ({}) is gone between two answers", header.number, header.hash),
            )
        };
        if !has_logs {
            let body = rpc.reported_transactions(header.hash).await?.ok_or_else(gone)?;
            let body = self.prove_body(rpc, header, body).await?;
            if !body.iter().any(|tx| self.watches(&tx.from, header.number)) {
                return Ok(None);
            }
        }
        let (body, receipts) = rpc.reported_content(header.hash).await?.ok_or_else(gone)?;
        let body = self.prove_body(rpc, header, body).await?;
        let receipts = self.prove_receipts(rpc, header, receipts)?;
        // Where the transactions' root is unproven their hashes are as the node has them, in both.
        if body.len() != receipts.receipts().len()
            || body.iter().zip(receipts.receipts()).any(|(tx, receipt)| tx.hash != receipt.tx_hash)
        {
            let what = "its receipts are of other transactions than its body";
            return Err(fault(self, rpc, header, Finding::Contradiction, &what));
        }
        Ok(Some((body, receipts)))
    }

    /// The logs of a block that the filter wants.
    fn logs_of(&self, header: &Header, receipts: &ProvenReceipts) -> Vec<Log> {
        let wanted = receipts.logs().filter(|log| self.prover.admits(&log.address, log.topics));
        let log = wanted.map(|log| Log {
            block_number: header.number,
            block_hash: header.hash,
            block_timestamp: Some(header.timestamp),
            tx_hash: log.tx_hash,
            tx_index: log.tx_index,
            log_index: log.log_index,
            address: log.address,
            topics: Topics::new(log.topics).expect("a receipt has no log with more topics"),
            data: log.data.clone(),
            removed: false,
        });
        log.collect()
    }

    pub(crate) fn prove_receipts(
        &self,
        rpc: &Rpc,
        header: &ProvenHeader,
        receipts: Vec<ReportedReceipt>,
    ) -> Result<ProvenReceipts, IngestError> {
        let proven = header.prove_receipts(receipts);
        proven.map_err(|error| fault(self, rpc, header, error.finding(), &error))
    }

    /// The transactions, proven as far as they can be: a chain may have types that are not known here.
    async fn prove_body(
        &self,
        rpc: &Rpc,
        header: &ProvenHeader,
        body: Vec<Reported>,
    ) -> Result<Vec<Reported>, IngestError> {
        let number = header.number;
        let (body, lie) = self.check_senders(number, body).await?;
        if let Some(what) = lie {
            return Err(fault(self, rpc, header, Finding::Contradiction, &what));
        }
        match header.prove_transactions(body.clone()) {
            Ok(proven) => Ok(proven.into_inner()),
            Err(error) if error.finding() == Finding::Unproven => {
                tracing::debug!(chain_id = self.chain_id, number, %error, "the transactions are as the endpoint has them");
                Ok(body)
            }
            Err(error) => Err(fault(self, rpc, header, error.finding(), &error)),
        }
    }

    /// What is said of a watched sender and is not so: a transaction that it did not sign, or one that it signed and that is said to be another's, which
    /// would hide an inclusion.
    ///
    /// No root covers `from`: only its signature tells whose a transaction is, so each of the block is looked at once somebody is watched. That takes some 0.2 ms each, of
    /// a larger block off the tasks that wait for the network. Whether one between strangers is as it is said to be is left alone: development nodes send as whomever they are told to.
    async fn check_senders(
        &self,
        number: u64,
        body: Vec<Reported>,
    ) -> Result<(Vec<Reported>, Option<String>), IngestError> {
        if !self.watches_at(number) {
            return Ok((body, None));
        }
        if body.len() <= CHECKED_INLINE {
            let lie = body.iter().find_map(|tx| lie_about(&self.senders, tx));
            return Ok((body, lie));
        }
        let senders = self.senders.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let lie = body.iter().find_map(|tx| lie_about(&senders, tx));
            (body, lie)
        });
        Ok(checked.await?)
    }

    /// The watched senders' transactions among these. What a unit of gas cost is the receipt's own word: no root covers it, and chains differ.
    async fn included(
        &self,
        rpc: &Rpc,
        header: &Header,
        body: &[Reported],
        receipts: &ProvenReceipts,
    ) -> Result<Vec<Transaction>, IngestError> {
        let ours: Vec<_> =
            body.iter().enumerate().filter(|(_, tx)| self.watches(&tx.from, header.number)).collect();
        let hashes: Vec<_> = ours.iter().map(|(_, tx)| tx.hash).collect();
        let told = rpc.receipts(&hashes).await?;
        let mut included = Vec::with_capacity(ours.len());
        for ((index, tx), told) in ours.into_iter().zip(told) {
            let told = told.filter(|told| told.block_hash == header.hash).ok_or_else(|| {
                self.inconsistent(
                    rpc,
                    format!("transaction {} is in block {}, its receipt is not", tx.hash, header.hash),
                )
            })?;
            let limit = tx.max_fee_per_gas.or(tx.gas_price);
            let is_as_proven = receipts.receipts()[index].receipt.outcome == Outcome::Status(told.status)
                && receipts.gas_used(index) == Some(told.gas_used)
                && limit.is_none_or(|limit| U256::from(told.effective_gas_price) <= limit);
            if !is_as_proven {
                let what =
                    format!("the receipt of transaction {} is not the one that the header proves", tx.hash);
                return Err(fault(self, rpc, header, Finding::Contradiction, &what));
            }
            let (gas_used, price) = (Amount::from(told.gas_used), Amount::from(told.effective_gas_price));
            included.push(Transaction {
                id: 0,
                block_number: header.number,
                block_hash: header.hash,
                tx_hash: tx.hash,
                tx_index: told.tx_index,
                sender: tx.from,
                to: tx.to,
                nonce: tx.nonce,
                succeeded: told.status,
                gas_used,
                effective_gas_price: price,
                gas_paid_wei: Amount(told.paid_wei()),
                request_id: tx.to.and_then(|to| self.contracts.get(&to)?.request_id_of_call(&tx.input)),
            });
        }
        Ok(included)
    }

    /// Holds the logs that an endpoint gave for a range against the proven headers of the range's blocks.
    pub(crate) async fn check_range(
        &self,
        rpc: &Rpc,
        headers: &[Header],
        logs: &[Log],
        every_block: bool,
    ) -> Result<(), IngestError> {
        let mut by_block: HashMap<u64, &[Log]> = HashMap::new();
        for group in logs.chunk_by(|a, b| a.block_number == b.block_number) {
            by_block.insert(group[0].block_number, group);
        }
        let mut open = Vec::new();
        for header in headers {
            let proven = self::header(self, rpc, header)?;
            let returned = by_block.get(&header.number).copied().unwrap_or_default();
            if let Some(log) = returned.iter().find(|log| log.block_hash != header.hash) {
                let what = format!("a log says {}, the header {}", log.block_hash, header.hash);
                return Err(fault(self, rpc, header, Finding::Contradiction, &what));
            }
            let shown = returned.iter().map(|log| (log.address, &*log.topics));
            let explained = self.prover.explain(&proven.logs_bloom, shown);
            let explained = explained.map_err(|error| fault(self, rpc, header, error.finding(), &error))?;
            let is_open = match explained {
                Explanation::Empty => false,
                Explanation::Consistent => every_block,
                Explanation::Unexplained { .. } => true,
            };
            if is_open {
                open.push((proven, returned));
            }
        }
        if !every_block && open.len() > MIN_ASKED_RECEIPTS.max(headers.len() / ASKED_RECEIPTS_SHARE) {
            return Ok(());
        }
        self.check_receipts(rpc, open, every_block).await
    }

    /// What a log that its ABI does not decode means. A person is called for it, so it is first held against the receipts of the blocks that can be
    /// proven: the bloom does not cover what a log says.
    pub(crate) async fn mismatch(
        &self,
        rpc: &Rpc,
        headers: &[Header],
        logs: &[Log],
        mismatch: Box<AbiMismatch>,
    ) -> IngestError {
        match self.check_range(rpc, headers, logs, true).await {
            Ok(()) | Err(IngestError::Unproven { .. }) => mismatch.into(),
            Err(IngestError::Rpc(error)) if error.is_method_missing() => mismatch.into(),
            Err(error) => error,
        }
    }

    async fn check_receipts(
        &self,
        rpc: &Rpc,
        blocks: Vec<(ProvenHeader, &[Log])>,
        is_demanded: bool,
    ) -> Result<(), IngestError> {
        let hashes: Vec<B256> = blocks.iter().map(|(header, _)| header.hash).collect();
        let receipts = match rpc.reported_receipts_of(&hashes).await {
            Ok(receipts) => receipts,
            // They would have been a better proof than was asked for.
            Err(error) if !is_demanded && error.is_method_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for ((header, returned), receipts) in blocks.into_iter().zip(receipts) {
            let Some(receipts) = receipts else {
                return Err(
                    self.inconsistent(rpc, format!("it has block {} and not its receipts", header.hash))
                );
            };
            let receipts = match self.prove_receipts(rpc, &header, receipts) {
                Ok(receipts) => receipts,
                Err(IngestError::Unproven { .. }) if !is_demanded => continue,
                Err(error) => return Err(error),
            };
            let empty = Bytes::new();
            let placed = returned.iter().map(|log| plimsoll_proof::PlacedLog {
                tx_index: log.tx_index,
                log_index: log.log_index,
                tx_hash: log.tx_hash,
                address: log.address,
                topics: &log.topics,
                data: if log.data.is_empty() { &empty } else { &log.data },
            });
            if let Some(dispute) = receipts.disputes(&self.prover, placed).first() {
                let what = format!("its logs are not those of its receipts: {dispute:?}");
                return Err(fault(self, rpc, &header, Finding::Contradiction, &what));
            }
        }
        Ok(())
    }

    fn has_contracts(&self) -> bool {
        !self.filter.addresses.is_empty()
    }
}

/// What a transaction says of one of these senders, if that is not so.
fn lie_about(senders: &HashMap<Address, u64>, tx: &Reported) -> Option<String> {
    if senders.contains_key(&tx.from) {
        let fault = tx.check_sender().err().filter(|error| error.finding() == Finding::Contradiction);
        return fault.map(|error| error.to_string());
    }
    // One without a signature says whose it is in what is hashed.
    let signer = tx.recover_sender().ok().filter(|signer| senders.contains_key(signer))?;
    Some(format!("transaction {} is signed by {signer} and said to be sent by {}", tx.hash, tx.from))
}

/// A filter of the contracts' addresses.
pub(crate) fn prover(addresses: &[Address]) -> plimsoll_proof::LogFilter {
    plimsoll_proof::LogFilter::new(addresses, &[])
}
