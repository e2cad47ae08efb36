//! Looking: database and endpoints are asked, and nothing is changed.

use std::time::Duration;

use alloy_primitives::{B256, U256};
use futures::StreamExt as _;
use futures::future::join_all;
use plimsoll_chain::{Pool, Rpc, TransactionCounts};
use plimsoll_store::Db;
use time::OffsetDateTime;

use super::{Known, Theirs, compare};
use crate::attempt::Flight;
use crate::desk::nonces::reached_by_most;
use crate::overview::Sighting;
use crate::repo::{reconcile as repo, window};
use crate::request::SignerId;

/// So many of what is under way, and of what is in blocks, are looked for at the endpoints: the foremost ones, which the others wait for.
const LOOKED_FOR: i64 = 32;
/// Questions to one endpoint at a time.
const ASKED_AT_ONCE: usize = 8;
/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen of a signer: with everything that did not agree at that moment, whether or not it lasts.
pub type Looked = Sighting;

/// Looks at a signer; none: it is not known.
///
/// # Errors
/// The database's. Endpoints that do not answer are part of what is seen.
pub async fn look(db: &Db, pool: &Pool, signer: SignerId) -> Result<Option<Looked>, sqlx::Error> {
    let mut conn = db.worker().acquire().await?;
    let Some(ours) = repo::ours(&mut conn, signer, LOOKED_FOR).await? else { return Ok(None) };
    let flights = window::flights(&mut conn, signer, ours.consumed_next).await?;
    drop(conn);
    let needed_wei = flights.iter().map(Flight::max_cost_wei).fold(U256::ZERO, U256::saturating_add);
    let hashes: Vec<B256> = ours
        .flights
        .iter()
        .flat_map(|flight| flight.tx_hashes.iter().copied())
        .chain(ours.landed.iter().map(|landed| landed.tx_hash))
        .collect();
    let told = join_all(pool.endpoints().iter().map(|rpc| ask(rpc, signer, &hashes))).await;
    let counts: Vec<TransactionCounts> = told.iter().filter_map(|told| told.counts).collect();
    let most = |of: fn(&TransactionCounts) -> u64| reached_by_most(counts.iter().map(of), told.len());
    let theirs = Theirs {
        latest: most(|counts| counts.latest),
        pending: most(|counts| counts.pending),
        known: hashes.iter().enumerate().map(|(place, hash)| (*hash, together(&told, place))).collect(),
    };
    let balance = told.iter().filter_map(|told| told.balance).max_by_key(|(block, _)| *block);
    Ok(Some(Sighting {
        findings: compare(&ours, &theirs),
        latest: theirs.latest,
        pending: theirs.pending,
        balance_wei: balance.map(|(_, wei)| wei),
        needed_wei,
        answered: u32::try_from(counts.len()).unwrap_or(u32::MAX),
        endpoints: u32::try_from(told.len()).unwrap_or(u32::MAX),
        seen_at: OffsetDateTime::now_utc(),
    }))
}

/// What one endpoint said.
struct Told {
    counts: Option<TransactionCounts>,
    /// At which height, and how much.
    balance: Option<(u64, U256)>,
    /// Of each transaction that it was asked about: where it is. None: it did not answer.
    known: Vec<Option<Known>>,
}

async fn ask(rpc: &Rpc, signer: SignerId, hashes: &[B256]) -> Told {
    let counts = tokio::time::timeout(PATIENCE, rpc.transaction_counts(signer.address));
    let balance = tokio::time::timeout(PATIENCE, rpc.balance(signer.address));
    let known = futures::stream::iter(hashes.to_vec()).map(|hash| async move {
        let told = tokio::time::timeout(PATIENCE, rpc.transaction_by_hash(hash)).await.ok()?.ok()?;
        Some(match told.map(|known| known.place) {
            None => Known::Nowhere,
            Some(None) => Known::Waiting,
            Some(Some(place)) => Known::InBlock { number: place.block_number, hash: place.block_hash },
        })
    });
    let known = known.buffered(ASKED_AT_ONCE).collect();
    let (counts, balance, known) = tokio::join!(counts, balance, known);
    Told {
        counts: counts.ok().and_then(Result::ok).map(|counts| counts.value),
        balance: balance.ok().and_then(Result::ok).map(|balance| (balance.block_number, balance.value)),
        known,
    }
}

/// What all of them know of one: a block before a pool, a pool before nowhere, and nowhere only where everybody says so.
fn together(told: &[Told], place: usize) -> Known {
    let mut best = Known::Nowhere;
    for known in told.iter().map(|told| told.known.get(place).copied().flatten()) {
        best = match (best, known) {
            (Known::InBlock { .. }, _) => best,
            (_, Some(found @ Known::InBlock { .. })) => found,
            (Known::Waiting, _) | (_, Some(Known::Waiting)) => Known::Waiting,
            (Known::Unheard, _) | (_, None | Some(Known::Unheard)) => Known::Unheard,
            (Known::Nowhere, Some(Known::Nowhere)) => Known::Nowhere,
        };
    }
    best
}
