//! The fold that books what is confirmed, and reverses what a deeper reorganisation takes back.

use std::collections::BTreeMap;

use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_journal::{Block, Body, Fold, FoldError, Record, Unconfirmed, Undone, confirmed};
use plimsoll_types::{JournalKind, hash_text};
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::accounts::Opened;
use super::booking::{BookingError, Bookkeeper, Books, Occasion, book, reverse};
use crate::repo::chain::{self, Standing};
use crate::rules::{RULES, Rule, Ruled};

/// The fold's name.
pub const FOLD_NAME: &str = "books";
/// In whose name it books.
const ACTOR: &str = "fold:books";

/// What a record is booked as.
type Booking = (Uuid, Ruled, Occasion, &'static str);

/// Keeps a tenant's books in step with what is confirmed on one chain.
#[derive(Debug)]
pub struct BooksFold {
    chain_id: u64,
    bookkeeper: Bookkeeper,
    opened: Opened,
    booked: BTreeMap<&'static str, u64>,
    reversed: u64,
}

impl BooksFold {
    /// The fold of these books by the rules that there are.
    #[must_use]
    pub fn new(books: Books, contracts: &Contracts) -> Self {
        Self::by(books, contracts, RULES)
    }

    /// By these rules.
    #[must_use]
    pub fn by(books: Books, contracts: &Contracts, rules: &'static [Rule]) -> Self {
        let chain_id = books.chain_id;
        let bookkeeper = Bookkeeper::new(books, contracts, rules);
        Self { chain_id, bookkeeper, opened: Opened::default(), booked: BTreeMap::new(), reversed: 0 }
    }

    /// A token that the books do not have is asked by these nodes how many decimals it has, and for its symbol.
    #[must_use]
    pub fn asking(mut self, pool: Pool) -> Self {
        self.opened = Opened::asking(pool);
        self
    }

    /// What rules make of these records. `confirmed` is the block that made them certain.
    async fn ruled(
        &self,
        conn: &mut PgConnection,
        confirmed: Option<&Block>,
        records: &[Record],
    ) -> Result<Vec<Booking>, FoldError> {
        let mut bookings = Vec::new();
        let mut times = Times { chain_id: self.chain_id, last: None };
        for record in records {
            let ruled = self.bookkeeper.ruled(record);
            let ruled = ruled.map_err(|error| self.poisoned(record.seq, error.to_string()))?;
            let Some((tenant_id, ruled)) = ruled else { continue };
            let (block_hash, tx_hash, log_index) = match &record.body {
                Body::Event(event) => (event.block_hash, event.tx_hash, Some(event.log_index)),
                Body::Transaction(transaction) => (transaction.block_hash, transaction.tx_hash, None),
                Body::Block(_) | Body::Retract(_) => continue,
            };
            let at = match confirmed.filter(|block| block.hash == block_hash) {
                Some(block) => block.time,
                None => times.of(conn, record.block_number).await?,
            };
            let occasion = Occasion {
                journal_seq: record.seq,
                block_number: record.block_number,
                block_hash,
                at,
                tx_hash: Some(tx_hash),
                log_index,
            };
            bookings.push((tenant_id, ruled, occasion, ""));
        }
        Ok(bookings)
    }

    async fn book(&mut self, conn: &mut PgConnection, bookings: &[Booking]) -> Result<(), FoldError> {
        let booked = book(conn, self.chain_id, ACTOR, &mut self.opened, bookings).await;
        booked.map_err(|error| self.failed(error))?;
        for (_, ruled, _, _) in bookings {
            *self.booked.entry(ruled.rule).or_default() += 1;
        }
        Ok(())
    }

    /// Before any account, as who books what is silent does: so neither waits for the other in a circle.
    async fn lock(&self, conn: &mut PgConnection) -> Result<Option<Standing>, FoldError> {
        Ok(chain::lock_standing(conn, self.chain_id).await?)
    }

    fn poisoned(&self, seq: i64, reason: String) -> FoldError {
        FoldError::Poisoned { fold: FOLD_NAME, chain_id: self.chain_id, seq, reason }
    }

    fn failed(&self, error: BookingError) -> FoldError {
        match error {
            BookingError::Refused { journal_seq, reason } => self.poisoned(journal_seq, reason),
            BookingError::Database(error) => error.into(),
        }
    }
}

/// The times of blocks that the journal has no `block` record of: within a backfilled range, and of what comes late.
struct Times {
    chain_id: u64,
    last: Option<(u64, OffsetDateTime)>,
}

impl Times {
    /// The block's time, as it is on record with the range that it came in. A journal that was written before ranges brought it has that of the next block that is on record.
    async fn of(&mut self, conn: &mut PgConnection, block_number: u64) -> Result<OffsetDateTime, FoldError> {
        if let Some((number, at)) = self.last
            && number == block_number
        {
            return Ok(at);
        }
        let at = chain::time_from(conn, self.chain_id, block_number).await?;
        let at = at.ok_or_else(|| FoldError::Malformed {
            chain_id: self.chain_id,
            what: format!("a record of block {block_number}, and no block from there on"),
        })?;
        self.last = Some((block_number, at));
        Ok(at)
    }
}

impl Fold for BooksFold {
    fn name(&self) -> &'static str {
        FOLD_NAME
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        _: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        let books = |record: &Record| record.kind == JournalKind::Confirm || record.is_late();
        let stood = if records.iter().any(books) { self.lock(conn).await? } else { None };
        let (mut bookings, mut through) = (Vec::new(), stood);
        for (at, record) in records.iter().enumerate() {
            match (record.kind, &record.body) {
                (JournalKind::Confirm, Body::Block(block)) => {
                    let certain = confirmed(conn, FOLD_NAME, self.chain_id, record, &records[..at]).await?;
                    bookings.extend(self.ruled(conn, Some(block), &certain).await?);
                    let (block_number, block_hash) = (block.number, block.hash);
                    through = Some(Standing { block_number, block_hash, journal_seq: record.seq });
                }
                // Late history is final.
                (JournalKind::LateAppend | JournalKind::LateIncluded, _) => {
                    bookings.extend(self.ruled(conn, None, std::slice::from_ref(record)).await?);
                    // The books are at the same block, and are others than before.
                    through = through.map(|stood| Standing { journal_seq: record.seq, ..stood });
                }
                _ => {}
            }
        }
        self.book(conn, &bookings).await?;
        if let Some(through) = through.filter(|_| through != stood) {
            chain::stand(conn, self.chain_id, &through).await?;
        }
        Ok(vec![None; records.len()])
    }

    /// What is taken back before it was confirmed was never booked.
    async fn undo(&mut self, _: &mut PgConnection, _: Vec<Undone>) -> Result<(), FoldError> {
        Ok(())
    }

    async fn unconfirm(
        &mut self,
        conn: &mut PgConnection,
        blocks: Vec<Unconfirmed>,
    ) -> Result<(), FoldError> {
        self.lock(conn).await?;
        let mut through = None;
        for Unconfirmed { retract_seq, block, .. } in blocks {
            let reason = format!("block {} ({}) left the chain", block.number, hash_text(&block.hash));
            let reversed = reverse(conn, self.chain_id, ACTOR, retract_seq, &block, &reason).await;
            self.reversed += reversed.map_err(|error| self.failed(error))?;
            // Blocks are confirmed one by one at the head, each the last one's child.
            if let Some(block_number) = block.number.checked_sub(1) {
                through =
                    Some(Standing { block_number, block_hash: block.parent_hash, journal_seq: retract_seq });
            }
        }
        if let Some(through) = through {
            chain::stand(conn, self.chain_id, &through).await?;
        }
        Ok(())
    }

    async fn skip(&mut self, _: &mut PgConnection, record: &Record, reason: &str) -> Result<(), FoldError> {
        let (chain_id, journal_seq) = (self.chain_id, record.seq);
        tracing::warn!(chain_id, journal_seq, reason, "record passed over: it is not booked");
        Ok(())
    }

    fn committed(&mut self) {
        let chain_id = self.chain_id.to_string();
        for (rule, count) in std::mem::take(&mut self.booked) {
            metrics::counter!("books_postings_total", "chain_id" => chain_id.clone(), "rule" => rule)
                .increment(count);
        }
        metrics::counter!("books_reversals_total", "chain_id" => chain_id)
            .increment(std::mem::take(&mut self.reversed));
    }

    fn rolled_back(&mut self) {
        self.opened.forget();
        self.booked.clear();
        self.reversed = 0;
    }
}
