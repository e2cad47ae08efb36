//! What the chain did silently: coins that came without an event, interest that accrued. What the books and the chain differ by is booked against a suspense account, with the block at which it
//! was seen. It is booked once: the difference is computed anew under the lock that the fold takes to move on, so what is booked by then is no difference any more. When the cause is booked
//! later, at its own block, the next comparison finds the opposite difference, and takes it out of suspense again.

use alloy_primitives::Address;
use plimsoll_store::{Db, Lease};
use plimsoll_types::{Amount, Balance};
use uuid::Uuid;

use super::accounts::Opened;
use super::booking::{BookingError, Occasion, book};
use super::check::{BalanceReport, CheckError, held_at, is_within};
use crate::account::{AccountClass, AccountType};
use crate::book::NormalSide;
use crate::posting::Direction;
use crate::repo::chain;
use crate::rules::{Account, Entry, Ruled};

/// In whose name it is booked.
const ACTOR: &str = "role:balances";
/// The rule, as bookings name it.
const RULE: &str = "suspense";

/// Books what a comparison found; returns how many postings. None while the block that it was made at is in doubt: the next comparison is of another.
pub(super) async fn settle(
    db: &Db,
    lease: &Lease,
    tolerance: Amount,
    report: &BalanceReport,
) -> Result<u64, CheckError> {
    let Some(compared) = report.standing.filter(|_| !report.breaks.is_empty()) else { return Ok(0) };
    let chain_id = report.chain_id;
    let mut tx = db.begin_worker().await?;
    lease.guard(&mut tx).await?;
    let Some(standing) = chain::lock_standing(&mut tx, chain_id).await? else { return Ok(0) };
    let time = chain::confirmed_time(&mut tx, chain_id, compared.block_number, compared.block_hash).await?;
    let Some(at) = time.filter(|_| standing.block_number >= compared.block_number) else { return Ok(0) };
    let occasion = Occasion {
        journal_seq: standing.journal_seq,
        block_number: compared.block_number,
        block_hash: compared.block_hash,
        at,
        tx_hash: None,
        log_index: None,
    };
    let ids: Vec<_> = report.breaks.iter().map(|found| found.account_id).collect();
    let mut bookings = Vec::new();
    let accounts = chain::probed_of(&mut tx, chain_id, &ids).await?;
    // Under the lock each difference is another one, also at the same block: somebody may have posted on the account.
    let texts: Vec<_> =
        accounts.iter().map(|account| format!("{} {}", account.account_id, Uuid::now_v7())).collect();
    for (account, text) in accounts.iter().zip(&texts) {
        let Some(found) = report.breaks.iter().find(|found| found.account_id == account.account_id) else {
            continue;
        };
        let Some(held) = held_at(&mut tx, account, compared.block_number).await? else { continue };
        if is_within(found.chain, held, tolerance) {
            continue;
        }
        let Some(difference) = found.chain.0.checked_sub(held.0).map(Balance) else { continue };
        let ruled = ruled(account.account.clone(), account.normal_side, difference);
        bookings.push((account.tenant_id, ruled, occasion, text.as_str()));
    }
    book(&mut tx, chain_id, ACTOR, &mut Opened::default(), &bookings).await.map_err(|error| match error {
        BookingError::Database(error) => CheckError::Database(error),
        BookingError::Refused { reason, .. } => CheckError::Refused { chain_id, reason },
    })?;
    tx.commit().await?;
    Ok(bookings.len() as u64)
}

/// What is not explained in a token of a chain.
pub(super) fn account(token: Option<Address>) -> Account {
    Account {
        name: "unexplained on the chain".into(),
        account_type: AccountType::Suspense,
        class: AccountClass::Liability,
        token,
        address: None,
        probe: None,
    }
}

/// The account moves by `difference` on its normal side, and the suspense account of its token the other way.
fn ruled(account: Account, normal_side: NormalSide, difference: Balance) -> Ruled {
    let suspense = self::account(account.token);
    let rises_by_debit = normal_side == NormalSide::Debit;
    let (of_account, of_suspense) = if rises_by_debit == difference.0.is_positive() {
        (Direction::Debit, Direction::Credit)
    } else {
        (Direction::Credit, Direction::Debit)
    };
    let amount = Amount(difference.0.unsigned_abs());
    let entry = |account, direction| Entry { account, direction, amount, entry_type: "SUSPENSE" };
    Ruled {
        rule: RULE,
        version: 1,
        operation_type: "silent_change",
        request_id: None,
        lines: vec![entry(account, of_account), entry(suspense, of_suspense)],
    }
}
