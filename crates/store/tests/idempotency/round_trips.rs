//! What a key costs beside a bare commit, in round trips: counted on the wire, so that it cannot creep up.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plimsoll_store::PoolSizes;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, UnixStream};

use super::*;

/// Between the pools and the server. Each Query and each Execute is a round trip; those by which a pool looks whether a connection lives have neither, and come with
/// each transaction, whoever begins it.
async fn counting(server: PathBuf) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (server, count) = (UnixStream::connect(&server).await.unwrap(), counter.clone());
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                // The first message has no type.
                let mut kind = None;
                while let Ok(length) = from_client.read_u32().await {
                    let mut message = vec![0; usize::try_from(length).unwrap() - 4];
                    from_client.read_exact(&mut message).await.unwrap();
                    if kind.is_some_and(|kind| matches!(kind, b'Q' | b'E')) {
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    let head: Vec<u8> = kind.into_iter().chain(length.to_be_bytes()).collect();
                    to_server.write_all(&[head, message].concat()).await.unwrap();
                    kind = from_client.read_u8().await.ok();
                    if kind.is_none() {
                        break;
                    }
                }
            });
        }
    });
    (port, count)
}

/// A process whose round trips as the app are counted.
pub(super) async fn counting_db(urls: &DatabaseUrls, sizes: PoolSizes) -> (Db, Arc<AtomicUsize>) {
    let port = urls.owner.get_port();
    let socket = urls.owner.get_socket().unwrap().join(format!(".s.PGSQL.{port}"));
    let (port, count) = counting(socket).await;
    let through = |options: &PgConnectOptions| {
        PgConnectOptions::new_without_pgpass()
            .username(options.get_username())
            .database(options.get_database().unwrap())
            .options([("search_path", "plimsoll")])
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .host("127.0.0.1")
            .port(port)
    };
    let counted = DatabaseUrls { app: through(&urls.app), ..urls.clone() };
    (Db::connect_with(&counted, sizes).await.unwrap(), count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_costs_four_round_trips_more_than_a_bare_commit_and_a_deferred_one_two() {
    let urls = database().await;
    let (db, count) = counting_db(&urls, PoolSizes { app: 1, worker: 2 }).await;
    let keys = Keys::new(db.clone(), "one", KeyOptions::default());
    let trips = async |what: &str| {
        let before = count.load(Ordering::SeqCst);
        if what == "bare" {
            let mut tx = db.tenant_tx(&[TENANT]).await.unwrap();
            put(&mut tx, what).await.unwrap();
            tx.commit().await.unwrap();
        } else {
            let claim = match what.starts_with("deferred") {
                true => keys.defer(request(what)),
                false => claimed(keys.enter(request(what)).await.unwrap()),
            };
            work(claim, what).await.unwrap();
        }
        count.load(Ordering::SeqCst) - before
    };
    // Statements are prepared once a connection.
    for first in ["bare", "first", "deferred first"] {
        trips(first).await;
    }
    // BEGIN with its settings, the effect, COMMIT.
    assert_eq!(trips("bare").await, 3);
    // The claim: BEGIN with its settings, insert, COMMIT. Then as above, with the claim locked by the BEGIN, and the answer.
    assert_eq!(trips("second").await, 7);
    // The claim is written after the BEGIN.
    assert_eq!(trips("deferred second").await, 5);
}
