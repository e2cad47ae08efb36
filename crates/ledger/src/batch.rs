//! Many postings in one transaction of the caller's.

use std::collections::{BTreeSet, HashMap};

use alloy_primitives::B256;
use plimsoll_proof::ledger::encoding::Encoder;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};
use uuid::Uuid;

use crate::book::{Booked, Desk, Standing};
use crate::correction::Targets;
use crate::error::PostError;
use crate::events;
use crate::forecast::Turn;
use crate::posting::Posting;
use crate::repo::postings as repo;
use crate::seal;

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

/// Books postings in the order given, in a transaction that is confined to their tenants: what will have come of each once that is committed. None fails another. `turn`: where the
/// process books batch after batch; to be kept until the transaction has ended.
///
/// # Errors
/// The database's: roll back then. A key that somebody else has just used is a unique violation; whoever tries again finds it.
pub(crate) async fn post(
    conn: &mut PgConnection,
    postings: &[&Posting],
    turn: Option<&mut Turn<'_>>,
) -> Result<Outcomes, sqlx::Error> {
    let mut outcomes: Vec<Option<Result<Posted, PostError>>> = postings.iter().map(|_| None).collect();
    for found in repo::find(conn, postings).await? {
        outcomes[found.place] = Some(answer(postings[found.place], found.posting_id, found.checksum));
    }
    let fresh: Vec<_> = (0..postings.len()).filter(|place| outcomes[*place].is_none()).collect();
    if !fresh.is_empty() {
        for (place, outcome) in book(conn, postings, &fresh, turn).await? {
            outcomes[place] = Some(outcome);
        }
    }
    let outcomes: Outcomes =
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(PostError::Stopped))).collect();
    let conflicts: Vec<_> = postings.iter().zip(&outcomes).filter_map(conflict).collect();
    if !conflicts.is_empty() {
        repo::note_conflicts(conn, &conflicts).await?;
        events::publish_conflicts(conn, &conflicts).await?;
    }
    Ok(outcomes)
}

/// What is there under a key is the answer to the same request, and a conflict for any other.
fn answer(posting: &Posting, posting_id: Uuid, checksum: B256) -> Result<Posted, PostError> {
    if checksum == posting.checksum() {
        return Ok(Posted { posting_id, is_replay: true, batch: 1 });
    }
    let (_, _, request_id, operation_type) = key(posting);
    Err(PostError::Conflict { request_id, operation_type: operation_type.to_owned(), posting_id })
}

/// A posting that came under another's key, and the other.
fn conflict<'a>(
    (posting, outcome): (&&'a Posting, &Result<Posted, PostError>),
) -> Option<(&'a Posting, Uuid)> {
    match outcome {
        Err(PostError::Conflict { posting_id, .. }) => Some((*posting, *posting_id)),
        _ => None,
    }
}

/// What comes of the postings at these places, by their places.
async fn book(
    conn: &mut PgConnection,
    postings: &[&Posting],
    fresh: &[usize],
    mut turn: Option<&mut Turn<'_>>,
) -> Result<Vec<(usize, Result<Posted, PostError>)>, sqlx::Error> {
    let fresh_ones = || fresh.iter().map(|place| postings[*place]);
    let tenants: BTreeSet<_> = fresh_ones().map(Posting::tenant_id).collect();
    let accounts: BTreeSet<_> =
        fresh_ones().flat_map(|posting| &posting.draft().lines).map(|line| line.account_id).collect();
    let tenants: Vec<_> = tenants.into_iter().collect();
    let accounts: Vec<_> = accounts.into_iter().collect();
    let (closed_through, now) = repo::lock_books(conn, &tenants).await?;
    let work = |standings, targets| {
        let desk = Desk {
            accounts: standings,
            closed_through: closed_through.clone(),
            now,
            encoder: Encoder::new(),
        };
        work_out(postings, fresh, desk, targets)
    };
    // What a correction comes to depends on more than its accounts.
    let is_foreseeable = fresh_ones().all(|posting| posting.draft().correction.is_none());
    let mut expected = None;
    if let Some(turn) = &mut turn {
        if is_foreseeable {
            expected = turn.next(&accounts, |standings| work(standings, Targets::default())).await;
        }
        turn.take().await;
    }
    let standings = repo::lock_accounts(conn, &accounts).await?;
    let worked = match expected {
        Some((expected, worked)) if expected == standings => worked,
        _ => {
            let targets = Targets::look(conn, fresh_ones()).await?;
            let worked = work(standings, targets);
            if let Some(turn) = turn {
                turn.correct(&worked.standings).await;
            }
            worked
        }
    };
    if let Some(insertion) = worked.insertion {
        insertion.execute(conn).await?;
        seal::announce_staged();
        events::announce_postings();
    }
    Ok(worked.outcomes)
}

/// What a batch comes to on what its accounts hold.
pub(crate) struct Worked {
    /// Of each, by its place.
    outcomes: Vec<(usize, Result<Posted, PostError>)>,
    /// What the accounts hold then.
    pub(crate) standings: HashMap<Uuid, Standing>,
    /// What writes it; none: there is nothing to write.
    insertion: Option<Query<'static, Postgres, PgArguments>>,
}

/// Books them one after the other, in memory.
fn work_out(postings: &[&Posting], fresh: &[usize], mut desk: Desk, mut targets: Targets) -> Worked {
    let mut outcomes = Vec::with_capacity(fresh.len());
    let mut booked: Vec<Booked<'_>> = Vec::with_capacity(fresh.len());
    // What this batch has done under each key: the place in `booked`.
    let mut done: HashMap<Key<'_>, usize> = HashMap::with_capacity(fresh.len());
    for &place in fresh {
        let posting = postings[place];
        if let Some(first) = done.get(&key(posting)) {
            let first = &booked[*first];
            outcomes.push((place, answer(posting, first.posting_id, first.posting.checksum())));
            continue;
        }
        let outcome = if desk.closed_through.contains_key(&posting.tenant_id()) {
            let allowed = targets.allow(posting);
            allowed.and_then(|()| desk.book(Uuid::now_v7(), posting)).map_err(PostError::from)
        } else {
            Err(PostError::NoBooks { tenant_id: posting.tenant_id() })
        };
        let outcome = outcome.map(|it| {
            let posting_id = it.posting_id;
            done.insert(key(posting), booked.len());
            targets.note(posting, posting_id);
            booked.push(it);
            Posted { posting_id, is_replay: false, batch: fresh.len() }
        });
        outcomes.push((place, outcome));
    }
    let insertion = (!booked.is_empty()).then(|| repo::insertion(&booked));
    Worked { outcomes, standings: desk.accounts, insertion }
}
