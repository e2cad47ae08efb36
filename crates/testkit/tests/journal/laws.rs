//! The laws of a journal, which the other tests check with, notice what they should.

use crate::support::hand::{CHAIN_ID, Desk, branch, genesis};
use crate::support::laws;

#[tokio::test]
async fn the_laws_notice_a_journal_that_breaks_them() {
    let mut desk = Desk::new().await;
    let a = branch('a', &genesis(), &[1, 1, 1]);
    desk.put(&genesis(), &a, Some(2), Some(1)).await.unwrap();
    desk.put(&a[1].block, &branch('b', &a[1].block, &[1]), Some(3), None).await.unwrap();
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
    // 1: genesis. 2–4, 5–7, 8–10: three blocks. 11–13: confirm 0, 1, 2. 14: finalize 1. 15–17: retract 10, 9, 8. 18–20: the new block.
    for (breach, broken) in [
        ("DELETE FROM journal WHERE seq = 12", "is missing"),
        ("UPDATE journal SET ref = seq - 6 WHERE seq IN (15, 16)", "not the newest record"),
        ("UPDATE journal SET ref = 13, block_number = 2 WHERE seq = 15", "right before its own block"),
        ("UPDATE journal SET kind = 'finalize' WHERE seq = 13", "a block below is not confirmed"),
        ("UPDATE journal SET kind = 'confirm' WHERE seq = 14", "confirms a block again"),
        ("UPDATE journal SET kind = 'confirm' WHERE seq = 7", "a mark in the middle of a block"),
        ("DELETE FROM journal WHERE seq > 15", "in part"),
        ("DELETE FROM journal WHERE seq > 19", "no `block` record"),
        ("UPDATE chain_blocks SET state = 'seen' WHERE number = 2", "should be confirmed"),
    ] {
        let mut owner = desk.owner().await;
        let mut tx = sqlx::Connection::begin(&mut owner).await.unwrap();
        let rows = sqlx::query(breach).execute(&mut *tx).await.unwrap().rows_affected();
        assert!(rows > 0, "{breach}");
        let found = laws::check_on(&mut tx, CHAIN_ID).await.unwrap_err();
        assert!(found.contains(broken), "{breach}: {found}");
        tx.rollback().await.unwrap();
    }
}
