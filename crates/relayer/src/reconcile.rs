//! Reconciliation: what the database has of a signer, beside what the chain says of it. Pure.
//!
//! Nothing is repaired here, and nothing in a second way: whoever holds the signer fills, sends again and competes ([`crate::desk`]). What is found that it would mend is a reason to ask it to look
//! again ([`Repair`]); whatever else is found is for people.
//!
//! Database and chain are read one after the other, and both move meanwhile. So what has only just changed is passed over, and only what is found [twice in a row](lasting) counts.

mod look;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeSet, HashMap};

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use look::{Looked, look};
pub use watch::{Reconciler, WatchError, ask_to_look, lease_name};

/// The most findings that are kept of a signer: what follows is of the same making.
pub const FINDINGS_MAX: usize = 200;

/// What the database has of a signer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// The first nonce that no attempt was committed for.
    pub next_nonce: u64,
    /// The first nonce that no canonical block has consumed, as the journal says.
    pub consumed_next: u64,
    /// Nonces between these two that some request has, by one snapshot with them.
    pub bound: BTreeSet<u64>,
    /// The block up to which the journal was folded into the states.
    pub folded_to: u64,
    /// The foremost of what is under way, but for what has only just changed.
    pub flights: Vec<Flying>,
    /// What is in a block that is not final, but for what has only just changed.
    pub landed: Vec<Landed>,
}

/// A request that has a nonce which no block has consumed, as far as the database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flying {
    /// Which.
    pub transaction_id: Uuid,
    /// Its nonce.
    pub nonce: u64,
    /// All of its attempts.
    pub tx_hashes: Vec<B256>,
    /// Its end is asked for, and nothing that does nothing competes for its nonce.
    pub is_to_end: bool,
}

/// A request that is in a block, as far as the database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// Which.
    pub transaction_id: Uuid,
    /// Its nonce.
    pub nonce: u64,
    /// What is in the block.
    pub tx_hash: B256,
    /// The block.
    pub block_hash: B256,
}

/// What all endpoints together know of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// In a block.
    InBlock {
        /// Its number.
        number: u64,
        /// Its hash.
        hash: B256,
    },
    /// In somebody's pool.
    Waiting,
    /// Every endpoint answered, and none knows it.
    Nowhere,
    /// Nobody knows it, and not everybody answered: nothing follows from that.
    Unheard,
}

/// What the chain says of a signer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Theirs {
    /// The first nonce that no block has consumed, as most endpoints say; none: too few say it.
    pub latest: Option<u64>,
    /// The same, with what waits in their pools.
    pub pending: Option<u64>,
    /// Of each attempt that was asked about.
    pub known: HashMap<B256, Known>,
}

/// What does not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No request has this nonce, and those behind it wait for it.
    Gap,
    /// So far apart that somebody lied about it.
    Span,
    /// Nobody knows any attempt at this nonce.
    Lost,
    /// An end is asked for, and nothing competes for the nonce.
    Unended,
    /// A block has consumed the nonce, and none of the attempts at it is in one.
    Displaced,
    /// An attempt is in a block that the journal has passed without it.
    Unjournaled,
    /// The chain has consumed nonces that were never given here.
    Foreign,
    /// A transaction that is none of ours waits.
    Stranger,
    /// What is told to be in a block is known to nobody.
    Vanished,
    /// What is told to be in a block is in another one.
    Moved,
    /// Most endpoints know of fewer consumed nonces than the journal.
    Behind,
}

/// What the holder of a signer does about it once it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Repair {
    /// A transaction that does nothing takes the nonce.
    Fill,
    /// The same bytes are sent to every endpoint.
    Resend,
    /// A transaction that does nothing competes for the nonce.
    Cancel,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Gap,
        Self::Span,
        Self::Lost,
        Self::Unended,
        Self::Displaced,
        Self::Unjournaled,
        Self::Foreign,
        Self::Stranger,
        Self::Vanished,
        Self::Moved,
        Self::Behind,
    ];

    /// As metrics and events name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Span => "span",
            Self::Lost => "lost",
            Self::Unended => "unended",
            Self::Displaced => "displaced",
            Self::Unjournaled => "unjournaled",
            Self::Foreign => "foreign",
            Self::Stranger => "stranger",
            Self::Vanished => "vanished",
            Self::Moved => "moved",
            Self::Behind => "behind",
        }
    }

    /// What the holder does about it; none: nothing that anything here may do.
    #[must_use]
    pub const fn repair(self) -> Option<Repair> {
        match self {
            Self::Gap => Some(Repair::Fill),
            Self::Lost => Some(Repair::Resend),
            Self::Unended => Some(Repair::Cancel),
            Self::Span
            | Self::Displaced
            | Self::Unjournaled
            | Self::Foreign
            | Self::Stranger
            | Self::Vanished
            | Self::Moved
            | Self::Behind => None,
        }
    }

    /// What it means, and what comes of it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gap => "no request has this nonce, and what is behind it waits: it is filled",
            Self::Span => {
                "the next nonce lies so far above what the chain has consumed that somebody lied about it: no nonce is given until an operator has looked"
            }
            Self::Lost => "no endpoint knows any attempt at this nonce: it is sent again",
            Self::Unended => "its end is asked for, and nothing competes for its nonce yet",
            Self::Displaced => {
                "a block has consumed this nonce, and none of our attempts is in one: somebody else has the key; the request is sent at another nonce, or ends, once that is final"
            }
            Self::Unjournaled => {
                "an attempt is in a block that the journal has passed without it: `plimsoll verify completeness`"
            }
            Self::Foreign => {
                "the chain has consumed nonces that were never given here: somebody else has the key, or the database is older than the chain"
            }
            Self::Stranger => "a transaction that is none of ours waits at this nonce",
            Self::Vanished => {
                "it is told to be in a block, and no endpoint knows it: a reorganisation is not followed yet, or the endpoints lack it"
            }
            Self::Moved => {
                "it is told to be in a block, and the endpoints have it in another one: a reorganisation is not followed yet"
            }
            Self::Behind => {
                "most endpoints say that fewer nonces are consumed than the journal has proven: they lag, or are on another fork"
            }
        }
    }
}

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// At which nonce; the first, where it is of several.
    pub nonce: u64,
    /// The one after the last of them.
    pub until: u64,
    /// Of which request.
    pub transaction_id: Option<Uuid>,
}

impl Finding {
    fn of(kind: Kind, nonce: u64) -> Self {
        Self { kind, nonce, until: nonce + 1, transaction_id: None }
    }

    fn between(kind: Kind, nonce: u64, until: u64) -> Self {
        Self { until, ..Self::of(kind, nonce) }
    }

    fn about(kind: Kind, nonce: u64, transaction_id: Uuid) -> Self {
        Self { transaction_id: Some(transaction_id), ..Self::of(kind, nonce) }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.until - self.nonce {
            1 => write!(f, "nonce {}", self.nonce)?,
            _ => write!(f, "nonces {} to {}", self.nonce, self.until - 1)?,
        }
        if let Some(id) = self.transaction_id {
            write!(f, " of transaction {id}")?;
        }
        write!(f, ": {}", self.kind.words())
    }
}

/// How many findings of each repair, and how many for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Nonces that are filled.
    pub fill: u64,
    /// Requests that are sent again.
    pub resend: u64,
    /// Nonces that are competed for.
    pub cancel: u64,
    /// Findings that nothing here mends.
    pub stay: u64,
}

impl Summary {
    /// Of these findings.
    #[must_use]
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut summary = Self::default();
        for finding in findings {
            match finding.kind.repair() {
                Some(Repair::Fill) => summary.fill += finding.until - finding.nonce,
                Some(Repair::Resend) => summary.resend += 1,
                Some(Repair::Cancel) => summary.cancel += 1,
                None => summary.stay += 1,
            }
        }
        summary
    }

    /// Whether a holder that looks again has anything to do.
    #[must_use]
    pub fn has_repairs(&self) -> bool {
        self.fill + self.resend + self.cancel > 0
    }
}

/// Compares. The findings by nonce, at most [`FINDINGS_MAX`].
#[must_use]
pub fn compare(ours: &Ours, theirs: &Theirs) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(latest) = theirs.latest {
        of_nonces(ours, latest, theirs.pending.unwrap_or(latest), &mut findings);
    }
    for flight in &ours.flights {
        findings.extend(of_flight(ours, flight, theirs));
    }
    for landed in &ours.landed {
        let kind = match theirs.known.get(&landed.tx_hash) {
            Some(Known::Nowhere | Known::Waiting) => Kind::Vanished,
            Some(Known::InBlock { hash, .. }) if *hash != landed.block_hash => Kind::Moved,
            _ => continue,
        };
        findings.push(Finding::about(kind, landed.nonce, landed.transaction_id));
    }
    findings.sort_by_key(|finding| (finding.nonce, finding.kind));
    findings.truncate(FINDINGS_MAX);
    findings
}

fn of_nonces(ours: &Ours, latest: u64, pending: u64, findings: &mut Vec<Finding>) {
    let Ours { next_nonce: next, consumed_next, ref bound, .. } = *ours;
    if latest < consumed_next {
        findings.push(Finding::between(Kind::Behind, latest, consumed_next));
    }
    // A signer that never sent from here may have sent any number before.
    let consumed = latest.max(consumed_next);
    if next > 0 && consumed > next {
        findings.push(Finding::between(Kind::Foreign, next, consumed));
    }
    if pending > next.max(consumed) {
        findings.push(Finding::between(Kind::Stranger, next.max(consumed), pending));
    }
    if next.saturating_sub(consumed) > crate::desk::SPAN_MAX {
        findings.push(Finding::between(Kind::Span, consumed, next));
        return;
    }
    let mut gap: Option<Finding> = None;
    for nonce in (consumed..next).filter(|nonce| !bound.contains(nonce)) {
        match &mut gap {
            Some(gap) if gap.until == nonce => gap.until += 1,
            _ => findings.extend(gap.replace(Finding::of(Kind::Gap, nonce))),
        }
    }
    findings.extend(gap);
}

fn of_flight(ours: &Ours, flight: &Flying, theirs: &Theirs) -> Option<Finding> {
    let about = |kind| Some(Finding::about(kind, flight.nonce, flight.transaction_id));
    let known = || flight.tx_hashes.iter().map(|hash| theirs.known.get(hash).unwrap_or(&Known::Unheard));
    let block = known().find_map(|known| match known {
        Known::InBlock { number, .. } => Some(*number),
        _ => None,
    });
    if let Some(number) = block {
        // Else the journal is on its way there.
        return if number <= ours.folded_to { about(Kind::Unjournaled) } else { None };
    }
    let is_nowhere = known().all(|known| *known == Known::Nowhere);
    if theirs.latest.is_some_and(|latest| flight.nonce < latest.max(ours.consumed_next)) {
        return if is_nowhere { about(Kind::Displaced) } else { None };
    }
    if flight.is_to_end {
        return about(Kind::Unended);
    }
    if is_nowhere { about(Kind::Lost) } else { None }
}

/// What is found now and was found the last time: the rest may have changed while it was looked at.
#[must_use]
pub fn lasting(before: &[Finding], now: Vec<Finding>) -> Vec<Finding> {
    let is_same =
        |one: &Finding, other: &Finding| (one.kind, one.transaction_id) == (other.kind, other.transaction_id);
    let overlap = |one: &Finding, other: &Finding| one.nonce.max(other.nonce) < one.until.min(other.until);
    now.into_iter()
        .filter(|now| before.iter().any(|before| is_same(before, now) && overlap(before, now)))
        .collect()
}
