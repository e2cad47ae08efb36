//! Confirmed blocks, as subscribers hear of them.

use plimsoll_journal::{Content, MarkKind, Marks, MarksChannel, MarksClosed, MarksError, NewBlock, Tail};
use plimsoll_store::feed::ChannelError;

use crate::support::hand::{CHAIN_ID, Desk, branch, genesis, id};
use crate::{last, range};

/// What is heard next: kind, number and hash.
type Heard = (MarkKind, u64, alloy_primitives::B256);

use MarkKind::{Confirmed, Final, Retracted};

async fn next(channel: &mut MarksChannel) -> (i64, Heard) {
    let mark = channel.next().await.unwrap();
    (mark.seq, (mark.kind, mark.block.number, mark.block.hash))
}

async fn hear(channel: &mut MarksChannel, count: usize) -> Vec<(i64, Heard)> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(next(channel).await);
    }
    heard
}

fn of(kind: MarkKind, block: &NewBlock) -> Heard {
    (kind, block.number, block.hash)
}

fn each(kind: MarkKind, blocks: &[Content]) -> impl DoubleEndedIterator<Item = Heard> + '_ {
    blocks.iter().map(move |content| of(kind, &content.block))
}

/// A journal that went a, then b above a's block 2, then a again: two blocks deep, then three.
async fn flipped() -> (Desk, Vec<Heard>) {
    let mut desk = Desk::new().await;
    let a = branch('a', &genesis(), &[1, 2, 0, 1, 1, 3]);
    desk.put(&genesis(), &a, Some(4), None).await.unwrap();
    let fork = &a[1].block;
    let b = branch('b', fork, &[1, 1, 0, 2, 1]);
    desk.put(fork, &b, Some(5), None).await.unwrap();
    let again = branch('a', last(&a), &[0, 1]);
    let back: Vec<_> = a[2..].iter().chain(&again).cloned().collect();
    desk.put(fork, &back, Some(6), Some(3)).await.unwrap();
    let mut wanted = vec![of(Confirmed, &genesis())];
    wanted.extend(each(Confirmed, &a[..4]));
    wanted.extend(each(Retracted, &a[2..4]).rev());
    wanted.extend(each(Confirmed, &b[..3]));
    wanted.extend(each(Retracted, &b[..3]).rev());
    wanted.extend(each(Confirmed, &a[2..6]));
    wanted.push(of(Final, &a[2].block));
    (desk, wanted)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_confirmed_block_comes_once_in_order_and_a_deep_reorganisation_takes_it_back_first() {
    let (desk, wanted) = flipped().await;
    let warm = Marks::new(desk.db.clone(), desk.tail.clone());
    // In another process, as it were.
    let cold = Marks::new(desk.db.clone(), Tail::default());
    let mut everything = warm.subscribe(CHAIN_ID, Some(0)).await.unwrap();
    let heard = hear(&mut everything, wanted.len()).await;
    assert_eq!(heard.iter().map(|(_, heard)| *heard).collect::<Vec<_>>(), wanted);
    assert!(heard.is_sorted_by(|(one, _), (other, _)| one < other), "{heard:?}");
    let mut canonical: Vec<Heard> = Vec::new();
    for (_, heard) in &heard {
        match heard.0 {
            Confirmed => canonical.push(*heard),
            Retracted => assert_eq!(canonical.pop().map(|top| top.2), Some(heard.2), "the newest first"),
            Final => assert!(canonical.iter().any(|block| block.2 == heard.2)),
        }
    }
    assert_eq!(canonical.iter().map(|block| block.1).collect::<Vec<_>>(), (0..=6).collect::<Vec<_>>());
    // Whoever comes again, wherever they were cut off, has the rest and nothing else.
    for (place, (seq, _)) in heard.iter().enumerate() {
        for marks in [&warm, &cold] {
            let mut resumed = marks.subscribe(CHAIN_ID, Some(*seq)).await.unwrap();
            let rest = &heard[place + 1..];
            assert_eq!(hear(&mut resumed, rest.len()).await, rest, "after {seq}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_confirms_its_ranges_under_the_finality_that_it_begins_with() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[1, 0, 2, 1, 0, 1]);
    let (middle, end) = (&blocks[2].block, last(&blocks));
    desk.writer.finalize(&genesis()).await.unwrap();
    desk.writer.finalize(end).await.unwrap();
    for blocks in [&blocks[..3], &blocks[3..]] {
        desk.writer.append_range(range(blocks)).await.unwrap();
    }
    let marks = Marks::new(desk.db.clone(), Tail::default());
    let mut channel = marks.subscribe(CHAIN_ID, Some(0)).await.unwrap();
    let wanted = [
        of(Confirmed, &genesis()),
        of(Final, &genesis()),
        of(Final, end),
        of(Confirmed, middle),
        of(Confirmed, end),
    ];
    let heard = hear(&mut channel, wanted.len()).await;
    assert_eq!(heard.into_iter().map(|(_, heard)| heard).collect::<Vec<_>>(), wanted);
    let told = marks.subscribe(CHAIN_ID, Some(0)).await.unwrap().next().await.unwrap();
    assert_eq!(
        (told.block.parent_hash, told.block.time.unix_timestamp()),
        (genesis().parent_hash, 1_700_000_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_stuck_stalls_neither_the_writer_nor_another_and_then_misses_nothing() {
    // More than memory keeps of marks, with the first of them.
    const ROUNDS: usize = 25;
    const BLOCKS: usize = 100;
    let mut desk = Desk::new().await;
    let marks = Marks::new(desk.db.clone(), desk.tail.clone());
    let mut stuck = marks.subscribe(CHAIN_ID, Some(0)).await.unwrap();
    let mut quick = marks.subscribe(CHAIN_ID, Some(0)).await.unwrap();
    let gone = marks.subscribe(CHAIN_ID, Some(0)).await.unwrap();
    let (mut parent, mut heard, mut wanted) = (genesis(), Vec::new(), vec![of(Confirmed, &genesis())]);
    for round in 0..ROUNDS {
        let blocks = branch('a', &parent, &[0; BLOCKS]);
        let head = last(&blocks).number;
        desk.put(&parent, &blocks, Some(head), Some(head)).await.unwrap();
        wanted.extend(each(Confirmed, &blocks));
        wanted.push(of(Final, last(&blocks)));
        let count = BLOCKS + 1 + usize::from(round == 0);
        heard.extend(hear(&mut quick, count).await);
        parent = last(&blocks).clone();
    }
    assert_eq!(heard.iter().map(|(_, heard)| *heard).collect::<Vec<_>>(), wanted, "nobody waits");
    assert_eq!(marks.lag(CHAIN_ID), desk.writer.end(), "of the one that is stuck");
    drop(gone);
    assert_eq!(hear(&mut stuck, heard.len()).await, heard);
    drop(quick);
    assert_eq!(marks.lag(CHAIN_ID), 0);
    assert_eq!((stuck.cursor(), id(&parent).is_some()), (desk.writer.end(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_woken_and_the_end_of_all_handles_ends_the_subscriptions() {
    let mut desk = Desk::new().await;
    let marks = Marks::new(desk.db.clone(), desk.tail.clone());
    let mut channel = marks.subscribe(CHAIN_ID, None).await.unwrap();
    let waiting = tokio::spawn(async move { (next(&mut channel).await.1, channel) });
    let blocks = branch('a', &genesis(), &[0]);
    desk.put(&genesis(), &blocks, Some(0), None).await.unwrap();
    let (heard, mut channel) = waiting.await.unwrap();
    assert_eq!(heard, of(Confirmed, &genesis()));
    drop(marks);
    assert!(matches!(channel.next().await, Err(ChannelError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_not_followed_and_a_cursor_of_another_history_are_refused() {
    let desk = Desk::new().await;
    let marks = Marks::new(desk.db.clone(), desk.tail.clone());
    for chain_id in [CHAIN_ID + 1, u64::MAX] {
        let refused: Result<_, MarksClosed> = marks.subscribe(chain_id, Some(0)).await;
        assert!(
            matches!(refused, Err(ChannelError::Source(MarksError::UnknownChain { chain_id: told })) if told == chain_id)
        );
    }
    let (end, beyond) = (desk.writer.end(), marks.subscribe(CHAIN_ID, Some(desk.writer.end() + 1)).await);
    assert!(matches!(beyond, Err(ChannelError::BeyondEnd { head, .. }) if head == end), "{beyond:?}");
}
