//! The journal as the follower writes it, on a database that may lose a commit or its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy_primitives::B256;
use plimsoll_ingest::Book;
use plimsoll_journal::{
    Certificate, Content, Event, Filter, NewBlock, Range, Transaction, Uncovered, WriteError, uncovered,
};
use plimsoll_types::{Completeness, JournalKind};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::dice::Dice;
use super::store::{Asked, Belief, BlockId, Store};
use crate::laws;

/// What a commit is about to write.
pub(super) enum Commit<'a> {
    /// A block is marked final ahead of a backfill.
    Finalized(&'a NewBlock),
    /// Everything from this block on to `end`, at or below finality.
    Range { first: u64, range: &'a Range },
    /// What is wanted by this filter of blocks that were taken in without.
    Late { filter: &'a Filter, range: &'a Range },
    /// Blocks above finality, for those that are taken back; of what is canonical then, `marked` is the last that becomes final.
    Replaced { gone: &'a [BlockId], contents: &'a [Content], marked: Option<BlockId> },
}

/// A commit that was made, with all that it was given.
#[derive(Clone, Debug)]
pub enum Made {
    /// See [`Book::finalize`].
    Finalized(NewBlock),
    /// See [`Book::append_range`].
    Range(Range),
    /// See [`Book::append_late`].
    Late(Filter, Range),
    /// See [`Book::replace_above`].
    Replaced {
        /// What stays, up to this block.
        ancestor: Option<BlockId>,
        /// What comes on top of it.
        contents: Vec<Content>,
        /// Up to here it is confirmed.
        confirm: Option<u64>,
        /// Up to here it is final.
        finalize: Option<u64>,
    },
}

impl Made {
    /// Makes it again, in another journal that stands where this one stood.
    ///
    /// # Errors
    /// What the journal says.
    pub async fn make_again(self, book: &mut impl Book) -> Result<(), WriteError> {
        match self {
            Self::Finalized(block) => book.finalize(&block).await,
            Self::Range(range) => book.append_range(range).await,
            Self::Late(filter, range) => book.append_late(&filter, range).await.map(|_| ()),
            Self::Replaced { ancestor, contents, confirm, finalize } => {
                book.replace_above(ancestor, contents, confirm, finalize).await.map(|_| ())
            }
        }
    }
}

/// Who is shown each commit before it is made.
pub(super) trait Witness: Send + Sync {
    /// The commit belongs to a round that began at `since`, as far as it can be seen from here.
    fn sees(&self, commit: &Commit<'_>, since: Instant);

    /// This is kept as what should not have happened.
    fn notes(&self, kind: &str, detail: &Value);

    /// The writer refused what it was given.
    fn refuses(&self, error: &WriteError);
}

/// What a database does to the commits that it is given. Without any it answers at once.
#[derive(Debug)]
pub(super) struct Misfortune {
    pub(super) dice: Dice,
    /// Of a thousand commits, so many are lost.
    pub(super) lost_permille: u32,
    /// Of a thousand commits, so many are made, and the answer is lost.
    pub(super) answer_lost_permille: u32,
    /// How long one takes at most, in milliseconds.
    pub(super) slowest_ms: u64,
    /// Commits that were lost, and answers.
    pub(super) lost: u64,
}

/// A chain's journal in memory. Clones are one journal.
#[derive(Clone)]
pub struct MemoryJournal {
    store: Arc<Mutex<Store>>,
    misfortune: Option<Arc<Mutex<Misfortune>>>,
    witness: Option<Arc<dyn Witness>>,
    made: Arc<Mutex<Vec<Made>>>,
}

impl std::fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryJournal").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A journal's one writer, as [`plimsoll_journal::Writer`] is one: see there for what each call does.
#[derive(Debug)]
pub struct MemoryBook {
    journal: MemoryJournal,
    /// What its blocks are asked about.
    filter: Arc<Filter>,
    belief: Belief,
    rpc_head: Option<u64>,
    /// When the follower last asked where the journal stands: its round began then.
    round: Mutex<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryJournal {
    /// An empty journal on a database that does what it is told.
    #[must_use]
    pub fn new(chain_id: u64) -> Self {
        let store = Arc::new(Mutex::new(Store::new(chain_id)));
        Self { store, misfortune: None, witness: None, made: Arc::default() }
    }

    pub(super) fn with(chain_id: u64, misfortune: Arc<Mutex<Misfortune>>, witness: Arc<dyn Witness>) -> Self {
        Self { misfortune: Some(misfortune), witness: Some(witness), ..Self::new(chain_id) }
    }

    /// Opens it: the writer believes what is committed.
    #[must_use]
    pub fn open(&self) -> MemoryBook {
        self.open_for(Filter::default())
    }

    /// The same for a writer that is given what this filter wants.
    #[must_use]
    pub fn open_for(&self, filter: Filter) -> MemoryBook {
        let (belief, filter) = (self.store().open(), Arc::new(filter));
        MemoryBook {
            journal: self.clone(),
            filter,
            belief,
            rpc_head: None,
            round: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    /// The commits that were made, in their order.
    pub(super) fn made(&self) -> Vec<Made> {
        lock(&self.made).clone()
    }

    /// Its records, for the laws.
    pub fn read<T>(&self, with: impl FnOnce(&laws::Journal) -> T) -> T {
        with(&self.store().journal)
    }

    /// The last confirmed block that is on the canonical chain, and the last final one.
    #[must_use]
    pub fn marks(&self) -> (Option<u64>, Option<u64>) {
        let store = self.store();
        let confirmed = store.live(JournalKind::Confirm).map(|id| store.block(id).0).max();
        (confirmed, store.live(JournalKind::Finalize).map(|id| store.block(id).0).max())
    }

    /// What of `wanted` nobody was asked for, up to `to`.
    pub(super) fn uncovered(&self, wanted: &Filter, to: u64) -> Vec<Uncovered> {
        let of = |asked: &Asked| Certificate {
            from: asked.from,
            to: asked.to,
            to_hash: B256::ZERO,
            blocks_root: None,
            filter: asked.filter.clone(),
            level: Completeness::Trusted,
            endpoints: Vec::new(),
            source: String::new(),
            certified_at: OffsetDateTime::UNIX_EPOCH,
        };
        let certificates: Vec<_> = self.store().asked.iter().map(of).collect();
        uncovered(wanted, &certificates, to)
    }

    /// The events that are on the canonical chain: in the order of the journal, what came late at the end.
    #[must_use]
    pub fn live_events(&self) -> Vec<Event> {
        let store = self.store();
        let late = store.live(JournalKind::LateAppend);
        store.live(JournalKind::Append).chain(late).map(|id| store.events[&id].clone()).collect()
    }

    /// The transactions of watched senders that are on the canonical chain: in the order of the journal, what came late at the end.
    #[must_use]
    pub fn live_transactions(&self) -> Vec<Transaction> {
        let store = self.store();
        let late = store.live(JournalKind::LateIncluded);
        store.live(JournalKind::Included).chain(late).map(|id| store.transactions[&id].clone()).collect()
    }
}

/// What becomes of a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Made,
    Lost,
    AnswerLost,
}

impl MemoryBook {
    /// What the writer believes, for tests to compare.
    #[must_use]
    pub fn belief(&self) -> String {
        format!("{:?}", self.belief)
    }

    /// When the follower last asked where the journal stands.
    pub(super) fn round_began(&self) -> Instant {
        *lock(&self.round)
    }

    fn witness(&self, commit: &Commit<'_>) {
        if let Some(witness) = &self.journal.witness {
            witness.sees(commit, self.round_began());
        }
    }

    /// The way to the database: takes a while, and may end there.
    async fn go(&self) -> Fate {
        let Some(misfortune) = &self.journal.misfortune else { return Fate::Made };
        let (before, after, fate) = {
            let misfortune = &mut *lock(misfortune);
            let slowest = misfortune.slowest_ms;
            let mut wait = || Duration::from_millis(misfortune.dice.up_to(slowest));
            let (before, after) = (wait(), wait());
            let fate = if misfortune.dice.permille(misfortune.lost_permille) {
                Fate::Lost
            } else if misfortune.dice.permille(misfortune.answer_lost_permille) {
                Fate::AnswerLost
            } else {
                Fate::Made
            };
            misfortune.lost += u64::from(fate != Fate::Made);
            (before, after, fate)
        };
        tokio::time::sleep(before + if fate == Fate::Lost { after } else { Duration::ZERO }).await;
        fate
    }

    /// The way back.
    async fn come_back(&self, fate: Fate) -> Result<(), WriteError> {
        if let Some(misfortune) = &self.journal.misfortune {
            let after = {
                let misfortune = &mut *lock(misfortune);
                misfortune.dice.up_to(misfortune.slowest_ms)
            };
            tokio::time::sleep(Duration::from_millis(after)).await;
        }
        if fate == Fate::AnswerLost { Err(disconnected()) } else { Ok(()) }
    }

    /// Makes a commit, unless it is lost, and believes what it answers, unless that is lost.
    async fn commit<T>(
        &mut self,
        made: Made,
        change: impl FnOnce(&mut Store, &Belief) -> Result<(Belief, T), WriteError> + Send,
    ) -> Result<T, WriteError>
    where
        T: Send,
    {
        let fate = self.go().await;
        if fate == Fate::Lost {
            return Err(disconnected());
        }
        let changed = change(&mut self.journal.store(), &self.belief);
        if let (Err(error), Some(witness)) = (&changed, &self.journal.witness) {
            witness.refuses(error);
        }
        let (belief, told) = changed?;
        lock(&self.journal.made).push(made);
        self.come_back(fate).await?;
        self.belief = belief;
        Ok(told)
    }
}

fn disconnected() -> WriteError {
    WriteError::Database(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()))
}

impl Book for MemoryBook {
    fn head(&self) -> Option<BlockId> {
        self.belief.head
    }

    fn final_block(&self) -> Option<BlockId> {
        self.belief.final_block
    }

    fn unfinal(&self) -> Vec<BlockId> {
        *lock(&self.round) = Instant::now();
        self.belief.live.iter().map(|live| (live.number, live.hash)).collect()
    }

    fn saw_rpc_head(&mut self, number: u64) {
        self.rpc_head = Some(number);
    }

    async fn note_rpc_head(&self) -> Result<(), WriteError> {
        match self.go().await {
            Fate::Lost => Err(disconnected()),
            fate => self.come_back(fate).await,
        }
    }

    async fn note_anomaly(&self, kind: &'static str, detail: &Value) -> Result<(), WriteError> {
        if let Some(witness) = &self.journal.witness {
            witness.notes(kind, detail);
        }
        match self.go().await {
            Fate::Lost => Err(disconnected()),
            fate => self.come_back(fate).await,
        }
    }

    async fn finalize(&mut self, block: &NewBlock) -> Result<(), WriteError> {
        self.witness(&Commit::Finalized(block));
        let made = Made::Finalized(block.clone());
        self.commit(made, |store, belief| store.finalize(belief, block).map(|belief| (belief, ()))).await
    }

    async fn append_range(&mut self, range: Range) -> Result<(), WriteError> {
        let first = self.belief.head.map_or(0, |(number, _)| number + 1);
        self.witness(&Commit::Range { first, range: &range });
        let made = Made::Range(range.clone());
        let filter = self.filter.clone();
        let change = |store: &mut Store, belief: &Belief| {
            store.append_range(belief, &filter, range).map(|belief| (belief, ()))
        };
        self.commit(made, change).await
    }

    async fn append_late(&mut self, filter: &Filter, range: Range) -> Result<usize, WriteError> {
        self.witness(&Commit::Late { filter, range: &range });
        let made = Made::Late(filter.clone(), range.clone());
        self.commit(made, |store, belief| store.append_late(belief, filter, range)).await
    }

    async fn uncovered(&self, wanted: &Filter) -> Result<Vec<Uncovered>, WriteError> {
        if self.go().await == Fate::Lost {
            return Err(disconnected());
        }
        let head = self.belief.head;
        Ok(head.map_or_else(Vec::new, |(head, _)| self.journal.uncovered(wanted, head)))
    }

    async fn replace_above(
        &mut self,
        ancestor: Option<(u64, B256)>,
        contents: Vec<Content>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    ) -> Result<usize, WriteError> {
        let live = self.belief.live.iter().map(|live| (live.number, live.hash));
        let keeps = |number: u64| ancestor.is_some_and(|(last, _)| number <= last);
        let gone: Vec<BlockId> = live.clone().filter(|(number, _)| !keeps(*number)).collect();
        let kept = live.filter(|(number, _)| keeps(*number));
        let new = contents.iter().map(|content| (content.block.number, content.block.hash));
        let marked = kept.chain(new).rfind(|(number, _)| finalize.is_some_and(|last| *number <= last));
        self.witness(&Commit::Replaced { gone: &gone, contents: &contents, marked });
        let made = Made::Replaced { ancestor, contents: contents.clone(), confirm, finalize };
        let filter = self.filter.clone();
        let change = |store: &mut Store, belief: &Belief| {
            store.replace_above(belief, &filter, ancestor, contents, confirm, finalize)
        };
        self.commit(made, change).await
    }
}
