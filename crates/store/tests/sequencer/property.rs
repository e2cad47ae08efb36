//! Any interleaving of writers, crashes and takeovers: dense, nothing skipped, nothing twice, causes before effects, every link right.
//!
//! `PROPTEST_CASES` asks for more cases.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use plimsoll_store::lease::{Lease, LeaseError, Leases};
use plimsoll_store::{Db, Sequencer, SequencerError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::PgConnection;

use super::{NOTES, database, drain_all, expire, leases, patient_session, stage, stream, take};

const DEFAULT_CASES: u32 = 24;
const WRITERS: usize = 4;
const NODES: usize = 2;
/// Small, so that a story has full batches too.
const BATCH_ROWS: i64 = 3;
/// A batch takes fewer.
const KILLED_WITHIN_POLLS: u8 = 40;

#[derive(Clone, Debug)]
enum Act {
    /// Begins a transaction if there is none.
    Stage {
        writer: usize,
        rows: i32,
    },
    Commit(usize),
    Abort(usize),
    Drain,
    RaiseFloor,
    /// The holder is dropped in the middle of a batch.
    Kill {
        polls: u8,
    },
    /// The other node takes over; the holder does not know yet.
    TakeOver,
    /// The other node takes over while the holder is in the middle of a batch, and the holder goes on.
    TakeOverAmid {
        polls: u8,
    },
    /// A node that was replaced wakes and goes on numbering.
    Wake,
}

fn act() -> impl Strategy<Value = Act> {
    let writer = 0..WRITERS;
    prop_oneof![
        6 => (writer.clone(), 1..5).prop_map(|(writer, rows)| Act::Stage { writer, rows }),
        4 => writer.clone().prop_map(Act::Commit),
        1 => writer.prop_map(Act::Abort),
        3 => Just(Act::Drain),
        2 => Just(Act::RaiseFloor),
        3 => (0..KILLED_WITHIN_POLLS).prop_map(|polls| Act::Kill { polls }),
        1 => Just(Act::TakeOver),
        2 => (0..KILLED_WITHIN_POLLS).prop_map(|polls| Act::TakeOverAmid { polls }),
        1 => Just(Act::Wake),
    ]
}

struct Writer {
    conn: PgConnection,
    is_open: bool,
    next_place: i32,
    /// Of the open transaction: what was staged, and when.
    staged: Vec<(i32, usize)>,
}

struct Node {
    leases: Leases,
    sequencer: Sequencer,
    lease: Option<Lease>,
}

struct World {
    db: Db,
    writers: Vec<Writer>,
    nodes: Vec<Node>,
    holder: usize,
    step: usize,
    /// Committed rows as (writer, place): when they were staged, and when committed.
    committed: BTreeMap<(i32, i32), (usize, usize)>,
}

impl World {
    async fn new() -> Self {
        let db = database().await;
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let conn = patient_session(&db).await;
            writers.push(Writer { conn, is_open: false, next_place: 0, staged: Vec::new() });
        }
        let mut nodes = Vec::new();
        for number in 0..NODES {
            let leases = leases(&db, &format!("node {number}")).await;
            let sequencer =
                Sequencer::new(&NOTES, db.clone(), leases.clone()).with_max_batch_rows(BATCH_ROWS);
            nodes.push(Node { leases, sequencer, lease: None });
        }
        nodes[0].lease = Some(take(&nodes[0].leases).await);
        Self { db, writers, nodes, holder: 0, step: 0, committed: BTreeMap::new() }
    }

    async fn end(&mut self, writer: usize, how: &'static str) {
        let own = &mut self.writers[writer];
        sqlx::raw_sql(how).execute(&mut own.conn).await.unwrap();
        own.is_open = false;
        let staged = std::mem::take(&mut own.staged);
        if how == "COMMIT" {
            let writer = i32::try_from(writer).unwrap();
            self.committed.extend(staged.into_iter().map(|(place, at)| ((writer, place), (at, self.step))));
        }
    }

    async fn act(&mut self, act: &Act) {
        self.step += 1;
        match *act {
            Act::Stage { writer, rows } => {
                let own = &mut self.writers[writer];
                if !own.is_open {
                    sqlx::raw_sql("BEGIN").execute(&mut own.conn).await.unwrap();
                    own.is_open = true;
                }
                let places = own.next_place..own.next_place + rows;
                own.next_place += rows;
                own.staged.extend(places.clone().map(|place| (place, self.step)));
                stage(&mut own.conn, i32::try_from(writer).unwrap(), places).await;
            }
            Act::Commit(writer) if self.writers[writer].is_open => self.end(writer, "COMMIT").await,
            Act::Abort(writer) if self.writers[writer].is_open => self.end(writer, "ROLLBACK").await,
            Act::Commit(_) | Act::Abort(_) => {}
            Act::Drain => {
                let node = &mut self.nodes[self.holder];
                drain_all(&mut node.sequencer, node.lease.as_ref().unwrap()).await.unwrap();
                // Whatever is still open somewhere: all that was committed is there.
                self.check_all_there().await;
            }
            Act::RaiseFloor => self.nodes[self.holder].sequencer.raise_floor().await.unwrap(),
            Act::Kill { polls } => {
                let node = &mut self.nodes[self.holder];
                let batch = pin!(node.sequencer.drain(node.lease.as_ref().unwrap()));
                if let Some(outcome) = polled(batch, polls).await {
                    outcome.unwrap();
                }
            }
            Act::TakeOver => {
                self.make_free(1 - self.holder).await;
                expire(&self.db).await;
                self.holder = 1 - self.holder;
                let node = &mut self.nodes[self.holder];
                node.lease = Some(take(&node.leases).await);
            }
            Act::TakeOverAmid { polls } => self.take_over_amid(polls).await,
            Act::Wake => {
                let node = &mut self.nodes[1 - self.holder];
                if let Some(lease) = &node.lease {
                    judge_replaced(node.sequencer.drain(lease).await, 0);
                }
            }
        }
    }

    /// A node that was replaced gives up what it believed to hold.
    async fn make_free(&mut self, node: usize) {
        if let Some(lease) = self.nodes[node].lease.take() {
            lease.release().await.unwrap();
        }
    }

    async fn take_over_amid(&mut self, polls: u8) {
        self.make_free(1 - self.holder).await;
        let (low, high) = self.nodes.split_at_mut(1);
        let (old, new) = match self.holder {
            0 => (&mut low[0], &mut high[0]),
            _ => (&mut high[0], &mut low[0]),
        };
        let mut batch = pin!(old.sequencer.drain(old.lease.as_ref().unwrap()));
        let ended = polled(batch.as_mut(), polls).await;
        expire(&self.db).await;
        let (outcome, taken) = match ended {
            Some(outcome) => (outcome, take(&new.leases).await),
            None => tokio::join!(batch, take(&new.leases)),
        };
        judge_replaced(outcome, u64::try_from(BATCH_ROWS).unwrap());
        new.lease = Some(taken);
        self.holder = 1 - self.holder;
    }

    async fn check_all_there(&self) {
        let there: Vec<(i32, i32)> = stream_or_empty(&self.db).await;
        let mut sorted = there.clone();
        sorted.sort_unstable();
        let committed: Vec<(i32, i32)> = self.committed.keys().copied().collect();
        assert_eq!(sorted, committed, "nothing skipped, nothing twice, nothing that was not committed");
        // What was committed before another row was staged has the lower number.
        let mut staged_latest = 0;
        let mut earliest_commit_after: Vec<usize> = there.iter().map(|key| self.committed[key].1).collect();
        for at in (1..earliest_commit_after.len()).rev() {
            earliest_commit_after[at - 1] = earliest_commit_after[at - 1].min(earliest_commit_after[at]);
        }
        for (key, earliest) in there.iter().zip(&earliest_commit_after) {
            staged_latest = staged_latest.max(self.committed[key].0);
            assert!(
                staged_latest <= *earliest,
                "{key:?} or one before it saw what was committed at step {earliest}: {there:?}"
            );
        }
        // Within a transaction: in the order of staging.
        let mut last = BTreeMap::new();
        for (writer, place) in there {
            assert!(last.insert(writer, place).is_none_or(|before| before < place));
        }
    }

    async fn finish(mut self) {
        for writer in 0..WRITERS {
            if self.writers[writer].is_open {
                self.end(writer, "ROLLBACK").await;
            }
        }
        let node = &mut self.nodes[self.holder];
        drain_all(&mut node.sequencer, node.lease.as_ref().unwrap()).await.unwrap();
        self.check_all_there().await;
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM notes_staging")
            .fetch_one(self.db.worker())
            .await
            .unwrap();
        assert_eq!(waiting, 0);
        self.db.close().await;
    }
}

/// A node that was replaced is fenced, or had finished a batch before.
fn judge_replaced(outcome: Result<plimsoll_store::sequencer::Drained, SequencerError>, most_rows: u64) {
    match outcome {
        Ok(drained) => {
            assert!(drained.rows <= most_rows, "it numbered {} rows after it was replaced", drained.rows);
        }
        Err(SequencerError::Lease(LeaseError::Fenced { .. })) => {}
        Err(error) => panic!("{error}"),
    }
}

async fn stream_or_empty(db: &Db) -> Vec<(i32, i32)> {
    let next: i64 = sqlx::query_scalar("SELECT next FROM sequences WHERE stream = 'notes'")
        .fetch_one(db.worker())
        .await
        .unwrap();
    if next == 1 {
        return Vec::new();
    }
    stream(db).await.iter().map(|note| (note.writer, note.place)).collect()
}

/// Polls at most so many times; `None` when it is not done then.
async fn polled<F: Future>(mut future: Pin<&mut F>, polls: u8) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[test]
fn any_interleaving_of_writers_crashes_and_takeovers_gives_one_dense_order() {
    let cases = Config::default().cases;
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { cases } else { DEFAULT_CASES };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&vec(act(), 1..60), |acts| {
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in &acts {
                world.act(act).await;
            }
            world.finish().await;
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
