//! How much a step takes, and where a fold stands after it.

use plimsoll_journal::{StepOptions, step};

use crate::support::hand::{CHAIN_ID, Desk, Probe, branch, genesis};
use crate::{fold_all, last, options};

#[tokio::test]
async fn steps_served_from_memory_and_from_the_database_do_the_same() {
    let mut desk = Desk::new().await;
    let (mut near, mut far) = (Probe::new("near"), Probe::new("far"));
    let a = branch('a', &genesis(), &[2, 0, 3, 1]);
    let b = branch('b', &a[1].block, &[1, 5]);
    let again = branch('c', last(&b), &[1, 1]);
    let story = [
        (genesis(), a.clone(), Some(2), None),
        (a[1].block.clone(), b.clone(), Some(2), Some(1)),
        (a[1].block.clone(), a[2..].to_vec(), None, None),
        (a[1].block.clone(), b.clone(), Some(3), None),
        (last(&b).clone(), again, Some(5), Some(4)),
    ];
    for (ancestor, blocks, confirm, finalize) in story {
        desk.put(&ancestor, &blocks, confirm, finalize).await.unwrap();
        loop {
            let tail = desk.tail.clone();
            let from_memory = StepOptions { tail: Some(&tail), ..options(1_000) };
            let one = step(&mut near, &desk.db, CHAIN_ID, from_memory).await.unwrap();
            let two = step(&mut far, &desk.db, CHAIN_ID, options(1_000)).await.unwrap();
            assert_eq!(one, two);
            if one.records == 0 {
                break;
            }
        }
        assert_eq!(desk.cursor("near").await, desk.cursor("far").await);
        assert_eq!(desk.probe("near").await, desk.probe("far").await);
        assert_eq!(desk.undo_stack("near").await, desk.undo_stack("far").await);
    }
    assert_eq!(*near.calls.lock().unwrap(), *far.calls.lock().unwrap());
}

#[tokio::test]
async fn a_block_that_is_larger_than_a_step_is_taken_whole_and_taken_back_whole() {
    let mut desk = Desk::new().await;
    let mut probe = Probe::new("small");
    let a = branch('a', &genesis(), &[1, 50, 1]);
    desk.put(&genesis(), &a, Some(2), None).await.unwrap();
    let steps = fold_all(&mut probe, &desk.db, 4).await;
    assert_eq!(steps.iter().sum::<usize>() as i64, desk.writer.end());
    assert!(steps.iter().any(|records| *records >= 52), "{steps:?}");
    desk.put(&genesis(), &branch('b', &genesis(), &[0]), None, None).await.unwrap();
    let steps = fold_all(&mut probe, &desk.db, 4).await;
    assert!(steps.iter().any(|records| *records >= 52), "{steps:?}");
    for number in 1..=3 {
        // Once applied, once taken back; the new block 1 besides.
        let calls = probe.calls.lock().unwrap().iter().filter(|call| call.contains(&number)).count();
        let marks = usize::from(number <= 2);
        assert!(calls <= 2 + usize::from(number == 1) + marks, "block {number} came in {calls} calls");
    }
    assert_eq!(desk.cursor("small").await, format!("{} -1 1 running", desk.writer.end()));
    assert_eq!(desk.undo_stack("small").await.len(), 3);
}

#[tokio::test]
async fn however_small_a_step_is_each_block_comes_in_one_call() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[1, 3, 2, 5, 0]);
    desk.put(&genesis(), &blocks, None, None).await.unwrap();
    for (name, max_records) in [("two", 2), ("three", 3), ("five", 5), ("seven", 7), ("nine", 9)] {
        let mut probe = Probe::new(name);
        fold_all(&mut probe, &desk.db, max_records).await;
        for number in 0..=5 {
            let calls = probe.calls.lock().unwrap().iter().filter(|call| call.contains(&number)).count();
            assert_eq!(calls, 1, "block {number} in steps of {max_records}");
        }
    }
}

#[tokio::test]
async fn a_reorg_takes_the_confirmed_mark_and_a_folds_watermark_back_with_the_blocks() {
    let mut desk = Desk::new().await;
    let mut probe = Probe::new("marks");
    let a = branch('a', &genesis(), &[1, 1, 1]);
    desk.put(&genesis(), &a, Some(2), None).await.unwrap();
    fold_all(&mut probe, &desk.db, 100).await;
    assert_eq!(desk.integers("SELECT confirmed_number FROM chains").await, [2]);
    let end = desk.writer.end();

    let b = branch('b', &a[0].block, &[1]);
    desk.put(&a[0].block, &b, None, None).await.unwrap();
    assert_eq!(desk.integers("SELECT confirmed_number FROM chains").await, [1]);
    // The retractions alone: block 3, the confirmation of block 2, block 2.
    let taken = step(&mut probe, &desk.db, CHAIN_ID, options(100)).await.unwrap();
    assert_eq!((taken.records, taken.cursor), (7, end + 7));
    assert_eq!(desk.cursor("marks").await, format!("{} -1 1 running", end + 7));
    let watermark = "SELECT '0x' || encode(block_hash, 'hex') FROM fold_cursors WHERE fold = $1";
    assert_eq!(desk.texts(watermark, "marks").await, [a[0].block.hash.to_string()]);
}

#[tokio::test]
async fn what_is_final_leaves_the_undo_stack_and_nothing_else_does() {
    let mut desk = Desk::new().await;
    let mut probe = Probe::new("stack");
    let a = branch('a', &genesis(), &[1, 1, 1, 1]);
    desk.put(&genesis(), &a[..3], Some(2), None).await.unwrap();
    fold_all(&mut probe, &desk.db, 100).await;
    // The genesis block's own record, and three of each block.
    assert_eq!(desk.undo_stack("stack").await.len(), 10);
    desk.put(last(&a[..3]), &a[3..], Some(3), Some(2)).await.unwrap();
    fold_all(&mut probe, &desk.db, 100).await;
    let left = desk.integers("SELECT block_number FROM fold_undo WHERE fold = 'stack' ORDER BY seq").await;
    assert_eq!(left, [3, 3, 3, 4, 4, 4]);
}
