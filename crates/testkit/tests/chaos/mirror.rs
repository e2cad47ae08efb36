//! What a simulated follower committed, in Postgres: the journal there is the one in memory, and the views that were folded beside it are what its
//! replay gives.

use plimsoll_journal::{ChainIdentity, Fold as _, StepOptions, Tail, Writer, step};
use plimsoll_store::{DEFAULT_TERM, Leases, Partitions};
use plimsoll_testkit::chaos::sim;
use plimsoll_testkit::world::contracts;
use plimsoll_types::JournalKind;
use plimsoll_views::ViewFold;
use plimsoll_views::replay::replay;

use crate::support::laws;

/// Seeds that are lived through in Postgres, too.
const SEEDS: u64 = 4;
const CHAIN_ID: u64 = 1;

#[tokio::test]
async fn the_views_of_what_was_lived_through_are_what_its_replay_gives() {
    let mut retracted = 0;
    for seed in 0..SEEDS {
        let run = tokio::task::spawn_blocking(move || sim::run(seed, false)).await.unwrap();
        let db = plimsoll_store::testing::db().await;
        let leases = Leases::connect(&db, "first", DEFAULT_TERM).await.unwrap();
        let lease = leases.acquire(&plimsoll_ingest::lease_name(CHAIN_ID)).await.unwrap().unwrap();
        let identity = ChainIdentity {
            chain_id: CHAIN_ID,
            name: "simulated".into(),
            genesis_hash: run.genesis_hash,
            start_block: run.start_block,
            confirmations: 0,
            finality: "as it was".into(),
            filter: plimsoll_journal::Filter::default(),
        };
        let mut writer = Writer::open(&db, lease, Tail::default(), &identity).await.unwrap();
        let contracts = contracts(run.start_block);
        let mut fold = ViewFold::new(CHAIN_ID, &contracts);
        let mut partitions = Partitions::default();
        for table in fold.partitioned_tables() {
            partitions.ensure(db.worker(), table, CHAIN_ID, 0, 1).await.unwrap();
        }
        let options = StepOptions { max_records: 10_000, up_to_seq: None, tail: None, lease: None };
        for commit in run.commits {
            commit.make_again(&mut writer).await.unwrap();
            // As often as it can: what is taken back has been folded by then.
            while step(&mut fold, &db, CHAIN_ID, options).await.unwrap().records > 0 {}
        }
        let mut conn = db.worker().acquire().await.unwrap();
        let kept = laws::read(&mut conn, CHAIN_ID.cast_signed()).await.unwrap();
        run.journal.read(|journal| assert_eq!(journal, &kept, "seed {seed}"));
        retracted += kept.rows.iter().filter(|row| row.kind == JournalKind::Retract).count();
        let report = replay(&db, CHAIN_ID, &contracts, |_| {}).await.unwrap();
        assert!(report.equal, "seed {seed}: {report:#?}");
        assert_eq!(report.at_seq, kept.rows.last().map_or(0, |row| row.seq), "seed {seed}");
    }
    assert!(retracted > 0, "nothing was taken back in {SEEDS} runs");
}
