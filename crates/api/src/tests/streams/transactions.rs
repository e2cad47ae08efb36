//! Changes of transactions, live: a tenant's own, those that are asked for, from where one left off.

use plimsoll_relayer::call_off_in;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::{Socket, Source};
use super::{CHAIN, Numbering, Served};
use crate::tests::people::Person;
use crate::tests::transactions;

const STREAM: &str = "/chain/tx/stream";
const SOCKET: &str = "/ws/txs";

/// A transaction of this person, accepted; its id and its request's.
async fn accepted(served: &Served, who: &Person) -> (Uuid, Uuid) {
    let request_id = Uuid::new_v4();
    let context =
        plimsoll_types::Context::new(request_id, "test").on_behalf_of(who.tenant_id, Some(who.user_id));
    (transactions::accepted(&served.api, context).await, request_id)
}

async fn house() -> (Served, Person, Person, Numbering) {
    let served = Served::start().await;
    served.api.seed(CHAIN).chain(100, 95, 90).await;
    transactions::register(&served.api).await;
    let (ada, bob) = (served.viewer("acme").await, served.viewer("globex").await);
    let numbering = served.numbering().await;
    (served, ada, bob, numbering)
}

async fn next(source: &mut Source) -> Value {
    source.event().await.unwrap().data.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_tenants_own_transactions_is_heard_once_on_both_ways_and_goes_on_where_it_was() {
    let (served, ada, bob, mut numbering) = house().await;
    let (theirs, _) = accepted(&served, &bob).await;
    let (first, request_id) = accepted(&served, &ada).await;
    served.say(&ada, 0..3).await;
    let (second, other_request) = accepted(&served, &ada).await;
    numbering.number_all().await;

    let mut source = Source::open_path(served.addr, STREAM, &ada.token, "?after=0", None).await;
    assert_eq!(source.status, 200, "{}", source.head);
    let mut socket = Socket::open_at(served.addr, SOCKET, &ada.token, "?after=0").await;
    let mut sequences = Vec::new();
    for (id, request_id) in [(first, request_id), (second, other_request)] {
        let told = next(&mut source).await;
        assert_eq!(socket.event().await.unwrap(), told);
        assert_eq!((&told["transaction_id"], &told["request_id"]), (&json!(id), &json!(request_id)));
        assert_eq!(
            (&told["status"], &told["from"], &told["version"]),
            (&json!("pending"), &Value::Null, &json!(1))
        );
        sequences.push(told["sequence"].as_str().unwrap().parse::<i64>().unwrap());
    }
    let again = format!("?after={}", sequences[0]);
    let mut resumed = Source::open_path(served.addr, STREAM, &ada.token, &again, None).await;
    assert_eq!(next(&mut resumed).await["transaction_id"], json!(second));
    let mut by_header =
        Source::open_path(served.addr, STREAM, &ada.token, "?after=0", Some(sequences[0])).await;
    assert_eq!(next(&mut by_header).await["transaction_id"], json!(second));

    // What comes later is heard by whoever listens.
    let (third, _) = accepted(&served, &ada).await;
    numbering.number_all().await;
    assert_eq!(next(&mut source).await["transaction_id"], json!(third));
    assert_eq!(socket.event().await.unwrap()["transaction_id"], json!(third));
    let mut of_bob = Source::open_path(served.addr, STREAM, &bob.token, "?after=0", None).await;
    assert_eq!(next(&mut of_bob).await["transaction_id"], json!(theirs));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_heard_and_what_cannot_be_asked_for_is_refused() {
    let (served, ada, _, mut numbering) = house().await;
    let (first, _) = accepted(&served, &ada).await;
    let (second, request_id) = accepted(&served, &ada).await;
    let mut tx = served.api.db.tenant_tx(&[ada.tenant_id]).await.unwrap();
    assert!(call_off_in(&mut tx, first, "no").await.unwrap());
    tx.commit().await.unwrap();
    numbering.number_all().await;
    for (query, wanted) in [
        (format!("?after=0&request_id={request_id}"), second),
        (format!("?after=0&signer={}", transactions::OPEN), first),
        ("?after=0&state=pending".into(), first),
    ] {
        let mut source = Source::open_path(served.addr, STREAM, &ada.token, &query, None).await;
        assert_eq!(next(&mut source).await["transaction_id"], json!(wanted), "{query}");
    }
    // None of these: the next that is asked for is one that comes later.
    let none = format!("?after=0&state=mined&signer={}", transactions::OPEN);
    let mut source = Source::open_path(served.addr, STREAM, &ada.token, &none, None).await;
    let mut all = Source::open_path(served.addr, STREAM, &ada.token, "?after=0", None).await;
    for _ in 0..2 {
        next(&mut all).await;
    }
    publish_mined(&served, &ada, first).await;
    numbering.number_all().await;
    assert_eq!(next(&mut source).await["status"], "mined");

    for query in ["?state=gone", "?request_id=1", "?signer=me", "?after=-1", "?type=x"] {
        let source = Source::open_path(served.addr, STREAM, &ada.token, query, None).await;
        assert_eq!(source.status, 400, "{query}");
    }
    let source = Source::open_path(served.addr, STREAM, "nobody", "", None).await;
    assert_eq!(source.status, 401);
    served.stop().await;
}

/// As the chain's fold publishes it.
async fn publish_mined(served: &Served, who: &Person, id: Uuid) {
    use plimsoll_bus::{Event, publish};
    let payload = json!({ "chain_id": CHAIN, "signer": plimsoll_types::address_text(&transactions::OPEN), "from": "tracking", "to": "mined",
        "because": "an attempt is in a block", "why": null, "nonce": 7, "tx_hash": format!("0x{}", "07".repeat(32)), "block_number": 99 });
    let context =
        plimsoll_types::Context::new(Uuid::new_v4(), "test").on_behalf_of(who.tenant_id, Some(who.user_id));
    let event = Event::new("/plimsoll/relayer", "relayer.transaction.mined", payload)
        .with_target("transaction", id.to_string())
        .in_context(context);
    let mut tx = served.api.db.tenant_tx(&[who.tenant_id]).await.unwrap();
    publish(&mut tx, event).await.unwrap();
    tx.commit().await.unwrap();
}
