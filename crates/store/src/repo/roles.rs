//! Creating the roles and the schema.

use sqlx::{AssertSqlSafe, PgConnection};

use crate::roles::{APP, OWNER, WORKER};

/// Which of the three roles exist, as (name, exists), owner first.
pub(crate) async fn existing(conn: &mut PgConnection) -> Result<Vec<(String, bool)>, sqlx::Error> {
    sqlx::query_as(
        "SELECT name, EXISTS (SELECT FROM pg_roles WHERE rolname = name) FROM unnest($1::text[]) WITH ORDINALITY AS wanted(name, place) ORDER BY place",
    )
    .bind(vec![OWNER.to_owned(), APP.to_owned(), WORKER.to_owned()])
    .fetch_all(conn)
    .await
}

/// The statement that creates a role. The password is quoted by the server itself.
pub(crate) async fn create_role_statement(
    conn: &mut PgConnection,
    name: &str,
    attributes: &str,
    password: Option<&str>,
) -> Result<String, sqlx::Error> {
    let Some(password) = password else { return Ok(format!("CREATE ROLE {name} {attributes}")) };
    let quoted: String =
        sqlx::query_scalar("SELECT quote_literal($1)").bind(password).fetch_one(conn).await?;
    Ok(format!("CREATE ROLE {name} {attributes} PASSWORD {quoted}"))
}

/// Runs a statement that was composed of this crate's constants and of literals that the server quoted.
pub(crate) async fn execute(conn: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(conn).await.map(drop)
}

/// Whether the session may become the owner role, and whether the schema exists.
pub(crate) async fn owner_and_schema(
    conn: &mut PgConnection,
    schema: &str,
) -> Result<(bool, bool), sqlx::Error> {
    sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1 AND pg_has_role(current_user, oid, 'MEMBER')),
                EXISTS (SELECT FROM pg_namespace WHERE nspname = $2)",
    )
    .bind(OWNER)
    .bind(schema)
    .fetch_one(conn)
    .await
}

/// Whether the cluster has a database of that name.
pub(crate) async fn database_exists(conn: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(name)
        .fetch_one(conn)
        .await
}
