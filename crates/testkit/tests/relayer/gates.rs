//! What stands before a send: whoever is asked, and a run of what is asked for. All of it before a nonce is given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use plimsoll_relayer::admission::{Admission, Admitted, Entry, Gates, RefusedAs};
use plimsoll_relayer::book::Queued;
use plimsoll_relayer::desk::DeskOptions;
use plimsoll_relayer::read;
use plimsoll_relayer::request::{Call, Request, SignerId, Validity};
use plimsoll_testkit::anvil::{AnvilOptions, Mining};
use plimsoll_types::{Address, B256, Bytes, RevertSource, TransactionState, U256, api};
use sqlx::ConnectOptions;
use uuid::Uuid;

use crate::house::House;
use crate::reasons::known_errors;

/// Answers by transaction; whoever it knows nothing of is admitted.
#[derive(Clone, Debug, Default)]
struct Guard(Arc<Mutex<HashMap<Uuid, Admitted>>>);

impl Admission for Guard {
    fn admit<'a>(&'a self, _: SignerId, _: u64, requests: &'a [&'a Queued]) -> BoxFuture<'a, Vec<Admitted>> {
        let answers = self.0.lock().unwrap();
        let answer = |queued: &&Queued| answers.get(&queued.id).cloned().unwrap_or(Admitted::Yes);
        let answers = requests.iter().map(answer).collect();
        Box::pin(async { answers })
    }
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl Admission for Silent {
    fn admit<'a>(&'a self, _: SignerId, _: u64, _: &'a [&'a Queued]) -> BoxFuture<'a, Vec<Admitted>> {
        Box::pin(std::future::pending())
    }
}

async fn accept(house: &House, request: &Request) -> Uuid {
    house.acceptor.accept(request.clone()).await.unwrap().id
}

async fn told(house: &House, id: Uuid) -> api::Transaction {
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    read::by_id(&mut tx, house.tenant, id).await.unwrap().unwrap()
}

async fn next_nonce(house: &House) -> i64 {
    let statement = "SELECT next_nonce FROM signers WHERE address = $1";
    let address = plimsoll_types::address_text(&house.signer.address);
    sqlx::query_scalar(statement).bind(address).fetch_one(house.db.worker()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_ends_without_a_nonce_and_what_is_held_says_why_and_enters_later() {
    let house = House::new(Mining::OnDemand).await;
    let guard = Guard::default();
    let (refused, late, held) = (house.request(), house.request(), house.request());
    let ids = [accept(&house, &refused).await, accept(&house, &late).await, accept(&house, &held).await];
    {
        let mut answers = guard.0.lock().unwrap();
        let refuse = |end, why: &str| Admitted::Refused { end, why: why.into() };
        answers.insert(ids[0], refuse(RefusedAs::Failed, "not on these data"));
        answers.insert(ids[1], refuse(RefusedAs::Expired, "its quote is too old"));
        answers.insert(ids[2], Admitted::Held { why: "the data are 7 blocks behind".into() });
    }
    let gates = Gates::new(vec![Arc::new(guard.clone())]);
    let options = DeskOptions { entry: Entry { gates, ..Entry::default() }, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), options).await;
    house.until_state(ids[0], TransactionState::Failed, false).await;
    house.until_state(ids[1], TransactionState::Expired, false).await;
    let is_held = "SELECT held_why IS NOT DISTINCT FROM 'the data are 7 blocks behind' FROM managed_transactions WHERE id = $1";
    house.until("it is said what holds it", false, is_held, ids[2]).await;
    assert_eq!(told(&house, ids[0]).await.end_why.as_deref(), Some("not on these data"));
    let waits = told(&house, ids[2]).await;
    assert_eq!((waits.state, waits.nonce), (TransactionState::Pending, None));
    assert_eq!(waits.held.unwrap().why, "the data are 7 blocks behind");
    assert_eq!(next_nonce(&house).await, 0);

    guard.0.lock().unwrap().clear();
    house.until_state(ids[2], TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(held.context.request_id).await, 1);
    assert_eq!(told(&house, ids[2]).await.held, None);
    assert_eq!(next_nonce(&house).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_answer_admits_nothing_and_keeps_nothing_from_its_end() {
    let house = House::new(Mining::OnDemand).await;
    let (held, unwanted) = (accept(&house, &house.request()).await, accept(&house, &house.request()).await);
    let entry = Entry { gates: Gates::new(vec![Arc::new(Silent)]), ..Entry::default() };
    let options = DeskOptions { entry, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), options).await;
    let is_held =
        "SELECT COALESCE(held_why LIKE '%did not say%', false) FROM managed_transactions WHERE id = $1";
    house.until("it is said that nobody answers", false, is_held, held).await;
    assert!(plimsoll_relayer::call_off(&house.db, house.tenant, unwanted, "not needed").await.unwrap());
    house.until_state(unwanted, TransactionState::Cancelled, false).await;
    assert_eq!(next_nonce(&house).await, 0);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_on_a_block_that_the_journal_does_not_have_waits_for_it_and_ends_when_it_left_or_never_came()
 {
    let house = House::new(Mining::OnDemand).await;
    let decided_on = |hash| Request {
        validity: Validity { as_of_block_hash: Some(hash), ..Validity::default() },
        ..house.request()
    };
    // One that the journal comes to, one that was taken back, and one that nobody ever had.
    let [comes, left, never] = [1, 2, 3].map(B256::repeat_byte);
    let put = "INSERT INTO chain_blocks (chain_id, number, hash, id, parent_hash, time, state)
               SELECT chain_id, number, $1, id + $2, parent_hash, time, $3::block_state FROM chain_blocks ORDER BY number DESC, id LIMIT 1";
    let put = async |hash: B256, id: i64, state: &str| {
        let row = sqlx::query(put).bind(hash.to_vec()).bind(id).bind(state);
        assert_eq!(row.execute(house.db.worker()).await.unwrap().rows_affected(), 1);
    };
    put(left, 1_000_001, "orphaned").await;
    let mut ids = Vec::new();
    for hash in [comes, left, never] {
        ids.push(accept(&house, &decided_on(hash)).await);
    }
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    house.until_state(ids[1], TransactionState::Expired, false).await;
    assert_eq!(
        told(&house, ids[1]).await.end_why.as_deref(),
        Some("the block that it was decided on left the chain")
    );
    let is_held = "SELECT COALESCE(held_why LIKE '%does not have the block%', false) FROM managed_transactions WHERE id = $1";
    for id in [ids[0], ids[2]] {
        house.until("it waits for its block", false, is_held, id).await;
        assert_eq!(house.state(id).await, TransactionState::Pending);
    }
    assert_eq!(next_nonce(&house).await, 0);

    put(comes, 1_000_002, "seen").await;
    house.until_taken(ids[0]).await;
    assert_eq!(house.state(ids[2]).await, TransactionState::Pending);
    let mut owner = house.urls.owner.connect().await.unwrap();
    let ages = "UPDATE plimsoll.managed_transactions SET created_at = created_at - interval '61 seconds' WHERE id = $1";
    sqlx::query(ages).bind(ids[2]).execute(&mut owner).await.unwrap();
    house.until_state(ids[2], TransactionState::Expired, false).await;
    assert!(told(&house, ids[2]).await.end_why.unwrap().contains("never had the block"));
    assert_eq!(next_nonce(&house).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reverts_when_it_is_tried_ends_with_its_reason_and_without_a_nonce() {
    let house = House::new(Mining::OnDemand).await;
    house.refuse(true).await;
    let entry = Entry { reverts: known_errors(), ..Entry::default() };
    let options = DeskOptions { entry, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), options).await;
    let simulated = Request { simulate: Some(true), ..house.request() };
    let estimated = Request { gas_limit: None, simulate: Some(false), ..house.request() };
    let starved = Request { gas_limit: Some(23_000), simulate: Some(true), ..house.request() };
    for (request, source, code) in [
        (&simulated, RevertSource::Simulation, "Refused"),
        (&estimated, RevertSource::Estimate, "Refused"),
        (&starved, RevertSource::Simulation, "out_of_gas"),
    ] {
        let id = accept(&house, request).await;
        house.until_state(id, TransactionState::Failed, false).await;
        let told = told(&house, id).await;
        let revert = told.revert.unwrap();
        assert_eq!((revert.code.as_str(), revert.source), (code, source), "{revert:?}");
        let why = told.end_why.unwrap();
        assert!(why.contains(&revert.text) && why.contains(code), "{why}");
        assert_eq!(house.history(id).await, ["pending", "failed"]);
        let kept = "SELECT count(*) = 1 FROM transaction_reverts WHERE transaction_id = $1 AND tx_hash IS NULL AND data IS NOT NULL";
        house.until("its bytes are kept", false, kept, id).await;
    }
    assert_eq!(next_nonce(&house).await, 0);

    // What is not to be tried gets its nonce, and reverts for all to see.
    let untried = accept(&house, &house.request()).await;
    house.until_state(untried, TransactionState::Failed, true).await;
    assert_eq!(next_nonce(&house).await, 1);
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_tries_everything_tries_what_says_nothing_of_it_and_spares_what_wants_to_be_spared() {
    let house = House::new(Mining::OnDemand).await;
    house.refuse(true).await;
    let entry = Entry { simulates: true, reverts: known_errors(), ..Entry::default() };
    let options = DeskOptions { entry, ..DeskOptions::default() };
    let desk = house.work("node-1", house.pool(), options).await;
    let tried = accept(&house, &house.request()).await;
    house.until_state(tried, TransactionState::Failed, false).await;
    assert_eq!(next_nonce(&house).await, 0);
    let spared = accept(&house, &Request { simulate: Some(false), ..house.request() }).await;
    house.until_state(spared, TransactionState::Tracking, false).await;
    desk.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_without_base_fees_is_offered_a_plain_price_and_a_higher_one_where_that_helps() {
    let options =
        AnvilOptions { hardfork: Some("berlin"), mining: Mining::OnDemand, ..AnvilOptions::default() };
    let house = House::on(0, options).await;
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    // A transfer: the contract's code is younger than such chains.
    let to = Address::repeat_byte(0x77);
    let call = Call { to: Some(to), value: U256::from(7), data: Bytes::new() };
    let request = Request { gas_limit: None, call: call.clone(), ..house.request() };
    let id = accept(&house, &request).await;
    house.until_taken(id).await;
    let price: (String, bool) = sqlx::query_as(
        "SELECT max_fee_per_gas::text, max_priority_fee_per_gas IS NULL AND get_byte(raw, 0) >= 192 FROM transaction_attempts WHERE transaction_id = $1",
    )
    .bind(id)
    .fetch_one(house.db.worker())
    .await
    .unwrap();
    assert!(price.0.parse::<u128>().unwrap() > 0 && price.1, "{price:?}");
    // Nothing is included while it is called off, so something that does nothing has to outbid it, in the same type.
    let unwanted = accept(&house, &Request { call, ..house.request() }).await;
    house.until_taken(unwanted).await;
    assert!(plimsoll_relayer::call_off(&house.db, house.tenant, unwanted, "too dear").await.unwrap());
    let outbid = "SELECT count(*) > 0 FROM transaction_attempts c JOIN transaction_attempts s USING (transaction_id, nonce) JOIN transaction_broadcasts b ON b.tx_hash = c.tx_hash
                  WHERE transaction_id = $1 AND s.purpose = 'send' AND c.purpose = 'cancel' AND c.max_priority_fee_per_gas IS NULL
                    AND c.max_fee_per_gas >= s.max_fee_per_gas * 1.1 AND b.answer = 'accepted'";
    house.until("it is outbid by what does nothing", false, outbid, unwanted).await;
    house.until_state(id, TransactionState::Confirmed, true).await;
    house.until_state(unwanted, TransactionState::Cancelled, true).await;
    let paid = house.anvil.quantity("eth_getBalance", serde_json::json!([to, "latest"])).await.unwrap();
    assert_eq!(paid, 7);
    desk.stop().await;
    house.end().await;
}
