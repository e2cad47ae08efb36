//! The relayer's tables, in memory.
//!
//! Each statement here does what the one of the same name in the relayer's `repo` does to Postgres, constraints included; a test drives both with
//! the same scripts and compares all that is in them after each step (`tests/relayer/mirror.rs`). Calls are atomic, as transactions are.

mod leases;
mod rotation;
mod verdict;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::{B256, U256};
use plimsoll_relayer::attempt::Attempt;
use plimsoll_relayer::book::{BookError, Progress};
use plimsoll_relayer::request::{Request, SignerId};
use plimsoll_types::{AttemptPurpose, TransactionState};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::leases::LeaseRow;
pub use self::verdict::{Entry, Seen};

/// Who consumed a request's nonce, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The block.
    pub block_number: u64,
    /// The block.
    pub block_hash: B256,
    /// The transaction, ours or a stranger's.
    pub tx_hash: B256,
    /// Whether it succeeded.
    pub succeeded: bool,
}

/// An attempt of ours that is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Its number.
    pub attempt: u32,
    /// What it was for.
    pub purpose: AttemptPurpose,
    /// Gas.
    pub gas_used: U256,
    /// Wei.
    pub gas_paid_wei: U256,
}

/// A row of `managed_transactions`.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub id: Uuid,
    /// What was asked for; none: it fills a nonce.
    pub request: Option<Request>,
    /// Who signs.
    pub signer: SignerId,
    /// Where it stands.
    pub state: TransactionState,
    /// Its version.
    pub version: i32,
    /// Its nonce.
    pub nonce: Option<u64>,
    /// The end that is asked for.
    pub end_wanted: Option<TransactionState>,
    /// Why it is asked for, or came.
    pub end_why: Option<String>,
    /// Who consumed its nonce.
    pub taken: Option<Taken>,
    /// Which attempt of ours did.
    pub ours: Option<Ours>,
    /// Whether that is final.
    pub is_final: bool,
}

impl Row {
    /// For whom.
    #[must_use]
    pub fn tenant_id(&self) -> Option<Uuid> {
        self.request.as_ref().and_then(Request::tenant_id)
    }
}

/// A row of `transaction_attempts`.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// The attempt.
    pub attempt: Attempt,
    /// When it was committed.
    pub committed_at: OffsetDateTime,
    /// Under which token.
    pub token: i64,
}

/// A row of `signers` with its `signer_progress`.
#[derive(Clone, Debug)]
pub struct SignerRow {
    /// Whether a request whose nonce a stranger took waits again.
    pub requeues: bool,
    /// The first nonce that no attempt was committed for.
    pub next_nonce: u64,
    /// The first that no canonical block has consumed.
    pub consumed_next: u64,
    /// Whether its transactions are followed.
    pub is_watched: bool,
    /// To whom it hands over.
    pub rotated_to: Option<SignerId>,
    /// How often its holder was asked to look again.
    pub looks_wanted: u64,
}

/// A row of `kill_switches`: a tenant, or all; a signer, or all.
pub type Switch = (Option<Uuid>, Option<SignerId>);

/// What is broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A commit is answered before it is made.
    SentBeforeCommitted,
    /// The token is not looked at.
    NoGuard,
    /// The next nonce stays where it is.
    NeverMoved,
    /// The natural key of a request is forgotten.
    Forgetful,
    /// Whose nonce a stranger took waits again when that is seen.
    RequeuedBeforeFinality,
    /// What no block has is a failure.
    MissingIsFailure,
    /// What a reorganisation takes back stays as it is.
    NeverTakenBack,
    /// Success is told at once.
    ConfirmedWhenSeen,
    /// A revert is told as a failure at once.
    FailedWhenSeen,
    /// Gaps are not filled.
    NeverFilled,
    /// An end that is asked for is told at once.
    CancelledWhenAsked,
    /// A stranger who used a nonce before it was given is not looked up.
    NotLookedUp,
    /// A signer that hands over hands over what has a nonce, too.
    MovedWithANonce,
    /// Who has a request in hand that is handed over meanwhile gives it a nonce all the same.
    GivenAfterMoved,
    /// What comes to a signer after it has handed over stays there.
    NeverMovedAgain,
    /// Who hands a signer over to another node commits on what it was allowed to before: the token is looked at when a transaction begins, not when it is made.
    HandedOverInTheMidst,
    /// Who takes a signer over leaves to the one before it what was under way.
    NotTakenOver,
    /// Whoever looks again is asked to look again.
    LooksWithoutEnd,
}

impl Broken {
    /// Everything that is broken on purpose.
    pub const ALL: [Self; 18] = [
        Self::SentBeforeCommitted,
        Self::NoGuard,
        Self::NeverMoved,
        Self::Forgetful,
        Self::RequeuedBeforeFinality,
        Self::MissingIsFailure,
        Self::NeverTakenBack,
        Self::ConfirmedWhenSeen,
        Self::FailedWhenSeen,
        Self::NeverFilled,
        Self::CancelledWhenAsked,
        Self::NotLookedUp,
        Self::MovedWithANonce,
        Self::GivenAfterMoved,
        Self::NeverMovedAgain,
        Self::HandedOverInTheMidst,
        Self::NotTakenOver,
        Self::LooksWithoutEnd,
    ];
}

/// What the journal's writer keeps of blocks.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// Blocks, and whether they are canonical.
    pub blocks: BTreeMap<B256, bool>,
    /// Inclusions of watched senders.
    pub inclusions: Vec<Seen>,
    /// The newest canonical block.
    pub newest: Option<(u64, B256)>,
}

/// All tables.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// By id.
    pub signers: BTreeMap<SignerId, SignerRow>,
    /// By name.
    pub leases: BTreeMap<String, LeaseRow>,
    /// In the order in which they were put.
    pub rows: Vec<Row>,
    /// By signer, nonce and number.
    pub attempts: BTreeMap<(SignerId, u64, u32), AttemptRow>,
    /// What is switched off.
    pub switches: BTreeSet<Switch>,
    /// Blocks and inclusions.
    pub journal: Journal,
    /// Answers that were kept.
    pub broadcasts: u64,
    /// What is broken on purpose.
    pub broken: Option<Broken>,
    /// Changes of state that nobody has looked at yet: which row, and its state before.
    pub changes: Vec<(usize, Option<TransactionState>)>,
    places: HashMap<Uuid, usize>,
    keys: HashMap<(Option<Uuid>, Uuid, String), usize>,
    nonces: BTreeMap<(SignerId, u64), usize>,
    hashes: HashMap<B256, (SignerId, u64, u32)>,
}

/// What came of handing a request in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    /// It is on record.
    New,
    /// It was.
    Known(Uuid),
    /// Something else is on record under its key.
    Conflict(Uuid),
}

pub(super) fn refused(what: impl Into<String>) -> BookError {
    BookError::Unavailable(what.into())
}

impl Store {
    /// Makes a signer known.
    pub fn register(&mut self, signer: SignerId, requeues: bool) {
        let row = SignerRow {
            requeues,
            next_nonce: 0,
            consumed_next: 0,
            is_watched: false,
            rotated_to: None,
            looks_wanted: 0,
        };
        self.signers.insert(signer, row);
    }

    /// Puts a request on record, under this id if it is new.
    pub fn accept(&mut self, id: Uuid, request: &Request) -> Handed {
        let context = &request.context;
        let key = (context.tenant_id, context.request_id, request.operation_type.clone());
        if let Some(place) = self.keys.get(&key).filter(|_| self.broken != Some(Broken::Forgetful)) {
            let row = &self.rows[*place];
            let is_same = row.request.as_ref().map(Request::fingerprint) == Some(request.fingerprint());
            return if is_same { Handed::Known(row.id) } else { Handed::Conflict(row.id) };
        }
        let place = self.insert(id, Some(request.clone()), request.signer);
        self.keys.insert(key, place);
        Handed::New
    }

    fn insert(&mut self, id: Uuid, request: Option<Request>, signer: SignerId) -> usize {
        let place = self.rows.len();
        self.rows.push(Row {
            id,
            request,
            signer,
            state: TransactionState::Pending,
            version: 1,
            nonce: None,
            end_wanted: None,
            end_why: None,
            taken: None,
            ours: None,
            is_final: false,
        });
        self.places.insert(id, place);
        self.changes.push((place, None));
        place
    }

    /// Asks for a request's end; whether that could be asked for.
    pub fn call_off(&mut self, id: Uuid, why: &str) -> bool {
        use TransactionState::{Mined, Pending, Tracking};
        let broken = self.broken;
        let Some(place) = self.places.get(&id).copied() else { return false };
        let row = &mut self.rows[place];
        if !matches!(row.state, Pending | Tracking | Mined) || row.end_wanted.is_some() {
            return false;
        }
        (row.end_wanted, row.end_why) = (Some(TransactionState::Cancelled), Some(why.to_owned()));
        if broken == Some(Broken::CancelledWhenAsked) && row.state == Tracking {
            self.turn(place, TransactionState::Cancelled);
        }
        true
    }

    /// The transaction with this id.
    #[must_use]
    pub fn row(&self, id: Uuid) -> Option<&Row> {
        self.places.get(&id).map(|place| &self.rows[*place])
    }

    /// The attempt with this hash, which is committed.
    #[must_use]
    pub fn attempt(&self, tx_hash: B256) -> Option<&AttemptRow> {
        self.hashes.get(&tx_hash).and_then(|key| self.attempts.get(key))
    }

    /// How far a signer is.
    ///
    /// # Errors
    /// It is not known.
    pub fn progress(&self, signer: SignerId) -> Result<Progress, BookError> {
        let row = self.signers.get(&signer).ok_or(BookError::Unknown(signer))?;
        let mine = || self.rows.iter().filter(|row| row.signer == signer);
        let is_wish = |row: &Row| {
            row.state == TransactionState::Tracking && row.end_wanted.is_some() && row.taken.is_none()
        };
        Ok(Progress {
            next_nonce: row.next_nonce,
            looks_wanted: row.looks_wanted,
            consumed_next: row.consumed_next,
            is_watched: row.is_watched,
            has_queue: mine().any(|row| row.state == TransactionState::Pending),
            has_wishes: mine().any(is_wish),
        })
    }

    /// Changes a state.
    fn turn(&mut self, place: usize, state: TransactionState) {
        let row = &mut self.rows[place];
        self.changes.push((place, Some(row.state)));
        row.state = state;
        row.version += 1;
    }

    fn is_switched_off(&self, row: &Row) -> bool {
        let holds = |(tenant, signer): &Switch| {
            tenant.is_none_or(|tenant| Some(tenant) == row.tenant_id())
                && signer.is_none_or(|signer| signer == row.signer)
        };
        self.switches.iter().any(holds)
    }

    /// The contract of the table that Postgres keeps for us, row by row.
    ///
    /// # Errors
    /// What a row breaks.
    pub fn check(&self, place: usize) -> Result<(), String> {
        use TransactionState as S;
        let row = &self.rows[place];
        let is_end = matches!(row.state, S::Failed | S::Replaced | S::Cancelled | S::Expired);
        let is_under_way = matches!(row.state, S::Tracking | S::Mined | S::Confirmed);
        let is_included = matches!(row.state, S::Mined | S::Confirmed);
        let is_success = row.taken.is_some_and(|taken| taken.succeeded)
            && row.ours.is_some_and(|ours| ours.purpose != AttemptPurpose::Cancel);
        for (holds, what) in [
            (row.state != S::Pending || row.nonce.is_none(), "a pending one has a nonce"),
            (!is_under_way || row.nonce.is_some(), "one that is under way has no nonce"),
            (!is_included || row.ours.is_some(), "an included one has no attempt"),
            (row.state != S::Confirmed || is_success, "what is confirmed did not succeed"),
            (row.ours.is_none() || row.taken.is_some(), "an attempt without a block"),
            (row.end_wanted.is_none() || row.end_why.is_some(), "a wish without a reason"),
            (!is_end || row.end_why.is_some(), "an end without a reason"),
            (!is_end || row.nonce.is_none() || row.is_final, "an end that is not final"),
        ] {
            if !holds {
                return Err(format!("{what}: {row:?}"));
            }
        }
        Ok(())
    }
}
