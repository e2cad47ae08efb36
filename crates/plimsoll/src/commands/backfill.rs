//! `plimsoll backfill`: requests to the process that follows a chain.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_bus::{Context, Keys};
use plimsoll_ingest::preview;
use plimsoll_journal::backfills::{self, Backfill, BackfillError, Order};
use plimsoll_store::Db;
use plimsoll_types::{BackfillState, Completeness, address_text, parse_address};
use uuid::Uuid;

use super::admin::Admin;
use super::admin::change::{As, Done};
use super::admin::operator::actor;
use super::admin::sheet::{Sheet, list, show};
use super::waiting::{Shown, wait, waits};
use super::{chosen, of_chain, print, print_json};
use crate::cli::{self, Backfills, Change, NewBackfill, StateChoice};
use crate::config::{Chain, Config, Loaded, did_you_mean};
use crate::failure::Failure;
use crate::wiring;

const COLUMNS: &[&str] =
    &["request_id", "chain", "from", "to", "state", "next", "blocks_done", "found", "created_at"];

impl From<&Backfill> for Sheet {
    fn from(backfill: &Backfill) -> Self {
        let Backfill { order, .. } = backfill;
        let contracts: Option<Vec<String>> =
            order.contracts.as_ref().map(|all| all.iter().map(address_text).collect());
        Self::new()
            .with("request_id", order.request_id.to_string())
            .with("chain", order.chain_id)
            .with("from", order.from)
            .with("to", order.to)
            .with("contracts", contracts)
            .with("limit", order.max_events)
            .with("parallel", order.parallel_ranges)
            .with("level", order.level.map(Completeness::as_str))
            .with("state", backfill.state.as_str())
            .with("next", backfill.next)
            .with("blocks_done", backfill.blocks_done)
            .with("found", backfill.found)
            .with("trouble", backfill.trouble.clone())
            .with("actor", &*backfill.actor)
            .with("reason", backfill.reason.clone())
            .at("created_at", backfill.created_at)
            .at("started_at", backfill.started_at)
            .at("ended_at", backfill.ended_at)
    }
}

impl From<StateChoice> for BackfillState {
    fn from(state: StateChoice) -> Self {
        match state {
            StateChoice::Queued => Self::Queued,
            StateChoice::Running => Self::Running,
            StateChoice::Limited => Self::Limited,
            StateChoice::Done => Self::Done,
            StateChoice::Cancelled => Self::Cancelled,
            StateChoice::Failed => Self::Failed,
        }
    }
}

pub(crate) async fn backfill(
    loaded: &Loaded,
    config: &Config,
    db: &Db,
    asked: &cli::Backfill,
) -> Result<(), Failure> {
    match &asked.about {
        Some(about) => of_requests(config, db, about).await,
        None => request(loaded, config, db, &asked.new).await,
    }
}

async fn request(loaded: &Loaded, config: &Config, db: &Db, new: &NewBackfill) -> Result<(), Failure> {
    let (Some(chain_id), Some(from), Some(to)) = (new.chain, new.from, new.to) else {
        return Err(Failure::usage("say which blocks of which chain: `--chain`, `--from` and `--to`"));
    };
    // There is one, or it is an error.
    let chain = chosen(config, Some(chain_id))?[0];
    let how = &new.change.how;
    let request_id = how.request_id.unwrap_or_else(Uuid::now_v7);
    let order = Order {
        request_id,
        chain_id,
        from,
        to,
        contracts: contracts(chain, &new.contract)?,
        max_events: new.limit,
        parallel_ranges: new.parallel,
        level: new.level.map(Completeness::from),
    };
    are_of_interest(chain, &order)?;
    if how.dry_run {
        let pool = wiring::pool(loaded, chain)?;
        of_chain(loaded, chain, &pool).await?;
        let (contracts, ingest) = (wiring::contracts(chain), wiring::ingest(chain));
        let found = preview::preview(db, &pool, &contracts, &ingest, &order).await.map_err(refused)?;
        return match how.json {
            true => print_json(&found),
            false => print(&format!("{found}nothing was put on record (dry run)\n")),
        };
    }
    let (backfill, is_new) = put(db, &order, new.change.reason.as_deref()).await?;
    if new.wait {
        return wait(db, request_id, how.json).await;
    }
    if how.json {
        return print_json(&backfill);
    }
    let mut out = match is_new {
        true => format!("done: asked for {order}\n"),
        false => format!("asked for before: {order}; it is {}\n", backfill.state),
    };
    if backfill.state.is_open()
        && let Some(why) = waits(db, order.chain_id).await?
    {
        out.push_str(&format!("{why}\n"));
    }
    out.push_str(&format!("request {request_id}\n"));
    print(&out)
}

/// Puts a request on record, with its entry in the audit log; whether it was not there before.
pub(super) async fn put(db: &Db, order: &Order, reason: Option<&str>) -> Result<(Backfill, bool), Failure> {
    let (request_id, actor) = (order.request_id, actor());
    let mut tx = db.begin_worker().await?;
    let (backfill, is_new) = backfills::request(&mut tx, order, &actor, reason).await.map_err(refused)?;
    if is_new {
        let entry = Entry::new("backfill.request", "backfill", request_id.to_string())
            .with_change(None, Some(Sheet::from(&backfill).json()))
            .demanding(Keys::Platform)
            .in_context(Context::new(request_id, actor));
        let entry = match reason {
            Some(reason) => entry.with_reason(reason),
            None => entry,
        };
        audit::record(&mut tx, entry).await?;
    }
    tx.commit().await.map_err(|error| {
        Failure::new(format!(
            "whether {order} is asked for is not known: the database did not answer the commit: {error}"
        ))
        .remedy(format!("`plimsoll backfill show {request_id}` has it if and only if it is on record"))
    })?;
    Ok((backfill, is_new))
}

/// The blocks are of interest: below the first one nothing is followed, so that nothing could be found.
fn are_of_interest(chain: &Chain, order: &Order) -> Result<(), Failure> {
    let is_meant = |address| order.contracts.as_ref().is_none_or(|all| all.contains(address));
    let meant = chain.contracts.iter().filter(|contract| is_meant(&contract.address));
    let first = meant.map(|contract| contract.start_block).min().unwrap_or(0);
    if order.from >= first {
        return Ok(());
    }
    let what = format!("nothing is followed below block {first}, the first of interest");
    Err(Failure::usage(what)
        .remedy(format!("say `--from {first}`, or set the contract's `start_block` lower")))
}

/// The contracts that were named, by name or address.
fn contracts(chain: &Chain, asked: &[String]) -> Result<Option<BTreeSet<Address>>, Failure> {
    let one = |asked: &String| {
        let address = parse_address(asked).ok();
        let found = chain
            .contracts
            .iter()
            .find(|contract| contract.name == *asked || Some(contract.address) == address);
        if let Some(found) = found {
            return Ok(found.address);
        }
        let failure = Failure::usage(format!(
            "chain {} has no contract {asked:?} in the configuration",
            chain.chain_id
        ));
        let names = || chain.contracts.iter().map(|contract| contract.name.as_str());
        Err(match did_you_mean(asked, names()) {
            Some(meant) => failure.remedy(format!("did you mean {meant:?}?")),
            None => failure.remedy(format!("its contracts are {}", names().collect::<Vec<_>>().join(", "))),
        })
    };
    let all: BTreeSet<_> = asked.iter().map(one).collect::<Result<_, _>>()?;
    Ok((!all.is_empty()).then_some(all))
}

async fn of_requests(config: &Config, db: &Db, about: &Backfills) -> Result<(), Failure> {
    match about {
        Backfills::List { chain, state, limit, json } => {
            let found = backfills::list(db, *chain, state.map(BackfillState::from), *limit).await?;
            let shown = Shown::all(db, &found).await?;
            if *json {
                return print_json(&shown);
            }
            let sheets: Vec<Sheet> = found.iter().map(Sheet::from).collect();
            list(&sheets, COLUMNS, "no backfill was asked for", false)?;
            let reasons: BTreeSet<_> = shown.iter().filter_map(|one| one.waits.as_deref()).collect();
            reasons.into_iter().try_for_each(|why| print(&format!("{why}\n")))
        }
        Backfills::Show { request, wait: true, json } => wait(db, *request, *json).await,
        Backfills::Show { request, wait: false, json } => {
            let found = backfills::find(db, *request).await.map_err(refused)?;
            let shown = Shown::of(db, &found).await?;
            if *json {
                print_json(&shown)
            } else {
                show(&Sheet::from(&found).with("waits", shown.waits), false)
            }
        }
        Backfills::Cancel { request, change } => {
            turn(config, db, *request, change, ("backfill.cancel", "cancel"), async |conn| {
                backfills::cancel(conn, *request).await
            })
            .await
        }
        Backfills::Resume { request, change } => {
            turn(config, db, *request, change, ("backfill.resume", "resume"), async |conn| {
                backfills::resume(conn, *request).await
            })
            .await
        }
    }
}

/// An operator's word about a request, on record.
async fn turn(
    config: &Config,
    db: &Db,
    request_id: Uuid,
    change: &Change,
    (action, verb): (&'static str, &'static str),
    work: impl AsyncFn(&mut sqlx::PgConnection) -> Result<(Backfill, Backfill), BackfillError>,
) -> Result<(), Failure> {
    Admin { db, config }
        .change(&change.order(), As::Worker(None), async |conn| {
            let (before, after) = work(conn).await.map_err(refused)?;
            Ok(Done {
                action,
                target_type: "backfill",
                target_id: request_id.to_string(),
                order: format!("{verb} the backfill {request_id} of {}", after.order),
                confirmation: request_id.to_string(),
                before: Some(Sheet::from(&before)),
                after: Some(Sheet::from(&after)),
                secret: None,
                note: None,
            })
        })
        .await
}

/// Why it is refused, and what to do.
pub(super) fn refused(error: BackfillError) -> Failure {
    match &error {
        BackfillError::Reversed { .. } => {
            Failure::usage(error.to_string()).remedy("exchange `--from` and `--to`")
        }
        BackfillError::BeyondFinality { last, .. } => Failure::usage(error.to_string())
            .remedy(format!("ask for blocks up to {last}; `plimsoll chain status` shows what is final")),
        BackfillError::Conflict { .. } => Failure::new(error)
            .remedy("give another request a `--request-id` of its own; without one it is made"),
        BackfillError::Unknown { .. } => {
            Failure::new(error).remedy("`plimsoll backfill list` shows those that there are")
        }
        BackfillError::Ended { .. } => Failure::new(error).remedy("nothing needs to be done"),
        BackfillError::NothingToResume { state, .. } => Failure::new(&error).remedy(match state {
            BackfillState::Done => {
                "all its blocks were looked at; ask for a new one to have them looked at again"
            }
            _ => "it goes on by itself",
        }),
        BackfillError::NotBegun { .. }
        | BackfillError::NothingFinal { .. }
        | BackfillError::Journal(_)
        | BackfillError::Database(_) => Failure::from(error),
    }
}
