//! Any interleaving of postings, repetitions, conflicts, refusals and cut-off callers, through several processes, with the sealer beside: the books are what the answers say.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;
use plimsoll_ledger::{Intake, Origin, PostError, Posting};
use plimsoll_store::testing::{Polling, drop_after};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::sealing::{seal_all, sealer, whole};
use crate::support::Books;

/// What a caller does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Asks for so much between two accounts; one of the four, or the user's.
    Transfer { debit: usize, credit: usize, amount: u64, is_chains: bool },
    /// Asks once more for what was asked for then.
    Again { at: usize },
    /// Asks for something else under that key.
    Otherwise { at: usize },
    /// Asks, and is gone after so many polls.
    CutOff { debit: usize, credit: usize, polls: usize },
}

fn act() -> impl Strategy<Value = Act> {
    let account = 0_usize..5;
    prop_oneof![
        6 => (account.clone(), account, 1_u64..100, prop::bool::weighted(0.2))
            .prop_map(|(debit, credit, amount, is_chains)| Act::Transfer { debit, credit, amount, is_chains }),
        2 => (0_usize..1_000).prop_map(|at| Act::Again { at }),
        1 => (0_usize..1_000).prop_map(|at| Act::Otherwise { at }),
        // Of accounts that refuse nothing: what was cut off may be booked after a repetition of it was refused.
        1 => (0_usize..4, 0_usize..4, 0_usize..6).prop_map(|(debit, credit, polls)| Act::CutOff { debit, credit, polls }),
    ]
}

/// What each account holds, from the answers alone.
type Held = HashMap<Uuid, i64>;

async fn live(acts: &[Act]) {
    let books = Books::new().await;
    let intakes = [books.intake.clone(), Intake::start(books.db.clone()), Intake::start(books.db.clone())];
    let accounts: Vec<_> = books.cash.iter().copied().chain([books.user]).collect();
    let (sealer, lease) = sealer(&books).await;
    let mut held = Held::new();
    let mut asked: Vec<plimsoll_ledger::Draft> = Vec::new();
    let mut answers: HashMap<Uuid, Uuid> = HashMap::new();
    let mut booked = HashSet::new();
    for (round, chunk) in acts.chunks(8).enumerate() {
        let mut drafts = Vec::new();
        for act in chunk {
            match *act {
                Act::Transfer { debit, credit, amount, is_chains } => {
                    let mut draft = books.transfer(accounts[debit], accounts[credit], amount);
                    draft.origin = if is_chains { Origin::Chain } else { Origin::Request };
                    drafts.push(draft);
                }
                Act::Again { at } if !asked.is_empty() => drafts.push(asked[at % asked.len()].clone()),
                Act::Otherwise { at } if !asked.is_empty() => {
                    let mut other = asked[at % asked.len()].clone();
                    other.lines.iter_mut().for_each(|line| line.entry_type = "OTHER".into());
                    drafts.push(other);
                }
                Act::CutOff { debit, credit, polls } => {
                    let draft = books.transfer(accounts[debit], accounts[credit], 1);
                    let posting = Posting::new(draft.clone()).unwrap();
                    drop_after(polls, Polling::Restless, intakes[round % 3].post(posting)).await;
                    // Nobody knows whether it is booked: it is asked for again.
                    drafts.push(draft);
                }
                Act::Again { .. } | Act::Otherwise { .. } => {}
            }
        }
        let posts = drafts
            .iter()
            .enumerate()
            .map(|(n, draft)| intakes[(n + round) % 3].post(Posting::new(draft.clone()).unwrap()));
        let (told, sealed) = tokio::join!(join_all(posts), sealer.seal(&lease));
        sealed.unwrap();
        for (draft, told) in drafts.iter().zip(told) {
            let key = draft.context.request_id;
            match told {
                Ok(posted) => {
                    // One posting a key, whoever asks, and one who is told that it is new.
                    assert!(posted.is_replay || booked.insert(key), "{draft:?}");
                    if answers.insert(key, posted.posting_id).is_none() {
                        for line in &draft.lines {
                            let amount = i64::try_from(line.amount.to_u64().unwrap()).unwrap();
                            let sign =
                                if line.direction == plimsoll_ledger::Direction::Debit { 1 } else { -1 };
                            *held.entry(line.account_id).or_default() += sign * amount;
                        }
                    }
                }
                Err(PostError::Conflict { posting_id, .. }) => {
                    // Whoever has the key is told; it may be told later than this.
                    assert!(answers.get(&key).is_none_or(|known| *known == posting_id));
                }
                Err(PostError::Refused(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        asked.extend(drafts);
    }
    for account in &accounts {
        let expected = held.get(account).copied().unwrap_or_default();
        assert_eq!(books.holds(*account).await.0, expected.to_string(), "{account}");
    }
    books.agree().await;
    seal_all(&sealer, &lease).await;
    whole(&books, answers.len()).await;
}

#[test]
fn the_books_are_what_the_answers_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let acts = prop::collection::vec(act(), 20..80);
    runner
        .run(&acts, |acts| {
            runtime.block_on(live(&acts));
            Ok(())
        })
        .unwrap();
}
