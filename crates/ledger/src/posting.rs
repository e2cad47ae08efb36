//! What is asked to be booked.
//!
//! A [`Posting`] is made of a [`Draft`] that balances in every currency: there is no other way to have one, and only a `Posting` is booked.

use std::collections::BTreeMap;

use alloy_primitives::{B256, U512};
use plimsoll_store::idempotency::canonical_json;
use plimsoll_types::{Amount, Context};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

pub use plimsoll_proof::ledger::encoding::Direction;

/// The most lines of a posting.
pub const LINES_MAX: usize = 512;
/// The most bytes of a posting's metadata, as JSON in canonical form.
pub const METADATA_MAX_BYTES: usize = 16 * 1024;

/// The most characters of an operation's type, of a domain, of an entry's type, of a currency, and of a reason.
const OPERATION_MAX: usize = 64;
const DOMAIN_MAX: usize = 32;
const ENTRY_TYPE_MAX: usize = 32;
const CURRENCY_MAX: usize = 128;
pub(crate) const REASON_MAX: usize = 1_000;

/// One line that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The account.
    pub account_id: Uuid,
    /// Debit or credit.
    pub direction: Direction,
    /// How much, in the currency's smallest unit; not nothing.
    pub amount: Amount,
    /// Of what: the account's currency.
    pub currency: String,
    /// What kind of line: TRADE, GAS_FEE, REWARD …
    pub entry_type: String,
}

/// What of the chain a posting is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnChain {
    /// EIP-155.
    pub chain_id: u64,
    /// The transaction.
    pub tx_hash: Option<B256>,
    /// The block that it is in, which the balances after it are true at: its number and hash.
    pub block: Option<(u64, B256)>,
}

/// That a posting puts another right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    /// It takes back all of it.
    Reverses(Uuid),
    /// It makes something of it good.
    Compensates(Uuid),
}

/// Whose word a posting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody asks for it: limits and closed accounts bind it.
    Request,
    /// The chain did it: it is booked whatever the accounts say.
    Chain,
}

/// A posting that is asked for, as it comes.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The three keys, who asks, and the story.
    pub context: Context,
    /// The operation, which is part of its key.
    pub operation_type: String,
    /// Which books: cash, reward, platform …
    pub domain: String,
    /// Whose word it is.
    pub origin: Origin,
    /// The relayer's transaction that caused it.
    pub internal_tx_id: Option<Uuid>,
    /// The trace that it belongs to.
    pub trace_id: Option<Uuid>,
    /// When it happened; `None`: when it is booked.
    pub effective_at: Option<OffsetDateTime>,
    /// What of the chain it is about.
    pub on_chain: Option<OnChain>,
    /// What it puts right, and why.
    pub correction: Option<(Correction, String)>,
    /// Whatever else is to be kept with it: an object.
    pub metadata: serde_json::Map<String, Value>,
    /// Two or more, in order.
    pub lines: Vec<Line>,
}

/// Why a draft is no posting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A write without its tenant.
    #[error("a posting has a tenant_id: name the tenant whose books these are")]
    NoTenant,
    /// Too few lines, or too many.
    #[error("a posting has from 2 to {LINES_MAX} lines; this one has {lines}")]
    Lines {
        /// How many.
        lines: usize,
    },
    /// A line of nothing.
    #[error("line {sequence}: an amount of 0 books nothing: leave the line out")]
    Nothing {
        /// Which line, from 1.
        sequence: usize,
    },
    /// A text that is empty, too long, or of characters that it may not have.
    #[error("{field}: {why}")]
    Text {
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// Debits and credits differ.
    #[error("{currency}: debits of {debits} and credits of {credits}: they must be equal")]
    Unbalanced {
        /// The first currency in which they do.
        currency: String,
        /// The sum of its debits.
        debits: String,
        /// The sum of its credits.
        credits: String,
    },
    /// A reversal that was not made from its original.
    #[error(
        "posting {posting_id} is reversed line by line as it was booked, and not as it is written down: ask for its reversal"
    )]
    Reversal {
        /// What it would reverse.
        posting_id: Uuid,
    },
    /// Metadata that readers would take for different things.
    #[error(
        "metadata: it is no JSON that everybody reads alike: look for keys that come twice, or for it being too deep"
    )]
    Unreadable,
    /// Metadata that is too much.
    #[error("metadata: {bytes} bytes of JSON; at most {METADATA_MAX_BYTES} are kept with a posting")]
    Metadata {
        /// How many.
        bytes: usize,
    },
}

/// A posting that balances.
#[derive(Clone, Debug)]
pub struct Posting {
    draft: Draft,
    tenant_id: Uuid,
    metadata: String,
    checksum: B256,
}

impl Posting {
    /// Checks that a draft can be booked, as far as the draft alone tells. A reversal is none: [`crate::reversal`] makes it.
    ///
    /// # Errors
    /// [`Invalid`]: the first thing that is wrong.
    pub fn new(draft: Draft) -> Result<Self, Invalid> {
        if let Some((Correction::Reverses(posting_id), _)) = draft.correction {
            return Err(Invalid::Reversal { posting_id });
        }
        Self::checked(draft)
    }

    /// As [`Posting::new`], of a reversal too.
    pub(crate) fn checked(mut draft: Draft) -> Result<Self, Invalid> {
        let tenant_id = draft.context.tenant_id.ok_or(Invalid::NoTenant)?;
        draft.effective_at = draft.effective_at.map(to_microseconds);
        if !(2..=LINES_MAX).contains(&draft.lines.len()) {
            return Err(Invalid::Lines { lines: draft.lines.len() });
        }
        text("operation_type", &draft.operation_type, OPERATION_MAX, char::is_control)?;
        text("domain", &draft.domain, DOMAIN_MAX, |c| !matches!(c, 'a'..='z' | '0'..='9' | '_'))?;
        if let Some((_, reason)) = &draft.correction {
            text("reason", reason, REASON_MAX, |c| c == '\0')?;
        }
        for (sequence, line) in (1..).zip(&draft.lines) {
            text(&format!("line {sequence}, currency"), &line.currency, CURRENCY_MAX, |c| {
                !c.is_ascii_graphic()
            })?;
            text(
                &format!("line {sequence}, entry_type"),
                &line.entry_type,
                ENTRY_TYPE_MAX,
                char::is_control,
            )?;
            if line.amount == Amount::ZERO {
                return Err(Invalid::Nothing { sequence });
            }
        }
        balance(&draft.lines)?;
        let metadata = canonical(&draft.metadata)?;
        let checksum = checksum(&draft, &metadata);
        Ok(Self { draft, tenant_id, metadata, checksum })
    }

    /// What was asked for.
    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// Whose books.
    #[must_use]
    pub fn tenant_id(&self) -> Uuid {
        self.tenant_id
    }

    /// Its metadata as canonical JSON.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// `SHA-256` of what was asked for in canonical form: the same request has the same, any other another.
    #[must_use]
    pub fn checksum(&self) -> B256 {
        self.checksum
    }
}

/// As exact as Postgres keeps it.
pub(crate) fn to_microseconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(at.nanosecond() / 1_000 * 1_000).unwrap_or(at)
}

fn text(field: &str, text: &str, max: usize, is_bad: impl Fn(char) -> bool) -> Result<(), Invalid> {
    let length = text.chars().count();
    let why = if length == 0 || length > max {
        format!("it has {length} characters, and needs 1 to {max}")
    } else if let Some(bad) = text.chars().find(|c| is_bad(*c)) {
        format!("it must not have {bad:?}")
    } else {
        return Ok(());
    };
    Err(Invalid::Text { field: field.into(), why })
}

/// Debits and credits are equal in every currency. The sums of 512 amounts of 256 bits have 265.
fn balance(lines: &[Line]) -> Result<(), Invalid> {
    let mut sums: BTreeMap<&str, (U512, U512)> = BTreeMap::new();
    for line in lines {
        let sum = sums.entry(&line.currency).or_default();
        let amount = line.amount.0.to::<U512>();
        match line.direction {
            Direction::Debit => sum.0 += amount,
            Direction::Credit => sum.1 += amount,
        }
    }
    match sums.into_iter().find(|(_, (debits, credits))| debits != credits) {
        None => Ok(()),
        Some((currency, (debits, credits))) => Err(Invalid::Unbalanced {
            currency: currency.into(),
            debits: debits.to_string(),
            credits: credits.to_string(),
        }),
    }
}

/// The JSON of it in canonical form.
fn canonical(metadata: &serde_json::Map<String, Value>) -> Result<String, Invalid> {
    let json = serde_json::to_vec(metadata).ok().and_then(|json| canonical_json(&json));
    let json = json.and_then(|json| String::from_utf8(json).ok()).ok_or(Invalid::Unreadable)?;
    if json.len() > METADATA_MAX_BYTES {
        return Err(Invalid::Metadata { bytes: json.len() });
    }
    Ok(json)
}

/// All that makes one request another: not who asks, nor when, nor in which story.
fn checksum(draft: &Draft, metadata: &str) -> B256 {
    let mut hash = Sha256::new_with_prefix(b"plimsoll posting request v1\n");
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    put(draft.operation_type.as_bytes());
    put(draft.domain.as_bytes());
    for id in [draft.internal_tx_id, draft.trace_id] {
        put(id.as_ref().map_or(&[][..], |id| id.as_bytes()));
    }
    put(&draft.effective_at.map_or(Vec::new(), |at| at.unix_timestamp_nanos().to_be_bytes().to_vec()));
    match draft.on_chain {
        None => put(&[]),
        Some(OnChain { chain_id, tx_hash, block }) => {
            put(&chain_id.to_be_bytes());
            put(tx_hash.as_ref().map_or(&[][..], |hash| hash.as_slice()));
            put(&block.map_or(Vec::new(), |(number, hash)| [&number.to_be_bytes()[..], &hash[..]].concat()));
        }
    }
    match &draft.correction {
        None => put(&[]),
        Some((correction, reason)) => {
            let (kind, id) = match correction {
                Correction::Reverses(id) => (b"r", id),
                Correction::Compensates(id) => (b"c", id),
            };
            put(kind);
            put(id.as_bytes());
            put(reason.as_bytes());
        }
    }
    put(metadata.as_bytes());
    for line in &draft.lines {
        put(line.account_id.as_bytes());
        put(match line.direction {
            Direction::Debit => b"d",
            Direction::Credit => b"c",
        });
        put(&line.amount.0.to_be_bytes::<32>());
        put(line.currency.as_bytes());
        put(line.entry_type.as_bytes());
    }
    B256::new(hash.finalize().into())
}

#[cfg(test)]
mod tests;
