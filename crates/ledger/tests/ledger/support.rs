//! A tenant's books with a few accounts.

use plimsoll_ledger::period::{Closing, close};
use plimsoll_ledger::{
    AccountClass, AccountType, Currency, Direction, Draft, Intake, Line, NewAccount, Origin, Posting, open,
};
use plimsoll_store::Db;
use plimsoll_types::{Amount, Balance, Context};
use serde_json::Map;
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) const USDC: &str = "USDC";
pub(crate) const WETH: &str = "eip155:42161/erc20:0x82af49447d8a07e3bd95bd0d56f35241523fbab1";

/// Books with accounts in two currencies.
pub(crate) struct Books {
    pub(crate) db: Db,
    pub(crate) tenant_id: Uuid,
    pub(crate) intake: Intake,
    /// Assets in USDC, which may hold anything.
    pub(crate) cash: Vec<Uuid>,
    /// What a user has with us in USDC: never below nothing.
    pub(crate) user: Uuid,
    /// An asset and income in WETH.
    pub(crate) weth: [Uuid; 2],
}

pub(crate) fn account(name: &str, class: AccountClass, currency: &str) -> NewAccount {
    NewAccount {
        account_id: Uuid::new_v4(),
        name: name.into(),
        account_type: AccountType::Platform,
        class,
        domain: "cash".into(),
        currency: currency.into(),
        user_id: None,
        chain_id: None,
        address: None,
        min_balance: None,
        max_balance: None,
    }
}

impl Books {
    pub(crate) async fn new() -> Self {
        let db = plimsoll_store::testing::db().await;
        Self::of_another(&db).await
    }

    /// Another tenant's, in the same database.
    pub(crate) async fn of_another(db: &Db) -> Self {
        let tenant_id = Uuid::new_v4();
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)")
            .bind(tenant_id)
            .bind(tenant_id.to_string())
            .execute(db.worker())
            .await
            .unwrap();
        let currency = |currency: &str| Currency {
            currency: currency.into(),
            chain_id: None,
            token_address: None,
            decimals: 6,
            name: currency.into(),
        };
        let cash: Vec<_> = (0..4).map(|n| account(&format!("cash {n}"), AccountClass::Asset, USDC)).collect();
        let user = NewAccount {
            account_type: AccountType::User,
            min_balance: Some(Balance::ZERO),
            ..account("user", AccountClass::Liability, USDC)
        };
        let weth =
            [account("vault", AccountClass::Asset, WETH), account("yield", AccountClass::Income, WETH)];
        let all: Vec<_> = cash.iter().chain([&user]).chain(&weth).cloned().collect();
        open(db, tenant_id, &[currency(USDC), currency(WETH)], &all).await.unwrap();
        Self {
            db: db.clone(),
            tenant_id,
            intake: Intake::start(db.clone()),
            cash: cash.iter().map(|account| account.account_id).collect(),
            user: user.account_id,
            weth: weth.map(|account| account.account_id),
        }
    }

    /// What is asked for: these lines, under a new request.
    pub(crate) fn draft(&self, lines: Vec<Line>) -> Draft {
        let mut context = Context::new(Uuid::new_v4(), "test");
        context.tenant_id = Some(self.tenant_id);
        Draft {
            context,
            operation_type: "transfer".into(),
            domain: "cash".into(),
            origin: Origin::Request,
            internal_tx_id: None,
            trace_id: None,
            effective_at: None,
            on_chain: None,
            correction: None,
            metadata: Map::new(),
            lines,
        }
    }

    /// So much from one account to another.
    pub(crate) fn transfer(&self, debit: Uuid, credit: Uuid, amount: u64) -> Draft {
        self.draft(vec![line(debit, Direction::Debit, amount), line(credit, Direction::Credit, amount)])
    }

    pub(crate) async fn book(&self, draft: Draft) -> Uuid {
        self.intake.post(Posting::new(draft).unwrap()).await.unwrap().posting_id
    }

    /// Closes the period that ends then.
    pub(crate) async fn close(&self, through: OffsetDateTime) -> Closing {
        let context = self.draft(Vec::new()).context;
        close(&self.db, through, "the period is over", &context).await.unwrap()
    }

    /// What an account holds, and how many lines it has.
    pub(crate) async fn holds(&self, account: Uuid) -> (String, i64) {
        sqlx::query_as("SELECT raw_balance::text, version FROM asset_balances WHERE account_id = $1")
            .bind(account)
            .fetch_one(self.db.worker())
            .await
            .unwrap()
    }

    /// One number.
    pub(crate) async fn count(&self, of: &'static str) -> i64 {
        sqlx::query_scalar(of).fetch_one(self.db.worker()).await.unwrap()
    }

    /// What must be so whatever happened: sums of nothing, and balances that are the sums of their lines.
    pub(crate) async fn agree(&self) {
        let unbalanced = self
            .count(
                "SELECT count(*) FROM (SELECT posting_id, currency FROM ledger_entries GROUP BY posting_id, currency HAVING sum(debit) <> sum(credit)) AS it",
            )
            .await;
        let incomplete = self
            .count(
                "SELECT count(*) FROM ledger_postings p WHERE line_count <> (SELECT count(*) FROM ledger_entries e WHERE e.posting_id = p.posting_id)",
            )
            .await;
        let differing = self
            .count(
                "SELECT count(*) FROM asset_balances b LEFT JOIN (SELECT account_id, sum(debit - credit) AS sum, count(*) AS lines, max(account_version) AS last FROM ledger_entries GROUP BY account_id) e USING (account_id)
                 WHERE b.raw_balance <> COALESCE(e.sum, 0) OR b.version <> COALESCE(e.lines, 0) OR b.version <> COALESCE(e.last, 0)",
            )
            .await;
        assert_eq!((unbalanced, incomplete, differing), (0, 0, 0));
    }
}

pub(crate) fn line(account_id: Uuid, direction: Direction, amount: u64) -> Line {
    Line {
        account_id,
        direction,
        amount: Amount::from(amount),
        currency: USDC.into(),
        entry_type: "TRADE".into(),
    }
}
