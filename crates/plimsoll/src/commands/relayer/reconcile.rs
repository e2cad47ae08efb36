//! `plimsoll relayer reconcile`: database and chain, compared now.

use std::time::Duration;

use plimsoll_bus::audit::{self, Entry};
use plimsoll_bus::{Context, Keys};
use plimsoll_relayer::overview::{Overview, Sighting};
use plimsoll_relayer::reconcile::{Finding, Repair, Summary, ask_to_look, lasting, look};
use plimsoll_store::Db;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::cli::Reconcile;
use crate::commands::admin::operator;
use crate::commands::{chosen, print, print_json};
use crate::config::{Config, Loaded};
use crate::failure::{FAILED, Failure, UNVERIFIED};
use crate::wiring;

/// Between the two looks. What is found at both was not only on its way.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// A signer, and what was seen of it.
struct Seen {
    one: Overview,
    sighting: Sighting,
}

pub(super) async fn reconcile(
    (loaded, config): (&Loaded, &Config),
    db: &Db,
    asked: &Reconcile,
) -> Result<(), Failure> {
    let signers = crate::commands::signers::all(db).await?;
    let mut seen = Vec::new();
    for chain in chosen(config, asked.chain)? {
        let pool = wiring::pool(loaded, chain)?;
        let of_chain: Vec<_> =
            signers.iter().filter(|one| one.signer.chain_id == chain.chain_id).cloned().collect();
        let mut first = Vec::new();
        for one in &of_chain {
            first.push(look(db, &pool, one.signer).await?.map_or_else(Vec::new, |seen| seen.findings));
        }
        if first.iter().any(|findings| !findings.is_empty()) {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        for (one, before) in of_chain.into_iter().zip(first) {
            let Some(now) = look(db, &pool, one.signer).await? else { continue };
            let findings = lasting(&before, now.findings);
            seen.push(Seen { one, sighting: Sighting { findings, ..now } });
        }
    }
    let total = Summary::of(seen.iter().flat_map(|seen| &seen.sighting.findings));
    let to_look: Vec<_> =
        seen.iter().filter(|seen| Summary::of(&seen.sighting.findings).has_repairs()).collect();
    if !asked.dry_run && !to_look.is_empty() {
        ask(db, &to_look).await?;
    }
    if asked.json {
        let signers: Vec<_> = seen.iter().map(Seen::json).collect();
        print_json(&json!({ "dry_run": asked.dry_run, "summary": total, "signers": signers }))?;
    } else {
        print(&told(&seen, total, asked.dry_run))?;
    }
    let unheard = seen.iter().filter(|seen| seen.sighting.latest.is_none()).count();
    match (total.stay, unheard) {
        (0, 0) => Ok(()),
        (0, unheard) => {
            Err(Failure::found(format!("of {unheard} signers too few endpoints tell the nonces"), UNVERIFIED))
        }
        (stay, _) => Err(Failure::found(format!("{stay} findings stay: they are for people"), FAILED)
            .remedy("docs/operations.md, \"Database and chain do not agree on a signer\"")),
    }
}

/// Asks whoever works these signers to look again, on record.
async fn ask(db: &Db, to_look: &[&Seen]) -> Result<(), Failure> {
    let context = Context::new(Uuid::now_v7(), operator::actor());
    let mut tx = db.begin_worker().await?;
    for Seen { one, sighting } in to_look {
        ask_to_look(&mut tx, one.signer).await?;
        let summary = Summary::of(&sighting.findings);
        let entry = Entry::new("relayer.reconcile", "signer", one.signer.to_string())
            .with_change(None, Some(serde_json::to_value(summary)?))
            .demanding(Keys::Platform)
            .in_context(context.clone());
        audit::record(&mut tx, entry).await?;
    }
    Ok(tx.commit().await?)
}

fn told(seen: &[Seen], total: Summary, is_dry: bool) -> String {
    let mut out = String::new();
    for Seen { one, sighting } in seen {
        out.push_str(&format!("{} ({} on chain {}): ", one.name, one.signer.address, one.signer.chain_id));
        match (&sighting.latest, sighting.findings.is_empty()) {
            (None, _) => out.push_str(&format!(
                "{} of {} endpoints told the nonces, too few to compare\n",
                sighting.answered, sighting.endpoints
            )),
            (Some(_), true) => out.push_str("database and chain agree\n"),
            (Some(_), false) => {
                out.push_str("they do not agree\n");
                for finding in &sighting.findings {
                    out.push_str(&format!("  {} {finding}\n", verb(finding, is_dry)));
                }
            }
        }
    }
    let would = if is_dry { "would" } else { "asked to" };
    out.push_str(&format!(
        "{would} fill {}, re-send {}, cancel {}; {} stay\n",
        total.fill, total.resend, total.cancel, total.stay
    ));
    out
}

/// What is done about a finding.
fn verb(finding: &Finding, is_dry: bool) -> String {
    let would = if is_dry { "would " } else { "" };
    match finding.kind.repair() {
        Some(Repair::Fill) => format!("{would}fill"),
        Some(Repair::Resend) => format!("{would}re-send"),
        Some(Repair::Cancel) => format!("{would}cancel"),
        None => "stays:".to_owned(),
    }
}

impl Seen {
    fn json(&self) -> Value {
        let Self { one, sighting } = self;
        let findings = sighting.findings.iter().map(|finding| {
            let mut value = json!(finding);
            value["words"] = json!(finding.kind.words());
            value
        });
        json!({
            "name": one.name,
            "chain_id": one.signer.chain_id,
            "address": plimsoll_types::address_text(&one.signer.address),
            "next_nonce": one.next_nonce,
            "consumed_next": one.consumed_next,
            "chain_nonce": sighting.latest,
            "pool_nonce": sighting.pending,
            "balance_wei": sighting.balance_wei.map(|wei| wei.to_string()),
            "endpoints_answered": sighting.answered,
            "endpoints": sighting.endpoints,
            "summary": Summary::of(&sighting.findings),
            "findings": findings.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, U256};
    use plimsoll_relayer::reconcile::Kind;
    use plimsoll_relayer::request::SignerId;
    use time::OffsetDateTime;

    use super::*;

    fn seen(latest: Option<u64>, findings: Vec<Finding>) -> Seen {
        let at = OffsetDateTime::UNIX_EPOCH;
        let sighting = Sighting {
            latest,
            pending: latest,
            balance_wei: None,
            needed_wei: U256::ZERO,
            answered: u32::from(latest.is_some()),
            endpoints: 3,
            findings,
            seen_at: at,
        };
        let one = Overview {
            signer: SignerId { chain_id: 1, address: Address::ZERO },
            name: "ops".into(),
            next_nonce: 9,
            consumed_next: 2,
            queued: 0,
            oldest_queued_at: None,
            in_flight: 0,
            front_since: None,
            rotated_to: None,
            lease: None,
            sighting: None,
            read_at: at,
        };
        Seen { one, sighting }
    }

    #[test]
    fn each_finding_has_a_line_and_the_last_line_says_what_would_be_done() {
        let finding = |kind, nonce, until| Finding { kind, nonce, until, transaction_id: None };
        let findings = vec![finding(Kind::Gap, 2, 5), finding(Kind::Foreign, 9, 10)];
        let all = [seen(Some(2), findings), seen(Some(2), vec![]), seen(None, vec![])];
        let total = Summary::of(&all[0].sighting.findings);
        let text = told(&all, total, true);
        let name = format!("ops ({} on chain 1): ", Address::ZERO);
        let lines: Vec<_> = text.lines().map(|line| line.replace(&name, "")).collect();
        assert_eq!(lines[0], "they do not agree");
        assert_eq!(
            lines[1],
            "  would fill nonces 2 to 4: no request has this nonce, and what is behind it waits: it is filled"
        );
        assert!(lines[2].starts_with("  stays: nonce 9: the chain has consumed"), "{lines:?}");
        assert_eq!(lines[3], "database and chain agree");
        assert_eq!(lines[4], "0 of 3 endpoints told the nonces, too few to compare");
        assert_eq!(lines[5], "would fill 3, re-send 0, cancel 0; 1 stay");
        assert!(told(&all, total, false).ends_with("asked to fill 3, re-send 0, cancel 0; 1 stay\n"));
    }
}
