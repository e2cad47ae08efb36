//! What other rules would have booked: history through the rules, beside what is on the books, and nothing written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use alloy_primitives::{B256, I256};
use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{Body, FoldError, Record, stored};
use plimsoll_store::Db;
use plimsoll_types::{Amount, Balance, JournalKind, hash_text};
use serde::Serialize;
use uuid::Uuid;

use super::accounts::account_id;
use super::booking::{Bookkeeper, Books};
use crate::posting::Direction;
use crate::repo::chain::{self, BookedLine};
use crate::rules::Rule;

/// Blocks that are looked through at a time.
const SPAN_BLOCKS: u64 = 2_000;
/// Changes that are listed; the others are counted.
const CHANGES_LISTED: usize = 1_000;

/// A line, as it is booked or would be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DryLine {
    /// The account.
    pub account_id: Uuid,
    /// Whether the account is debited; else it is credited.
    pub is_debit: bool,
    /// How much.
    pub amount: Amount,
    /// What kind of line.
    pub entry_type: String,
}

/// Something that the chain did, and that would be booked otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The block.
    pub block_number: u64,
    /// The transaction.
    pub tx_hash: String,
    /// The log; none: the transaction's gas.
    pub log_index: Option<u32>,
    /// What is booked of it; none: nothing.
    pub posting_id: Option<Uuid>,
    /// Its lines.
    pub booked: Vec<DryLine>,
    /// The rule that would book it; none: no rule would.
    pub rule: Option<&'static str>,
    /// Of which meaning.
    pub rule_version: Option<u16>,
    /// The lines that it would make.
    pub would_book: Vec<DryLine>,
    /// Why it could not be booked.
    pub error: Option<String>,
}

/// What would change on an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountChange {
    /// The account. It may not be open yet.
    pub account_id: Uuid,
    /// Its name.
    pub name: String,
    /// What these blocks have booked on it, debits less credits.
    pub booked: Balance,
    /// What they would book.
    pub would_book: Balance,
}

/// What rules would book otherwise.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DryRun {
    /// Events and transactions that are booked, or would be.
    pub occasions: u64,
    /// Those that would be booked otherwise.
    pub changed: u64,
    /// They, the first ones.
    pub changes: Vec<Change>,
    /// What comes of them, an account each.
    pub accounts: Vec<AccountChange>,
}

/// Why a dry run ended early.
#[derive(Debug, thiserror::Error)]
pub enum DryRunError {
    /// The journal's raw store cannot be read.
    #[error(transparent)]
    Journal(#[from] FoldError),
    /// Postgres.
    #[error("reading the books: {0}")]
    Database(#[from] sqlx::Error),
    /// A sum beyond 256 bits.
    #[error("account {account_id}: the sum does not fit into 256 bits")]
    Overflow {
        /// The account.
        account_id: Uuid,
    },
}

/// What of the chain: a transaction's log, or its gas.
type Occasion = (u64, B256, Option<u32>);

/// Compares what is booked of these blocks with what `rules` would book of them, as far as the books have come.
///
/// # Errors
/// [`DryRunError`]. What the rules cannot book is no error: it is a change that says why.
pub async fn dry_run(
    db: &Db,
    books: Books,
    contracts: &Contracts,
    rules: &'static [Rule],
    blocks: RangeInclusive<u64>,
) -> Result<DryRun, DryRunError> {
    let chain_id = books.chain_id;
    let bookkeeper = Bookkeeper::new(books, contracts, rules);
    let mut run = DryRun::default();
    let mut accounts = Accounts::default();
    let standing = chain::standing(&mut *db.worker().acquire().await?, chain_id).await?;
    let Some(standing) = standing else { return Ok(run) };
    let (mut from, to) = (*blocks.start(), standing.block_number.min(*blocks.end()));
    // Ends: each turn goes up by a span.
    while from <= to {
        let end = to.min(from.saturating_add(SPAN_BLOCKS - 1));
        let mut would = would_book(db, chain_id, &bookkeeper, (from, end)).await?;
        let mut conn = db.worker().acquire().await?;
        let mut booked =
            of_occasions(chain::booked_lines(&mut conn, chain_id, from, end).await?, &mut accounts);
        let all: BTreeMap<Occasion, ()> = would.keys().chain(booked.keys()).map(|key| (*key, ())).collect();
        for (occasion, ()) in all {
            run.compare(
                occasion,
                booked.remove(&occasion),
                would.remove(&occasion),
                chain_id,
                &mut accounts,
            )?;
        }
        from = end + 1;
    }
    run.accounts = accounts.changes();
    Ok(run)
}

/// What the rules make of something, or why they cannot.
type Would = Result<(Uuid, crate::rules::Ruled), String>;

async fn would_book(
    db: &Db,
    chain_id: u64,
    bookkeeper: &Bookkeeper,
    (from, to): (u64, u64),
) -> Result<HashMap<Occasion, Would>, DryRunError> {
    let stored = stored(db, chain_id, from, to).await?;
    let orphans = chain::orphans(&mut *db.worker().acquire().await?, chain_id, from, to).await?;
    let orphans: HashSet<B256> = orphans.into_iter().collect();
    let live = stored.events.into_iter().filter(|event| stored.live.contains(&event.id));
    let events = live.map(|event| {
        let occasion = (event.block_number, event.tx_hash, Some(event.log_index));
        (occasion, JournalKind::Append, Body::Event(Arc::new(event)))
    });
    let canonical = stored.transactions.into_iter().filter(|tx| !orphans.contains(&tx.block_hash));
    let transactions = canonical.map(|transaction| {
        let occasion = (transaction.block_number, transaction.tx_hash, None);
        (occasion, JournalKind::Included, Body::Transaction(Arc::new(transaction)))
    });
    let mut would = HashMap::new();
    for (occasion, kind, body) in events.chain(transactions) {
        match bookkeeper.ruled(&Record { seq: 0, kind, block_number: occasion.0, body }) {
            Ok(None) => {}
            Ok(Some(ruled)) => drop(would.insert(occasion, Ok(ruled))),
            Err(error) => drop(would.insert(occasion, Err(error.to_string()))),
        }
    }
    Ok(would)
}

/// What is booked, by what it is of.
fn of_occasions(lines: Vec<BookedLine>, accounts: &mut Accounts) -> HashMap<Occasion, (Uuid, Vec<DryLine>)> {
    let mut booked: HashMap<Occasion, (Uuid, Vec<DryLine>)> = HashMap::new();
    for line in lines {
        accounts.name(line.account_id, line.name);
        let key = (line.block_number, line.tx_hash, line.log_index);
        booked.entry(key).or_insert_with(|| (line.posting_id, Vec::new())).1.push(DryLine {
            account_id: line.account_id,
            is_debit: line.is_debit,
            amount: line.amount,
            entry_type: line.entry_type,
        });
    }
    booked
}

impl DryRun {
    fn compare(
        &mut self,
        (block_number, tx_hash, log_index): Occasion,
        booked: Option<(Uuid, Vec<DryLine>)>,
        would: Option<Would>,
        chain_id: u64,
        accounts: &mut Accounts,
    ) -> Result<(), DryRunError> {
        self.occasions += 1;
        let (posting_id, booked) = booked.map_or((None, Vec::new()), |(id, lines)| (Some(id), lines));
        let (mut would_book, mut rule, mut error) = (Vec::new(), None, None);
        match would {
            None => {}
            Some(Err(why)) => error = Some(why),
            Some(Ok((tenant_id, ruled))) => {
                rule = Some((ruled.rule, ruled.version));
                for entry in ruled.lines {
                    let account_id = account_id(tenant_id, chain_id, &entry.account);
                    accounts.name(account_id, entry.account.name);
                    would_book.push(DryLine {
                        account_id,
                        is_debit: entry.direction == Direction::Debit,
                        amount: entry.amount,
                        entry_type: entry.entry_type.to_owned(),
                    });
                }
            }
        }
        booked.iter().try_for_each(|line| accounts.add(line, false))?;
        would_book.iter().try_for_each(|line| accounts.add(line, true))?;
        if error.is_none() && booked == would_book {
            return Ok(());
        }
        self.changed += 1;
        if self.changes.len() < CHANGES_LISTED {
            self.changes.push(Change {
                block_number,
                tx_hash: hash_text(&tx_hash),
                log_index,
                posting_id,
                booked,
                rule: rule.map(|(rule, _)| rule),
                rule_version: rule.map(|(_, version)| version),
                would_book,
                error,
            });
        }
        Ok(())
    }
}

/// What comes of all lines: name, what is booked, what would be.
#[derive(Default)]
struct Accounts(BTreeMap<Uuid, (String, I256, I256)>);

impl Accounts {
    fn name(&mut self, account_id: Uuid, name: String) {
        self.0.entry(account_id).or_insert((name, I256::ZERO, I256::ZERO));
    }

    fn add(&mut self, line: &DryLine, would: bool) -> Result<(), DryRunError> {
        let account_id = line.account_id;
        let overflow = || DryRunError::Overflow { account_id };
        let amount = I256::try_from(line.amount.0).map_err(|_| overflow())?;
        let (_, booked, would_book) = self.0.entry(account_id).or_default();
        let sum = if would { would_book } else { booked };
        let moved = if line.is_debit { sum.checked_add(amount) } else { sum.checked_sub(amount) };
        *sum = moved.ok_or_else(overflow)?;
        Ok(())
    }

    fn changes(self) -> Vec<AccountChange> {
        let differing = self.0.into_iter().filter(|(_, (_, booked, would))| booked != would);
        differing
            .map(|(account_id, (name, booked, would))| AccountChange {
                account_id,
                name,
                booked: Balance(booked),
                would_book: Balance(would),
            })
            .collect()
    }
}
