//! Stories of the journal's one writer, and of the folds that read it.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use plimsoll_journal::{
    Content, FoldError, FoldRunner, NewBlock, SkipError, StepOptions, WriteError, Writer, retry, skip, step,
};
use plimsoll_store::{Db, LeaseError};
use support::follower::Told;
use support::hand::{CHAIN_ID, Desk, Probe, block, branch, genesis, id, identity};
use support::laws;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

fn last(blocks: &[Content]) -> &NewBlock {
    &blocks.last().unwrap().block
}

/// A fold that runs until it is dropped, and a way to wait for it.
struct Runs {
    committed: watch::Receiver<()>,
    _task: AbortOnDropHandle<()>,
}

impl Runs {
    fn start(desk: &Desk, probe: &Probe) -> Self {
        let (sender, committed) = watch::channel(());
        let fold = Told { fold: probe.clone(), committed: sender };
        let (db, leases, tail) = (desk.db.clone(), desk.leases.clone(), desk.tail.clone());
        let mut runner = FoldRunner::new(fold, CHAIN_ID, db, leases, tail);
        let work = async move { runner.run(&CancellationToken::new()).await.unwrap() };
        Self { committed, _task: AbortOnDropHandle::new(tokio::spawn(work)) }
    }

    /// Waits until the fold's cursor reads so.
    async fn until(&mut self, desk: &Desk, probe: &Probe, cursor: &str) {
        loop {
            self.committed.mark_unchanged();
            if desk.cursor(probe.name).await == cursor {
                return;
            }
            self.committed.changed().await.unwrap();
        }
    }
}

fn options(max_records: usize) -> StepOptions<'static> {
    StepOptions { max_records, up_to_seq: None, tail: None, lease: None }
}

async fn fold_all(probe: &mut Probe, db: &Db, max_records: usize) -> Vec<usize> {
    let mut steps = Vec::new();
    loop {
        match step(probe, db, CHAIN_ID, options(max_records)).await.unwrap().records {
            0 => return steps,
            records => steps.push(records),
        }
    }
}

/// All that a writer believes.
fn belief(writer: &Writer) -> String {
    let text = format!("{writer:?}");
    let (from, to) = (text.find("state: State").unwrap(), text.find("halt:").unwrap());
    text[from..to].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_record_stops_its_fold_alone_and_a_skip_lets_it_go_on_with_its_stack_in_order() {
    let mut desk = Desk::new().await;
    let (sick, well) = (Probe::new("sick"), Probe::new("well"));
    // 1: genesis. Each block is two events, a transaction and its `block` record: 2–5, 6–9, 10–13.
    sick.poison.lock().unwrap().insert(7);
    let (mut sick_runs, mut well_runs) = (Runs::start(&desk, &sick), Runs::start(&desk, &well));
    let blocks = branch('a', &genesis(), &[2, 2, 2]);
    desk.put(&genesis(), &blocks, None, None).await.unwrap();
    sick_runs.until(&desk, &sick, "5 -1 1 stopped 7").await;
    well_runs.until(&desk, &well, "13 -1 3 running").await;
    let kept = desk.probe("sick").await;
    assert_eq!(kept.last().unwrap(), "5 block 1", "what precedes the poisoned record's block is applied");
    assert_eq!(kept[..], desk.probe("well").await[..5]);

    // A retry without a mended cause stops again at the same place.
    retry(&desk.db, "sick", CHAIN_ID).await.unwrap();
    desk.put(last(&blocks), &branch('a', last(&blocks), &[0]), None, None).await.unwrap();
    sick_runs.until(&desk, &sick, "5 -1 1 stopped 7").await;

    let refused = skip(&desk.db, "sick", CHAIN_ID, 8, "ann", "a test").await.unwrap_err();
    assert!(matches!(refused, SkipError::StoppedElsewhere { seq: 8, at: Some(7), .. }), "{refused}");
    let refused = skip(&desk.db, "well", CHAIN_ID, 7, "ann", "a test").await.unwrap_err();
    assert!(matches!(refused, SkipError::NotStopped { .. }), "{refused}");
    let refused = skip(&desk.db, "none", CHAIN_ID, 7, "ann", "a test").await.unwrap_err();
    assert!(matches!(refused, SkipError::NoSuchFold { .. }), "{refused}");
    assert_eq!(desk.integers("SELECT count(*) FROM fold_skips").await, [0]);
    skip(&desk.db, "sick", CHAIN_ID, 7, "ann", "a test").await.unwrap();
    desk.put(last(&blocks), &branch('b', last(&blocks), &[1]), None, None).await.unwrap();
    let end = desk.writer.end();
    sick_runs.until(&desk, &sick, &format!("{end} -1 4 running")).await;
    well_runs.until(&desk, &well, &format!("{end} -1 4 running")).await;
    let (sick_has, well_has) = (desk.probe("sick").await, desk.probe("well").await);
    assert!(sick_has.contains(&"7 skipped 2".to_owned()), "{sick_has:?}");
    let seqs = |rows: &[String]| -> Vec<i64> {
        rows.iter().map(|row| row.split(' ').next().unwrap().parse().unwrap()).collect()
    };
    assert_eq!(seqs(&sick_has), seqs(&well_has));
    assert_eq!(seqs(&desk.undo_stack("sick").await), seqs(&desk.undo_stack("well").await));

    // The skipped record is taken back as any other; the probe itself asserts that each undo is its record's own.
    desk.put(&blocks[0].block, &branch('c', &blocks[0].block, &[1]), None, None).await.unwrap();
    let end = desk.writer.end();
    sick_runs.until(&desk, &sick, &format!("{end} -1 2 running")).await;
    well_runs.until(&desk, &well, &format!("{end} -1 2 running")).await;
    assert_eq!(desk.probe("sick").await, desk.probe("well").await);
    assert_eq!(desk.undo_stack("sick").await, desk.undo_stack("well").await);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn a_writer_whose_lease_was_taken_can_write_nothing_any_more() {
    let mut desk = Desk::new().await;
    let ours = branch('a', &genesis(), &[1]);
    let (_leases, mut second) = desk.take_over().await;
    let end = desk.writer.end();
    let refused = desk.put(&genesis(), &ours, None, None).await.unwrap_err();
    assert!(matches!(refused, WriteError::Lease(LeaseError::Fenced { .. })), "{refused}");
    let refused = desk.writer.finalize(&genesis()).await.unwrap_err();
    assert!(matches!(refused, WriteError::Lease(LeaseError::Fenced { .. })), "{refused}");
    let refused = desk.writer.halt(serde_json::json!({})).await.unwrap_err();
    assert!(matches!(refused, WriteError::Lease(LeaseError::Fenced { .. })), "{refused}");
    assert_eq!(desk.integers("SELECT max(seq) FROM journal").await, [end]);

    second.replace_above(id(&genesis()), ours, None, None).await.unwrap();
    assert_eq!(second.end(), end + 3);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn a_writer_that_missed_a_commit_refuses_to_go_on() {
    let mut desk = Desk::new().await;
    // The same authority, an older belief: what a commit whose answer was lost leaves behind.
    let mut current = desk.opened_again().await;
    let blocks = branch('a', &genesis(), &[1]);
    current.replace_above(id(&genesis()), blocks.clone(), None, None).await.unwrap();
    let refused = desk.put(&genesis(), &blocks, None, None).await.unwrap_err();
    assert!(matches!(refused, WriteError::Stale { .. }), "{refused}");
    let refused = desk.writer.finalize(last(&blocks)).await.unwrap_err();
    assert!(matches!(refused, WriteError::Stale { .. }), "{refused}");
    assert_eq!(desk.integers("SELECT max(seq) FROM journal").await, [current.end()]);

    desk.writer = desk.opened_again().await;
    desk.put(last(&blocks), &branch('a', last(&blocks), &[1]), None, None).await.unwrap();
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_that_race_for_the_same_place_one_wins_and_nothing_is_mixed() {
    let mut desk = Desk::new().await;
    let mut tip = genesis();
    for round in 0..10 {
        let mut other = desk.opened_again().await;
        let (ours, theirs) = (branch('a', &tip, &[3, round]), branch('b', &tip, &[round, 3]));
        let (mine, his) = tokio::join!(
            desk.writer.replace_above(id(&tip), ours.clone(), None, None),
            other.replace_above(id(&tip), theirs.clone(), None, None)
        );
        match (&mine, &his) {
            (Ok(_), Err(WriteError::Stale { .. })) => tip = last(&ours).clone(),
            (Err(WriteError::Stale { .. }), Ok(_)) => {
                tip = last(&theirs).clone();
                desk.writer = other;
            }
            _ => panic!("round {round}: {mine:?}, {his:?}"),
        }
        assert_eq!(desk.writer.head(), id(&tip));
    }
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_taken_over_while_it_writes_ends_fenced_between_two_of_its_commits() {
    let desk = Desk::new().await;
    let mut ours = desk.opened_again().await;
    let mut end = desk.tail.subscribe(CHAIN_ID);
    let writing = tokio::spawn(async move {
        let mut tip = genesis();
        // Ends: the takeover below fences it.
        loop {
            let next = block('a', &tip, 2);
            let outcome = ours.replace_above(id(&tip), vec![next.clone()], None, None).await;
            match outcome {
                Ok(_) => tip = next.block,
                Err(error) => return (ours.end(), error),
            }
        }
    });
    end.wait_for(|end| end.seq > 20).await.unwrap();
    let (_leases, mut second) = desk.take_over().await;
    let taken_at = second.end();
    let (number, hash) = second.head().unwrap();
    let tip = NewBlock { number, hash, ..genesis() };
    second.replace_above(id(&tip), vec![block('b', &tip, 1)], None, None).await.unwrap();
    let (last_end, error) = writing.await.unwrap();
    assert!(matches!(error, WriteError::Lease(LeaseError::Fenced { .. })), "{error}");
    assert_eq!(last_end, taken_at, "the second sees all that the first has committed");
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn a_reorg_past_finality_is_refused_and_leaves_no_trace() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[1, 1, 1, 1]);
    desk.put(&genesis(), &blocks, Some(3), Some(2)).await.unwrap();
    let before = belief(&desk.writer);
    for ancestor in [&genesis(), &blocks[0].block] {
        let refused =
            desk.put(ancestor, &branch('b', ancestor, &[1, 1, 1, 1, 1]), None, None).await.unwrap_err();
        assert!(matches!(refused, WriteError::NotOnHead { .. }), "{refused}");
    }
    // An ancestor that is not on the chain, a branch that does not begin on its ancestor, and one with a gap.
    let elsewhere = branch('b', &genesis(), &[1, 1, 1]);
    let gap = vec![block('b', last(&blocks), 0), block('b', &elsewhere[2].block, 0)];
    for (ancestor, branch) in [
        (last(&elsewhere), branch('b', last(&elsewhere), &[1])),
        (&blocks[2].block, branch('b', &blocks[1].block, &[1])),
        (last(&blocks), gap),
    ] {
        let refused = desk.put(ancestor, &branch, None, None).await.unwrap_err();
        assert!(matches!(refused, WriteError::NotOnHead { .. }), "{refused}");
    }
    assert_eq!(belief(&desk.writer), before);
    assert_eq!(belief(&desk.opened_again().await), before);

    // Right above finality is still allowed.
    let taken = desk.put(&blocks[1].block, &branch('b', &blocks[1].block, &[1]), None, None).await.unwrap();
    assert_eq!(taken, 2);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn a_chain_of_the_same_id_with_another_genesis_is_refused() {
    let desk = Desk::new().await;
    let other = plimsoll_journal::ChainIdentity {
        genesis_hash: last(&branch('x', &genesis(), &[0])).hash,
        ..identity()
    };
    let refused = Writer::open(&desk.db, desk.lease.clone(), desk.tail.clone(), &other).await.unwrap_err();
    assert!(matches!(refused, WriteError::DifferentGenesis { .. }), "{refused}");
    assert!(refused.to_string().contains("another chain with the same id"), "{refused}");
    assert_eq!(belief(&desk.opened_again().await), belief(&desk.writer));
}

#[tokio::test]
async fn a_writer_that_is_opened_again_stands_exactly_where_the_last_one_stood() {
    let mut desk = Desk::new().await;
    let a = branch('a', &genesis(), &[2, 0, 3, 1, 0, 2]);
    let at = |n: usize| a[n - 1].block.clone();
    let b = branch('b', &at(3), &[1, 1]);
    let c = branch('c', &b[0].block, &[0, 4, 1, 1]);
    let d = branch('d', last(&c), &[1]);
    // Ancestor, branch, confirm, finalize.
    let story = [
        (genesis(), a[..2].to_vec(), None, None),
        (at(2), a[2..].to_vec(), Some(4), Some(1)),
        // Deeper than the confirmations; the depth comes back and with it no second mark.
        (at(3), b.clone(), Some(3), Some(1)),
        (at(3), a[3..].to_vec(), Some(4), None),
        (at(3), b, Some(4), Some(2)),
        (branch('b', &at(3), &[1])[0].block.clone(), c.clone(), Some(6), Some(3)),
        (last(&c).clone(), d, Some(8), Some(8)),
    ];
    for (at, (ancestor, blocks, confirm, finalize)) in story.into_iter().enumerate() {
        desk.put(&ancestor, &blocks, confirm, finalize).await.unwrap();
        let again = desk.opened_again().await;
        assert_eq!(belief(&again), belief(&desk.writer), "after part {at}");
        laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
        if at % 2 == 0 {
            desk.writer = again;
        }
    }

    // A backfill: what is announced as final and not appended yet, and what is.
    let (number, hash) = desk.writer.head().unwrap();
    let tip = NewBlock { number, hash, ..genesis() };
    let far = branch('e', &tip, &[0; 8]);
    desk.writer.finalize(last(&far)).await.unwrap();
    assert_eq!(belief(&desk.opened_again().await), belief(&desk.writer));
    for end in [&far[3], &far[7]] {
        let (events, transactions) = (end.events.clone(), end.transactions.clone());
        desk.writer.append_range(events, transactions, &end.block).await.unwrap();
        assert_eq!(belief(&desk.opened_again().await), belief(&desk.writer));
    }
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

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

#[tokio::test]
async fn a_branch_that_comes_back_is_the_same_rows_of_the_raw_store_appended_again() {
    let mut desk = Desk::new().await;
    let (a, b) = (branch('a', &genesis(), &[2, 3]), branch('b', &genesis(), &[1, 4, 0]));
    let live = "SELECT event_id FROM chain_live ORDER BY block_number, log_index";
    desk.put(&genesis(), &a, None, None).await.unwrap();
    let first = desk.integers(live).await;
    desk.put(&genesis(), &b, None, None).await.unwrap();
    assert_ne!(desk.integers(live).await, first);
    let taken = desk.put(&genesis(), &a, None, None).await.unwrap();
    assert_eq!(taken, 3);
    assert_eq!(desk.integers(live).await, first);
    let rows = "SELECT count(*) FROM chain_events UNION ALL SELECT count(*) FROM chain_tx_meta
                UNION ALL SELECT count(*) FROM chain_blocks UNION ALL SELECT count(DISTINCT id) FROM chain_events";
    assert_eq!(desk.integers(rows).await, [10, 5, 6, 10]);
    let appended = "SELECT ref FROM journal j WHERE kind = 'append' AND seq > (SELECT max(seq) FROM journal WHERE kind = 'retract')
                    ORDER BY seq";
    assert_eq!(desk.integers(appended).await, first);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

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
