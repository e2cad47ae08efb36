//! The gas that our senders paid.
//!
//! What is booked is what left the sender: `gas_used` times `effective_gas_price`, of reverted transactions too. On Arbitrum that has the part for the chain below in it: Nitro adds it to
//! the gas that was used, and `gasUsedForL1` only says how much of it that was. So adding it once more would book it twice. On the OP stack it stands beside the gas (`l1Fee`), and is added.

use plimsoll_chain::probe::DeclaredProbe;
use plimsoll_journal::Transaction;
use plimsoll_types::address_text;

use super::plan::{Account, Entry, Ruled};
use crate::account::{AccountClass, AccountType};
use crate::posting::Direction;

/// The gas of a transaction of ours; none where it was free.
#[must_use]
pub fn gas(transaction: &Transaction) -> Option<Ruled> {
    let amount = transaction.gas_paid_wei;
    let sender = address_text(&transaction.sender);
    let spent = Account {
        name: "gas spent".into(),
        account_type: AccountType::Gas,
        class: AccountClass::Expense,
        token: None,
        address: None,
        probe: None,
    };
    let payer = Account {
        name: format!("native coin of {sender}"),
        account_type: AccountType::Gas,
        class: AccountClass::Asset,
        token: None,
        address: Some(transaction.sender),
        probe: Some(DeclaredProbe::Native { account: sender }),
    };
    let entry = |account, direction| Entry { account, direction, amount, entry_type: "GAS_FEE" };
    let lines = vec![entry(spent, Direction::Debit), entry(payer, Direction::Credit)];
    (!amount.0.is_zero()).then_some(Ruled {
        rule: "gas",
        version: 1,
        operation_type: "gas",
        request_id: transaction.request_id,
        lines,
    })
}
