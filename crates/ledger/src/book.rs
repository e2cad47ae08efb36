//! Postings one after the other on what their accounts hold: pure, so that what is written follows from what was locked and asked for, and from nothing else.

use std::collections::HashMap;

use alloy_primitives::{B256, I256};
use plimsoll_proof::ledger::encoding::{Encoder, SealedLine, SealedPosting, Unencodable};
use plimsoll_types::{Amount, Balance};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::posting::{Correction, Direction, Draft, OnChain, Origin, Posting};

/// Whether an account's balance rises by debits or by credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "normal_side", rename_all = "lowercase")]
pub enum NormalSide {
    /// Assets and expenses.
    Debit,
    /// Liabilities, equity and income.
    Credit,
}

/// What an account holds, as it was read under its lock or follows from what was booked on it since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) account_id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) domain: String,
    pub(crate) currency: String,
    pub(crate) normal_side: NormalSide,
    pub(crate) is_closed: bool,
    pub(crate) min_balance: Option<Balance>,
    pub(crate) max_balance: Option<Balance>,
    /// Debits less credits.
    pub(crate) raw_balance: Balance,
    pub(crate) version: i64,
    /// None: there is no line yet.
    pub(crate) latest_effective_at: Option<OffsetDateTime>,
    pub(crate) last_recorded_at: Option<OffsetDateTime>,
    pub(crate) latest_block: Option<i64>,
}

/// Why a posting that balances is not booked. The books are as they were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An account that the tenant does not have.
    #[error("account {account_id} is none of the tenant's")]
    UnknownAccount {
        /// Which.
        account_id: Uuid,
    },
    /// A line in another currency than its account.
    #[error("account {account_id} is kept in {currency}: a line in {given} cannot be booked on it")]
    Currency {
        /// Which account.
        account_id: Uuid,
        /// What it is kept in.
        currency: String,
        /// What the line is in.
        given: String,
    },
    /// An account of other books than the posting.
    #[error("account {account_id} is of the domain {domain}: a posting is of one domain with its accounts")]
    Domain {
        /// Which account.
        account_id: Uuid,
        /// Its domain.
        domain: String,
    },
    /// A closed account.
    #[error("account {account_id} is closed")]
    Closed {
        /// Which.
        account_id: Uuid,
    },
    /// A balance below or above what the account may hold.
    #[error("account {account_id} would hold {balance}, and may hold from {min} to {max}")]
    Limit {
        /// Which account.
        account_id: Uuid,
        /// What it would hold, on its normal side.
        balance: Balance,
        /// At least so much, or `-` for any.
        min: String,
        /// At most so much, or `-` for any.
        max: String,
    },
    /// A balance that no integer of 256 bits holds.
    #[error("account {account_id}: the balance would not fit into 256 bits")]
    Overflow {
        /// Which account.
        account_id: Uuid,
    },
    /// Books without the account that opening balances stand against.
    #[error(
        "the books of {domain} have no account `opening balances` in {currency}: open the chart of accounts in that currency first"
    )]
    NoOpeningBalances {
        /// Which books.
        domain: String,
        /// In what.
        currency: String,
    },
    /// What is to be put right is not there.
    #[error("posting {posting_id} is none of the tenant's: there is nothing to put right")]
    UnknownPosting {
        /// Which.
        posting_id: Uuid,
    },
    /// What is to be put right is a reversal itself.
    #[error("posting {posting_id} is a reversal: book anew what it took back, under a new request_id")]
    IsReversal {
        /// Which.
        posting_id: Uuid,
    },
    /// Somebody has reversed it.
    #[error("posting {posting_id} was reversed before, by posting {by}: a posting is reversed once")]
    Reversed {
        /// Which.
        posting_id: Uuid,
        /// Its reversal.
        by: Uuid,
    },
    /// A text that the seal cannot hold.
    #[error(transparent)]
    Seal(#[from] Unencodable),
}

/// A line as it is written.
#[derive(Clone, Debug)]
pub(crate) struct BookedLine {
    pub(crate) account_version: i64,
    pub(crate) balance_after: Balance,
    pub(crate) latest_effective_at: OffsetDateTime,
    pub(crate) latest_block: Option<i64>,
    pub(crate) checksum: B256,
}

/// A posting as it is written.
#[derive(Clone, Debug)]
pub(crate) struct Booked<'a> {
    pub(crate) posting_id: Uuid,
    pub(crate) posting: &'a Posting,
    pub(crate) effective_at: OffsetDateTime,
    pub(crate) booked_at: OffsetDateTime,
    pub(crate) recorded_at: OffsetDateTime,
    pub(crate) lines: Vec<BookedLine>,
    pub(crate) digest: B256,
}

/// The accounts that a batch works on, and the time.
#[derive(Debug)]
pub(crate) struct Desk {
    /// By id; as they were locked.
    pub(crate) accounts: HashMap<Uuid, Standing>,
    /// How far each tenant's books are closed; none: not at all.
    pub(crate) closed_through: HashMap<Uuid, Option<OffsetDateTime>>,
    /// The database's clock, read under the locks.
    pub(crate) now: OffsetDateTime,
    pub(crate) encoder: Encoder,
}

impl Desk {
    /// Books a posting on what the accounts hold now; or refuses it, and they hold what they did.
    pub(crate) fn book<'a>(&mut self, posting_id: Uuid, posting: &'a Posting) -> Result<Booked<'a>, Refusal> {
        let draft = posting.draft();
        let mut touched: Vec<Standing> = Vec::with_capacity(draft.lines.len());
        let mut lines = Vec::with_capacity(draft.lines.len());
        // Time does not go back in an account's history, whatever the clock does.
        let mut recorded_at = self.now;
        for line in &draft.lines {
            let standing = self.of_tenant(posting.tenant_id(), line.account_id)?;
            recorded_at = standing.last_recorded_at.map_or(recorded_at, |last| last.max(recorded_at));
        }
        let effective_at = draft.effective_at.unwrap_or(recorded_at);
        let booked_at = self.open_time(posting.tenant_id(), effective_at);
        let block = draft.on_chain.and_then(|on| on.block).and_then(|(number, _)| i64::try_from(number).ok());
        for line in &draft.lines {
            let place = match touched.iter().position(|standing| standing.account_id == line.account_id) {
                Some(place) => place,
                None => {
                    touched.push(self.of_tenant(posting.tenant_id(), line.account_id)?.clone());
                    touched.len() - 1
                }
            };
            let standing = &mut touched[place];
            if standing.currency != line.currency {
                return Err(Refusal::Currency {
                    account_id: line.account_id,
                    currency: standing.currency.clone(),
                    given: line.currency.clone(),
                });
            }
            if standing.domain != draft.domain {
                let domain = standing.domain.clone();
                return Err(Refusal::Domain { account_id: line.account_id, domain });
            }
            standing.raw_balance = moved(standing.raw_balance, line.direction, line.amount)
                .ok_or(Refusal::Overflow { account_id: line.account_id })?;
            standing.version += 1;
            let latest = standing.latest_effective_at.map_or(effective_at, |latest| latest.max(effective_at));
            standing.latest_effective_at = Some(latest);
            standing.latest_block = standing.latest_block.max(block);
            standing.last_recorded_at = Some(recorded_at);
            lines.push(BookedLine {
                account_version: standing.version,
                balance_after: standing.raw_balance,
                latest_effective_at: latest,
                latest_block: standing.latest_block,
                checksum: B256::ZERO,
            });
        }
        if draft.origin == Origin::Request {
            for standing in &touched {
                standing.check(&self.accounts[&standing.account_id])?;
            }
        }
        let mut booked =
            Booked { posting_id, posting, effective_at, booked_at, recorded_at, lines, digest: B256::ZERO };
        self.seal(&mut booked)?;
        for standing in touched {
            self.accounts.insert(standing.account_id, standing);
        }
        Ok(booked)
    }

    fn of_tenant(&self, tenant_id: Uuid, account_id: Uuid) -> Result<&Standing, Refusal> {
        let standing = self.accounts.get(&account_id).filter(|standing| standing.tenant_id == tenant_id);
        standing.ok_or(Refusal::UnknownAccount { account_id })
    }

    /// When something of that time is booked: then, or as soon as the books are open.
    fn open_time(&self, tenant_id: Uuid, effective_at: OffsetDateTime) -> OffsetDateTime {
        match self.closed_through.get(&tenant_id).copied().flatten() {
            Some(closed) if effective_at <= closed => closed + time::Duration::MICROSECOND,
            _ => effective_at,
        }
    }

    fn seal(&mut self, booked: &mut Booked<'_>) -> Result<(), Unencodable> {
        let draft = booked.posting.draft();
        let mut checksums = Vec::with_capacity(booked.lines.len());
        for ((sequence, line), written) in (1_u16..).zip(&draft.lines).zip(&mut booked.lines) {
            let sealed = SealedLine {
                posting_id: booked.posting_id,
                sequence,
                account_id: line.account_id,
                direction: line.direction,
                amount: line.amount.0,
                currency: line.currency.as_str(),
                entry_type: line.entry_type.as_str(),
                account_version: written.account_version.unsigned_abs(),
                balance_after: written.balance_after.0,
            };
            written.checksum = self.encoder.line_checksum(&sealed)?;
            checksums.push(written.checksum);
        }
        booked.digest = self.encoder.posting_digest(&sealed(booked, draft), &checksums)?;
        Ok(())
    }
}

/// What the seal binds of a posting.
fn sealed<'a>(booked: &Booked<'a>, draft: &'a Draft) -> SealedPosting<&'a str> {
    let on_chain = draft.on_chain;
    let (reverses, compensates) = match draft.correction {
        Some((Correction::Reverses(id), _)) => (Some(id), None),
        Some((Correction::Compensates(id), _)) => (None, Some(id)),
        None => (None, None),
    };
    SealedPosting {
        tenant_id: booked.posting.tenant_id(),
        posting_id: booked.posting_id,
        user_id: draft.context.user_id,
        request_id: draft.context.request_id,
        operation_type: &draft.operation_type,
        request_checksum: booked.posting.checksum(),
        domain: &draft.domain,
        internal_tx_id: draft.internal_tx_id,
        trace_id: draft.trace_id,
        effective_at_us: microseconds(booked.effective_at),
        booked_at_us: microseconds(booked.booked_at),
        recorded_at_us: microseconds(booked.recorded_at),
        chain_id: on_chain.map(|on: OnChain| on.chain_id),
        chain_tx_hash: on_chain.and_then(|on| on.tx_hash),
        chain_block_number: on_chain.and_then(|on| Some(on.block?.0)),
        chain_block_hash: on_chain.and_then(|on| Some(on.block?.1)),
        reverses,
        compensates,
        reason: draft.correction.as_ref().map(|(_, reason)| reason.as_str()),
        created_by: &draft.context.actor,
        correlation_id: &draft.context.correlation_id,
        causation_id: draft.context.causation_id.as_deref(),
        metadata: booked.posting.metadata(),
    }
}

/// Microseconds since 1970 UTC.
fn microseconds(at: OffsetDateTime) -> i64 {
    // Any time that there is fits: 9999 is 2.5e17 of them.
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

pub(crate) fn moved(balance: Balance, direction: Direction, amount: Amount) -> Option<Balance> {
    let amount = I256::try_from(amount.0).ok()?;
    let moved = match direction {
        Direction::Debit => balance.0.checked_add(amount),
        Direction::Credit => balance.0.checked_sub(amount),
    };
    moved.map(Balance)
}

impl Standing {
    /// What it holds, on its normal side.
    fn on_normal_side(&self) -> Option<Balance> {
        match self.normal_side {
            NormalSide::Debit => Some(self.raw_balance),
            NormalSide::Credit => self.raw_balance.0.checked_neg().map(Balance),
        }
    }

    /// Whether a request may leave it so. What the chain has brought beyond a limit may be brought back in steps.
    fn check(&self, before: &Self) -> Result<(), Refusal> {
        let account_id = self.account_id;
        if self.is_closed {
            return Err(Refusal::Closed { account_id });
        }
        let overflow = Refusal::Overflow { account_id };
        let balance = self.on_normal_side().ok_or(overflow.clone())?;
        let before = before.on_normal_side().ok_or(overflow)?;
        let is_below = self.min_balance.is_some_and(|min| balance < min) && balance < before;
        let is_above = self.max_balance.is_some_and(|max| balance > max) && balance > before;
        if is_below || is_above {
            let shown = |limit: Option<Balance>| limit.map_or("-".into(), |limit| limit.to_string());
            let (min, max) = (shown(self.min_balance), shown(self.max_balance));
            return Err(Refusal::Limit { account_id, balance, min, max });
        }
        Ok(())
    }
}
