//! Whose a transaction is, on a real node whose transactions are signed: an endpoint that says otherwise is caught.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, Bytes};
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::interval::IntervalPolicy;
use plimsoll_chain::transport::{Fault, Faulty, open};
use plimsoll_chain::{EndpointConfig, Rpc};
use plimsoll_ingest::{Finality, Ingest, IngestConfig, IngestError};
use plimsoll_journal::Tail;
use plimsoll_store::{Db, Leases};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
use plimsoll_testkit::node::Call;
use plimsoll_types::Completeness;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{HANGS_AFTER, integers, place};

fn ingest(
    anvil: &Anvil,
    chain_id: u64,
    watched: Address,
    lie: Option<Fault>,
    (db, leases, tail): (&Db, &Leases, &Tail),
) -> Ingest {
    let endpoint =
        EndpointConfig { name: Some("the liar".into()), max_retries: 0, ..EndpointConfig::new(anvil.url()) };
    let (liar, faults) = Faulty::new(open(&endpoint).unwrap());
    if let Some(lie) = lie {
        faults.next("eth_getBlockByHash", u64::MAX, lie);
    }
    let config = IngestConfig {
        chain_id,
        name: "anvil".into(),
        confirmations: 0,
        finality: Finality::Depth(64),
        head_completeness: Completeness::Receipts,
        backfill_completeness: Completeness::Bloom,
        poll_interval: Duration::from_millis(5),
        watched_senders: [(watched, 0)].into(),
        ranges_in_flight: 1,
        range: IntervalPolicy::default(),
    };
    let rpc = Rpc::over(liar.boxed(), &endpoint);
    Ingest::new(config, rpc, Contracts::default(), db.clone(), leases.clone(), tail.clone())
}

/// Each transaction of a block is said to be sent by this one.
fn sent_by(liar: Address) -> Fault {
    Fault::Rewrite(Arc::new(move |mut answer: Value| {
        for transaction in answer["transactions"].as_array_mut().into_iter().flatten() {
            if transaction.is_object() {
                transaction["from"] = json!(liar);
            }
        }
        answer
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hides_or_invents_an_inclusion_by_a_false_sender_is_named_and_not_believed() {
    let options = AnvilOptions { mining: Mining::OnDemand, accounts: 3, ..AnvilOptions::default() };
    let anvil = Anvil::start(&options).await.unwrap();
    let [watched, stranger, to] = anvil.accounts().await.unwrap()[..3] else { panic!("three accounts") };
    for from in [watched, stranger] {
        anvil.send(&Call { from, to: Some(to), data: Bytes::new() }).await.unwrap();
    }
    anvil.mine(1).await.unwrap();
    let chain_id = anvil.chain_id().await.unwrap();
    let ((db, leases), tail) = (place().await, Tail::default());
    let included = "SELECT count(*) FROM chain_tx_meta WHERE chain_id = $1";

    for (said, told) in [(to, "is signed by"), (stranger, "is signed by"), (watched, "")] {
        let mut lied_to = ingest(&anvil, chain_id, watched, Some(sent_by(said)), (&db, &leases, &tail));
        let ended = tokio::time::timeout(HANGS_AFTER, lied_to.run(&CancellationToken::new())).await;
        let error = ended.expect("it is not believed").unwrap_err();
        assert!(matches!(error, IngestError::Contradiction { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("the liar contradicts itself") && text.contains(told), "{text}");
        assert_eq!(integers(&db, included, chain_id).await, 0);
    }

    let cancel = CancellationToken::new();
    let mut honest = ingest(&anvil, chain_id, watched, None, (&db, &leases, &tail));
    let mut end = tail.subscribe(chain_id);
    let until = cancel.clone();
    let running = tokio::spawn(async move { honest.run(&until).await });
    let covered = end.wait_for(|end| end.block_number >= 1);
    tokio::time::timeout(HANGS_AFTER, covered).await.expect("it follows").unwrap();
    cancel.cancel();
    running.await.unwrap().unwrap();
    let ours = "SELECT count(*) FROM chain_tx_meta WHERE chain_id = $1 AND nonce = 0";
    assert_eq!((integers(&db, included, chain_id).await, integers(&db, ours, chain_id).await), (1, 1));
    anvil.stop().await.unwrap();
}
