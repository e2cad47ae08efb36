//! `plimsoll signers list` and `show`: how each signer is, as the database has it; and for one, as the chain says now.

use std::collections::HashMap;

use plimsoll_relayer::overview::{self, Overview, Sighting};
use plimsoll_relayer::reconcile::look;
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::switches::{self, Switch};
use plimsoll_store::Db;
use plimsoll_types::{address_text, parse_address};

use crate::commands::admin::sheet::{self, Sheet};
use crate::config::{Config, Loaded, did_you_mean};
use crate::failure::Failure;
use crate::wiring;

/// All signers that were ever made known.
pub(crate) async fn all(db: &Db) -> Result<Vec<Overview>, Failure> {
    Ok(overview::signers(&mut *db.worker().acquire().await?).await?)
}

/// The signer of this name or address.
pub(crate) async fn named(db: &Db, asked: &str, chain: Option<u64>) -> Result<Overview, Failure> {
    let mut all = all(db).await?;
    let address = parse_address(asked).ok();
    let is_meant = |one: &Overview| {
        (one.name == asked || Some(one.signer.address) == address)
            && chain.is_none_or(|chain| one.signer.chain_id == chain)
    };
    let meant: Vec<_> = all.iter().filter(|one| is_meant(one)).map(|one| one.signer).collect();
    match meant[..] {
        [one] => {
            all.retain(|known| known.signer == one);
            all.pop().ok_or_else(|| Failure::new("the signer is gone"))
        }
        [] => {
            let on_chain = chain.map(|chain| format!(" on chain {chain}")).unwrap_or_default();
            let failure = Failure::usage(format!("there is no signer {asked:?}{on_chain}"));
            let elsewhere: Vec<_> = all
                .iter()
                .filter(|one| one.name == asked || Some(one.signer.address) == address)
                .map(|one| one.signer.chain_id.to_string())
                .collect();
            if !elsewhere.is_empty() {
                return Err(failure.remedy(format!("it signs on chain {}", elsewhere.join(", "))));
            }
            Err(match did_you_mean(asked, all.iter().map(|one| one.name.as_str())) {
                Some(name) => failure.remedy(format!("did you mean {name:?}?")),
                None => failure.remedy(
                    "`plimsoll signers list` shows those that there are; a new one is made known when a process with the role `relayer` starts with it",
                ),
            })
        }
        _ => {
            let chains: Vec<_> = meant.iter().map(|one| one.chain_id.to_string()).collect();
            Err(Failure::usage(format!("{asked:?} signs on several chains"))
                .remedy(format!("say `--chain` with one of {}", chains.join(", "))))
        }
    }
}

pub(super) async fn list(config: &Config, db: &Db, json: bool) -> Result<(), Failure> {
    let thrown = switches::thrown(&mut *db.worker().acquire().await?).await?;
    let windows = windows(config);
    let sheets: Vec<_> = all(db).await?.iter().map(|one| sheet_of(one, &windows, &thrown)).collect();
    let columns = [
        "name",
        "chain",
        "address",
        "worked_by",
        "queued",
        "in_flight",
        "window",
        "next_nonce",
        "chain_nonce",
        "balance_wei",
        "held_back_by",
    ];
    let nothing = "no signer was ever made known: a process with the role `relayer` does that when it starts";
    sheet::list(&sheets, &columns, nothing, json)
}

pub(super) async fn show(
    (loaded, config): (&Loaded, &Config),
    db: &Db,
    (asked, chain): (&str, Option<u64>),
    json: bool,
) -> Result<(), Failure> {
    let mut one = named(db, asked, chain).await?;
    let mut told_now = false;
    if let Some(chain) = config.chains.iter().find(|chain| chain.chain_id == one.signer.chain_id) {
        let pool = wiring::pool(loaded, chain)?;
        if let Some(seen) = look(db, &pool, one.signer).await? {
            told_now = seen.answered > 0;
            if told_now {
                // What does not agree at this moment may not at the next: what lasts was found by whoever looks all the time.
                let findings = one.sighting.map_or_else(Vec::new, |sighting| sighting.findings);
                one.sighting = Some(Sighting { findings, ..seen });
            }
        }
    }
    let thrown = switches::thrown(&mut *db.worker().acquire().await?).await?;
    let sighting = one.sighting.as_ref();
    let lines = |one: &Sighting| one.findings.iter().map(ToString::to_string).collect::<Vec<_>>();
    let sheet = sheet_of(&one, &windows(config), &thrown)
        .with("lease_token", one.lease.as_ref().map(|lease| lease.token))
        .at("lease_until", one.lease.as_ref().map(|lease| lease.expires_at))
        .at("oldest_queued", one.oldest_queued_at)
        .at("front_since", one.front_since)
        .with("pool_nonce", sighting.and_then(|seen| seen.pending))
        .with("needed_wei", sighting.map(|seen| seen.needed_wei.to_string()))
        .with("endpoints", sighting.map(|seen| format!("{} of {} answered", seen.answered, seen.endpoints)))
        .at("chain_asked", sighting.map(|seen| seen.seen_at))
        .with("asked_now", told_now)
        .with("findings", sighting.map_or_else(Vec::new, lines));
    sheet::show(&sheet, json)
}

/// How many of a signer's may be under way at once: the configuration knows.
fn windows(config: &Config) -> HashMap<SignerId, u32> {
    let of = |policy: &plimsoll_relayer::grant::SignerPolicy| {
        (SignerId { chain_id: policy.chain_id, address: policy.address }, policy.window.get())
    };
    config.signers.iter().map(|signer| of(&signer.policy)).collect()
}

fn sheet_of(one: &Overview, windows: &HashMap<SignerId, u32>, thrown: &[Switch]) -> Sheet {
    let holds = |switch: &&Switch| switch.scope.signer.is_none_or(|signer| signer == one.signer);
    let halts: Vec<_> =
        thrown.iter().filter(holds).map(|switch| format!("{}: {}", switch.scope, switch.reason)).collect();
    let sighting = one.sighting.as_ref();
    Sheet::new()
        .with("name", &*one.name)
        .with("chain", one.signer.chain_id)
        .with("address", address_text(&one.signer.address))
        .with("worked_by", one.lease.as_ref().map(|lease| lease.holder.clone()))
        .with("queued", one.queued)
        .with("in_flight", one.in_flight)
        .with("window", windows.get(&one.signer).copied())
        .with("next_nonce", one.next_nonce)
        .with("consumed_next", one.consumed_next)
        .with("chain_nonce", sighting.and_then(|seen| seen.latest))
        .with("balance_wei", sighting.and_then(|seen| seen.balance_wei).map(|wei| wei.to_string()))
        .with("rotated_to", one.rotated_to.map(|(to, _)| address_text(&to)))
        .at("rotated_at", one.rotated_to.map(|(_, at)| at))
        .with("held_back_by", halts)
}
