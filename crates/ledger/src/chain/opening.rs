//! What an account held before its first posting: the first comparison finds it, and it is no break.
//!
//! **How it is told from one.** Nothing of the account is in suspense yet, and the difference is what the chain says the account held after the block before its first posting. A difference that has another cause is another
//! number, and stays a break; so does one of which no node says what was then, because it has pruned that state.

use std::collections::{BTreeMap, HashMap};

use plimsoll_chain::Pool;
use plimsoll_store::Db;
use plimsoll_types::Amount;
use uuid::Uuid;

use super::accounts::account_id;
use super::check::{Break, ask, is_within};
use super::suspense;
use crate::repo::chain::{self, Probed};

/// Marks those breaks that are opening balances.
pub(super) async fn mark(
    db: &Db,
    pool: &Pool,
    chain_id: u64,
    tolerance: Amount,
    accounts: &HashMap<Uuid, &Probed>,
    breaks: &mut [Break],
) -> Result<(), sqlx::Error> {
    let mut conn = db.worker().acquire().await?;
    // By the block before the first posting.
    let mut openings: BTreeMap<u64, Vec<(usize, &Probed)>> = BTreeMap::new();
    for (place, found) in breaks.iter().enumerate() {
        let Some(account) = accounts.get(&found.account_id) else { continue };
        let of_token = suspense::account(account.account.token);
        let suspense = account_id(account.tenant_id, chain_id, &of_token);
        let first = chain::first_block(&mut conn, account.account_id, suspense).await?;
        if let Some(before) = first.and_then(|first| first.checked_sub(1)) {
            openings.entry(before).or_default().push((place, account));
        }
    }
    drop(conn);
    for (number, found) in openings {
        let header = pool.ask(Some(number), |rpc| async move { rpc.header_by_number(number).await }).await;
        let Ok(Some(header)) = header else { continue };
        let held = ask(pool, chain_id, header.hash, found.iter().map(|(_, account)| *account)).await;
        // What no node knows any more stays a break.
        let Ok(held) = held else { continue };
        for ((place, _), held) in found.iter().zip(held) {
            breaks[*place].is_opening =
                held.is_ok_and(|held| is_within(breaks[*place].difference, held, tolerance));
        }
    }
    Ok(())
}
