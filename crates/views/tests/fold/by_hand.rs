//! Records that no journal in order would hold, given to the fold by hand.

use std::sync::Arc;

use alloy_primitives::B256;
use plimsoll_journal::{Body, Fold, FoldError, Record};
use plimsoll_types::JournalKind;

use super::row;
use crate::common::{Log, Scene, cached};

/// The apply log's row of an event that the raw store does not have: its name is not known there.
fn unstored<T, U, V>(row: (Option<String>, T, U, V)) -> (Option<String>, T, U, V) {
    (None, row.1, row.2, row.3)
}

/// A record made by hand: what no journal that is in order would hold.
fn record(seq: i64, block_number: u64, log: &Log) -> Record {
    let event = plimsoll_journal::Event {
        id: seq,
        block_number,
        block_hash: B256::with_last_byte(1),
        tx_hash: B256::with_last_byte(2),
        tx_index: 0,
        log_index: 0,
        contract: log.contract,
        topics: plimsoll_chain::Topics::new(&log.topics).unwrap(),
        data: log.data.clone().into(),
    };
    Record { seq, kind: JournalKind::Append, block_number, body: Body::Event(Arc::new(event)) }
}

#[tokio::test]
async fn an_event_from_before_the_mirrors_row_is_a_conflict_and_changes_nothing() {
    let mut scene = Scene::new().await;
    let mut tx = scene.db.begin_worker().await.unwrap();
    scene.fold.apply(&mut tx, None, &[record(1, 7, &cached(0, 1, 1, 10, 0, 1))]).await.unwrap();
    let undos = scene.fold.apply(&mut tx, None, &[record(2, 6, &cached(0, 1, 1, 20, 0, 2))]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(undos, [None]);
    assert_eq!(
        scene.apply_log().await[1],
        unstored(row("UserPositionCachedV2", "position", "rejected", Some("reorg_conflict")))
    );
    assert_eq!(scene.position(1, 1).await.unwrap().1, "1");
    assert_eq!(scene.anomalies().await, ["reorg_conflict"]);
}

#[tokio::test]
async fn a_record_that_does_not_decode_is_poison_until_an_operator_passes_over_it() {
    let mut scene = Scene::new().await;
    let mut tx = scene.db.begin_worker().await.unwrap();
    let mut torn = cached(0, 1, 1, 10, 0, 1);
    torn.data.truncate(40);
    let torn = record(5, 7, &torn);
    let error = scene.fold.apply(&mut tx, None, std::slice::from_ref(&torn)).await.unwrap_err();
    assert!(
        matches!(&error, FoldError::Poisoned { seq: 5, reason, .. } if reason.contains("`debt`")),
        "{error}"
    );
    assert!(scene.apply_log().await.is_empty());

    scene.fold.skip(&mut tx, &torn, "someone: known to be torn").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        scene.apply_log().await,
        [unstored(row("UserPositionCachedV2", "position", "error", Some("skipped")))]
    );
    assert_eq!(scene.position(1, 1).await, None);
}
