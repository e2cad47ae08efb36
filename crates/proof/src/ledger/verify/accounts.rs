//! Each account's versions and balances, over all of its lines.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{I256, U256};
use uuid::Uuid;

use super::{Break, Fault};
use crate::ledger::encoding::{Direction, SealedLine};

/// So many lines may wait for one of a lower version of their account that is sealed after them. Beyond that it is taken for missing.
pub const MAX_EARLY_LINES: usize = 65_536;

/// Where an account stands. Before its first line it is at version 0 with nothing.
#[derive(Clone, Copy, Debug)]
struct Account {
    version: u64,
    balance: I256,
    /// Its place among the currencies.
    currency: usize,
}

/// A line of a version that is not the next one yet.
#[derive(Clone, Copy, Debug)]
struct Early {
    index: u64,
    posting_id: Uuid,
    sequence: u16,
    direction: Direction,
    amount: U256,
    balance_after: I256,
}

/// One entry for each account.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    accounts: HashMap<Uuid, Account>,
    currencies: HashMap<String, usize>,
    early: BTreeMap<Uuid, BTreeMap<u64, Early>>,
    early_count: usize,
}

impl Accounts {
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Each account's version and balance.
    pub(super) fn standings(&self) -> impl Iterator<Item = (Uuid, u64, I256)> {
        self.accounts.iter().map(|(id, account)| (*id, account.version, account.balance))
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.early.values().map(BTreeMap::len).sum()
    }

    pub(super) fn add(&mut self, index: u64, line: &SealedLine, found: &mut impl FnMut(Break)) {
        let currency = match self.currencies.get(&line.currency) {
            Some(currency) => *currency,
            None => {
                let next = self.currencies.len();
                self.currencies.insert(line.currency.clone(), next);
                next
            }
        };
        let (account_id, version) = (line.account_id, line.account_version);
        let account =
            self.accounts.entry(account_id).or_insert(Account { version: 0, balance: I256::ZERO, currency });
        let step = Early {
            index,
            posting_id: line.posting_id,
            sequence: line.sequence,
            direction: line.direction,
            amount: line.amount,
            balance_after: line.balance_after,
        };
        if account.currency != currency {
            let found_currency = line.currency.clone();
            found(step.at(Fault::Currency { sequence: line.sequence, account_id, found: found_currency }));
        }
        let repeated =
            step.at(Fault::VersionRepeated { sequence: line.sequence, account_id, found: version });
        if version <= account.version {
            found(repeated);
        } else if version - 1 == account.version {
            account.follow(account_id, version, &step, found);
            // Ends: each turn takes one of those that wait.
            while let Some(next) = self.take_early(account_id) {
                let account = self.accounts.get_mut(&account_id).expect("was entered above");
                account.follow(account_id, next.0, &next.1, found);
            }
        } else if self.early.entry(account_id).or_default().insert(version, step).is_some() {
            found(repeated);
        } else {
            self.early_count += 1;
            if self.early_count > MAX_EARLY_LINES {
                self.finish(found);
            }
        }
    }

    /// What waits and is the account's next.
    fn take_early(&mut self, account_id: Uuid) -> Option<(u64, Early)> {
        let waiting = self.early.get_mut(&account_id)?;
        let next = self.accounts[&account_id].version + 1;
        let step = waiting.remove(&next)?;
        if waiting.is_empty() {
            self.early.remove(&account_id);
        }
        self.early_count -= 1;
        Some((next, step))
    }

    /// Nothing that is waited for comes any more.
    pub(super) fn finish(&mut self, found: &mut impl FnMut(Break)) {
        self.early_count = 0;
        for (account_id, waiting) in std::mem::take(&mut self.early) {
            let account = self.accounts.get_mut(&account_id).expect("whoever waits was entered");
            for (version, step) in waiting {
                if version - 1 != account.version {
                    let (sequence, last) = (step.sequence, account.version);
                    found(step.at(Fault::VersionGap { sequence, account_id, found: version, last }));
                    // What the balance was before it, nobody knows.
                    (account.version, account.balance) = (version, step.balance_after);
                } else {
                    account.follow(account_id, version, &step, found);
                }
            }
        }
    }
}

impl Account {
    /// The next version. It goes on from what is stored, so that one wrong balance is one break.
    fn follow(&mut self, account_id: Uuid, version: u64, step: &Early, found: &mut impl FnMut(Break)) {
        let before = self.balance;
        if !step.follows_on(before) {
            let (sequence, balance) = (step.sequence, step.balance_after);
            found(step.at(Fault::BalanceAfter { sequence, account_id, found: balance, before }));
        }
        (self.version, self.balance) = (version, step.balance_after);
    }
}

impl Early {
    fn at(&self, fault: Fault) -> Break {
        Break { index: Some(self.index), posting_id: Some(self.posting_id), fault }
    }

    /// Whether the balance after is that before and the amount. An amount is up to 2^256-1, and so is the difference of two balances.
    fn follows_on(&self, before: I256) -> bool {
        let (low, high) = match self.direction {
            Direction::Debit => (before, self.balance_after),
            Direction::Credit => (self.balance_after, before),
        };
        low <= high && high.into_raw().wrapping_sub(low.into_raw()) == self.amount
    }
}
