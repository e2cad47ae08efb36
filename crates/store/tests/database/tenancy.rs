//! One tenant against another, on every table there is. No table is named here: what the catalog has is what is attacked.
//!
//! In a database of the test's own everything that makes rows hard to invent is taken away (foreign keys, checks, triggers, NOT NULL), so that each
//! table with a `tenant_id` can be given a row of either tenant, whatever its shape. Policies and privileges stay as they are: they are
//! what is tested.

use plimsoll_store::{Db, testing};
use sqlx::{ConnectOptions, Executor, PgConnection, Row};
use uuid::Uuid;

const OWN: Uuid = Uuid::from_u128(0xA);
const OTHER: Uuid = Uuid::from_u128(0xB);
const INSUFFICIENT_PRIVILEGE: &str = "42501";

struct Table {
    name: String,
    /// What a row needs beside its tenant, and an expression for it.
    needs: Vec<(String, &'static str)>,
    /// A column that the app may update, if there is one.
    updatable: Option<String>,
    is_readable: bool,
    is_view: bool,
    /// What the chain said: anybody reads it.
    is_public: bool,
}

async fn texts(conn: &mut PgConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(conn).await.unwrap()
}

/// Takes away what makes rows hard to invent.
async fn loosen(owner: &mut PgConnection) {
    for kind in ["'f'", "'c'"] {
        let statements: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', conrelid::regclass, conname) FROM pg_constraint
             WHERE contype = {kind} AND connamespace = 'plimsoll'::regnamespace AND conparentid = 0 AND coninhcount = 0"
        )))
        .fetch_all(&mut *owner)
        .await
        .unwrap();
        for statement in statements {
            owner.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
        }
    }
    let loosening = "
        SELECT format('ALTER TABLE %s DISABLE TRIGGER USER', c.oid::regclass) FROM pg_class c
        WHERE c.relnamespace = 'plimsoll'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        UNION ALL
        SELECT format('ALTER TABLE %s ALTER %I DROP NOT NULL', c.oid::regclass, a.attname) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'plimsoll'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND a.attidentity = ''
          AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
        UNION ALL
        SELECT format('CREATE TABLE %I PARTITION OF %s DEFAULT', c.relname || '_rest', c.oid::regclass) FROM pg_class c
        WHERE c.relnamespace = 'plimsoll'::regnamespace AND c.relkind = 'p' AND NOT c.relispartition
          AND (SELECT partstrat FROM pg_partitioned_table p WHERE p.partrelid = c.oid) <> 'h'";
    for statement in texts(owner, loosening).await {
        owner.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
}

/// Every relation with a `tenant_id`.
async fn tables(owner: &mut PgConnection) -> Vec<Table> {
    let rows = sqlx::query(
        "SELECT c.relname::text, c.relkind = 'v',
                has_table_privilege('plimsoll_app', c.oid, 'SELECT') OR has_any_column_privilege('plimsoll_app', c.oid, 'SELECT'),
                (SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = '' AND a.attgenerated = ''
                   AND has_column_privilege('plimsoll_app', c.oid, a.attnum, 'UPDATE')
                 LIMIT 1),
                ARRAY(SELECT a.attname::text || ' ' || format_type(a.atttypid, NULL) FROM pg_attribute a JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
                      WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey) AND a.attname <> 'tenant_id' AND a.attidentity = '' AND a.attgenerated = ''),
                EXISTS (SELECT FROM pg_policy y WHERE y.polrelid = c.oid AND y.polname = 'public_read' AND y.polcmd = 'r')
         FROM pg_class c
         WHERE c.relnamespace = 'plimsoll'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
           AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
         ORDER BY 1",
    )
    .fetch_all(owner)
    .await
    .unwrap();
    let need = |column: &String| {
        let (name, kind) = column.split_once(' ').unwrap();
        let value = match kind {
            "uuid" => "gen_random_uuid()",
            "text" => "md5(random()::text)",
            "bytea" => "sha256(random()::text::bytea)",
            "bigint" | "integer" | "smallint" | "numeric" => "floor(random() * 30000)::int",
            "boolean" => "false",
            "timestamp with time zone" => "now()",
            "date" => "current_date",
            other => panic!("say here how to invent a {other}"),
        };
        (name.to_owned(), value)
    };
    rows.iter()
        .map(|row| Table {
            name: row.get(0),
            is_view: row.get(1),
            is_readable: row.get(2),
            is_public: row.get(5),
            updatable: row.get(3),
            needs: row.get::<Vec<String>, _>(4).iter().map(need).collect(),
        })
        .collect()
}

async fn give_a_row(owner: &mut PgConnection, table: &Table, tenant: Uuid) {
    let columns: String = table.needs.iter().map(|(column, _)| format!(", \"{column}\"")).collect();
    let values: String = table.needs.iter().map(|(_, value)| format!(", {value}")).collect();
    let statement =
        format!("INSERT INTO plimsoll.{} (tenant_id{columns}) VALUES ('{tenant}'{values})", table.name);
    owner
        .execute(sqlx::AssertSqlSafe(statement))
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", table.name));
}

/// How many rows a statement of the app touches in a transaction of these tenants; `None` when it may not at all. Nothing is kept.
async fn tried(db: &Db, tenants: &[Uuid], statement: String) -> Option<u64> {
    let mut tx = db.tenant_tx(tenants).await.unwrap();
    let outcome = tx.execute(sqlx::AssertSqlSafe(statement.clone())).await;
    tx.rollback().await.unwrap();
    match outcome {
        Ok(done) => Some(done.rows_affected()),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE) => None,
        Err(error) => panic!("{statement}: {error}"),
    }
}

/// What of `table` a tenant can do to the other's rows, in words.
async fn breaches(db: &Db, table: &Table) -> Vec<String> {
    let name = &table.name;
    let mut found = Vec::new();
    let mut check = |what: &str, touched: Option<u64>| {
        if touched.is_some_and(|rows| rows > 0) {
            found.push(format!("{name}: {what}"));
        }
    };
    let theirs = format!("FROM plimsoll.{name} WHERE tenant_id = '{OTHER}'");
    if !table.is_public {
        check("another's row is read", tried(db, &[OWN], format!("SELECT tenant_id {theirs}")).await);
        check(
            "a row is read where no tenant is named",
            tried(db, &[], format!("SELECT tenant_id FROM plimsoll.{name} WHERE tenant_id IS NOT NULL"))
                .await,
        );
    }
    if !table.is_view {
        let set = table
            .updatable
            .as_ref()
            .map_or("tenant_id = tenant_id".to_owned(), |column| format!("\"{column}\" = \"{column}\""));
        check(
            "another's row is changed",
            tried(db, &[OWN], format!("UPDATE plimsoll.{name} SET {set} WHERE tenant_id = '{OTHER}'")).await,
        );
        check("another's row is deleted", tried(db, &[OWN], format!("DELETE {theirs}")).await);
        check(
            "a row is made for another",
            tried(db, &[OWN], format!("INSERT INTO plimsoll.{name} (tenant_id) VALUES ('{OTHER}')")).await,
        );
        check(
            "a row is given to another",
            tried(
                db,
                &[OWN],
                format!("UPDATE plimsoll.{name} SET tenant_id = '{OTHER}' WHERE tenant_id = '{OWN}'"),
            )
            .await,
        );
    }
    found
}

#[tokio::test]
async fn no_tenant_finds_or_touches_anything_of_another_in_any_table() {
    let db = testing::db().await;
    let mut owner = db.urls().owner.connect().await.unwrap();
    loosen(&mut owner).await;
    let tables = tables(&mut owner).await;
    assert!(tables.len() > 15, "the catalog shows {} tables with tenants", tables.len());
    let (mut found, mut read_own) = (Vec::new(), 0);
    for table in &tables {
        if !table.is_view {
            for tenant in [OWN, OTHER] {
                give_a_row(&mut owner, table, tenant).await;
            }
        }
        found.extend(breaches(&db, table).await);
        if table.is_readable && !table.is_public && !table.is_view {
            // Else the attack above would find nothing for want of a row.
            let own = tried(
                &db,
                &[OWN],
                format!("SELECT tenant_id FROM plimsoll.{} WHERE tenant_id = '{OWN}'", table.name),
            )
            .await;
            read_own += usize::from(own == Some(1));
        }
    }
    assert_eq!(found, Vec::<String>::new());
    assert!(read_own > 8, "a tenant reads its own rows of {read_own} tables only");
}

#[tokio::test]
async fn the_attack_finds_a_table_whose_policy_forgets_the_tenant() {
    let db = testing::db().await;
    let mut owner = db.urls().owner.connect().await.unwrap();
    loosen(&mut owner).await;
    for statement in [
        "CREATE TABLE plimsoll.leaky (tenant_id uuid, note text)",
        "ALTER TABLE plimsoll.leaky ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY all_of_it ON plimsoll.leaky USING (true) WITH CHECK (true)",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON plimsoll.leaky TO plimsoll_app",
    ] {
        owner.execute(statement).await.unwrap();
    }
    let tables = tables(&mut owner).await;
    let leaky = tables.iter().find(|table| table.name == "leaky").unwrap();
    for tenant in [OWN, OTHER] {
        give_a_row(&mut owner, leaky, tenant).await;
    }
    assert_eq!(breaches(&db, leaky).await.len(), 6);
}
