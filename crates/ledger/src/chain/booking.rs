//! From what the chain did to postings, and onto the books.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, B256};
use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{Block, Body, Record};
use plimsoll_types::{Context, RequestId, hash_text};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::accounts::{DOMAIN, Opened, account_id};
use crate::batch;
use crate::correction::reversal;
use crate::error::PostError;
use crate::posting::{Draft, Line, OnChain, Origin, Posting};
use crate::repo::chain::{self, Booked};
use crate::rules::{self, Entry, Plans, Rule, RuleError, Ruled};

/// What keys of postings are derived under.
const POSTINGS: Uuid = Uuid::from_u128(0x6f1d_6b0e_8a57_4c0c_9a3e_0f6a_1f0b_2602);
/// Postings that are written by one statement.
const BATCH: usize = 1_000;

/// Whose books are kept from a chain.
#[derive(Clone, Debug)]
pub struct Books {
    /// The chain.
    pub chain_id: u64,
    /// The tenant. What its contracts say is booked, and no other's.
    pub tenant_id: Uuid,
    /// The senders whose gas the tenant pays.
    pub gas_payers: HashSet<Address>,
}

/// What the chain did, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occasion {
    /// The record that it is booked for.
    pub(super) journal_seq: i64,
    pub(super) block_number: u64,
    pub(super) block_hash: B256,
    pub(super) at: OffsetDateTime,
    pub(super) tx_hash: Option<B256>,
    pub(super) log_index: Option<u32>,
}

/// Why something is not booked.
#[derive(Debug, thiserror::Error)]
pub(super) enum BookingError {
    /// What the chain said cannot be booked.
    #[error("{reason}")]
    Refused { journal_seq: i64, reason: String },
    /// Postgres.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Which rules apply to whom.
#[derive(Debug)]
pub(super) struct Bookkeeper {
    books: Books,
    plans: Plans,
}

impl Bookkeeper {
    pub(super) fn new(books: Books, contracts: &Contracts, rules: &'static [Rule]) -> Self {
        let plans = Plans::new(contracts, &[books.tenant_id], rules);
        Self { books, plans }
    }

    /// What a record means in the books; none: nothing.
    pub(super) fn ruled(&self, record: &Record) -> Result<Option<(Uuid, Ruled)>, RuleError> {
        match &record.body {
            Body::Event(event) => self.plans.of(event),
            Body::Transaction(transaction) if self.books.gas_payers.contains(&transaction.sender) => {
                Ok(rules::gas(transaction).map(|ruled| (self.books.tenant_id, ruled)))
            }
            _ => Ok(None),
        }
    }
}

/// The key of a posting for a record. The same record under the same rule has the same, whenever it is booked.
fn request_id(chain_id: u64, occasion: &Occasion, rule: &str, what: &str) -> Uuid {
    let name = format!("{chain_id}\n{}\n{rule}\n{what}", occasion.journal_seq);
    Uuid::new_v5(&POSTINGS, name.as_bytes())
}

/// In which story a posting belongs: that of the request that the chain carried, else the transaction's.
fn story(carried: Option<RequestId>, occasion: &Occasion) -> String {
    let of_transaction = || hash_text(&occasion.tx_hash.unwrap_or(occasion.block_hash));
    carried.map_or_else(of_transaction, |id| id.to_string())
}

/// Books what rules made, in order; `what` tells postings for one record and rule apart. What is there already stays as it is.
pub(super) async fn book(
    conn: &mut PgConnection,
    chain_id: u64,
    actor: &str,
    opened: &mut Opened,
    bookings: &[(Uuid, Ruled, Occasion, &str)],
) -> Result<(), BookingError> {
    for bookings in bookings.chunks(BATCH) {
        let mut accounts: BTreeMap<Uuid, Vec<(&rules::Account, String)>> = BTreeMap::new();
        let mut postings = Vec::with_capacity(bookings.len());
        for (tenant_id, ruled, occasion, what) in bookings {
            let mut lines = Vec::with_capacity(ruled.lines.len());
            for Entry { account, direction, amount, entry_type } in &ruled.lines {
                let currency = opened.currency(conn, *tenant_id, chain_id, account.token).await?;
                accounts.entry(*tenant_id).or_default().push((account, currency.clone()));
                lines.push(Line {
                    account_id: account_id(*tenant_id, chain_id, account),
                    direction: *direction,
                    amount: *amount,
                    currency,
                    entry_type: (*entry_type).into(),
                });
            }
            postings.push(posting(chain_id, actor, (*tenant_id, ruled, occasion, what), lines)?);
        }
        for (tenant_id, accounts) in &accounts {
            opened.open(conn, *tenant_id, chain_id, accounts).await?;
        }
        let outcomes = batch::post(conn, &postings.iter().collect::<Vec<_>>(), None).await?;
        let mut booked = Vec::with_capacity(bookings.len());
        for (outcome, (tenant_id, ruled, occasion, _)) in outcomes.into_iter().zip(bookings) {
            let posted = outcome.map_err(|error| refused(occasion.journal_seq, &error))?;
            booked.push(Booked {
                posting_id: posted.posting_id,
                tenant_id: *tenant_id,
                occasion_tx: occasion.tx_hash,
                log_index: occasion.log_index,
                block_number: occasion.block_number,
                block_hash: occasion.block_hash,
                journal_seq: occasion.journal_seq,
                rule: ruled.rule.to_owned(),
                rule_version: ruled.version,
            });
        }
        chain::put_bookings(conn, chain_id, &booked).await?;
    }
    Ok(())
}

fn posting(
    chain_id: u64,
    actor: &str,
    (tenant_id, ruled, occasion, what): (Uuid, &Ruled, &Occasion, &str),
    lines: Vec<Line>,
) -> Result<Posting, BookingError> {
    let mut context = Context::new(request_id(chain_id, occasion, ruled.rule, what), actor);
    context.tenant_id = Some(tenant_id);
    context.correlation_id = story(ruled.request_id, occasion);
    let mut metadata: Map<String, Value> = Map::new();
    metadata.insert("rule".into(), json!(ruled.rule));
    metadata.insert("rule_version".into(), json!(ruled.version));
    if let Some(log_index) = occasion.log_index {
        metadata.insert("log_index".into(), json!(log_index));
    }
    let draft = Draft {
        context,
        operation_type: ruled.operation_type.into(),
        domain: DOMAIN.into(),
        origin: Origin::Chain,
        internal_tx_id: None,
        trace_id: None,
        effective_at: Some(occasion.at),
        on_chain: Some(OnChain {
            chain_id,
            tx_hash: occasion.tx_hash,
            block: Some((occasion.block_number, occasion.block_hash)),
        }),
        correction: None,
        metadata,
        lines,
    };
    Posting::new(draft).map_err(|error| refused(occasion.journal_seq, &error.into()))
}

pub(super) fn refused(journal_seq: i64, error: &PostError) -> BookingError {
    BookingError::Refused { journal_seq, reason: error.to_string() }
}

/// Reverses what was booked of a block that left the chain, the last first; returns how many postings.
pub(super) async fn reverse(
    conn: &mut PgConnection,
    chain_id: u64,
    actor: &str,
    retract_seq: i64,
    block: &Block,
    reason: &str,
) -> Result<u64, BookingError> {
    let standing = chain::standing_bookings(conn, chain_id, block.number, block.hash, retract_seq).await?;
    let mut reversals = Vec::with_capacity(standing.len());
    for (tenant_id, posting_id, story) in standing {
        let request_id = Uuid::new_v5(&POSTINGS, format!("{retract_seq}\n{posting_id}").as_bytes());
        let mut context = Context::new(request_id, actor);
        context.tenant_id = Some(tenant_id);
        context.correlation_id = story;
        let reversal = reversal(conn, posting_id, reason, context, Origin::Chain).await;
        reversals.push(reversal.map_err(|error| refused(retract_seq, &error))?);
    }
    for reversals in reversals.chunks(BATCH) {
        for outcome in batch::post(conn, &reversals.iter().collect::<Vec<_>>(), None).await? {
            outcome.map_err(|error| refused(retract_seq, &error))?;
        }
    }
    Ok(reversals.len() as u64)
}
