//! Database and chain are compared, what does not agree is said, and whoever holds the signer mends what can be mended.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use plimsoll_chain::transport::Fault;
use plimsoll_chain::{ErrorClass, Pool};
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::grant::SignerPolicy;
use plimsoll_relayer::reconcile::{Finding, Kind, Reconciler, Summary, WatchError, look};
use plimsoll_relayer::request::SignerId;
use plimsoll_relayer::{overview, signers};
use plimsoll_store::{DEFAULT_TERM, LeaseError, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::node::Call;
use plimsoll_types::{TransactionState, address_text};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::{HANGS_AFTER, House, calldata, policy_of};

/// A task that compares all the time.
struct Watching {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watching {
    async fn begin(house: &House) -> Self {
        Self::every(house, Duration::from_millis(100)).await
    }

    async fn every(house: &House, period: Duration) -> Self {
        let leases = Leases::connect(&house.db, "node-9", DEFAULT_TERM).await.unwrap();
        let chain_id = house.signer.chain_id;
        let reconciler =
            Reconciler::new(chain_id, house.db.clone(), leases, house.pool(), house.bell.clone());
        let mut reconciler = reconciler.every(period);
        let stop = CancellationToken::new();
        let until = stop.clone();
        Self { stop, task: tokio::spawn(async move { reconciler.run(&until).await.unwrap() }) }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// What was done a moment ago was done long ago.
async fn age(house: &House) {
    let mut owner = house.urls.owner.connect().await.unwrap();
    for statement in [
        "UPDATE plimsoll.managed_transactions SET updated_at = updated_at - interval '1 hour'",
        "UPDATE plimsoll.transaction_attempts SET committed_at = committed_at - interval '1 hour'",
    ] {
        sqlx::query(statement).execute(&mut owner).await.unwrap();
    }
    owner.close().await.unwrap();
}

async fn found(house: &House) -> Vec<Finding> {
    look(&house.db, &house.pool(), house.signer).await.unwrap().unwrap().findings
}

fn kinds(findings: &[Finding]) -> Vec<Kind> {
    findings.iter().map(|finding| finding.kind).collect()
}

async fn asked(house: &House) -> i64 {
    sqlx::query_scalar("SELECT looks_wanted FROM signers").fetch_one(house.db.worker()).await.unwrap()
}

/// Waits until this was said of the signer.
async fn until_said(house: &House, what: &str) {
    let said = match what {
        "raised" => {
            "SELECT count(*) > 0 FROM (SELECT event_type FROM events UNION ALL SELECT event_type FROM events_staging) e WHERE event_type = 'relayer.finding.raised' AND $1::uuid IS NOT NULL"
        }
        _ => {
            "SELECT count(*) > 0 FROM (SELECT event_type FROM events UNION ALL SELECT event_type FROM events_staging) e WHERE event_type = 'relayer.finding.settled' AND $1::uuid IS NOT NULL"
        }
    };
    house.until(what, false, said, Uuid::nil()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_node_lost_is_found_and_its_holder_sends_it_again_when_asked() {
    let house = House::new(Mining::OnDemand).await;
    // By itself it would not, for long.
    let patient = DeskOptions {
        resend_after_blocks: 1_000_000,
        bump_after_blocks: 1_000_000,
        resend_after: Duration::from_secs(3_600),
        ..DeskOptions::default()
    };
    let desk = house.work("node-1", house.pool(), patient).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    house.until_taken(id).await;
    age(&house).await;
    assert_eq!(found(&house).await, []);
    house.anvil.drop_all_transactions().await.unwrap();
    let lost = found(&house).await;
    assert_eq!((kinds(&lost), lost[0].transaction_id), (vec![Kind::Lost], Some(id)));
    assert_eq!(Summary::of(&lost), Summary { resend: 1, ..Summary::default() });
    assert_eq!(asked(&house).await, 0, "looking changes nothing");

    let watching = Watching::begin(&house).await;
    until_said(&house, "raised").await;
    let again = "SELECT count(*) > 1 FROM transaction_broadcasts WHERE $1::uuid IS NOT NULL";
    house.until("it is sent again", false, again, id).await;
    until_said(&house, "settled").await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM transaction_attempts")
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!((attempts, asked(&house).await), (1, 1), "the same bytes, once asked for");
    watching.end().await;
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_nothing_has_is_found_and_its_holder_fills_it() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let first = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_state(first, TransactionState::Confirmed, true).await;
    assert_eq!(found(&house).await, []);
    sqlx::query("UPDATE signers SET next_nonce = 3").execute(house.db.worker()).await.unwrap();
    let gap = found(&house).await;
    assert_eq!((kinds(&gap), gap[0].nonce, gap[0].until), (vec![Kind::Gap], 1, 3));
    assert_eq!(Summary::of(&gap), Summary { fill: 2, ..Summary::default() });
    let watching = Watching::begin(&house).await;
    let filled = "SELECT count(*) = 2 FROM managed_transactions WHERE operation_type = 'fill' AND $1::uuid IS NOT NULL";
    house.until("both are filled", false, filled, first).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    watching.end().await;
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_once_is_no_finding_yet_and_nobody_is_asked_again_before_he_had_time() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let first = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_state(first, TransactionState::Confirmed, true).await;
    // Nobody is there to mend it.
    desk.kill().await;
    sqlx::query("UPDATE signers SET next_nonce = 3").execute(house.db.worker()).await.unwrap();

    let watching = Watching::every(&house, Duration::from_secs(3_600)).await;
    let looked = "SELECT count(*) = 1 FROM signer_sightings WHERE $1::uuid IS NOT NULL";
    house.until("it has looked once", false, looked, first).await;
    watching.end().await;
    let kept: Value = sqlx::query_scalar("SELECT to_jsonb(findings) FROM signer_sightings")
        .fetch_one(house.db.worker())
        .await
        .unwrap();
    assert_eq!((kept, asked(&house).await), (json!([]), 0), "it may have changed while it was looked at");

    let watching = Watching::begin(&house).await;
    until_said(&house, "raised").await;
    // It goes on to look, and to find the same.
    for _ in 0..5 {
        let seen: time::OffsetDateTime = sqlx::query_scalar("SELECT seen_at FROM signer_sightings")
            .fetch_one(house.db.worker())
            .await
            .unwrap();
        let again = async {
            let again = "SELECT seen_at > $1 FROM signer_sightings";
            let mut looks = tokio::time::interval(Duration::from_millis(25));
            while !sqlx::query_scalar::<_, bool>(again).bind(seen).fetch_one(house.db.worker()).await.unwrap()
            {
                looks.tick().await;
            }
        };
        tokio::time::timeout(HANGS_AFTER, again).await.unwrap();
    }
    assert_eq!(kinds(&found(&house).await), [Kind::Gap]);
    assert_eq!(asked(&house).await, 1);
    watching.end().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_use_of_the_key_stays_a_finding_and_nobody_is_asked_to_mend_it() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let id = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_state(id, TransactionState::Confirmed, true).await;
    desk.kill().await;
    let from = house.signer.address;
    let theirs = Call { from, to: Some(house.counter), data: calldata("perform", Uuid::new_v4()) };
    house.anvil.send(&theirs).await.unwrap();
    assert_eq!(kinds(&found(&house).await), [Kind::Stranger], "it waits");
    house.anvil.mine(1).await.unwrap();
    let foreign = found(&house).await;
    assert_eq!((kinds(&foreign), foreign[0].nonce, foreign[0].until), (vec![Kind::Foreign], 1, 2));
    assert_eq!(Summary::of(&foreign), Summary { stay: 1, ..Summary::default() });
    let watching = Watching::begin(&house).await;
    until_said(&house, "raised").await;
    assert_eq!(asked(&house).await, 0);
    watching.end().await;

    // What was seen is there for whoever asks, with everything else that is known of the signer.
    let mut conn = house.db.worker().acquire().await.unwrap();
    let all = overview::signers(&mut conn).await.unwrap();
    drop(conn);
    let [signer] = &all[..] else { panic!("{all:?}") };
    let seen = signer.sighting.as_ref().unwrap();
    assert_eq!((&seen.findings, seen.latest, seen.pending), (&foreign, Some(2), Some(2)));
    assert_eq!((seen.answered, seen.endpoints), (1, 1));
    assert!(seen.balance_wei.is_some_and(|wei| !wei.is_zero()) && seen.needed_wei.is_zero());
    assert_eq!((signer.next_nonce, signer.queued, signer.in_flight), (1, 0, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_not_everybody_has_spoken_of_is_neither_lost_nor_counted_and_the_newest_balance_is_told() {
    let house = House::new(Mining::OnDemand).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let id = house.acceptor.accept(house.request()).await.unwrap().id;
    house.until_taken(id).await;
    desk.kill().await;
    age(&house).await;
    house.anvil.drop_all_transactions().await.unwrap();
    let endpoints = [house.faulty(), house.faulty(), house.faulty()];
    let pool = Pool::new(endpoints.iter().map(|(endpoint, _)| endpoint.clone()).collect()).unwrap();
    let seen = async || look(&house.db, &pool, house.signer).await.unwrap().unwrap();
    let silent = || Fault::Fail(ErrorClass::Transient);

    // One of them could still have it.
    endpoints[0].1.next("eth_getTransactionByHash", 1_000, silent());
    assert_eq!(kinds(&seen().await.findings), []);
    endpoints[0].1.clear();
    assert_eq!(kinds(&seen().await.findings), [Kind::Lost]);

    // One of three is not most of them.
    for (_, faults) in &endpoints[..2] {
        faults.next("eth_getTransactionCount", 1_000, silent());
    }
    let told = seen().await;
    assert_eq!((told.latest, told.pending, told.answered, told.endpoints), (None, None, 1, 3));
    for (_, faults) in &endpoints[..2] {
        faults.clear();
    }

    // Whoever is behind tells of another time, and is not believed, wherever it stands.
    for (_, faults) in &endpoints {
        let before = |told: Value| match told {
            Value::Object(mut block) => {
                block.insert("number".to_owned(), json!("0x0"));
                Value::Object(block)
            }
            _ => json!("0x5"),
        };
        faults.next("eth_getBalance", 1_000, Fault::Rewrite(Arc::new(before)));
        assert!(seen().await.balance_wei.unwrap() > U256::from(5));
        faults.clear();
    }
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_the_lease_and_has_not_heard_of_it_neither_keeps_what_it_sees_nor_moves_requests() {
    let house = House::new(Mining::OnDemand).await;
    let taken = "UPDATE leases SET fencing_token = fencing_token + 1, holder = 'node-8' WHERE name LIKE 'relayer/reconcile/%'";
    let fenced = async |period: Duration, then: &str, seen: &str| {
        // It would hear of it in some minutes.
        let leases = Leases::connect(&house.db, "node-9", Duration::from_mins(20)).await.unwrap();
        let chain_id = house.signer.chain_id;
        let reconciler =
            Reconciler::new(chain_id, house.db.clone(), leases, house.pool(), house.bell.clone());
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move { reconciler.every(period).run(&until).await });
        house
            .until(
                "it looked",
                false,
                "SELECT count(*) > 0 FROM signer_sightings, leases WHERE name LIKE 'relayer/reconcile/%' AND holder = 'node-9' AND seen_at > to_timestamp(0) AND $1::uuid IS NOT NULL",
                Uuid::nil(),
            )
            .await;
        let mut tx = house.db.begin_worker().await.unwrap();
        for statement in [taken, then] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        let ended = tokio::time::timeout(HANGS_AFTER, task)
            .await
            .expect("it goes on under a token that is none")
            .unwrap();
        assert!(matches!(ended, Err(WatchError::Lease(LeaseError::Fenced { .. }))), "{ended:?}");
        let is_so: bool = sqlx::query_scalar(AssertSqlSafe(seen)).fetch_one(house.db.worker()).await.unwrap();
        assert!(is_so, "{seen}");
        for forgotten in [
            "UPDATE leases SET expires_at = clock_timestamp() WHERE name LIKE 'relayer/reconcile/%'",
            "UPDATE signer_sightings SET seen_at = to_timestamp(0)",
        ] {
            sqlx::query(forgotten).execute(house.db.worker()).await.unwrap();
        }
    };
    let forget = "UPDATE signer_sightings SET endpoints = 99";
    fenced(Duration::from_millis(50), forget, "SELECT endpoints = 99 FROM signer_sightings").await;

    // It looks no more in this test, and moves what waits when it has been told so.
    let (request, new) = (house.request(), Address::repeat_byte(9));
    let (old, next) = (house.signer, SignerId { address: new, ..house.signer });
    let policy = SignerPolicy { name: "next".into(), ..policy_of(next, Vec::new()) };
    signers::register(&house.db, &[policy]).await.unwrap();
    let id = house.acceptor.accept(request).await.unwrap().id;
    let rotated = format!(
        "UPDATE signers SET rotated_to = '{}', rotated_at = now() WHERE address = '{}'",
        address_text(&new),
        address_text(&old.address)
    );
    let stays = format!(
        "SELECT signer = '{}' FROM managed_transactions WHERE id = '{id}'",
        address_text(&old.address)
    );
    fenced(Duration::from_hours(1), &rotated, &stays).await;
    house.end().await;
}
