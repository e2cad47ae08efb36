//! Many postings in one transaction of the caller's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy_primitives::B256;
use plimsoll_proof::ledger::encoding::Encoder;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Booked, Desk};
use crate::correction::Targets;
use crate::error::PostError;
use crate::posting::Posting;
use crate::repo::postings as repo;

/// A posting that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Its id.
    pub posting_id: Uuid,
    /// Whether it was there before.
    pub is_replay: bool,
    /// How many were written by the transaction that says so.
    pub batch: usize,
}

/// What came of each, by its place.
pub(crate) type Outcomes = Vec<Result<Posted, PostError>>;

/// The key of a posting within its tenant's books.
type Key<'a> = (Uuid, Option<Uuid>, Uuid, &'a str);

fn key(posting: &Posting) -> Key<'_> {
    let context = &posting.draft().context;
    (posting.tenant_id(), context.user_id, context.request_id, posting.draft().operation_type.as_str())
}

/// Books postings in the order given, in a transaction that is confined to their tenants: what will have come of each once that is committed. None fails another.
///
/// # Errors
/// The database's: roll back then. A key that somebody else has just used is a unique violation; whoever tries again finds it.
pub(crate) async fn post(conn: &mut PgConnection, postings: &[&Posting]) -> Result<Outcomes, sqlx::Error> {
    let mut outcomes: Vec<Option<Result<Posted, PostError>>> = postings.iter().map(|_| None).collect();
    for found in repo::find(conn, postings).await? {
        let posting = postings[found.place];
        outcomes[found.place] = Some(answer(conn, posting, found.posting_id, found.checksum).await?);
    }
    let fresh: Vec<_> = (0..postings.len()).filter(|place| outcomes[*place].is_none()).collect();
    if !fresh.is_empty() {
        book(conn, postings, &fresh, &mut outcomes).await?;
    }
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(PostError::Stopped))).collect())
}

/// What is there under a key is the answer to the same request, and a conflict for any other, which is put on record.
async fn answer(
    conn: &mut PgConnection,
    posting: &Posting,
    posting_id: Uuid,
    checksum: B256,
) -> Result<Result<Posted, PostError>, sqlx::Error> {
    if checksum == posting.checksum() {
        return Ok(Ok(Posted { posting_id, is_replay: true, batch: 1 }));
    }
    repo::note_conflict(conn, posting, posting_id).await?;
    let (_, _, request_id, operation_type) = key(posting);
    Ok(Err(PostError::Conflict { request_id, operation_type: operation_type.to_owned(), posting_id }))
}

async fn book(
    conn: &mut PgConnection,
    postings: &[&Posting],
    fresh: &[usize],
    outcomes: &mut [Option<Result<Posted, PostError>>],
) -> Result<(), sqlx::Error> {
    let fresh_ones = || fresh.iter().map(|place| postings[*place]);
    let tenants: BTreeSet<_> = fresh_ones().map(Posting::tenant_id).collect();
    let accounts: BTreeSet<_> =
        fresh_ones().flat_map(|posting| &posting.draft().lines).map(|line| line.account_id).collect();
    let tenants: Vec<_> = tenants.into_iter().collect();
    let closed_through = repo::lock_books(conn, &tenants).await?;
    let accounts: Vec<_> = accounts.into_iter().collect();
    let accounts = repo::lock_accounts(conn, &accounts).await?;
    let mut targets = Targets::look(conn, fresh_ones()).await?;
    let now = repo::clock(conn).await?;
    let mut desk = Desk { accounts, closed_through, now, encoder: Encoder::new() };

    let mut booked: Vec<Booked<'_>> = Vec::with_capacity(fresh.len());
    // What this batch has done under each key: the place in `booked`.
    let mut done: HashMap<Key<'_>, usize> = HashMap::with_capacity(fresh.len());
    let mut replays = Vec::new();
    for &place in fresh {
        let posting = postings[place];
        if let Some(first) = done.get(&key(posting)) {
            replays.push((place, *first));
            continue;
        }
        let outcome = if desk.closed_through.contains_key(&posting.tenant_id()) {
            let allowed = targets.allow(posting);
            allowed.and_then(|()| desk.book(Uuid::now_v7(), posting)).map_err(PostError::from)
        } else {
            Err(PostError::NoBooks { tenant_id: posting.tenant_id() })
        };
        outcomes[place] = Some(outcome.map(|it| {
            let posting_id = it.posting_id;
            done.insert(key(posting), booked.len());
            targets.note(posting, posting_id);
            booked.push(it);
            Posted { posting_id, is_replay: false, batch: fresh.len() }
        }));
    }
    if booked.is_empty() {
        return Ok(());
    }
    repo::insert(conn, &booked).await?;
    for (tenant_id, (ids, digests)) in by_tenant(&booked) {
        repo::stage(conn, tenant_id, &ids, &digests).await?;
    }
    for (place, first) in replays {
        let first = &booked[first];
        outcomes[place] =
            Some(answer(conn, postings[place], first.posting_id, first.posting.checksum()).await?);
    }
    Ok(())
}

/// What each tenant's log is to take in, in the order of booking.
fn by_tenant(booked: &[Booked<'_>]) -> BTreeMap<Uuid, (Vec<Uuid>, Vec<u8>)> {
    let mut staged: BTreeMap<Uuid, (Vec<Uuid>, Vec<u8>)> = BTreeMap::new();
    for it in booked {
        let (ids, digests) = staged.entry(it.posting.tenant_id()).or_default();
        ids.push(it.posting_id);
        digests.extend_from_slice(&it.digest[..]);
    }
    staged
}
