//! Any interleaving of postings, reversals, compensations and closings, through several processes: whatever is asked of the books afterwards is what the lines say.

use std::collections::{HashMap, HashSet};

use futures::future::join_all;
use plimsoll_ledger::period::close;
use plimsoll_ledger::report::{Moment, Scope, balance_sheets, totals, trial_balance};
use plimsoll_ledger::statement::{By, Window};
use plimsoll_ledger::{Correction, Draft, Intake, Origin, PostError, Posting, Refusal, reversal};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::fold::Fold;
use crate::statements::{folded, pages};
use crate::support::Books;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// So much between two accounts, so many minutes ago.
    Transfer { debit: usize, credit: usize, amount: u64, minutes: i64, is_chains: bool },
    /// Takes back what was booked then, or tries to.
    Reverse { at: usize, is_chains: bool },
    /// Makes it good.
    Compensate { at: usize, amount: u64 },
    /// Closes the books through so many minutes ago, if they are not yet.
    Close { minutes: i64 },
}

fn act() -> impl Strategy<Value = Act> {
    let account = 0_usize..5;
    prop_oneof![
        6 => (account.clone(), account, 1_u64..100, 0_i64..1_000, prop::bool::weighted(0.3))
            .prop_map(|(debit, credit, amount, minutes, is_chains)| Act::Transfer { debit, credit, amount, minutes, is_chains }),
        4 => (0_usize..1_000, prop::bool::weighted(0.3)).prop_map(|(at, is_chains)| Act::Reverse { at, is_chains }),
        2 => (0_usize..1_000, 1_u64..9).prop_map(|(at, amount)| Act::Compensate { at, amount }),
        1 => (0_i64..1_000).prop_map(|minutes| Act::Close { minutes }),
    ]
}

struct Story<'a> {
    books: &'a Books,
    accounts: Vec<Uuid>,
    start: OffsetDateTime,
    /// What is on record, in some order.
    booked: Vec<Uuid>,
    reversed: HashMap<Uuid, Uuid>,
    reversals: HashSet<Uuid>,
    times: Vec<OffsetDateTime>,
}

impl Story<'_> {
    /// What an act asks to be booked, if it does.
    async fn asks(&mut self, act: Act) -> Option<(Posting, Option<Uuid>)> {
        let origin = |is_chains| if is_chains { Origin::Chain } else { Origin::Request };
        match act {
            Act::Transfer { debit, credit, amount, minutes, is_chains } => {
                let effective_at = Some(self.start - Duration::minutes(minutes));
                let draft = self.books.transfer(self.accounts[debit], self.accounts[credit], amount);
                let draft = Draft { effective_at, origin: origin(is_chains), ..draft };
                Some((Posting::new(draft).unwrap(), None))
            }
            Act::Reverse { at, is_chains } if !self.booked.is_empty() => {
                let target = self.booked[at % self.booked.len()];
                let mut tx = self.books.db.tenant_tx(&[self.books.tenant_id]).await.unwrap();
                let context = self.books.draft(Vec::new()).context;
                match reversal(&mut tx, target, "wrong", context, origin(is_chains)).await {
                    Ok(posting) => Some((posting, Some(target))),
                    Err(PostError::Refused(Refusal::IsReversal { .. })) => {
                        assert!(self.reversals.contains(&target));
                        None
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            Act::Compensate { at, amount } if !self.booked.is_empty() => {
                let target = self.booked[at % self.booked.len()];
                let correction = Some((Correction::Compensates(target), "not quite".into()));
                let draft = self.books.transfer(self.accounts[0], self.accounts[1], amount);
                Some((Posting::new(Draft { correction, ..draft }).unwrap(), None))
            }
            Act::Close { minutes } => {
                let through = self.start - Duration::minutes(minutes);
                // Whether it is closed already is for the books to say.
                let closing =
                    close(&self.books.db, through, "over", &self.books.draft(Vec::new()).context).await;
                self.times.extend(closing.map(|it| it.closed_through));
                None
            }
            Act::Reverse { .. } | Act::Compensate { .. } => None,
        }
    }

    fn told(&mut self, target: Option<Uuid>, told: Result<plimsoll_ledger::Posted, PostError>) {
        match told {
            Ok(posted) => {
                self.booked.push(posted.posting_id);
                if let Some(target) = target {
                    assert_eq!(self.reversed.insert(target, posted.posting_id), None, "reversed twice");
                    self.reversals.insert(posted.posting_id);
                }
            }
            Err(PostError::Refused(Refusal::Reversed { posting_id, by })) => {
                // Who has reversed it may be told later than this.
                assert_eq!(Some(posting_id), target);
                assert!(self.reversed.get(&posting_id).is_none_or(|known| *known == by));
            }
            Err(PostError::Refused(Refusal::Limit { .. } | Refusal::IsReversal { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

async fn live(acts: &[Act]) {
    let books = Books::new().await;
    let intakes = [books.intake.clone(), Intake::start(books.db.clone()), Intake::start(books.db.clone())];
    let start = OffsetDateTime::now_utc();
    let mut story = Story {
        books: &books,
        accounts: books.cash.iter().copied().chain([books.user]).collect(),
        start,
        booked: Vec::new(),
        reversed: HashMap::new(),
        reversals: HashSet::new(),
        times: vec![start - Duration::minutes(500), start],
    };
    for (round, chunk) in acts.chunks(10).enumerate() {
        let mut asked = Vec::new();
        let mut targets = Vec::new();
        for act in chunk {
            if let Some((posting, target)) = story.asks(*act).await {
                asked.push(posting);
                targets.push(target);
            }
        }
        let posts = asked.into_iter().enumerate().map(|(n, posting)| intakes[(n + round) % 3].post(posting));
        // A period is closed between them.
        let through =
            start - Duration::minutes(1_000) + Duration::minutes(i64::try_from(round).unwrap() * 60);
        let context = books.draft(Vec::new()).context;
        let (all, closing) = tokio::join!(join_all(posts), close(&books.db, through, "over", &context));
        story.times.extend(closing.map(|it| it.closed_through));
        for (target, told) in targets.into_iter().zip(all) {
            story.told(target, told);
        }
        story.times.push(OffsetDateTime::now_utc());
    }
    books.agree().await;
    agrees(&story).await;
}

/// Whatever is asked is what the lines say.
async fn agrees(story: &Story<'_>) {
    let books = story.books;
    let fold = Fold::of(books).await;
    let scope = Scope { tenant_id: books.tenant_id, domain: None, currency: None };
    let mut tx = books.db.tenant_snapshot(&[books.tenant_id]).await.unwrap();
    for &time in &story.times {
        for moment in [
            Moment::default(),
            Moment { effective_at: Some(time), ..Moment::default() },
            Moment { booked_at: Some(time), ..Moment::default() },
            Moment { recorded_at: Some(time), ..Moment::default() },
            Moment { booked_at: Some(time), recorded_at: Some(time), ..Moment::default() },
        ] {
            let accounts = trial_balance(&mut tx, &scope, moment, None, 1_000).await.unwrap();
            for it in accounts {
                assert_eq!(
                    it.balance.to_string(),
                    fold.balance(it.account_id, moment).to_string(),
                    "{moment:?}"
                );
            }
            let sheets = balance_sheets(&totals(&mut tx, &scope, moment).await.unwrap());
            assert!(sheets.iter().all(|sheet| sheet.difference().is_zero()), "{moment:?}: {sheets:?}");
        }
    }
    for account in fold.accounts() {
        for by in [By::Effective, By::Booked, By::Recorded] {
            for pair in story.times.windows(2) {
                let window = Window { by, after: pair[0].min(pair[1]), through: pair[0].max(pair[1]) };
                assert_eq!(
                    pages(books, account, window, 7).await,
                    folded(&fold, account, window),
                    "{window:?}"
                );
            }
        }
    }
    let not_mirrored = books
        .count(
            "SELECT count(*) FROM ledger_postings r JOIN ledger_entries l ON l.posting_id = r.reverses
             LEFT JOIN ledger_entries m ON m.posting_id = r.posting_id AND m.sequence = l.sequence AND m.account_id = l.account_id AND m.debit = l.credit AND m.credit = l.debit
             WHERE m.posting_id IS NULL",
        )
        .await;
    assert_eq!(not_mirrored, 0);
    let reversals = books.count("SELECT count(*) FROM ledger_postings WHERE reverses IS NOT NULL").await;
    assert_eq!(usize::try_from(reversals).unwrap(), story.reversed.len());
}

#[test]
fn whatever_is_asked_of_the_books_is_what_the_lines_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 10, failure_persistence: None, ..Config::default() });
    let acts = prop::collection::vec(act(), 20..90);
    runner
        .run(&acts, |acts| {
            runtime.block_on(live(&acts));
            Ok(())
        })
        .unwrap();
}
