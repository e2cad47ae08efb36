//! `plimsoll chain`: where chains stand, and the operator's word about one that has halted.

use std::fmt;
use std::time::{Duration, Instant};

use plimsoll_journal::{WatchError, Watched};
use plimsoll_store::Db;
use plimsoll_types::{address_text, parse_address};
use serde::Serialize;
use serde_json::{Value, json};

use super::admin::Admin;
use super::admin::change::{As, Done};
use super::admin::operator;
use super::admin::sheet::{Sheet, show};
use super::fold::pretty;
use super::{chosen, or_dash, print, print_json, table};
use crate::cli::{Change, Decision};
use crate::config::Config;
use crate::failure::Failure;
use crate::repo::{self, to_i64};

/// Between the two looks that show how fast a backfill goes.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// How a chain's backfill goes.
#[derive(Debug, Serialize)]
struct Backfill {
    #[serde(skip)]
    chain_id: i64,
    /// Blocks to come.
    remaining_blocks: i64,
    /// Blocks a second between the two looks.
    blocks_per_s: f64,
    /// How long they will take at that pace; none when nothing came.
    remaining_s: Option<u64>,
}

impl Backfill {
    #[expect(clippy::cast_precision_loss, reason = "block numbers are far below 2^52")]
    fn between(then: &repo::ChainStatus, now: &repo::ChainStatus, elapsed: Duration) -> Option<Self> {
        let remaining_blocks = now.missing_blocks()?;
        let came = now.head_number.unwrap_or(-1) - then.head_number.unwrap_or(-1);
        let blocks_per_s = came.max(0) as f64 / elapsed.as_secs_f64();
        let remaining = Duration::try_from_secs_f64(remaining_blocks as f64 / blocks_per_s).ok();
        let remaining_s = remaining.map(|remaining| remaining.as_secs());
        Some(Self { chain_id: now.chain_id, remaining_blocks, blocks_per_s, remaining_s })
    }
}

impl fmt::Display for Backfill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks to come", self.remaining_blocks)?;
        match self.remaining_s {
            Some(seconds) => {
                let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
                write!(f, ", {:.0} a second, about {hours}:{minutes:02}:{seconds:02} left", self.blocks_per_s)
            }
            None => f.write_str("; none came in the last second"),
        }
    }
}

pub(crate) async fn status(db: &Db, chain_id: Option<u64>, json: bool) -> Result<(), Failure> {
    let mut chains = repo::chains(db.worker(), chain_id.map(to_i64)).await?;
    let mut backfills = Vec::new();
    if chains.iter().any(|chain| chain.missing_blocks().is_some()) {
        // Two looks show the pace.
        let (before, looked) = (chains, Instant::now());
        tokio::time::sleep(BETWEEN_LOOKS).await;
        chains = repo::chains(db.worker(), chain_id.map(to_i64)).await?;
        backfills.extend(chains.iter().filter_map(|now| {
            let then = before.iter().find(|then| then.chain_id == now.chain_id)?;
            Backfill::between(then, now, looked.elapsed())
        }));
    }
    if json {
        let with_backfill = |chain: &repo::ChainStatus| -> Result<Value, Failure> {
            let mut value = serde_json::to_value(chain)?;
            value["backfill"] = json!(backfills.iter().find(|it| it.chain_id == chain.chain_id));
            Ok(value)
        };
        return print_json(&chains.iter().map(with_backfill).collect::<Result<Vec<_>, _>>()?);
    }
    if chains.is_empty() {
        return print("no chain has been followed yet\n");
    }
    let rows: Vec<Vec<String>> = chains
        .iter()
        .map(|c| {
            vec![
                c.chain_id.to_string(),
                c.name.clone(),
                c.state.clone(),
                or_dash(c.rpc_head_number),
                or_dash(c.head_number),
                or_dash(c.confirmed_number),
                or_dash(c.final_number),
                c.journal_seq.to_string(),
            ]
        })
        .collect();
    let mut out =
        table(&["chain", "name", "state", "node head", "head", "confirmed", "final", "journal seq"], &rows);
    for chain in &chains {
        let hashes =
            [("head", chain.head_number, &chain.head_hash), ("final", chain.final_number, &chain.final_hash)];
        for (what, number, hash) in hashes {
            if let (Some(number), Some(hash)) = (number, hash) {
                out.push_str(&format!("chain {}: {what} block {number} is {hash}\n", chain.chain_id));
            }
        }
        if let Some(backfill) = backfills.iter().find(|it| it.chain_id == chain.chain_id) {
            out.push_str(&format!("chain {}: backfill, {backfill}\n", chain.chain_id));
        }
        if let Some(halt) = &chain.halt {
            out.push_str(&format!("\nchain {} has halted:\n{}\n", chain.chain_id, pretty(halt)));
        }
    }
    print(&out)
}

pub(crate) async fn resume(db: &Db, chain_id: u64, decision: &Decision) -> Result<(), Failure> {
    if plimsoll_journal::resume(db, chain_id, &decision.operator, &decision.reason).await? {
        return print(&format!("chain {chain_id} resumes; the process that follows it notices by itself\n"));
    }
    let what = match repo::chains(db.worker(), Some(to_i64(chain_id))).await?.as_slice() {
        [] => format!("chain {chain_id} was never followed here"),
        _ => format!("chain {chain_id} has not halted"),
    };
    Err(Failure::new(what).remedy("`plimsoll chain status` shows every chain"))
}

/// Has a sender watched, on record.
pub(crate) async fn watch(
    config: &Config,
    db: &Db,
    (chain_id, sender, since): (u64, &str, Option<u64>),
    change: &Change,
) -> Result<(), Failure> {
    // There is one, or it is an error.
    chosen(config, Some(chain_id))?;
    let sender = parse_address(sender).map_err(|error| Failure::usage(format!("`--sender`: {error}")))?;
    let sheet = |watched: &Watched| {
        Sheet::new()
            .with("chain", chain_id)
            .with("sender", address_text(&watched.address))
            .with("since", watched.from)
            .with("acknowledged_from", watched.acknowledged)
    };
    // One that is watched so already is shown: asked again, the command tells whether it is acknowledged.
    let known = plimsoll_journal::watched(&mut *db.worker().acquire().await?, chain_id).await;
    let known = known.map_err(|error| refused(&error.into()))?;
    let is_so = |it: &&Watched| it.address == sender && since.is_none_or(|since| since >= it.from);
    if let Some(watched) = known.iter().find(is_so) {
        return show(&sheet(watched), change.how.json);
    }
    Admin { db, config }
        .change(&change.order(), As::Worker(None), async |conn| {
            let known = plimsoll_journal::watched(conn, chain_id)
                .await
                .map_err(WatchError::from)
                .map_err(|error| refused(&error))?;
            let before = known.iter().find(|watched| watched.address == sender);
            let by = operator::actor();
            let after = plimsoll_journal::watch(conn, chain_id, sender, since, &by)
                .await
                .map_err(|error| refused(&error))?;
            let address = address_text(&sender);
            let note = match after.acknowledged {
                Some(block) => format!("no transaction of it is missing from block {block} on"),
                None => {
                    "whoever follows the chain acknowledges it; run this again to see from which block on"
                        .to_owned()
                }
            };
            Ok(Done {
                action: "sender.watch",
                target_type: "sender",
                target_id: format!("{chain_id}/{address}"),
                order: format!("watch {address} on chain {chain_id} from block {} on", after.from),
                confirmation: String::new(),
                before: before.map(sheet),
                after: Some(sheet(&after)),
                secret: None,
                note: Some(note),
            })
        })
        .await
}

fn refused(error: &WatchError) -> Failure {
    Failure::new(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backfill_is_told_with_its_pace_and_the_time_that_is_left() {
        let at = |head_number| repo::ChainStatus {
            chain_id: 1,
            name: "one".into(),
            state: "following".into(),
            halt: None,
            head_number,
            head_hash: None,
            confirmed_number: None,
            final_number: Some(10_000_000),
            final_hash: None,
            rpc_head_number: None,
            journal_seq: 1,
            updated_at: time::OffsetDateTime::UNIX_EPOCH,
        };
        let told = |then, now| {
            Backfill::between(&at(then), &at(now), Duration::from_secs(2))
                .map(|backfill| backfill.to_string())
        };
        assert_eq!(
            told(Some(4_000), Some(10_000)).unwrap(),
            "9990000 blocks to come, 3000 a second, about 0:55:30 left"
        );
        assert_eq!(told(None, None).unwrap(), "10000001 blocks to come; none came in the last second");
        assert_eq!(told(Some(9_999_000), Some(10_000_000)), None, "it is done");
    }
}
