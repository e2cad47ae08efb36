//! What the database promises, asked of a real one. All tests share one private cluster and have a database each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod copy;
mod leases;
mod partitions;
mod roles;
mod tenancy;
mod transactions;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Runs SQL on a connection of its own.
async fn run(options: &PgConnectOptions, sql: &str) -> Result<(), sqlx::Error> {
    let mut conn = options.connect().await?;
    let result = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.map(drop);
    conn.close().await?;
    result
}

/// Asks until the answer is yes. The test runner's own limit ends a wait that has no end.
async fn until(mut ask: impl AsyncFnMut() -> bool) {
    while !ask().await {
        tokio::task::yield_now().await;
    }
}
