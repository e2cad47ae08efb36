//! A database of its own and the main job in it: ingest and the view fold, as `plimsoll run` has them.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use plimsoll_chain::Rpc;
use plimsoll_chain::abi::Contracts;
use plimsoll_ingest::{Ingest, IngestConfig};
use plimsoll_journal::{FoldRunner, Tail};
use plimsoll_store::{Cluster, DEFAULT_TERM, Db, Leases, RolePasswords, migrate, prepare_roles};
use plimsoll_views::ViewFold;
use tokio_util::sync::CancellationToken;

/// How often the mirror's watermark is looked at while a run is waited for.
const WATERMARK_POLL: Duration = Duration::from_millis(5);

/// A private server with one migrated database.
pub(super) struct Store {
    pub(super) cluster: Cluster,
    pub(super) db: Db,
}

impl Store {
    pub(super) async fn fresh(directory: &Path) -> Result<Self> {
        let cluster = Cluster::start(directory).await?;
        let urls = cluster.urls();
        prepare_roles(&urls.owner, &RolePasswords::default()).await?;
        migrate(&urls).await?;
        let db = Db::connect(&urls).await?;
        Ok(Self { cluster, db })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.db.close().await;
        self.cluster.stop().await?;
        Ok(())
    }

    /// Up to which block the mirror is.
    pub(super) async fn mirrored(&self) -> Result<Option<i64>> {
        let number = sqlx::query_scalar!("SELECT max(block_number) FROM fold_cursors")
            .fetch_one(self.db.worker())
            .await?;
        Ok(number)
    }
}

/// The main job, running.
pub(super) struct Pipeline {
    /// Where the journal ends, as soon as it does.
    pub(super) tail: Tail,
    cancel: CancellationToken,
    ingest: tokio::task::JoinHandle<Result<()>>,
    fold: tokio::task::JoinHandle<Result<()>>,
}

impl Pipeline {
    pub(super) async fn start(
        store: &Store,
        rpc: Rpc,
        contracts: &Contracts,
        config: IngestConfig,
    ) -> Result<Self> {
        let cancel = CancellationToken::new();
        let leases = Leases::connect(&store.db, "bench", DEFAULT_TERM).await?;
        let tail = Tail::default();
        let chain_id = config.chain_id;
        let fold = ViewFold::new(chain_id, contracts);
        let mut ingest =
            Ingest::new(config, rpc, contracts.clone(), store.db.clone(), leases.clone(), tail.clone());
        let mut runner = FoldRunner::new(fold, chain_id, store.db.clone(), leases, tail.clone());
        let (until, until_too) = (cancel.clone(), cancel.clone());
        Ok(Self {
            tail,
            ingest: tokio::spawn(async move { ingest.run(&until).await.context("ingest") }),
            fold: tokio::spawn(async move { runner.run(&until_too).await.context("the view fold") }),
            cancel,
        })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.cancel.cancel();
        self.ingest.await??;
        self.fold.await?
    }

    fn failed(&self) -> bool {
        self.ingest.is_finished() || self.fold.is_finished()
    }
}

/// Brings everything up to block `last` through the pipeline; how long that takes, from nothing.
pub(super) async fn time_to_mirror(
    store: &Store,
    rpc: Rpc,
    contracts: &Contracts,
    config: IngestConfig,
    last: u64,
) -> Result<Duration> {
    let started = Instant::now();
    let pipeline = Pipeline::start(store, rpc, contracts, config).await?;
    let last = i64::try_from(last)?;
    loop {
        if store.mirrored().await?.is_some_and(|number| number >= last) {
            break;
        }
        if pipeline.failed() {
            pipeline.stop().await?;
            bail!("the pipeline ended before block {last}");
        }
        tokio::time::sleep(WATERMARK_POLL).await;
    }
    let elapsed = started.elapsed();
    pipeline.stop().await?;
    Ok(elapsed)
}
