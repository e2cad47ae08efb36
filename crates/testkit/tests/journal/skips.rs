//! A record that a fold cannot take.

use plimsoll_journal::{FoldRunner, SkipError, retry, skip};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::last;
use crate::support::hand::{CHAIN_ID, Desk, Probe, branch, genesis};
use crate::support::laws;
use crate::support::task::Told;

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
