//! Why a backfill that was asked for does not come on, and waiting for one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use plimsoll_journal::backfills::{self, Backfill};
use plimsoll_store::Db;
use plimsoll_types::BackfillState;
use serde::Serialize;
use uuid::Uuid;

use super::admin::sheet::{Sheet, show};
use super::backfill::refused;
use super::print_json;
use super::progress::Progress;
use crate::failure::{FAILED, Failure, UNVERIFIED};
use crate::repo;

/// A chain that was followed may be taken over by another process meanwhile.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at one that is waited for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A request, and why it waits.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    #[serde(flatten)]
    backfill: &'a Backfill,
    /// None where it is over, or nothing keeps it from coming on.
    pub(super) waits: Option<String>,
}

impl<'a> Shown<'a> {
    pub(super) async fn of(db: &Db, backfill: &'a Backfill) -> Result<Self, Failure> {
        let waits = match backfill.state.is_open() {
            true => waits(db, backfill.order.chain_id).await?,
            false => None,
        };
        Ok(Self { backfill, waits })
    }

    /// The same of several, each chain looked at once.
    pub(super) async fn all(db: &Db, backfills: &'a [Backfill]) -> Result<Vec<Self>, Failure> {
        let mut known: BTreeMap<u64, Option<String>> = BTreeMap::new();
        for backfill in backfills.iter().filter(|backfill| backfill.state.is_open()) {
            let chain_id = backfill.order.chain_id;
            if let Entry::Vacant(unknown) = known.entry(chain_id) {
                unknown.insert(waits(db, chain_id).await?);
            }
        }
        let of = |backfill: &'a Backfill| {
            let is_open = backfill.state.is_open();
            let waits = is_open.then(|| known.get(&backfill.order.chain_id).cloned().flatten()).flatten();
            Self { backfill, waits }
        };
        Ok(backfills.iter().map(of).collect())
    }
}

/// Why what is asked for of this chain waits, and what to do: the chain has halted, or nobody follows it.
pub(super) async fn waits(db: &Db, chain_id: u64) -> Result<Option<String>, Failure> {
    if is_halted(db, chain_id).await? {
        return Ok(Some(format!(
            "chain {chain_id} has halted, and nothing of it is worked off until an operator lifts that: `plimsoll chain status` has the evidence, \
             `plimsoll chain resume --chain {chain_id}` lifts it"
        )));
    }
    if repo::is_held(db.worker(), &plimsoll_ingest::lease_name(chain_id)).await? {
        return Ok(None);
    }
    Ok(Some("no process follows this chain just now: it begins when one does (`plimsoll run`)".to_owned()))
}

async fn is_halted(db: &Db, chain_id: u64) -> Result<bool, Failure> {
    let chains = repo::chains(db.worker(), Some(repo::to_i64(chain_id))).await?;
    Ok(chains.iter().any(|chain| chain.state == "halted"))
}

/// Until it ends, with its progress on a terminal.
pub(super) async fn wait(db: &Db, request_id: Uuid, json: bool) -> Result<(), Failure> {
    let mut line = Progress::new();
    let mut followed: Option<Instant> = None;
    // Ends with the request, when the chain has halted, when nobody works it off, or with the patience of whoever waits.
    let ended = loop {
        let found = backfills::find(db, request_id).await.map_err(refused)?;
        if !found.state.is_open() {
            break found;
        }
        if is_halted(db, found.order.chain_id).await? {
            drop(line);
            let chain_id = found.order.chain_id;
            let what = format!("chain {chain_id} has halted: the request waits until an operator lifts that");
            return Err(Failure::found(what, UNVERIFIED).remedy(format!(
                "`plimsoll chain status` has the evidence, `plimsoll chain resume --chain {chain_id}` lifts it; the request then goes on by itself"
            )));
        }
        let lease = plimsoll_ingest::lease_name(found.order.chain_id);
        if repo::is_held(db.worker(), &lease).await? {
            followed = Some(Instant::now());
        }
        if followed.is_none_or(|at| at.elapsed() > TAKEOVER_PATIENCE) {
            drop(line);
            let what =
                format!("no process follows chain {}: the request waits for one", found.order.chain_id);
            return Err(Failure::found(what, UNVERIFIED).remedy(format!(
                "`plimsoll run` works it off; `plimsoll backfill show {request_id} --wait` then shows how it goes"
            )));
        }
        line.line(|| told(&found));
        tokio::time::sleep(LOOK_INTERVAL).await;
    };
    drop(line);
    if json {
        print_json(&ended)?;
    } else {
        show(&Sheet::from(&ended), false)?;
    }
    let at = |what: &str| {
        format!("the backfill {what}, with {} of {} blocks looked at", ended.blocks_done, ended.blocks())
    };
    let resume = format!("`plimsoll backfill resume {request_id}` goes on where it is");
    match ended.state {
        BackfillState::Limited => Err(Failure::found(at("stopped at its limit"), UNVERIFIED).remedy(resume)),
        BackfillState::Cancelled => Err(Failure::found(at("was cancelled"), FAILED).remedy(resume)),
        BackfillState::Failed => {
            let why = ended.trouble.as_deref().unwrap_or("no reason was kept");
            Err(Failure::found(at(&format!("failed ({why})")), FAILED).remedy(format!("mend that; {resume}")))
        }
        BackfillState::Done | BackfillState::Queued | BackfillState::Running => Ok(()),
    }
}

/// How it goes, in a line.
fn told(backfill: &Backfill) -> String {
    let chain_id = backfill.order.chain_id;
    let trouble = backfill.trouble.as_deref().map(|why| format!("; {why}")).unwrap_or_default();
    format!(
        "chain {chain_id}: {} of {} blocks, {} found{trouble}",
        backfill.blocks_done,
        backfill.blocks(),
        backfill.found
    )
}
