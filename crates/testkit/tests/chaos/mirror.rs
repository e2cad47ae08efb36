//! What a simulated follower committed, in Postgres: the journal there is the one in memory, and the views that were folded beside it are what its
//! replay gives, and what the same chain gives that is read once from its first block, whatever was taken back, or came late.

use plimsoll_ingest::Book as _;
use plimsoll_journal::{
    ChainIdentity, Evidence, Filter, NewBlock, NewEvent, Range, StepOptions, Tail, Writer, step,
};
use plimsoll_store::{DEFAULT_TERM, Db, Leases, Partitions};
use plimsoll_testkit::chaos::sim::{self, Run};
use plimsoll_testkit::projection::Projection;
use plimsoll_testkit::world::contracts;
use plimsoll_types::{Completeness, JournalKind};
use plimsoll_views::ViewFold;
use plimsoll_views::replay::replay;

use crate::support::laws;

/// Seeds that are lived through in Postgres, too.
const SEEDS: u64 = 4;
/// Of these and further ones so many in which history comes late.
const LATE_SEEDS: u64 = 4;
const CHAIN_ID: u64 = 1;

/// A journal of this run's chain, and its views.
struct Kept {
    db: Db,
    /// Without them the writer has no authority.
    _leases: Leases,
    writer: Writer,
    fold: ViewFold,
}

impl Kept {
    async fn new(run: &Run) -> Self {
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
            filter: Filter::default(),
        };
        let writer = Writer::open(&db, lease, Tail::default(), &identity).await.unwrap();
        let mut partitions = Partitions::default();
        let fold = ViewFold::new(CHAIN_ID, &contracts(run.start_block));
        for table in plimsoll_journal::Fold::partitioned_tables(&fold) {
            partitions.ensure(db.worker(), table, CHAIN_ID, 0, 1).await.unwrap();
        }
        Self { db, _leases: leases, writer, fold }
    }

    /// Folds all that the journal has.
    async fn fold(&mut self) {
        let options = StepOptions { max_records: 10_000, up_to_seq: None, tail: None, lease: None };
        while step(&mut self.fold, &self.db, CHAIN_ID, options).await.unwrap().records > 0 {}
    }

    async fn projection(&self) -> Projection {
        let mut conn = self.db.worker().acquire().await.unwrap();
        Projection::read(&mut conn, CHAIN_ID).await.unwrap()
    }
}

/// What the run's chain has, as one range.
fn whole(run: &Run) -> Option<Range> {
    let (number, hash) = run.journal.open().head()?;
    let mut events = run.journal.live_events();
    events.sort_unstable_by_key(|event| (event.block_number, event.log_index));
    let mut transactions = run.journal.live_transactions();
    transactions.sort_unstable_by_key(|tx| (tx.block_number, tx.tx_index));
    let contracts = contracts(run.start_block);
    let decoded = |event: plimsoll_journal::Event| {
        let decoding =
            contracts.decode(&event.contract, &event.topics, &event.data, &event.tx_hash, event.log_index);
        let decoding = decoding.unwrap().map(|decoded| {
            let mut payload = Vec::new();
            decoded.write_json(&mut payload);
            plimsoll_journal::Decoding {
                request_id: decoded.request_id().map(|id| id.to_string()),
                seq: decoded.seq(),
                event_name: decoded.name,
                payload,
            }
        });
        NewEvent { event, decoding }
    };
    Some(Range {
        from: 0,
        end: NewBlock { number, hash, parent_hash: hash, timestamp: 1 },
        hashes: Vec::new(),
        blocks: Vec::new(),
        events: events.into_iter().map(decoded).collect(),
        transactions,
        evidence: Evidence { level: Completeness::Trusted, endpoint: "read once".into() },
    })
}

/// Lives through a run, and judges; `None` if it is another one that was asked for. How often something was taken back.
async fn live_through(run: Run) -> usize {
    let seed = run.seed;
    let mut kept = Kept::new(&run).await;
    for commit in run.commits.clone() {
        commit.make_again(&mut kept.writer).await.unwrap();
        // As often as it can: what is taken back has been folded by then.
        kept.fold().await;
    }
    let rows = {
        let mut conn = kept.db.worker().acquire().await.unwrap();
        let rows = laws::read(&mut conn, CHAIN_ID.cast_signed()).await.unwrap();
        run.journal.read(|journal| assert_eq!(journal, &rows, "seed {seed}"));
        rows.rows
    };
    let contracts = contracts(run.start_block);
    let report = replay(&kept.db, CHAIN_ID, &contracts, |_| {}).await.unwrap();
    assert!(report.equal, "seed {seed}: {report:#?}");
    assert_eq!(report.at_seq, rows.last().map_or(0, |row| row.seq), "seed {seed}");

    let mut once = Kept::new(&run).await;
    if let Some(range) = whole(&run) {
        once.writer.finalize(&range.end).await.unwrap();
        once.writer.append_range(range).await.unwrap();
        once.fold().await;
    }
    let differences = kept.projection().await.differences(&once.projection().await);
    assert!(differences.is_empty(), "seed {seed}: {differences:#?}");
    rows.iter().filter(|row| row.kind == JournalKind::Retract).count()
}

#[tokio::test]
async fn the_views_of_what_was_lived_through_are_what_its_replay_gives() {
    let (mut retracted, mut late) = (0, 0);
    for seed in 0..100 {
        let run = tokio::task::spawn_blocking(move || sim::run(seed, false)).await.unwrap();
        let is_late = run.counts.late_ranges > 0;
        if seed < SEEDS || (is_late && late < LATE_SEEDS) {
            late += u64::from(is_late);
            retracted += live_through(run).await;
        }
    }
    assert!(retracted > 0, "nothing was taken back");
    assert_eq!(late, LATE_SEEDS, "history came late in fewer runs");
}
