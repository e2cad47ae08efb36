//! What an event of the chain means in the books: posting rules, as data.
//!
//! A [`Rule`] names an event as Solidity writes it and the lines that it makes. It applies to whichever of the tenant's contracts has that event in its ABI. From the same event it always makes the
//! same lines: nothing else goes in, so that what history would have become under another rule can be computed without booking it.
//!
//! A rule that means something else from now on gets the next `version`. What was booked stays as it was booked; the version stands in each posting's metadata.

mod gas;
mod lending;
mod plan;

pub use gas::gas;
pub use plan::{Account, Entry, Plans, RuleError, Ruled};

use crate::account::{AccountClass, AccountType};
use crate::posting::Direction;

/// Every rule. A new one is one entry in a file here.
pub const RULES: &[Rule] = lending::RULES;

/// What one event makes in the books.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, for people, metrics and keys.
    pub name: &'static str,
    /// Of this meaning: from 1.
    pub version: u16,
    /// The event as Solidity writes it, with `indexed` and parameter names.
    pub event: &'static str,
    /// The posting's `operation_type`.
    pub operation_type: &'static str,
    /// Its lines, in order. One whose amount is zero is left out.
    pub lines: &'static [RuleLine],
}

/// One line of a rule.
#[derive(Clone, Copy, Debug)]
pub struct RuleLine {
    /// Debit or credit.
    pub direction: Direction,
    /// On which account.
    pub account: Selector,
    /// The parameter with the amount.
    pub amount: &'static str,
    /// The parameter with the token's address.
    pub token: &'static str,
    /// The line's `entry_type`.
    pub entry_type: &'static str,
}

/// Which account a line is on; it is of the line's token.
#[derive(Clone, Copy, Debug)]
pub enum Selector {
    /// What the contract that keeps this getter holds: an asset that is proven by the token's `balanceOf`.
    Holding {
        /// The getter, as `name(types)(types returned)`.
        keeper: &'static str,
    },
    /// What a user has with that contract, or owes it: proven by the getter, called with the user and the token.
    Position {
        /// What it is called, for people.
        name: &'static str,
        /// A liability is what the user has, an asset what the user owes.
        class: AccountClass,
        /// The getter of (user, token).
        keeper: &'static str,
        /// The parameter with the user's address.
        user: &'static str,
    },
    /// An account of the books alone.
    Own {
        /// What it is called, for people.
        name: &'static str,
        /// What it is for.
        account_type: AccountType,
        /// Where it stands.
        class: AccountClass,
    },
}

#[cfg(test)]
mod tests;
