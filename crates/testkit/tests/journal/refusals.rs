//! What a fold refuses, and that it then changes nothing.

use plimsoll_journal::{FoldError, StepOptions, step};
use plimsoll_store::LeaseError;

use crate::support::hand::{CHAIN_ID, Desk, Probe, branch, genesis};
use crate::{fold_all, options};

#[tokio::test]
async fn a_fold_whose_tables_are_not_of_this_journal_says_so_and_changes_nothing() {
    let mut desk = Desk::new().await;
    let mut probe = Probe::new("odd");
    let a = branch('a', &genesis(), &[1, 1]);
    desk.put(&genesis(), &a, None, None).await.unwrap();
    fold_all(&mut probe, &desk.db, 100).await;
    desk.integers("DELETE FROM fold_undo WHERE seq = (SELECT max(seq) FROM fold_undo) RETURNING seq").await;
    desk.put(&genesis(), &branch('b', &genesis(), &[1]), None, None).await.unwrap();
    let before = (desk.probe("odd").await, desk.undo_stack("odd").await, desk.cursor("odd").await);
    let refused = step(&mut probe, &desk.db, CHAIN_ID, options(100)).await.unwrap_err();
    assert!(matches!(refused, FoldError::UndoOrder { expected: 7, found: Some(6), .. }), "{refused}");
    assert_eq!((desk.probe("odd").await, desk.undo_stack("odd").await, desk.cursor("odd").await), before);

    desk.integers("UPDATE fold_cursors SET seq = 99 RETURNING seq").await;
    let refused = step(&mut probe, &desk.db, CHAIN_ID, options(100)).await.unwrap_err();
    assert!(matches!(refused, FoldError::CursorPastEnd { cursor: 99, .. }), "{refused}");
}

#[tokio::test]
async fn a_fold_that_meets_a_hole_says_so_and_changes_nothing() {
    let mut desk = Desk::new().await;
    let mut probe = Probe::new("odd");
    desk.put(&genesis(), &branch('a', &genesis(), &[1, 1]), None, None).await.unwrap();
    let mut owner = desk.owner().await;
    sqlx::query("DELETE FROM journal WHERE seq = 5").execute(&mut owner).await.unwrap();
    for _ in 0..2 {
        let refused = step(&mut probe, &desk.db, CHAIN_ID, options(100)).await.unwrap_err();
        assert!(matches!(refused, FoldError::Hole { missing: 5, found: 6, .. }), "{refused}");
        assert!(desk.probe("odd").await.is_empty());
    }
    sqlx::query("DELETE FROM journal WHERE seq = 1").execute(&mut owner).await.unwrap();
    let refused = step(&mut probe, &desk.db, CHAIN_ID, options(100)).await.unwrap_err();
    assert!(matches!(refused, FoldError::Hole { missing: 1, found: 2, .. }), "{refused}");
}

#[tokio::test]
async fn a_fold_whose_lease_was_taken_changes_nothing_any_more() {
    let mut desk = Desk::new().await;
    let mut probe = Probe::new("late");
    let lease = desk.leases.acquire("fold:late").await.unwrap().unwrap();
    let held = StepOptions { lease: Some(&lease), ..options(100) };
    desk.put(&genesis(), &branch('a', &genesis(), &[1]), None, None).await.unwrap();
    step(&mut probe, &desk.db, CHAIN_ID, held).await.unwrap();
    let before = (desk.probe("late").await, desk.undo_stack("late").await, desk.cursor("late").await);

    let taken =
        "UPDATE leases SET fencing_token = fencing_token + 1, holder = 'another' WHERE name = 'fold:late'";
    sqlx::query(taken).execute(desk.db.worker()).await.unwrap();
    desk.put(&genesis(), &branch('b', &genesis(), &[1]), None, None).await.unwrap();
    let refused = step(&mut probe, &desk.db, CHAIN_ID, held).await.unwrap_err();
    assert!(matches!(refused, FoldError::Lease(LeaseError::Fenced { .. })), "{refused}");
    assert_eq!((desk.probe("late").await, desk.undo_stack("late").await, desk.cursor("late").await), before);
}
