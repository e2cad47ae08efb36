//! A process that is frozen in the midst of its work, and wakes when another has its signer.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures::future::join_all;
use plimsoll_chain::transport::open;
use plimsoll_chain::{EndpointConfig, Rpc};
use plimsoll_relayer::book::{Book, BookError, Ending, PgBook};
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::post::lease_name;
use plimsoll_store::testing::{Polling, drop_after};
use plimsoll_store::{Db, Leases};
use plimsoll_testkit::anvil::Mining;
use plimsoll_types::TransactionState;
use tokio_util::sync::CancellationToken;

use crate::house::House;

/// A desk that is a process of its own as far as its threads, its sessions and its leases go. After so many steps it stands still, all of it, until it is told to go on;
/// then it goes on until it is told to end.
struct Process {
    stands_still: tokio::sync::oneshot::Receiver<()>,
    go_on: mpsc::Sender<()>,
    stop: CancellationToken,
    thread: std::thread::JoinHandle<()>,
}

impl Process {
    fn start(house: &House, name: String, steps: usize) -> Self {
        let (standing, stands_still) = tokio::sync::oneshot::channel();
        let (go_on, told) = mpsc::channel();
        let stop = CancellationToken::new();
        let (until, urls, key, bell) =
            (stop.clone(), house.urls.clone(), Arc::clone(&house.key), house.bell.clone());
        let endpoint =
            EndpointConfig { name: Some("anvil".into()), ..EndpointConfig::new(house.anvil.url()) };
        let chain_id = house.signer.chain_id;
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let db = Db::connect(&urls).await.unwrap();
                let leases = Leases::connect(&db, &name, Duration::from_secs(2)).await.unwrap();
                let book = PgBook::new(db, leases, name);
                let market = Market::new(Rpc::over(open(&endpoint).unwrap(), &endpoint).into());
                let desk = Desk::new(chain_id, key, DeskOptions::default(), market, book, bell);
                let mut work = desk.run(&until);
                if drop_after(steps, Polling::WhenWoken, &mut work).await.is_none() {
                    // The thread is held, and with it every task of this runtime.
                    let _ = standing.send(());
                    let _ = told.recv();
                    work.await;
                }
            });
        });
        Self { stands_still, go_on, stop, thread }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stands_still_at_any_moment_and_wakes_late_sends_nothing_twice() {
    let house = House::new(Mining::OnDemand).await;
    let mut requests = Vec::new();
    for steps in [12, 16, 20, 24, 28, 32] {
        let batch: Vec<_> = (0..20).map(|_| house.request()).collect();
        join_all(batch.iter().map(|request| house.acceptor.accept(request.clone()))).await;
        requests.extend(batch);
        let frozen = Process::start(&house, format!("frozen after {steps}"), steps);
        frozen.stands_still.await.unwrap();
        let desk = house.work(&format!("instead of {steps}"), house.pool(), DeskOptions::default()).await;
        for request in &requests {
            let id = house.acceptor.accept(request.clone()).await.unwrap().id;
            house.until_state(id, TransactionState::Confirmed, true).await;
        }
        // It wakes among new requests.
        let batch: Vec<_> = (0..20).map(|_| house.request()).collect();
        join_all(batch.iter().map(|request| house.acceptor.accept(request.clone()))).await;
        requests.extend(batch);
        frozen.go_on.send(()).unwrap();
        for request in &requests {
            let id = house.acceptor.accept(request.clone()).await.unwrap().id;
            house.until_state(id, TransactionState::Confirmed, true).await;
            assert_eq!(house.effects(request.context.request_id).await, 1);
        }
        frozen.stop.cancel();
        desk.stop().await;
        tokio::task::spawn_blocking(|| frozen.thread.join().unwrap()).await.unwrap();
    }
    let nonces: Vec<i64> = sqlx::query_scalar("SELECT nonce FROM managed_transactions ORDER BY nonce")
        .fetch_all(house.db.worker())
        .await
        .unwrap();
    assert_eq!(nonces, (0..i64::try_from(requests.len()).unwrap()).collect::<Vec<_>>());
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_an_old_token_nothing_is_written_at_all() {
    let house = House::new(Mining::OnDemand).await;
    let request = house.request();
    let id = house.acceptor.accept(request.clone()).await.unwrap().id;
    let leases = Leases::connect(&house.db, "old", Duration::from_secs(60)).await.unwrap();
    let book = PgBook::new(house.db.clone(), leases, "old".into());
    let authority = book.acquire(house.signer, &CancellationToken::new()).await.unwrap();
    // As whoever takes it over does.
    sqlx::query("UPDATE leases SET fencing_token = fencing_token + 1, holder = 'new' WHERE name = $1")
        .bind(lease_name(house.signer))
        .execute(house.db.worker())
        .await
        .unwrap();
    let attempts = [house.attempt(id, &request, 0).await];
    let ending = Ending { id, end: TransactionState::Failed, why: "old".into(), reason: None };
    let outcomes = [
        book.enter(&authority, house.signer, 0, &attempts).await.map(drop),
        book.again(&authority, house.signer, &attempts).await,
        book.fill(&authority, house.signer, &[]).await,
        book.end(&authority, std::slice::from_ref(&ending)).await,
        book.want_end(&authority, &ending).await,
    ];
    for (place, outcome) in outcomes.into_iter().enumerate() {
        assert!(matches!(outcome, Err(BookError::Fenced(_))), "{place}: {outcome:?}");
    }
    assert_eq!(house.state(id).await, TransactionState::Pending);
    house.end().await;
}
