//! The relayer's gauges: what the database has of each signer, and what operators hold back.

use std::collections::BTreeMap;

use metrics::gauge;
use plimsoll_relayer::overview::{self, Overview};
use plimsoll_relayer::reconcile::Kind;
use plimsoll_relayer::switches::{self, Switch};
use sqlx::PgPool;
use time::OffsetDateTime;

use super::number;
use crate::repo::RepoError;

/// What a switch holds back, as the gauges name it.
const SCOPES: [&str; 4] = ["everything", "tenant", "signer", "tenant_signer"];

/// Reads and sets them. As the worker.
pub(super) async fn collect(pool: &PgPool) -> Result<(), RepoError> {
    let mut conn = pool.acquire().await?;
    let signers = overview::signers(&mut conn).await?;
    let thrown = switches::thrown(&mut conn).await?;
    drop(conn);
    for signer in &signers {
        set(signer);
    }
    for (scope, (count, oldest)) in by_scope(&thrown, OffsetDateTime::now_utc()) {
        gauge!("relayer_kill_switches", "scope" => scope).set(number(count));
        gauge!("relayer_kill_switch_age_seconds", "scope" => scope).set(oldest);
    }
    Ok(())
}

/// How many switches of each scope are thrown, and for how many seconds the oldest is.
fn by_scope(thrown: &[Switch], now: OffsetDateTime) -> BTreeMap<&'static str, (u64, f64)> {
    let mut by_scope: BTreeMap<_, _> = SCOPES.iter().map(|scope| (*scope, (0, 0.0))).collect();
    for switch in thrown {
        let scope = match (switch.scope.tenant_id, switch.scope.signer) {
            (None, None) => "everything",
            (Some(_), None) => "tenant",
            (None, Some(_)) => "signer",
            (Some(_), Some(_)) => "tenant_signer",
        };
        let (count, oldest): &mut (u64, f64) = by_scope.entry(scope).or_default();
        *count += 1;
        *oldest = oldest.max((now - switch.thrown_at).as_seconds_f64());
    }
    by_scope
}

fn set(of: &Overview) {
    let signer = of.signer.to_string();
    let set = |metric: &'static str, value: f64| {
        gauge!(metric, "signer" => signer.clone(), "name" => of.name.clone()).set(value);
    };
    let age = |at: Option<OffsetDateTime>| at.map_or(0.0, |at| (of.read_at - at).as_seconds_f64().max(0.0));
    set("relayer_queue_requests", number(of.queued));
    set("relayer_queue_oldest_seconds", age(of.oldest_queued_at));
    set("relayer_in_flight_requests", number(of.in_flight));
    set("relayer_front_age_seconds", age(of.front_since));
    set("relayer_next_nonce", number(of.next_nonce));
    set("relayer_consumed_nonce", number(of.consumed_next));
    let Some(seen) = &of.sighting else { return };
    set("relayer_seen_age_seconds", age(Some(seen.seen_at)));
    set("relayer_needed_wei", f64::from(seen.needed_wei));
    for (metric, value) in [
        ("relayer_chain_nonce", seen.latest.map(number)),
        ("relayer_pool_nonce", seen.pending.map(number)),
        ("relayer_balance_wei", seen.balance_wei.map(f64::from)),
    ] {
        if let Some(value) = value {
            set(metric, value);
        }
    }
    for kind in Kind::ALL {
        let count = seen.findings.iter().filter(|finding| finding.kind == kind).count();
        gauge!("relayer_findings", "signer" => signer.clone(), "kind" => kind.as_str())
            .set(number(count as u64));
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_relayer::switches::Scope;
    use time::Duration;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn switches_are_counted_by_what_they_hold_back_and_the_oldest_tells_the_age() {
        let now = OffsetDateTime::now_utc();
        let switch = |tenant_id, minutes| Switch {
            id: 1,
            scope: Scope { tenant_id, signer: None },
            thrown_by: "cli:ada".into(),
            reason: "ticket 42".into(),
            thrown_at: now - Duration::minutes(minutes),
        };
        let tenant = Some(Uuid::nil());
        let told = by_scope(&[switch(None, 1), switch(tenant, 2), switch(tenant, 3), switch(tenant, 1)], now);
        let expected = [
            ("everything", (1, 60.0)),
            ("signer", (0, 0.0)),
            ("tenant", (3, 180.0)),
            ("tenant_signer", (0, 0.0)),
        ];
        assert_eq!(told, expected.into());
    }
}
