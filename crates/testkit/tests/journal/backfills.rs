//! Requests to look at final blocks again: once each, refused where they cannot be, ended and gone on with by an operator's word.

use std::collections::BTreeSet;

use alloy_primitives::Address;
use plimsoll_journal::backfills::{self, Backfill, BackfillError, Order, Progress};
use plimsoll_journal::{Content, Filter};
use plimsoll_proof::BlocksRoot;
use plimsoll_types::{BackfillState, Completeness};
use uuid::Uuid;

use crate::range;
use crate::support::hand::{CHAIN_ID, Desk, branch, genesis};
use crate::support::laws;

/// A journal to block 6, of which 5 is final.
async fn desk() -> Desk {
    let mut desk = Desk::new().await;
    desk.put(&genesis(), &branch('a', &genesis(), &[1; 6]), Some(6), Some(5)).await.unwrap();
    desk
}

fn order(number: u128, from: u64, to: u64) -> Order {
    Order {
        request_id: Uuid::from_u128(number),
        chain_id: CHAIN_ID,
        from,
        to,
        contracts: None,
        max_events: None,
        parallel_ranges: None,
        level: None,
    }
}

async fn ask(desk: &Desk, order: &Order) -> Result<(Backfill, bool), BackfillError> {
    let mut tx = desk.db.begin_worker().await.unwrap();
    let asked = backfills::request(&mut tx, order, "cli:ada", Some("ticket 42")).await?;
    tx.commit().await.unwrap();
    Ok(asked)
}

async fn cancel(desk: &Desk, number: u128) -> Result<(Backfill, Backfill), BackfillError> {
    let mut tx = desk.db.begin_worker().await.unwrap();
    let turned = backfills::cancel(&mut tx, Uuid::from_u128(number)).await?;
    tx.commit().await.unwrap();
    Ok(turned)
}

async fn resume(desk: &Desk, number: u128) -> Result<(Backfill, Backfill), BackfillError> {
    let mut tx = desk.db.begin_worker().await.unwrap();
    let turned = backfills::resume(&mut tx, Uuid::from_u128(number)).await?;
    tx.commit().await.unwrap();
    Ok(turned)
}

async fn state(desk: &Desk, number: u128) -> BackfillState {
    backfills::find(&desk.db, Uuid::from_u128(number)).await.unwrap().state
}

#[tokio::test]
async fn the_same_request_is_put_on_record_once_and_another_under_its_id_is_a_conflict() {
    let desk = desk().await;
    let contracts: BTreeSet<_> = [Address::repeat_byte(0xcc), Address::repeat_byte(0xaa)].into();
    let first = Order {
        contracts: Some(contracts),
        max_events: Some(10),
        parallel_ranges: Some(3),
        level: Some(Completeness::Receipts),
        ..order(1, 2, 5)
    };
    let (kept, is_new) = ask(&desk, &first).await.unwrap();
    assert!(is_new);
    assert_eq!(
        (&kept.order, kept.state, kept.next, kept.blocks_done, kept.found),
        (&first, BackfillState::Queued, Some(5), 0, 0)
    );
    assert_eq!((&*kept.actor, kept.reason.as_deref()), ("cli:ada", Some("ticket 42")));
    let (again, is_new) = ask(&desk, &first).await.unwrap();
    assert_eq!((again, is_new), (kept.clone(), false));
    for other in [
        Order { from: 1, ..first.clone() },
        Order { to: 4, ..first.clone() },
        Order { chain_id: 8, ..first.clone() },
        Order { contracts: None, ..first.clone() },
        Order { max_events: Some(11), ..first.clone() },
        Order { parallel_ranges: None, ..first.clone() },
        Order { level: None, ..first.clone() },
    ] {
        let error = ask(&desk, &other).await.unwrap_err();
        assert!(matches!(error, BackfillError::Conflict { .. }), "{other:?}: {error}");
        assert!(error.to_string().contains("blocks 2 to 5 of chain 7"), "{error}");
    }
    let all = backfills::list(&desk.db, None, None, 10).await.unwrap();
    assert_eq!(all, [kept]);
}

#[tokio::test]
async fn two_who_ask_at_once_under_one_id_have_one_request() {
    let desk = desk().await;
    let asked = order(1, 1, 5);
    let mut first = desk.db.begin_worker().await.unwrap();
    assert!(backfills::request(&mut first, &asked, "cli:ada", None).await.unwrap().1);
    // The second looks before the first is committed, and then waits for it.
    let second = ask(&desk, &asked);
    let commit = async { first.commit().await.unwrap() };
    let (second, ()) = tokio::join!(second, commit);
    assert!(!second.unwrap().1);
    assert_eq!(backfills::list(&desk.db, None, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_final_blocks_of_a_journal_can_be_asked_for() {
    let desk = desk().await;
    let refusal = async |asked: Order| ask(&desk, &asked).await.unwrap_err().to_string();
    assert!(refusal(order(1, 4, 3)).await.contains("block 4 is above block 3"));
    assert!(refusal(order(1, 4, 6)).await.contains("block 6 is above 5, the last final one"));
    assert!(refusal(Order { chain_id: 8, ..order(1, 1, 2) }).await.contains("chain 8 has no journal yet"));
    assert!(backfills::list(&desk.db, None, None, 10).await.unwrap().is_empty());
    assert!(ask(&desk, &order(1, 5, 5)).await.is_ok());

    let young = Desk::new().await;
    let error = ask(&young, &order(1, 0, 0)).await.unwrap_err();
    assert!(matches!(error, BackfillError::NothingFinal { chain_id: CHAIN_ID }), "{error}");
    // The final block is known, and a backfill is still on its way to it.
    let mut young = young;
    let far = branch('e', &genesis(), &[0; 4]);
    young.writer.finalize(crate::last(&far)).await.unwrap();
    let error = ask(&young, &order(1, 0, 4)).await.unwrap_err();
    assert!(
        matches!(error, BackfillError::NothingFinal { .. } | BackfillError::BeyondFinality { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_operators_word_ends_a_request_and_has_it_go_on() {
    let desk = desk().await;
    ask(&desk, &order(1, 1, 5)).await.unwrap();
    let (before, after) = cancel(&desk, 1).await.unwrap();
    assert_eq!((before.state, after.state), (BackfillState::Queued, BackfillState::Cancelled));
    assert!(before.ended_at.is_none() && after.ended_at.is_some());
    assert!(matches!(
        cancel(&desk, 1).await,
        Err(BackfillError::Ended { state: BackfillState::Cancelled, .. })
    ));
    assert_eq!(desk.writer.take_backfill().await.unwrap(), None);

    let (before, after) = resume(&desk, 1).await.unwrap();
    assert_eq!((before.state, after.state), (BackfillState::Cancelled, BackfillState::Queued));
    assert!(after.ended_at.is_none());
    assert!(matches!(resume(&desk, 1).await, Err(BackfillError::NothingToResume { .. })));

    let taken = desk.writer.take_backfill().await.unwrap().unwrap();
    assert_eq!((taken.order.request_id, taken.state), (Uuid::from_u128(1), BackfillState::Running));
    desk.writer.note_backfill_trouble(Uuid::from_u128(1), "nobody answers").await.unwrap();
    let seen = backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap();
    assert_eq!((seen.state, seen.trouble.as_deref()), (BackfillState::Running, Some("nobody answers")));
    desk.writer.fail_backfill(Uuid::from_u128(1), "it is not to be had").await.unwrap();
    let seen = backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap();
    assert_eq!((seen.state, seen.trouble.as_deref()), (BackfillState::Failed, Some("it is not to be had")));
    let (_, after) = resume(&desk, 1).await.unwrap();
    assert_eq!((after.state, after.trouble), (BackfillState::Queued, None));

    assert!(matches!(cancel(&desk, 9).await, Err(BackfillError::Unknown { .. })));
    assert!(matches!(resume(&desk, 9).await, Err(BackfillError::Unknown { .. })));
}

#[tokio::test]
async fn what_has_begun_comes_before_what_has_not_and_the_older_request_first() {
    let desk = desk().await;
    for number in [3, 1, 2] {
        ask(&desk, &order(number, 1, 5)).await.unwrap();
    }
    let take = async || desk.writer.take_backfill().await.unwrap().map(|it| it.order.request_id.as_u128());
    assert_eq!(take().await, Some(3));
    cancel(&desk, 3).await.unwrap();
    assert_eq!(take().await, Some(1));
    resume(&desk, 3).await.unwrap();
    assert_eq!(take().await, Some(1), "it runs");
    assert_eq!(state(&desk, 3).await, BackfillState::Queued);
    cancel(&desk, 1).await.unwrap();
    assert_eq!((take().await, state(&desk, 2).await), (Some(3), BackfillState::Queued));
    let queued = backfills::list(&desk.db, Some(CHAIN_ID), Some(BackfillState::Queued), 10).await.unwrap();
    assert_eq!(queued.iter().map(|it| it.order.request_id.as_u128()).collect::<Vec<_>>(), [2]);
    let newest = backfills::list(&desk.db, None, None, 2).await.unwrap();
    assert_eq!(newest.iter().map(|it| it.order.request_id.as_u128()).collect::<Vec<_>>(), [2, 1]);
    assert!(backfills::list(&desk.db, Some(8), None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_writer_that_lost_its_lease_takes_nothing_up() {
    let desk = desk().await;
    ask(&desk, &order(1, 1, 5)).await.unwrap();
    let (_leases, successor) = desk.take_over().await;
    assert!(desk.writer.take_backfill().await.is_err());
    assert_eq!(state(&desk, 1).await, BackfillState::Queued);
    assert!(successor.take_backfill().await.unwrap().is_some());
    assert!(desk.writer.fail_backfill(Uuid::from_u128(1), "x").await.is_err());
    assert!(desk.writer.note_backfill_trouble(Uuid::from_u128(1), "x").await.is_err());
    assert_eq!(state(&desk, 1).await, BackfillState::Running);
}

/// A journal that lacks all events of its blocks 1 to 6 and has all of their transactions, 5 being final; and the blocks as they are.
async fn holed(events: &[usize]) -> (Desk, Vec<Content>) {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), events);
    let without: Vec<_> =
        blocks.iter().map(|block| Content { events: Vec::new(), ..block.clone() }).collect();
    desk.put(&genesis(), &without, Some(6), Some(5)).await.unwrap();
    (desk, blocks)
}

/// These blocks, of which the first one is 1, as the backfill is given them.
async fn append(
    desk: &mut Desk,
    number: u128,
    blocks: &[Content],
    at_most: Option<u64>,
) -> Option<(u64, u64, BackfillState)> {
    let next = crate::last(blocks).number;
    let progress = Progress { request_id: Uuid::from_u128(number), next, at_most };
    let advanced = desk.writer.append_asked(progress, &Filter::default(), range(blocks)).await.unwrap();
    advanced.map(|it| (it.taken, it.down_to, it.state))
}

/// The blocks of what came late, in the order of the journal.
async fn late(desk: &Desk) -> Vec<i64> {
    desk.integers(
        "SELECT block_number FROM journal WHERE kind IN ('late_append', 'late_included') ORDER BY seq",
    )
    .await
}

#[tokio::test]
async fn what_was_found_and_how_far_it_is_are_one_commit() {
    let (mut desk, blocks) = holed(&[1, 2, 0, 3, 1, 1]).await;
    ask(&desk, &order(1, 1, 5)).await.unwrap();
    let step = append(&mut desk, 1, &blocks[3..5], None).await;
    assert_eq!(step, Some((4, 4, BackfillState::Running)));
    let seen = backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap();
    assert_eq!((seen.next, seen.blocks_done, seen.found), (Some(3), 2, 4));
    assert!(seen.started_at.is_some() && seen.ended_at.is_none());
    assert_eq!(late(&desk).await, [5, 4, 4, 4]);

    // A writer that is opened anew finds it where it was.
    desk.writer = desk.opened_again().await;
    let taken = desk.writer.take_backfill().await.unwrap().unwrap();
    assert_eq!(taken.next, Some(3));
    // Whoever believes it elsewhere writes nothing: those blocks were counted.
    assert_eq!(append(&mut desk, 1, &blocks[3..5], None).await, None);
    let step = append(&mut desk, 1, &blocks[..3], None).await;
    assert_eq!(step, Some((3, 1, BackfillState::Done)));
    let seen = backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap();
    assert_eq!((seen.state, seen.next, seen.blocks_done, seen.found), (BackfillState::Done, None, 5, 7));
    assert!(seen.ended_at.is_some());
    assert_eq!(late(&desk).await, [5, 4, 4, 4, 2, 2, 1]);
    assert_eq!(desk.writer.take_backfill().await.unwrap(), None);
    assert!(backfills::last_pace(&desk.db, CHAIN_ID).await.unwrap().is_some_and(|(blocks, _)| blocks == 5));
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();

    // A second time nothing is found, and nothing appended.
    ask(&desk, &order(2, 1, 5)).await.unwrap();
    assert_eq!(append(&mut desk, 2, &blocks[..5], None).await, Some((0, 1, BackfillState::Done)));
    assert_eq!(late(&desk).await.len(), 7);
    assert!(matches!(cancel(&desk, 2).await, Err(BackfillError::Ended { state: BackfillState::Done, .. })));
    assert!(matches!(resume(&desk, 2).await, Err(BackfillError::NothingToResume { .. })));
}

#[tokio::test]
async fn one_that_was_cancelled_appends_nothing_any_more_and_goes_on_where_it_was() {
    let (mut desk, blocks) = holed(&[1, 1, 1, 1, 1, 1]).await;
    ask(&desk, &order(1, 1, 5)).await.unwrap();
    append(&mut desk, 1, &blocks[4..5], None).await.unwrap();
    desk.writer.note_backfill_trouble(Uuid::from_u128(1), "nobody answers").await.unwrap();
    cancel(&desk, 1).await.unwrap();
    let end = desk.writer.end();
    assert_eq!(append(&mut desk, 1, &blocks[3..4], None).await, None);
    assert_eq!((desk.writer.end(), late(&desk).await), (end, vec![5]));
    // The writer goes on: what it did not write it did not count.
    resume(&desk, 1).await.unwrap();
    assert_eq!(append(&mut desk, 1, &blocks[..4], None).await, Some((4, 1, BackfillState::Done)));
    let seen = backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap();
    assert_eq!((seen.found, seen.trouble), (5, None));
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn a_limit_ends_it_with_a_whole_block_and_it_counts_anew_when_it_goes_on() {
    let (mut desk, blocks) = holed(&[1, 2, 0, 3, 1, 1]).await;
    ask(&desk, &Order { max_events: Some(2), ..order(1, 1, 5) }).await.unwrap();
    let left = async |desk: &Desk| backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap().events_left;
    assert_eq!(left(&desk).await, Some(2));
    // Block 5 has one, and the second is in block 4, which has three.
    assert_eq!(append(&mut desk, 1, &blocks[..5], Some(2)).await, Some((4, 4, BackfillState::Limited)));
    let seen = backfills::find(&desk.db, Uuid::from_u128(1)).await.unwrap();
    assert_eq!((seen.next, seen.found, seen.events_left), (Some(3), 4, Some(0)));
    assert!(seen.ended_at.is_some() && desk.writer.take_backfill().await.unwrap().is_none());
    // What was not looked at is not said to be whole.
    let proven =
        "SELECT from_number FROM completeness_certificates WHERE source = 'late' ORDER BY certificate_id";
    assert_eq!(desk.integers(proven).await, [4]);
    let root: Vec<u8> =
        sqlx::query_scalar("SELECT blocks_root FROM completeness_certificates WHERE source = 'late'")
            .fetch_one(desk.db.worker())
            .await
            .unwrap();
    let of_two: BlocksRoot = blocks[3..5].iter().map(|content| &content.block.hash).collect();
    assert_eq!(root, of_two.root().to_vec());

    resume(&desk, 1).await.unwrap();
    assert_eq!(left(&desk).await, Some(2));
    assert_eq!(append(&mut desk, 1, &blocks[..3], Some(2)).await, Some((2, 2, BackfillState::Limited)));
    resume(&desk, 1).await.unwrap();
    assert_eq!(append(&mut desk, 1, &blocks[..1], Some(2)).await, Some((1, 1, BackfillState::Done)));
    assert_eq!(late(&desk).await, [5, 4, 4, 4, 2, 2, 1]);
    assert!(matches!(cancel(&desk, 1).await, Err(BackfillError::Ended { .. })));
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn one_that_stopped_at_its_limit_can_be_cancelled() {
    let (mut desk, blocks) = holed(&[1, 1, 1, 1, 1, 1]).await;
    ask(&desk, &Order { max_events: Some(1), ..order(1, 1, 5) }).await.unwrap();
    append(&mut desk, 1, &blocks[..5], Some(1)).await.unwrap();
    let (before, after) = cancel(&desk, 1).await.unwrap();
    assert_eq!((before.state, after.state), (BackfillState::Limited, BackfillState::Cancelled));
}
