use plimsoll_types::BlockState;
use plimsoll_types::api::RoleState;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{Api, CHAIN, codes};
use crate::ApiOptions;
use crate::docs::STYLE;
use crate::query::Parameters;
use crate::routes::events::EventsQuery;
use crate::routes::openapi::DOCUMENT;
use crate::routes::positions::PositionsQuery;

async fn readiness(api: &Api) -> (u16, Value) {
    let answer = api.get("/readyz").await;
    let body = answer.json();
    assert_eq!(body["ready"], answer.status.is_success());
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn alive_is_answered_without_a_database() {
    let api = Api::start().await;
    api.db.close().await;
    let answer = api.get("/healthz").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, "alive\n"));
}

#[tokio::test]
async fn ready_when_everything_keeps_up_and_a_role_that_fails_is_named() {
    let api = Api::followed().await;
    api.roles.report("api", None, RoleState::Running, None);
    api.roles.report("ingest", Some(CHAIN), RoleState::Standby, None);
    let (status, body) = readiness(&api).await;
    assert_eq!((status, codes(&body["why"])), (200, vec![]), "{body}");
    assert_eq!(
        (&body["chains"][0]["folds"][0]["fold"], body["roles"].as_array().unwrap().len()),
        (&json!("views"), 2)
    );

    api.roles.report("ingest", Some(CHAIN), RoleState::Stopped, Some("the endpoint has chain 1".into()));
    let (status, body) = readiness(&api).await;
    assert_eq!((status, codes(&body["why"])), (503, vec!["role_down"]));
    assert_eq!(body["why"][0]["text"], "role ingest of chain 31337 is stopped: the endpoint has chain 1");
}

#[tokio::test]
async fn a_role_whose_lease_another_process_holds_stands_by_and_names_it() {
    let api = Api::followed().await;
    api.roles.needs_lease("ingest", Some(CHAIN), format!("ingest:{CHAIN}"));
    api.roles.report("ingest", Some(CHAIN), RoleState::Running, None);
    let role = async || {
        let (status, body) = readiness(&api).await;
        assert_eq!(status, 200, "{body}");
        body["roles"][0].clone()
    };
    assert_eq!(role().await["state"], "running", "nobody has it yet");
    api.seed(CHAIN)
        .run(
            "INSERT INTO leases (name, fencing_token, holder, acquired_at, expires_at)
             VALUES ('ingest:' || $1, 3, 'elsewhere:7', now(), now() + interval '1 minute')",
        )
        .await;
    let standing_by = role().await;
    assert_eq!(standing_by["state"], "standby");
    assert_eq!(standing_by["detail"], "elsewhere:7 holds the lease and does the work");
    api.seed(CHAIN).run("UPDATE leases SET holder = 'here:1' WHERE name = 'ingest:' || $1").await;
    assert_eq!(role().await["state"], "running", "this process has it");
    api.seed(CHAIN)
        .run("UPDATE leases SET holder = 'elsewhere:7', expires_at = now() - interval '1 s' WHERE name = 'ingest:' || $1")
        .await;
    assert_eq!(role().await["state"], "running", "it has expired");
    api.db.worker().close().await;
    assert_eq!(role().await["state"], "running", "not knowing who holds it is no reason to be unready");
}

#[tokio::test]
async fn a_restored_database_that_is_fenced_says_so_until_the_fence_is_lifted() {
    let directory = tempfile::tempdir().unwrap();
    let options = ApiOptions { data_dir: Some(directory.path().to_owned()), ..ApiOptions::default() };
    let api = Api::start_with(options, axum::Router::new()).await;
    api.seed(CHAIN).chain(100, 95, 90).await;
    api.seed(CHAIN).fold("views", 100).await;
    let fence = async || {
        let (status, body) = readiness(&api).await;
        assert_eq!(status, 200, "a fence stops no reading: {body}");
        body["database"]["fence"].clone()
    };
    assert_eq!(fence().await, Value::Null);
    let marker = directory.path().join("FENCED.json");
    let text = r#"{ "since": "2026-01-31T12:00:00Z", "reason": "restored", "backup_made_at": "2026-01-30T12:00:00Z" }"#;
    std::fs::write(&marker, text).unwrap();
    let told = fence().await;
    assert_eq!((&told["since"], &told["reason"]), (&"2026-01-31T12:00:00Z".into(), &"restored".into()));
    assert!(told["remedy"].as_str().unwrap().contains("plimsoll fence lift"), "{told}");
    std::fs::write(&marker, "what is this").unwrap();
    let told = fence().await;
    assert_eq!(told["since"], Value::Null);
    assert!(told["reason"].as_str().unwrap().contains("counts as fenced"), "{told}");
    std::fs::write(&marker, text).unwrap();
    plimsoll_store::lift_fence(directory.path(), "ada", "looked").unwrap();
    assert_eq!(fence().await, Value::Null);
}

#[tokio::test]
async fn each_thing_that_lags_or_stands_is_named_with_its_reason() {
    let api = Api::start().await;
    assert_eq!(codes(&readiness(&api).await.1["why"]), ["chain_not_started"]);
    let seed = api.seed(CHAIN);
    seed.chain(100, 95, 90).await;
    seed.fold("views", 100).await;
    let trouble = async |statement: &'static str| {
        seed.chain(100, 95, 90).await;
        seed.run("UPDATE chains SET state = 'following', halt = NULL WHERE chain_id = $1").await;
        seed.run("UPDATE fold_cursors SET seq = 1000, block_number = 100, state = 'running', stop = NULL WHERE chain_id = $1").await;
        assert_eq!(readiness(&api).await.0, 200);
        seed.run(statement).await;
        let (status, body) = readiness(&api).await;
        assert_eq!(status, 503, "{statement}");
        codes(&body["why"]).join(" ")
    };
    for (statement, wanted) in [
        (
            "UPDATE chains SET state = 'halted', halt = '{\"what\": \"deep reorg\"}' WHERE chain_id = $1",
            "chain_halted",
        ),
        ("UPDATE chains SET rpc_head_at = now() - interval '2 minutes' WHERE chain_id = $1", "no_head"),
        ("UPDATE chains SET rpc_head_number = 110 WHERE chain_id = $1", "lag_blocks"),
        ("UPDATE chains SET rpc_head_number = 99 WHERE chain_id = $1", "ahead_of_node"),
        (
            "UPDATE fold_cursors SET state = 'stopped', stop = '{\"error\": \"poison\"}' WHERE chain_id = $1",
            "fold_stopped",
        ),
        ("UPDATE fold_cursors SET block_number = 90 WHERE chain_id = $1", "lag_blocks"),
        ("UPDATE fold_cursors SET block_number = NULL WHERE chain_id = $1", "fold_not_started"),
        ("UPDATE fold_cursors SET seq = 990 WHERE chain_id = $1", "lag_seconds"),
    ] {
        assert_eq!(trouble(statement).await, wanted, "{statement}");
    }
}

#[tokio::test]
async fn a_chain_that_is_no_longer_configured_does_not_count_and_a_configured_one_must_be_there() {
    let api =
        Api::start_with(ApiOptions { chains: vec![CHAIN], ..ApiOptions::default() }, axum::Router::new())
            .await;
    api.seed(5).chain(100, 95, 90).await;
    api.seed(5).run("UPDATE chains SET state = 'halted' WHERE chain_id = $1").await;
    assert_eq!(codes(&readiness(&api).await.1["why"]), ["chain_not_started"]);
    api.seed(CHAIN).chain(100, 95, 90).await;
    assert_eq!(readiness(&api).await.0, 200);
}

#[tokio::test]
async fn a_database_that_is_gone_or_of_another_version_is_the_reason() {
    let api = Api::followed().await;
    let mut owner = PgConnection::connect_with(&api.db.urls().owner).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO plimsoll._sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999999, 'later', true, '', 0)",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let (status, body) = readiness(&api).await;
    assert_eq!((status, codes(&body["why"])), (503, vec!["schema_mismatch"]));
    sqlx::raw_sql("ALTER TABLE plimsoll.chains RENAME COLUMN halt TO why").execute(&mut owner).await.unwrap();
    assert_eq!(codes(&readiness(&api).await.1["database"]["why"]), ["schema_mismatch"]);
    api.problem("/api/v1/chains", 503, "schema-mismatch").await;

    api.db.close().await;
    let (status, body) = readiness(&api).await;
    assert_eq!((status, codes(&body["why"])), (503, vec!["database_unreachable"]));
}

#[tokio::test]
async fn metrics_tell_the_marks_the_lags_the_anomalies_and_the_leases() {
    let api = Api::start().await;
    let seed = api.seed(77);
    seed.chain(100, 95, 90).await;
    seed.fold("views", 98).await;
    seed.record(981, 60).await;
    seed.run("INSERT INTO anomalies (chain_id, source, kind, detail) VALUES ($1, 'fold:views', 'version_back', '{}'), ($1, 'fold:views', 'version_back', '{}')").await;
    seed.run(
        "INSERT INTO leases (name, fencing_token, holder, acquired_at, expires_at)
         VALUES ('ingest:' || $1, 3, 'node-a', now(), now() + interval '1 minute')",
    )
    .await;
    api.ok("/api/v1/chains").await;
    let answer = api.get("/metrics").await;
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "database_up 1",
        "chain_head_number{chain_id=\"77\"} 100",
        "chain_confirmed_number{chain_id=\"77\"} 95",
        "chain_final_number{chain_id=\"77\"} 90",
        "chain_rpc_head_number{chain_id=\"77\"} 100",
        "chain_halted{chain_id=\"77\"} 0",
        "fold_lag_blocks{fold=\"views\",chain_id=\"77\"} 2",
        "fold_stopped{fold=\"views\",chain_id=\"77\"} 0",
        "anomalies_total{chain_id=\"77\",source=\"fold:views\",kind=\"version_back\"} 2",
        "lease_fencing_token{lease=\"ingest:77\"} 3",
        "lease_holder{lease=\"ingest:77\",holder=\"node-a\"} 1",
        "# TYPE http_request_seconds histogram",
        "http_requests_total{route=\"/api/v1/chains\",method=\"GET\",status=\"200\"}",
    ] {
        assert!(answer.body.contains(line), "no `{line}` in:\n{}", answer.body);
    }
    let lag = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("fold_lag_seconds{fold=\"views\",chain_id=\"77\"} "))
        .unwrap();
    assert!(lag.parse::<f64>().unwrap() >= 60.0, "{lag}");
}

#[tokio::test]
async fn the_routes_role_can_read_neither_tenants_nor_what_is_not_public() {
    let api = Api::followed().await;
    let worker = api.db.worker();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES (gen_random_uuid(), 'acme')")
        .execute(worker)
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(api.db.app()).await.unwrap();
    assert_eq!(seen, 0);
    for statement in ["SELECT count(*) FROM anomalies", "SELECT count(*) FROM leases", "DELETE FROM chains"] {
        let error = sqlx::query(statement).fetch_optional(api.db.app()).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn the_openapi_document_changes_only_on_purpose() {
    let api = Api::start().await;
    let document = api.ok("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("openapi", document); });
}

#[test]
fn the_document_has_exactly_the_parameters_that_are_read() {
    for (path, known) in
        [("/api/v1/positions", PositionsQuery::KNOWN), ("/api/v1/events", EventsQuery::KNOWN)]
    {
        let told: Vec<&str> = DOCUMENT["paths"][path]["get"]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(told, known, "{path}");
    }
}

#[test]
fn the_document_spells_block_states_as_the_answers_do() {
    let names: Vec<&str> = BlockState::ALL.iter().map(|state| state.as_str()).collect();
    let schemas = &DOCUMENT["components"]["schemas"];
    assert_eq!(schemas["BlockState"]["enum"], json!(names));
    assert_eq!(schemas["Block"]["properties"]["state"]["$ref"], "#/components/schemas/BlockState");
    let parameters = DOCUMENT["paths"]["/api/v1/events"]["get"]["parameters"].as_array().unwrap();
    let state = parameters.iter().find(|parameter| parameter["name"] == "state").unwrap();
    assert_eq!(state["schema"]["enum"], json!(names));
}

#[tokio::test]
async fn the_docs_page_is_served_whole_under_a_policy_that_lets_nothing_else_in() {
    let api = Api::start().await;
    let page = api.get("/docs").await;
    assert_eq!(
        (page.status.as_u16(), page.headers["content-type"].to_str().unwrap()),
        (200, "text/html; charset=utf-8")
    );
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    for wanted in [
        "curl -sS &#39;http://127.0.0.1:8080/api/v1/positions?user=0x",
        "id=\"schema-Position\"",
        "href=\"/docs/style.css\"",
    ] {
        assert!(page.body.contains(wanted), "{wanted}");
    }
    let style = api.get("/docs/style.css").await;
    assert_eq!(
        (style.body.as_str(), style.headers["content-type"].to_str().unwrap()),
        (STYLE, "text/css; charset=utf-8")
    );
    let root = api.get("/").await;
    assert_eq!((root.status.as_u16(), root.headers["location"].to_str().unwrap()), (307, "/docs"));
}
