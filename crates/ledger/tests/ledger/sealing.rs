//! What is booked is in its tenant's log once, linked, in the tree, and under a signature.

use std::time::Duration;

use alloy_primitives::B256;
use futures::future::join_all;
use plimsoll_ledger::seal::LEASE;
use plimsoll_ledger::{Posting, Sealer};
use plimsoll_proof::ledger::checkpoint::{Checkpoint, NoteSigner, origin};
use plimsoll_proof::ledger::log::ChainHead;
use plimsoll_proof::ledger::tiles::Tile;
use plimsoll_proof::ledger::tree::Frontier;
use plimsoll_store::testing::{Polling, drop_after};
use plimsoll_store::{Lease, Leases};
use uuid::Uuid;

use crate::support::Books;

const NAME: &str = "plimsoll.example/ledger";

pub(crate) fn signer() -> NoteSigner {
    NoteSigner::new(NAME, &[7; 32]).unwrap()
}

pub(crate) async fn sealer(books: &Books) -> (Sealer, Lease) {
    let leases = Leases::connect(&books.db, "test", Duration::from_secs(600)).await.unwrap();
    let lease = leases.acquire(LEASE).await.unwrap().unwrap();
    (Sealer::new(books.db.clone(), leases, NAME, signer()), lease)
}

pub(crate) async fn seal_all(sealer: &Sealer, lease: &Lease) -> usize {
    let mut sealed = 0;
    loop {
        let it = sealer.seal(lease).await.unwrap();
        sealed += it.postings;
        if !it.has_more {
            return sealed;
        }
    }
}

pub(crate) async fn book_many(books: &Books, count: usize) {
    let posts = (0..count).map(|n| {
        let draft = books.transfer(books.cash[n % 2], books.cash[2 + n % 2], 1);
        books.intake.post(Posting::new(draft).unwrap())
    });
    for posted in join_all(posts).await {
        posted.unwrap();
    }
}

/// Its index, its posting, the hash before it, its own, and the posting's digest.
type StoredLeaf = (i64, Uuid, Vec<u8>, Vec<u8>, Vec<u8>);

/// Walks a tenant's log against what is booked: every posting once, linked by its digest; and the tree.
pub(crate) async fn whole(books: &Books, postings: usize) -> Frontier {
    let leaves: Vec<StoredLeaf> = sqlx::query_as(
        "SELECT l.leaf_index, l.posting_id, l.prev_entry_hash, l.entry_hash, p.digest FROM ledger_leaves l JOIN ledger_postings p USING (posting_id)
         WHERE l.tenant_id = $1 ORDER BY l.leaf_index",
    )
    .bind(books.tenant_id)
    .fetch_all(books.db.worker())
    .await
    .unwrap();
    assert_eq!(leaves.len(), postings);
    let (mut head, mut frontier) = (ChainHead::new(books.tenant_id), Frontier::new());
    for (index, posting, before, hash, digest) in &leaves {
        let [before, hash, digest] = [before, hash, digest].map(|bytes| B256::from_slice(bytes));
        head.check(u64::try_from(*index).unwrap(), before, digest, hash)
            .unwrap_or_else(|fault| panic!("{posting}: {fault}"));
        frontier.append(hash);
    }
    let kept: (i64, Vec<u8>, Vec<u8>) =
        sqlx::query_as("SELECT size, head_hash, frontier FROM ledger_logs WHERE tenant_id = $1")
            .bind(books.tenant_id)
            .fetch_one(books.db.worker())
            .await
            .unwrap();
    let subtrees: Vec<u8> = frontier.subtrees().iter().flat_map(|hash| hash.0).collect();
    assert_eq!(kept, (i64::try_from(postings).unwrap(), head.entry_hash.to_vec(), subtrees));
    let tiles: Vec<(i16, i64, Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT level, tile, hashes, root_hash FROM ledger_tiles WHERE tenant_id = $1 ORDER BY level, tile",
    )
    .bind(books.tenant_id)
    .fetch_all(books.db.worker())
    .await
    .unwrap();
    assert_eq!(tiles.len(), postings / 256);
    for ((level, tile, hashes, root), n) in tiles.iter().zip(0..) {
        assert_eq!((*level, *tile), (0, n));
        let expected: Vec<u8> = leaves
            .iter()
            .skip(usize::try_from(n).unwrap() * 256)
            .take(256)
            .flat_map(|leaf| leaf.3.clone())
            .collect();
        assert_eq!(*hashes, expected);
        assert_eq!(*root, Tile::from_bytes(hashes).unwrap().root().to_vec());
    }
    frontier
}

#[tokio::test(flavor = "multi_thread")]
async fn every_posting_is_in_its_tenants_log_once_and_under_a_signature() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    let (sealer, lease) = sealer(&books).await;
    book_many(&books, 300).await;
    book_many(&other, 20).await;
    assert_eq!(seal_all(&sealer, &lease).await, 320);
    sealer.checkpoint(&lease).await.unwrap();
    // What comes later is sealed onto it, across a tile's end.
    book_many(&books, 230).await;
    assert_eq!(seal_all(&sealer, &lease).await, 230);
    sealer.checkpoint(&lease).await.unwrap();
    sealer.checkpoint(&lease).await.unwrap();

    whole(&other, 20).await;
    let frontier = whole(&books, 530).await;
    let notes: Vec<(i64, String)> = sqlx::query_as(
        "SELECT tree_size, note FROM ledger_checkpoints WHERE tenant_id = $1 ORDER BY tree_size",
    )
    .bind(books.tenant_id)
    .fetch_all(books.db.worker())
    .await
    .unwrap();
    assert_eq!(notes.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [300, 530]);
    let expected_origin = origin(NAME, books.tenant_id).unwrap();
    let checkpoint =
        Checkpoint::verify(&notes[1].1, signer().named(&expected_origin).unwrap().key(), &expected_origin)
            .unwrap();
    assert_eq!((checkpoint.size, checkpoint.root), (530, frontier.root()));
    assert_eq!(books.count("SELECT count(*) FROM ledger_staging").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_that_dies_at_any_step_leaves_what_the_next_one_finishes() {
    let books = Books::new().await;
    let (sealer, lease) = sealer(&books).await;
    let mut booked = 0;
    for polls in 0..40 {
        book_many(&books, 7).await;
        booked += 7;
        drop_after(polls, Polling::Restless, sealer.seal(&lease)).await;
        drop_after(polls, Polling::Restless, sealer.checkpoint(&lease)).await;
    }
    seal_all(&sealer, &lease).await;
    sealer.checkpoint(&lease).await.unwrap();
    let frontier = whole(&books, booked).await;
    assert_eq!(books.count("SELECT count(*) FROM ledger_checkpoints WHERE note IS NULL").await, 0);
    let root: Vec<u8> =
        sqlx::query_scalar("SELECT root_hash FROM ledger_checkpoints ORDER BY tree_size DESC LIMIT 1")
            .fetch_one(books.db.worker())
            .await
            .unwrap();
    assert_eq!(root, frontier.root().to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_lease_seals_nothing_and_signs_nothing() {
    let books = Books::new().await;
    let (sealer, lease) = sealer(&books).await;
    book_many(&books, 3).await;
    sqlx::query("UPDATE leases SET fencing_token = fencing_token + 1 WHERE name = $1")
        .bind(LEASE)
        .execute(&mut sqlx::ConnectOptions::connect(&books.db.urls().owner).await.unwrap())
        .await
        .unwrap();
    assert!(sealer.seal(&lease).await.is_err());
    assert!(sealer.checkpoint(&lease).await.is_err());
    assert_eq!(books.count("SELECT count(*) FROM ledger_leaves").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_two_roots_of_one_size() {
    let books = Books::new().await;
    let (sealer, lease) = sealer(&books).await;
    book_many(&books, 3).await;
    seal_all(&sealer, &lease).await;
    sealer.checkpoint(&lease).await.unwrap();
    let second = "INSERT INTO ledger_checkpoints (tenant_id, origin, tree_size, root_hash) SELECT tenant_id, 'another/name', tree_size, sha256('') FROM ledger_checkpoints";
    let refused = sqlx::query(second).execute(books.db.worker()).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().constraint(), Some("ledger_checkpoints_pkey"));
    // Nor is a signature changed.
    let before: String =
        sqlx::query_scalar("SELECT note FROM ledger_checkpoints").fetch_one(books.db.worker()).await.unwrap();
    sealer.checkpoint(&lease).await.unwrap();
    let after: String =
        sqlx::query_scalar("SELECT note FROM ledger_checkpoints").fetch_one(books.db.worker()).await.unwrap();
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_log_halts_alone_until_it_is_whole_and_the_others_go_on() {
    let books = Books::new().await;
    let (stray, torn) = (Books::of_another(&books.db).await, Books::of_another(&books.db).await);
    let (sealer, lease) = sealer(&books).await;
    let mut owner = sqlx::ConnectOptions::connect(&books.db.urls().owner).await.unwrap();
    for (of, count) in [(&books, 3), (&stray, 3), (&torn, 200)] {
        book_many(of, count).await;
    }
    seal_all(&sealer, &lease).await;
    // Somebody has put an entry where the next one goes; and taken one away that a tile is to have.
    sqlx::query("INSERT INTO ledger_leaves (tenant_id, leaf_index, posting_id, prev_entry_hash, entry_hash) VALUES ($1, 3, gen_random_uuid(), sha256(''), sha256(''))")
        .bind(stray.tenant_id)
        .execute(&mut owner)
        .await
        .unwrap();
    sqlx::query("DELETE FROM ledger_leaves WHERE tenant_id = $1 AND leaf_index = 5")
        .bind(torn.tenant_id)
        .execute(&mut owner)
        .await
        .unwrap();
    for (of, count) in [(&stray, 2), (&torn, 100), (&books, 4), (&stray, 2)] {
        book_many(of, count).await;
    }
    assert_eq!(seal_all(&sealer, &lease).await, 4);
    book_many(&books, 5).await;
    assert_eq!(seal_all(&sealer, &lease).await, 5);
    whole(&books, 12).await;
    let sizes = "SELECT array_agg(size ORDER BY size) FROM ledger_logs";
    let sizes: Vec<i64> = sqlx::query_scalar(sizes).fetch_one(books.db.worker()).await.unwrap();
    assert_eq!(sizes, [3, 12, 200]);
    let waiting = "SELECT sum(cardinality(postings)) FROM ledger_staging";
    assert_eq!(books.count(waiting).await, 104, "what cannot be sealed waits");

    // What is whole again is sealed by a sealer that is started anew, which runs on beside the one that is not.
    sqlx::query("DELETE FROM ledger_leaves WHERE tenant_id = $1 AND leaf_index = 3")
        .bind(stray.tenant_id)
        .execute(&mut owner)
        .await
        .unwrap();
    lease.release().await.unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let runs = sealer.run(&stop);
    let signed = async {
        let sizes = "SELECT count(*) FROM ledger_checkpoints WHERE note IS NOT NULL AND (tree_size = 7 OR tree_size = 12)";
        while books.count(sizes).await < 2 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(runs, signed);
    ended.unwrap();
    whole(&stray, 7).await;
    assert_eq!(books.count(waiting).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_under_a_low_number_is_sealed_while_an_old_snapshot_lasts() {
    let books = Books::new().await;
    let (sealer, lease) = sealer(&books).await;
    let mut late = books.db.tenant_tx(&[books.tenant_id]).await.unwrap();
    sqlx::query("INSERT INTO ledger_staging (tenant_id, postings, digests) VALUES ($1, ARRAY[gen_random_uuid()], sha256(''))")
        .bind(books.tenant_id)
        .execute(&mut *late)
        .await
        .unwrap();
    let mut snapshot = plimsoll_store::Tx::snapshot(books.db.worker()).await.unwrap();
    sqlx::query("SELECT count(*) FROM ledger_staging").execute(&mut *snapshot).await.unwrap();
    for _ in 0..4 {
        book_many(&books, 5).await;
        sealer.raise_floor().await.unwrap();
        assert_eq!(seal_all(&sealer, &lease).await, 5);
    }
    late.commit().await.unwrap();
    for _ in 0..3 {
        sealer.raise_floor().await.unwrap();
        seal_all(&sealer, &lease).await;
    }
    assert_eq!(books.count("SELECT size FROM ledger_logs").await, 21);
    book_many(&books, 5).await;
    assert_eq!(seal_all(&sealer, &lease).await, 5);
    snapshot.rollback().await.unwrap();
}
