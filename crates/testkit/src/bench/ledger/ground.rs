//! A tenant's books, and their sealer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use plimsoll_ledger::verify::Scope;
use plimsoll_ledger::{
    AccountClass, AccountType, Currency, Direction, Draft, Intake, Line, NewAccount, Posting, Sealer, open,
    verify,
};
use plimsoll_proof::ledger::checkpoint::NoteSigner;
use plimsoll_store::{DEFAULT_TERM, Db, Leases};
use plimsoll_types::{Amount, Context};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::pipeline::Store;

const ACCOUNTS: usize = 1_000;
const CURRENCY: &str = "USDC";
const LOG: &str = "bench/ledger";
const LOOKS_EACH: Duration = Duration::from_millis(20);

pub(super) struct Ground {
    pub(super) intake: Intake,
    db: Db,
    tenant_id: Uuid,
    accounts: Vec<Uuid>,
}

impl Ground {
    pub(super) async fn new(store: &Store) -> Result<Self> {
        let (db, tenant_id) = (store.db.clone(), Uuid::new_v4());
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, 'bench')")
            .bind(tenant_id)
            .execute(db.worker())
            .await?;
        let account = |n: usize| NewAccount {
            account_id: Uuid::new_v4(),
            name: format!("account {n}"),
            account_type: AccountType::User,
            class: if n.is_multiple_of(2) { AccountClass::Asset } else { AccountClass::Liability },
            domain: "cash".into(),
            currency: CURRENCY.into(),
            user_id: None,
            chain_id: None,
            address: None,
            min_balance: None,
            max_balance: None,
        };
        let accounts: Vec<_> = (0..ACCOUNTS).map(account).collect();
        let currency = Currency {
            currency: CURRENCY.into(),
            chain_id: None,
            token_address: None,
            decimals: 6,
            name: "USD Coin".into(),
        };
        open(&db, tenant_id, &[currency], &accounts).await?;
        let accounts = accounts.into_iter().map(|account| account.account_id).collect();
        Ok(Self { intake: Intake::start(db.clone()), db, tenant_id, accounts })
    }

    /// Between two accounts that differ from one to the next, and repeat in no order.
    pub(super) fn spread(&self, n: usize) -> Posting {
        // Two steps that have no divisor in common with the number of accounts visit them all.
        let (one, other) = (n * 7_919 % ACCOUNTS, (n * 104_729 + n / ACCOUNTS + 1) % ACCOUNTS);
        let other = if one == other { (other + 1) % ACCOUNTS } else { other };
        self.transfer(self.accounts[one], self.accounts[other])
    }

    pub(super) fn hot(&self) -> Posting {
        self.transfer(self.accounts[0], self.accounts[1])
    }

    fn transfer(&self, debit: Uuid, credit: Uuid) -> Posting {
        let mut context = Context::new(Uuid::new_v4(), "bench");
        context.tenant_id = Some(self.tenant_id);
        let amount = Amount::from(1_000_000_u64);
        let line = |account_id, direction| Line::new(account_id, direction, amount, CURRENCY, "TRADE");
        let lines = vec![line(debit, Direction::Debit), line(credit, Direction::Credit)];
        let draft = Draft::new(context, "transfer", "cash", lines);
        Posting::new(draft).expect("a posting that balances")
    }

    /// Until a signed checkpoint covers so many.
    pub(super) async fn until_signed(&self, count: usize) -> Result<()> {
        let signed = "SELECT COALESCE(max(tree_size), 0) FROM ledger_checkpoints WHERE note IS NOT NULL";
        while sqlx::query_scalar::<_, i64>(signed).fetch_one(self.db.worker()).await? < i64::try_from(count)?
        {
            tokio::time::sleep(LOOKS_EACH).await;
        }
        Ok(())
    }

    /// How long it took from a posting's writing to the first checkpoint that covers it, ms: 99 of 100 took less.
    pub(super) async fn seal_lag_p99_ms(&self) -> Result<f64> {
        sqlx::query_scalar(
            "SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM c.created_at - p.recorded_at) * 1000)
             FROM (SELECT tree_size, lag(tree_size, 1, 0::bigint) OVER (ORDER BY tree_size) AS before, created_at FROM ledger_checkpoints) c
             JOIN ledger_leaves l ON l.leaf_index >= c.before AND l.leaf_index < c.tree_size JOIN ledger_postings p USING (posting_id)",
        )
        .fetch_one(self.db.worker())
        .await
        .context("the lag of the seal")
    }
}

/// Verifies all that there is, signatures included: how many postings, and how long that took.
pub(super) async fn verify_all(store: &Store) -> Result<(u64, Duration)> {
    let started = Instant::now();
    let scope = Scope { tenants: None, keys: vec![NoteSigner::new(LOG, &[1; 32])?.key().clone()] };
    let report = verify(&store.db, &scope, &|_| ()).await?;
    let took = started.elapsed();
    let [tenant] = &report.tenants[..] else {
        bail!("{} ledgers, and one was written", report.tenants.len())
    };
    ensure!(report.is_sound(), "what was booked does not verify: {:?}", tenant.findings.first());
    Ok((tenant.entries + tenant.unsealed, took))
}

/// The sealer, running.
pub(super) struct Sealing {
    stop: CancellationToken,
    task: JoinHandle<Result<(), plimsoll_ledger::SealError>>,
}

impl Sealing {
    pub(super) async fn start(store: &Store) -> Result<Self> {
        let leases = Leases::connect(&store.db, "bench", DEFAULT_TERM).await?;
        let sealer = Sealer::new(store.db.clone(), leases, LOG, NoteSigner::new(LOG, &[1; 32])?);
        let stop = CancellationToken::new();
        let until = stop.clone();
        Ok(Self { stop, task: tokio::spawn(async move { sealer.run(&until).await }) })
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}
