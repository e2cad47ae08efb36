//! The role that sends: what each chain's signers need of this process.
//!
//! Verdicts are a fold, in one process at a time. Desks are opened in every process that has the role, and each signer's lease decides who works it: when a process dies, another
//! that stands by takes its signers over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use plimsoll_chain::Reverts;
use plimsoll_journal::{FoldError, FoldRunner, Tail, WatchError};
use plimsoll_relayer::admission::{Admission, Entry, Gates};
use plimsoll_relayer::book::{BookError, PgBook};
use plimsoll_relayer::desk::{Desk, DeskOptions, Market};
use plimsoll_relayer::fees::Pricing;
use plimsoll_relayer::fold::VerdictFold;
use plimsoll_relayer::grant::SignerPolicy;
use plimsoll_relayer::inquest::{self, Inquest};
use plimsoll_relayer::keys::Key;
use plimsoll_relayer::reconcile::{self, Reconciler, WatchError as ReconcileError};
use plimsoll_relayer::signers::{self, RegisterError};
use plimsoll_relayer::users::{Courier, courier_lease};
use plimsoll_relayer::{Bell, fold};
use plimsoll_store::{Db, LeaseError, Leases, fence_status};
use tokio_util::sync::CancellationToken;

use crate::config::{Chain, Config, DatabaseSource, Loaded};
use crate::failure::{Failure, chain_of};
use crate::keys;
use crate::supervisor::{End, Supervisor};
use crate::watermark::Watermark;
use crate::wiring;

/// Arbitrum One, Nova and Sepolia, whose sequencer takes transactions as they come.
const WITHOUT_TIPS: [u64; 3] = [42_161, 42_170, 421_614];

/// How a chain prices gas: as it is configured, or as its id says.
pub(crate) fn pricing(chain: &Chain) -> Pricing {
    let by_id =
        if WITHOUT_TIPS.contains(&chain.chain_id) { Pricing::BaseFeeWithoutTips } else { Pricing::BaseFee };
    chain.relayer.pricing.unwrap_or(by_id)
}

/// A signer with its key.
#[derive(Clone)]
struct Opened {
    policy: SignerPolicy,
    key: Arc<dyn Key>,
    simulates: bool,
}

/// What is sent for one chain, and by whom.
#[derive(Clone)]
struct Sending {
    chain_id: u64,
    signers: Vec<Opened>,
    options: DeskOptions,
    market: Market,
    book: PgBook,
    bell: Bell,
    db: Db,
    leases: Leases,
    node: String,
    tail: Tail,
    /// Where a fence would be.
    data_dir: Option<PathBuf>,
}

/// Opens the signers' keys, and starts the role for each chain that has signers.
pub(crate) fn start(
    loaded: &Loaded,
    config: &Config,
    (db, leases, tail, bell): (&Db, &Leases, &Tail, &Bell),
    node: &str,
    supervisor: &mut Supervisor,
) -> Result<(), Failure> {
    for chain in &config.chains {
        let of_chain = config.signers.iter().filter(|signer| signer.policy.chain_id == chain.chain_id);
        let opened: Result<Vec<_>, _> = of_chain
            .map(|signer| {
                let key = tokio::task::block_in_place(|| keys::open(signer));
                let opened = |key| Opened { policy: signer.policy.clone(), key, simulates: signer.simulates };
                key.map(opened).map_err(|unusable| unusable.into_failure(loaded))
            })
            .collect();
        let opened = opened?;
        if opened.is_empty() {
            continue;
        }
        let reverts = Arc::new(Reverts::new(&wiring::contracts(chain)));
        let sending = Sending {
            chain_id: chain.chain_id,
            signers: opened,
            options: options(chain, &reverts, db),
            market: Market::new(wiring::pool(loaded, chain)?),
            book: PgBook::new(db.clone(), leases.clone(), node.to_owned()),
            bell: bell.clone(),
            db: db.clone(),
            leases: leases.clone(),
            node: node.to_owned(),
            tail: tail.clone(),
            data_dir: match &config.database.source {
                DatabaseSource::Private(directory) => Some(directory.clone()),
                DatabaseSource::Url(_) => None,
            },
        };
        let lease = plimsoll_journal::lease_name(fold::FOLD_NAME, chain.chain_id);
        let folding = sending.clone();
        supervisor.spawn_leased("relayer:verdicts", Some(chain.chain_id), lease, move |cancel| {
            folding.clone().fold(cancel)
        });
        let comparing = sending.clone();
        let lease = reconcile::lease_name(chain.chain_id);
        supervisor.spawn_leased("relayer:reconcile", Some(chain.chain_id), lease, move |cancel| {
            comparing.clone().compare(cancel)
        });
        let of_users = sending.clone();
        let lease = courier_lease(chain.chain_id);
        supervisor.spawn_leased("relayer:users", Some(chain.chain_id), lease, move |cancel| {
            of_users.clone().send_for_users(cancel)
        });
        let asking = sending.clone();
        supervisor.spawn_leased(
            "relayer:reasons",
            Some(chain.chain_id),
            inquest::lease_name(chain.chain_id),
            move |cancel| asking.clone().ask(cancel),
        );
        supervisor.spawn("relayer", Some(chain.chain_id), move |cancel| sending.clone().work(cancel));
    }
    Ok(())
}

/// How each of a chain's signers is worked.
fn options(chain: &Chain, reverts: &Arc<Reverts>, db: &Db) -> DeskOptions {
    let relayer = &chain.relayer;
    let watermark = Watermark::of(chain, db).map(|watermark| Arc::new(watermark) as Arc<dyn Admission>);
    DeskOptions {
        pricing: pricing(chain),
        min_priority_fee_per_gas: relayer.min_priority_fee_per_gas_wei,
        resend_after_blocks: relayer.resend_after_blocks,
        bump_after_blocks: relayer.bump_after_blocks,
        resend_after: relayer.resend_after,
        poll: relayer.policy_interval,
        entry: Entry {
            simulates: false,
            reverts: Arc::clone(reverts),
            gates: Gates::new(watermark.into_iter().collect()),
        },
        ..DeskOptions::default()
    }
}

impl Sending {
    /// Finds out why what reverted did.
    async fn ask(self, cancel: CancellationToken) -> Result<(), End> {
        let reverts = Reverts::clone(&self.options.entry.reverts);
        let pool = self.market.pool().clone();
        let inquest = Inquest::new(self.chain_id, pool, reverts, self.db, self.leases, self.bell);
        match inquest.run(&cancel).await {
            Err(BookError::Fenced(LeaseError::Cancelled { .. })) => Ok(()),
            other => other.map_err(|error| End::MayPass(chain_of(&error))),
        }
    }

    async fn fold(self, cancel: CancellationToken) -> Result<(), End> {
        let addresses = self.signers.iter().map(|signer| signer.policy.address);
        let fold = VerdictFold::new(self.chain_id, addresses, Some(self.bell));
        let mut runner = FoldRunner::new(fold, self.chain_id, self.db, self.leases, self.tail);
        match runner.run(&cancel).await {
            Err(FoldError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            Err(error @ FoldError::CursorPastEnd { .. }) => Err(End::Fatal(error.into())),
            other => other.map_err(|error| End::MayPass(chain_of(&error))),
        }
    }

    /// Compares what the database has of the signers with the chain, all the time.
    async fn compare(self, cancel: CancellationToken) -> Result<(), End> {
        let pool = self.market.pool().clone();
        let mut reconciler = Reconciler::new(self.chain_id, self.db, self.leases, pool, self.bell);
        match reconciler.run(&cancel).await {
            Err(ReconcileError::Lease(LeaseError::Cancelled { .. })) => Ok(()),
            other => other.map_err(|error| End::MayPass(chain_of(&error))),
        }
    }

    /// Sends what users signed, whenever this process has the right to.
    async fn send_for_users(self, cancel: CancellationToken) -> Result<(), End> {
        self.unfenced()?;
        let Self { chain_id, market, db, leases, node, bell, .. } = self;
        Courier::new(chain_id, market, db, leases, node, bell).run(&cancel).await;
        Ok(())
    }

    /// A restored database does not know what was sent after its backup.
    fn unfenced(&self) -> Result<(), End> {
        if let Some(data_dir) = &self.data_dir
            && let Some(fence) = fence_status(data_dir).map_err(|error| End::MayPass(chain_of(&error)))?
        {
            let why = format!(
                "nothing is sent: the database was restored from a backup of {}, which does not know what was sent after it; `plimsoll fence lift` says that somebody has looked",
                fence.backup_made_at
            );
            return Err(End::MayPass(why));
        }
        Ok(())
    }

    /// Makes the signers known, and works each whenever this process has the right to.
    async fn work(self, cancel: CancellationToken) -> Result<(), End> {
        self.unfenced()?;
        let policies: Vec<_> = self.signers.iter().map(|signer| signer.policy.clone()).collect();
        while let Err(error) = signers::register(&self.db, &policies).await {
            // The chain's first process begins its journal, a moment later than this role begins.
            if !matches!(error, RegisterError::Watch(WatchError::NotBegun { .. })) {
                return Err(End::MayPass(chain_of(&error)));
            }
            if tokio::time::timeout(Duration::from_millis(200), cancel.cancelled()).await.is_ok() {
                return Ok(());
            }
        }
        let desks: Vec<_> = self
            .signers
            .into_iter()
            .map(|Opened { policy, key, simulates }| {
                let options = DeskOptions {
                    entry: Entry { simulates, ..self.options.entry.clone() },
                    window: usize::try_from(policy.window.get()).unwrap_or(usize::MAX),
                    max_fee_per_gas: policy.fee_cap(),
                    ..self.options.clone()
                };
                Desk::new(
                    self.chain_id,
                    key,
                    options,
                    self.market.clone(),
                    self.book.clone(),
                    self.bell.clone(),
                )
            })
            .collect();
        join_all(desks.iter().map(|desk| desk.run(&cancel))).await;
        Ok(())
    }
}
