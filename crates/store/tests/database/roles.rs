use plimsoll_store::{
    ConnectError, Db, MigrateError, RolePasswords, latest_version, migrate, prepare_roles, testing,
};
use sqlx::Row;
use uuid::Uuid;

use super::run;

async fn two_tenants(db: &Db) -> [Uuid; 2] {
    let tenants = [Uuid::from_u128(1), Uuid::from_u128(2)];
    for tenant in tenants {
        sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)")
            .bind(tenant)
            .bind(tenant.to_string())
            .execute(db.worker())
            .await
            .unwrap();
    }
    tenants
}

async fn visible(db: &Db, tenants: &[Uuid]) -> Vec<Uuid> {
    let mut tx = db.tenant_tx(tenants).await.unwrap();
    let rows = sqlx::query("SELECT tenant_id FROM tenants ORDER BY 1").fetch_all(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn refusal(result: Result<(), sqlx::Error>) -> String {
    result.unwrap_err().to_string()
}

async fn findings(urls: &plimsoll_store::DatabaseUrls) -> String {
    match Db::connect(urls).await {
        Err(ConnectError::Unsafe { findings, .. }) => findings.to_string(),
        other => panic!("expected findings, got {other:?}"),
    }
}

#[tokio::test]
async fn a_reader_sees_its_own_tenants_and_none_without_one() {
    let db = testing::db().await;
    let [one, two] = two_tenants(&db).await;
    assert_eq!(visible(&db, &[one]).await, [one]);
    assert_eq!(visible(&db, &[one, two]).await, [one, two]);
    assert!(visible(&db, &[]).await.is_empty());
    let outside: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(db.app()).await.unwrap();
    assert_eq!(outside, 0, "a pooled connection must not remember the last caller's tenants");
}

#[tokio::test]
async fn the_app_writes_nothing_that_the_chain_says_and_becomes_nobody_else() {
    let db = testing::db().await;
    let app = &db.urls().app;
    let [tenant, _] = two_tenants(&db).await;
    for statement in [
        "DELETE FROM chain_events",
        "UPDATE chains SET next_seq = 1",
        "TRUNCATE journal",
        "INSERT INTO fold_cursors (fold, chain_id) VALUES ('x', 1)",
        "SELECT * FROM leases",
        "CREATE TABLE mine (x int)",
        "SELECT ensure_partition('journal', 1, 1)",
    ] {
        assert!(refusal(run(app, statement).await).contains("permission denied"), "{statement}");
    }
    assert!(
        refusal(run(app, &format!("UPDATE tenants SET name = 'x' WHERE tenant_id = '{tenant}'")).await)
            .contains("permission denied")
    );
    for role in ["plimsoll_owner", "plimsoll_worker", "postgres"] {
        assert!(refusal(run(app, &format!("SET ROLE {role}")).await).contains("permission denied"), "{role}");
    }
    assert!(
        refusal(run(app, "SET row_security = off; SELECT count(*) FROM tenants").await)
            .contains("row-level security")
    );
}

#[tokio::test]
async fn the_worker_can_neither_change_the_schema_nor_forge_its_version() {
    let db = testing::db().await;
    for statement in [
        "CREATE TABLE mine (x int)",
        "ALTER TABLE chain_events DISABLE ROW LEVEL SECURITY",
        "DROP TABLE leases",
        "ALTER TABLE leases OWNER TO plimsoll_worker",
        "TRUNCATE journal",
        "DELETE FROM chain_events",
        "DELETE FROM leases",
        "UPDATE _sqlx_migrations SET version = 99",
        "SET ROLE plimsoll_owner",
        "CREATE ROLE friend",
    ] {
        let refused = refusal(run(&db.urls().worker, statement).await);
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{statement}: {refused}"
        );
    }
}

#[tokio::test]
async fn an_app_role_with_too_much_power_is_refused_with_the_remedy() {
    let urls = testing::database().await;
    run(
        &urls.owner,
        "CREATE ROLE greedy_super LOGIN SUPERUSER; CREATE ROLE greedy_bypass LOGIN BYPASSRLS; CREATE ROLE greedy_maker LOGIN CREATEROLE;
         CREATE ROLE greedy_member LOGIN IN ROLE plimsoll_owner; CREATE ROLE greedy_worker LOGIN IN ROLE plimsoll_worker;
         CREATE ROLE greedy_owner LOGIN; CREATE TABLE plimsoll.stray (x int); ALTER TABLE plimsoll.stray OWNER TO greedy_owner;
         ALTER TABLE plimsoll.stray ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;",
    )
    .await
    .unwrap();
    for (role, problem, remedy) in [
        ("greedy_super", "is a superuser", "NOSUPERUSER"),
        ("greedy_bypass", "bypasses row-level security", "ALTER ROLE greedy_bypass NOBYPASSRLS;"),
        ("greedy_maker", "may create roles", "ALTER ROLE greedy_maker NOCREATEROLE;"),
        ("greedy_member", "member of plimsoll_owner", "REVOKE plimsoll_owner FROM greedy_member;"),
        ("greedy_worker", "member of plimsoll_worker", "REVOKE plimsoll_worker FROM greedy_worker;"),
        ("greedy_owner", "owns plimsoll.stray", "OWNER TO plimsoll_owner;"),
    ] {
        let mut greedy = urls.clone();
        greedy.app = greedy.app.username(role);
        let findings = findings(&greedy).await;
        assert!(findings.contains(problem) && findings.contains(remedy), "{role}: {findings}");
    }
}

#[tokio::test]
async fn a_worker_role_that_is_too_strong_or_too_weak_is_refused() {
    let urls = testing::database().await;
    run(&urls.owner, "CREATE ROLE strong_worker LOGIN SUPERUSER; CREATE ROLE weak_worker LOGIN; GRANT plimsoll_worker TO weak_worker").await.unwrap();
    for (role, problem) in
        [("strong_worker", "is a superuser"), ("weak_worker", "does not bypass row-level security")]
    {
        let mut other = urls.clone();
        other.worker = other.worker.username(role);
        let findings = findings(&other).await;
        assert!(findings.contains(problem), "{role}: {findings}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_protected_is_named() {
    for (sql, problem) in [
        (
            "CREATE TABLE plimsoll.bare (x int)",
            "row-level security is not enabled and forced on plimsoll.bare",
        ),
        (
            "ALTER TABLE plimsoll.tenants NO FORCE ROW LEVEL SECURITY",
            "not enabled and forced on plimsoll.tenants",
        ),
        ("GRANT SELECT ON plimsoll.leases TO plimsoll_app", "privileges on plimsoll.leases"),
        ("GRANT SELECT (name) ON plimsoll.leases TO PUBLIC", "privileges on plimsoll.leases"),
        ("GRANT TRUNCATE ON plimsoll.chain_live TO plimsoll_app", "may write plimsoll.chain_live"),
        (
            "CREATE POLICY easy ON plimsoll.tenants FOR SELECT USING (true)",
            "policy easy lets the app at every row",
        ),
        (
            "CREATE VIEW plimsoll.peep AS SELECT * FROM plimsoll.tenants; GRANT SELECT ON plimsoll.peep TO plimsoll_app",
            "view plimsoll.peep",
        ),
        ("GRANT UPDATE ON plimsoll._sqlx_migrations TO plimsoll_worker", "_sqlx_migrations is writable"),
        ("GRANT CREATE ON SCHEMA plimsoll TO plimsoll_app", "may create objects in the schema"),
    ] {
        let urls = testing::database().await;
        Db::connect(&urls).await.expect("it is in order before");
        run(&urls.owner, sql).await.unwrap();
        let findings = findings(&urls).await;
        assert!(findings.contains(problem), "{sql}: {findings}");
    }
}

#[tokio::test]
async fn the_remedies_for_a_bare_table_put_it_right() {
    let urls = testing::database().await;
    run(&urls.owner, "CREATE TABLE plimsoll.bare (x int); GRANT SELECT ON plimsoll.bare TO plimsoll_app")
        .await
        .unwrap();
    let Err(ConnectError::Unsafe { findings, .. }) = Db::connect(&urls).await else {
        panic!("expected findings")
    };
    for finding in &findings.0 {
        run(&urls.owner, &finding.remedy).await.unwrap();
    }
    Db::connect(&urls).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let urls = testing::database().await;
    let newer = latest_version() + 1;
    run(
        &urls.owner,
        &format!("INSERT INTO plimsoll._sqlx_migrations (version, description, success, checksum, execution_time) VALUES ({newer}, 'later', true, '', 0)"),
    )
    .await
    .unwrap();
    assert!(matches!(Db::connect(&urls).await, Err(ConnectError::Newer { found, .. }) if found == newer));
    assert!(matches!(migrate(&urls).await, Err(MigrateError::Newer { found, .. }) if found == newer));
}

#[tokio::test]
async fn an_empty_database_asks_for_a_migration_and_two_that_migrate_at_once_agree() {
    let urls = testing::empty_database().await;
    assert!(matches!(Db::connect(&urls).await, Err(ConnectError::Older { found: 0, .. })));
    prepare_roles(&urls.owner, &RolePasswords::default()).await.unwrap();
    let (one, other) = tokio::join!(migrate(&urls), migrate(&urls));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.to_version, other.to_version), (latest_version(), latest_version()));
    Db::connect(&urls).await.unwrap();
    let again = migrate(&urls).await.unwrap();
    assert_eq!((again.from_version, again.applied), (Some(latest_version()), vec![]));
}

#[tokio::test]
async fn an_owner_user_that_may_not_create_roles_is_told_what_an_administrator_must_run() {
    let urls = testing::empty_database().await;
    run(&urls.owner, "CREATE ROLE modest LOGIN").await.unwrap();
    let modest = urls.owner.clone().username("modest");
    let error = prepare_roles(&modest, &RolePasswords::default()).await.unwrap_err().to_string();
    assert!(
        error.contains("CREATE ROLE plimsoll_worker LOGIN BYPASSRLS")
            && error.contains("GRANT plimsoll_owner TO \"modest\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let urls =
        plimsoll_store::DatabaseUrls::from_url("postgres://nobody@127.0.0.1:1/nothing", None, None).unwrap();
    let error = Db::connect(&urls).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("plimsoll_app"), "{error}");
}
