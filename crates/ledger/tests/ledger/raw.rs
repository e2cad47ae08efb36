//! Postings in raw SQL, and what the database says of them.

use plimsoll_store::Db;
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use crate::support::Books;

/// As the app, confined to the tenant.
pub(crate) async fn as_app(books: &Books, statement: &str) -> Result<u64, sqlx::Error> {
    let mut tx = books.db.tenant_tx(&[books.tenant_id]).await?;
    let done = execute(&mut tx, statement).await?;
    tx.commit().await?;
    Ok(done)
}

pub(crate) async fn as_worker(db: &Db, statement: &str) -> Result<u64, sqlx::Error> {
    let mut tx = db.begin_worker().await?;
    let done = execute(&mut tx, statement).await?;
    tx.commit().await?;
    Ok(done)
}

async fn execute(conn: &mut PgConnection, statement: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(AssertSqlSafe(statement)).execute(conn).await?.rows_affected())
}

/// What it was refused for: the constraint's name, or the state.
pub(crate) fn why(refused: Result<u64, sqlx::Error>) -> String {
    let error = refused.expect_err("the database takes it");
    let database = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    let code = database.code().unwrap_or_default().into_owned();
    database.constraint().map_or(code, str::to_owned)
}

/// A posting of the tenant's and its lines, as raw SQL that would be taken; each part may be given otherwise.
pub(crate) struct Raw {
    pub(crate) posting_id: Uuid,
    pub(crate) line_count: u8,
    pub(crate) domain: &'static str,
    pub(crate) effective_at: &'static str,
    pub(crate) booked_at: &'static str,
    pub(crate) recorded_at: &'static str,
    pub(crate) chain: &'static str,
    pub(crate) target: String,
    pub(crate) lines: Vec<RawLine>,
}

pub(crate) struct RawLine {
    pub(crate) sequence: u8,
    pub(crate) account: Uuid,
    pub(crate) tenant: Uuid,
    pub(crate) debit: u8,
    pub(crate) credit: u8,
    pub(crate) currency: &'static str,
    pub(crate) version: u8,
    pub(crate) balance: i8,
    pub(crate) effective_at: &'static str,
    pub(crate) latest: &'static str,
    pub(crate) recorded_at: &'static str,
    pub(crate) block: &'static str,
    pub(crate) latest_block: &'static str,
}

/// When it happens, as SQL and in seconds since 1970.
pub(crate) const TIME: &str = "'2030-01-01T00:00:00Z'";
pub(crate) const TIME_S: i64 = 1_893_456_000;

impl Raw {
    /// The first posting on the two accounts.
    pub(crate) fn new(books: &Books) -> Self {
        let line = |sequence, account, debit, credit, balance| RawLine {
            sequence,
            account,
            tenant: books.tenant_id,
            debit,
            credit,
            currency: "USDC",
            version: 1,
            balance,
            effective_at: TIME,
            latest: TIME,
            recorded_at: TIME,
            block: "NULL",
            latest_block: "NULL",
        };
        let lines = vec![line(1, books.cash[0], 5, 0, 5), line(2, books.cash[1], 0, 5, -5)];
        Self {
            posting_id: Uuid::new_v4(),
            line_count: 2,
            domain: "cash",
            effective_at: TIME,
            booked_at: TIME,
            recorded_at: TIME,
            chain: "NULL, NULL, NULL, NULL",
            target: "NULL, NULL, NULL".into(),
            lines,
        }
    }

    pub(crate) fn header(&self, tenant: Uuid) -> String {
        format!(
            "INSERT INTO ledger_postings (posting_id, tenant_id, request_id, operation_type, checksum, domain, effective_at, booked_at, recorded_at, chain_id, chain_tx_hash, chain_block_number,
                                          chain_block_hash, reverses, compensates, reason, created_by, correlation_id, metadata, line_count, digest)
             VALUES ('{}', '{tenant}', gen_random_uuid(), 'raw', sha256(''), '{}', {}, {}, {}, {}, {}, 'me', 'c', '{{}}', {}, sha256(''))",
            self.posting_id, self.domain, self.effective_at, self.booked_at, self.recorded_at, self.chain, self.target, self.line_count,
        )
    }

    pub(crate) fn entries(&self) -> String {
        let rows = self.lines.iter().map(|it| {
            format!(
                "('{}', {}, '{}', '{}', {}, {}, '{}', 'TRADE', {}, {}, {}, {}, {}, {}, {}, sha256(''))",
                self.posting_id,
                it.sequence,
                it.tenant,
                it.account,
                it.debit,
                it.credit,
                it.currency,
                it.version,
                it.balance,
                it.effective_at,
                it.latest,
                it.recorded_at,
                it.block,
                it.latest_block,
            )
        });
        let rows: Vec<_> = rows.collect();
        format!(
            "INSERT INTO ledger_entries (posting_id, sequence, tenant_id, account_id, debit, credit, currency, entry_type, account_version, balance_after, effective_at,
                                         latest_effective_at, recorded_at, chain_block_number, latest_block, checksum) VALUES {}",
            rows.join(", ")
        )
    }

    pub(crate) fn whole(&self, tenant: Uuid) -> String {
        format!("WITH header AS ({}) {}", self.header(tenant), self.entries())
    }
}
