//! One writer: what it believes, what it refuses, and that nobody writes beside it.

use alloy_primitives::Address;
use plimsoll_journal::{ChainIdentity, Filter, NewBlock, Tail, WriteError, Writer};
use plimsoll_store::LeaseError;

use crate::support::hand::{CHAIN_ID, Desk, block, branch, genesis, id, identity};
use crate::support::laws;
use crate::{last, range};

/// All that a writer believes.
fn belief(writer: &Writer) -> String {
    let text = format!("{writer:?}");
    let (from, to) = (text.find("state: State").unwrap(), text.find("halt:").unwrap());
    text[from..to].to_owned()
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
async fn what_is_final_before_it_has_its_confirmations_is_confirmed_by_that() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[1, 1, 1, 1]);
    desk.put(&genesis(), &blocks, Some(1), None).await.unwrap();
    desk.put(last(&blocks), &[], None, Some(3)).await.unwrap();
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
    let confirmed = "SELECT block_number FROM journal WHERE kind = 'confirm' ORDER BY seq";
    assert_eq!(desk.integers(confirmed).await, [0, 1, 2, 3]);
    assert_eq!(desk.integers("SELECT confirmed_number FROM chains").await, [3]);
    assert_eq!(belief(&desk.opened_again().await), belief(&desk.writer));
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
    let other = ChainIdentity { genesis_hash: last(&branch('x', &genesis(), &[0])).hash, ..identity() };
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
    for blocks in [&far[..4], &far[4..]] {
        desk.writer.append_range(range(blocks)).await.unwrap();
        assert_eq!(belief(&desk.opened_again().await), belief(&desk.writer));
    }
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
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
async fn a_writer_that_does_not_know_of_an_acknowledged_sender_is_refused() {
    let desk = Desk::new().await;
    let (sender, stranger) = (Address::repeat_byte(7), Address::repeat_byte(8));
    let follows = |senders: &[Address]| ChainIdentity {
        filter: Filter { senders: senders.iter().map(|it| (*it, 0)).collect(), ..Filter::default() },
        ..identity()
    };
    let open = async |identity| Writer::open(&desk.db, desk.lease.clone(), Tail::default(), &identity).await;
    let mut conn = desk.db.worker().acquire().await.unwrap();
    plimsoll_journal::watch(&mut conn, CHAIN_ID, sender, None, "a test").await.unwrap();
    // Nobody has acknowledged it: it is relied on by nobody.
    open(follows(&[stranger])).await.unwrap();
    let mut told = plimsoll_journal::watched(&mut conn, CHAIN_ID).await.unwrap();
    assert_eq!(told.pop().and_then(|it| it.acknowledged), None);
    let next = open(follows(&[sender])).await.unwrap().head().map_or(0, |(number, _)| number + 1);
    let mut told = plimsoll_journal::watched(&mut conn, CHAIN_ID).await.unwrap();
    assert_eq!(told.pop().and_then(|it| it.acknowledged), Some(next));
    let refused = open(follows(&[stranger])).await;
    assert!(matches!(refused, Err(WriteError::Unwatched { .. })), "{refused:?}");
    open(follows(&[sender, stranger])).await.unwrap();
    let nowhere = plimsoll_journal::watch(&mut conn, CHAIN_ID + 1, sender, None, "a test").await;
    assert!(nowhere.is_err_and(|error| error.to_string().contains("no journal yet")));
}
