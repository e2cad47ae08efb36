//! The journal that the simulator writes is the journal that Postgres has: the same calls give the same answers, rows, ids and beliefs.

use alloy_primitives::B256;
use plimsoll_ingest::Book;
use plimsoll_journal::{NewBlock, WriteError};
use plimsoll_testkit::chaos::sim::{MemoryBook, MemoryJournal};
use plimsoll_testkit::laws::Journal;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::range;
use crate::support::hand::{CHAIN_ID, Desk, branch, evidence, genesis, id};
use crate::support::laws;

/// Sequences of calls that are tried.
const CASES: usize = 12;

/// A call, of which what it names is chosen among what is there when it is made.
#[derive(Clone, Debug)]
enum Call {
    Replace {
        ancestor: usize,
        name: char,
        events: Vec<usize>,
        confirm: Option<u64>,
        finalize: Option<u64>,
    },
    /// A backfill to so far above the head, announced or not.
    Range {
        blocks: Vec<usize>,
        is_announced: bool,
    },
    Finalize {
        above: u64,
    },
    Open,
    /// The next call is made by a writer that believes what was before the last one.
    Miss,
}

fn call() -> impl Strategy<Value = Call> {
    let mark = || prop::option::of(0u64..6);
    prop_oneof![
        8 => (0usize..6, prop::char::range('a', 'c'), vec(0usize..3, 0..4), mark(), mark()).prop_map(
            |(ancestor, name, events, confirm, finalize)| Call::Replace { ancestor, name, events, confirm, finalize }
        ),
        3 => (vec(0usize..3, 1..4), prop::bool::weighted(0.8))
            .prop_map(|(blocks, is_announced)| Call::Range { blocks, is_announced }),
        1 => (0u64..4).prop_map(|above| Call::Finalize { above }),
        1 => Just(Call::Open),
        1 => Just(Call::Miss),
    ]
}

/// An answer, as far as the two can be compared.
fn said<T: std::fmt::Debug>(answer: Result<T, WriteError>) -> String {
    match answer {
        Ok(told) => format!("{told:?}"),
        Err(error @ (WriteError::NotOnHead { .. } | WriteError::Stale { .. })) => error.to_string(),
        Err(error) => panic!("{error}"),
    }
}

async fn perform(book: &mut impl Book, call: &Call, blocks: &[NewBlock]) -> String {
    let (head, unfinal) = (book.head(), book.unfinal());
    let block = |at: Option<(u64, B256)>| blocks.iter().find(|block| id(block) == at).cloned();
    let head = block(head).unwrap_or_else(genesis);
    match call {
        Call::Replace { ancestor, name, events, confirm, finalize } => {
            let place = unfinal.len().checked_sub(*ancestor).and_then(|place| unfinal.get(place).copied());
            let parent = block(place.or(book.final_block())).unwrap_or_else(genesis);
            let contents = branch(*name, &parent, events);
            let last = contents.last().map_or(parent.number, |content| content.block.number);
            let below = |depth: &Option<u64>| depth.and_then(|depth| last.checked_sub(depth));
            said(book.replace_above(id(&parent), contents, below(confirm), below(finalize)).await)
        }
        Call::Range { blocks, is_announced } => {
            let contents = branch('a', &head, blocks);
            let end = contents.last().expect("at least one block").block.clone();
            let announced = if *is_announced { said(book.finalize(&end).await) } else { String::new() };
            announced + &said(book.append_range(range(&contents)).await)
        }
        Call::Finalize { above } => {
            let block = NewBlock { number: head.number + above, ..head };
            said(book.finalize(&block).await)
        }
        Call::Open | Call::Miss => String::new(),
    }
}

/// Every block that is on record.
fn blocks_of(journal: &Journal) -> Vec<NewBlock> {
    let mut blocks: Vec<_> = journal
        .blocks
        .values()
        .map(|block| NewBlock {
            number: block.body.number.cast_unsigned(),
            hash: block.body.hash,
            parent_hash: block.parent,
            timestamp: genesis().timestamp + block.body.number.cast_unsigned(),
        })
        .collect();
    blocks.sort_unstable_by_key(|block| (block.number, block.hash));
    blocks
}

/// A writer's belief, as both can tell it.
fn belief(book: &impl Book) -> String {
    format!("{:?} {:?} {:?}", book.head(), book.final_block(), book.unfinal())
}

#[tokio::test]
async fn a_journal_in_memory_is_the_one_in_postgres() {
    // The same calls each time, so that a failure is of the change at hand.
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(1), ..Config::default() });
    for _ in 0..CASES {
        let calls = vec(call(), 1..30).new_tree(&mut runner).unwrap().current();
        let mut desk = Desk::new().await;
        let journal = MemoryJournal::new(CHAIN_ID);
        let mut book: MemoryBook = journal.open();
        let start = plimsoll_journal::Content {
            block: genesis(),
            events: Vec::new(),
            transactions: Vec::new(),
            evidence: evidence(),
        };
        book.replace_above(None, vec![start], None, None).await.unwrap();
        let mut missed = None;
        for (place, call) in calls.iter().enumerate() {
            if matches!(call, Call::Open) {
                desk.writer = desk.opened_again().await;
                book = journal.open();
            }
            if matches!(call, Call::Miss) {
                missed = Some((desk.opened_again().await, journal.open()));
                continue;
            }
            let blocks = journal.read(blocks_of);
            let told = perform(&mut desk.writer, call, &blocks).await;
            assert_eq!(perform(&mut book, call, &blocks).await, told, "call {place} of {calls:#?}");
            assert_eq!(belief(&book), belief(&desk.writer), "after call {place} of {calls:#?}");
            if let Some((writer, late)) = missed.take() {
                (desk.writer, book) = (writer, late);
            }
        }
        let mut conn = desk.db.worker().acquire().await.unwrap();
        let kept = laws::read(&mut conn, CHAIN_ID.cast_signed()).await.unwrap();
        journal.read(|journal| assert_eq!(journal, &kept, "{calls:#?}"));
        assert_eq!(belief(&journal.open()), belief(&desk.opened_again().await), "{calls:#?}");
    }
}
