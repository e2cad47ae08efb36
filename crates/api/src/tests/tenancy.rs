//! One tenant against another, on every route there is. No route is named here: what is declared is what is attacked, with requests made from the
//! document, in which everything that could name something is a name of the other tenant's.
//!
//! What must not come back is found in the same way: whatever stands in the other tenant's rows and in nobody else's is a secret of theirs. An
//! attack succeeds when an answer holds one that was not in the request, or when their rows have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy_primitives::Address;
use axum::body::Body;
use axum::http::Request;
use plimsoll_bus::audit::{self, AUDIT_LOG, Entry};
use plimsoll_bus::{Context, EVENTS, Event, publish};
use plimsoll_identity::api_key::{self, NewApiKey};
use plimsoll_identity::approval::Guard;
use plimsoll_identity::directory::{self, NewRole, User};
use plimsoll_identity::session::{self, Method};
use plimsoll_identity::{Permission, UserKind, UserStatus, external};
use plimsoll_store::idempotency::{Asked, Entered, Fingerprint, Key, Response, Scope};
use plimsoll_store::{DEFAULT_TERM, Leases, Sequencer, idempotency};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Api, ledger, transactions};
use crate::gateway::Declaration;
use crate::routes::DECLARATIONS;

/// Shorter texts occur by chance.
const SECRET_MIN_CHARS: usize = 8;

struct Tenant {
    id: Uuid,
    user: User,
    actor: String,
    token: String,
}

/// A tenant that has one of everything.
async fn tenant(api: &Api, name: &str) -> Tenant {
    let id = Uuid::new_v4();
    sqlx::query("INSERT INTO tenants (tenant_id, name) VALUES ($1, $2)")
        .bind(id)
        .bind(format!("tenant-{name}"))
        .execute(api.db.worker())
        .await
        .unwrap();
    let mut tx = api.db.begin_worker().await.unwrap();
    let display = format!("Administrator {name}");
    let user =
        directory::create_user(&mut tx, id, UserKind::Person, UserStatus::Active, &display).await.unwrap();
    directory::assign_role(&mut tx, id, user.user_id, directory::builtin::ADMIN).await.unwrap();
    let address = Address::left_padding_from(id.as_bytes());
    directory::link_address(&mut tx, id, user.user_id, 31_337, address).await.unwrap();
    let issuer = format!("https://login-{name}.example.com");
    external::link(&mut tx, id, user.user_id, &issuer, &format!("subject-{name}")).await.unwrap();
    sqlx::query(
        "INSERT INTO webauthn_credentials (tenant_id, user_id, credential_id, algorithm, public_key, sign_count, label)
         VALUES ($1, $2, uuid_send($1), -8, decode(repeat('07', 32), 'hex'), 0, $3)",
    )
    .bind(id)
    .bind(user.user_id)
    .bind(format!("security key of {name}"))
    .execute(&mut *tx)
    .await
    .unwrap();
    let scopes = directory::permissions_of(&mut tx, id, user.user_id).await.unwrap();
    let key = NewApiKey {
        tenant_id: id,
        user_id: user.user_id,
        label: &format!("key of {name}"),
        scopes,
        lifetime: Duration::from_secs(3600),
        certificate_hash: None,
    };
    api_key::issue(&mut tx, &key).await.unwrap();
    tx.commit().await.unwrap();
    let token = sign_in(api, &user).await;
    let principal = api.state.authenticator().authenticate(&token, None).await.unwrap();

    let context = Context::new(Uuid::new_v4(), principal.actor()).on_behalf_of(id, Some(user.user_id));
    let mut tx = api.db.tenant_tx(&[id]).await.unwrap();
    let role = NewRole::Ordinary(&[Permission::LedgerRead]);
    directory::create_role(&mut tx, id, &format!("role-of-{name}"), role).await.unwrap();
    let body = json!({"note": format!("approval for {name}")});
    Guard::new(Permission::LedgerPost, &body)
        .request(&mut tx, &principal, Duration::from_secs(600))
        .await
        .unwrap();
    let mut event = Event::new("/test", "test.thing.created", json!({"note": format!("event of {name}")}));
    event.context = Some(context.clone());
    event.subject = Some(format!("subject of {name}"));
    publish(&mut tx, event).await.unwrap();
    let entry =
        Entry::new("test.thing.create", "thing", format!("thing of {name}")).in_context(context.clone());
    audit::record(&mut tx, entry.with_reason(format!("reason of {name}"))).await.unwrap();
    tx.commit().await.unwrap();
    transactions::one_of(api, &context, name).await;
    ledger::one_of(api, &context, name).await;
    keyed(api, id, &context, name).await;
    Tenant { id, actor: principal.actor(), user, token }
}

/// The token of a new session, with a second factor.
async fn sign_in(api: &Api, user: &User) -> String {
    let tokens = api.state.authenticator().tokens().clone();
    let mut tx = api.db.begin_worker().await.unwrap();
    let pair = session::open(&mut tx, &tokens, user, Method::Wallet).await.unwrap();
    session::note_second_factor(&mut tx, user.tenant_id, pair.session_id).await.unwrap();
    tx.commit().await.unwrap();
    pair.access_token.expose_secret().to_owned()
}

/// An idempotency key with its answer.
async fn keyed(api: &Api, id: Uuid, context: &Context, name: &str) {
    let keys: idempotency::Keys = axum::extract::FromRef::from_ref(&api.state);
    let asked =
        Asked { method: "POST", path: "/x", query: &[], is_json: true, body: b"{}", api_version: "v1" };
    let request = idempotency::Request {
        scope: Scope {
            tenant_id: Some(id),
            principal: context.actor.clone(),
            method: "POST".into(),
            route: "/x".into(),
        },
        key: Key::explicit(format!("idempotency-key-of-{name}")).unwrap(),
        fingerprint: Fingerprint::of(&asked),
    };
    let Entered::Claimed(claim) = keys.enter(request).await.unwrap() else { panic!("the key is new") };
    let mut tx = claim.begin_effects().await.unwrap();
    let response = Response::new(200, Vec::new(), format!("answer for {name}").into_bytes()).unwrap();
    claim.write(&mut tx, &response).await.unwrap();
    tx.commit().await.unwrap();
    claim.committed(response);
}

/// What was staged is in its stream.
async fn number_streams(api: &Api) {
    for stream in [&EVENTS, &AUDIT_LOG] {
        let leases = Leases::connect(&api.db, "test", DEFAULT_TERM).await.unwrap();
        let lease =
            leases.acquire_wait(&Sequencer::lease_name(stream), &CancellationToken::new()).await.unwrap();
        let mut sequencer = Sequencer::new(stream, api.db.clone(), leases);
        while sequencer.drain(&lease).await.unwrap().rows > 0 {}
        lease.release().await.unwrap();
    }
}

/// Every row of a tenant's, table by table, as JSON text.
async fn rows(owner: &mut PgConnection, tenant_id: Uuid) -> BTreeMap<String, Vec<String>> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relnamespace = 'plimsoll'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)",
    )
    .fetch_all(&mut *owner)
    .await
    .unwrap();
    let mut all = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT to_jsonb(t)::text FROM plimsoll.{table} t WHERE tenant_id = $1 ORDER BY 1");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(tenant_id)
            .fetch_all(&mut *owner)
            .await
            .unwrap();
        all.insert(table, rows);
    }
    all
}

/// Every text in them, however deep.
fn texts(rows: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    fn collect(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => drop(found.insert(text.clone())),
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    for row in rows.values().flatten() {
        collect(&serde_json::from_str(row).unwrap(), &mut found);
    }
    found
}

/// What a body of this schema may look like: the document's example where there is one, else something of each type; whatever is a text or
/// an id is `name`.
fn body(document: &Value, schema: &Value, name: &str) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.trim_start_matches('#');
        return body(document, document.pointer(pointer).unwrap(), name);
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let made =
                choices.iter().filter(|one| one["type"] != "null").map(|one| body(document, one, name));
            return made
                .reduce(|mut all, one| {
                    match (all.as_object_mut(), one.as_object()) {
                        (Some(into), Some(from)) if choice == "allOf" => into.extend(from.clone()),
                        _ => {}
                    }
                    all
                })
                .unwrap_or(Value::Null);
        }
    }
    if let Some(only) = schema["enum"].as_array().and_then(|values| values.first()) {
        return only.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(field, schema)| (field.clone(), body(document, schema, name))).collect()
        }
        Some("array") => json!([body(document, &schema["items"], name)]),
        Some("integer" | "number") => {
            schema["minimum"].as_i64().map_or(json!(1), |least| json!(least.max(1)))
        }
        Some("boolean") => json!(true),
        _ => json!(name),
    }
}

/// The requests of one route in which `name` stands wherever something can be named: as the attacker's own, and in the name of the other.
fn requests(
    document: &Value,
    route: &Declaration,
    name: &str,
    by: &Tenant,
    on: &Tenant,
) -> Vec<Request<Body>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let encoded: String =
        name.bytes()
            .map(|byte| {
                if is_plain(char::from(byte)) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            })
            .collect();
    let path: String = route
        .path
        .replace("{nonce}", "0")
        .split('/')
        .map(|part| if part.starts_with('{') { encoded.as_str() } else { part })
        .collect::<Vec<_>>()
        .join("/");
    let method = route.method();
    let operation = &document["paths"][route.path][method.as_str().to_lowercase()];
    let parameters: Vec<String> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|parameter| {
            parameter["in"] == "query" && parameter["name"] != "limit" && parameter["name"] != "cursor"
        })
        .map(|parameter| format!("{}={encoded}", parameter["name"].as_str().unwrap()))
        .collect();
    // Each filter alone, and none.
    let queries =
        std::iter::once(String::new()).chain(parameters.into_iter().map(|parameter| format!("?{parameter}")));
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let mut made = Vec::new();
    for query in queries {
        for claimed in [by, on] {
            let request = Request::builder()
                .method(method.clone())
                .uri(format!("{path}{query}"))
                .header("authorization", format!("Bearer {}", by.token))
                .header("idempotency-key", Uuid::new_v4().to_string())
                .header("content-type", "application/json");
            let body = if schema.is_null() {
                Body::empty()
            } else {
                let mut body = body(document, schema, name);
                if let Some(fields) = body.as_object_mut() {
                    for (field, value) in [
                        ("tenant_id", claimed.id.to_string()),
                        ("user_id", claimed.user.user_id.to_string()),
                        ("created_by", claimed.actor.clone()),
                        ("request_id", Uuid::new_v4().to_string()),
                    ] {
                        if fields.contains_key(field) {
                            fields.insert(field.to_owned(), json!(value));
                        }
                    }
                }
                Body::from(body.to_string())
            };
            made.push(request.body(body).unwrap());
            if schema.is_null() {
                break;
            }
        }
    }
    made
}

#[tokio::test]
async fn no_tenant_finds_or_touches_anything_of_another_by_any_route() {
    let api = Api::followed().await;
    let (on, mut by) = (tenant(&api, "one-f3a9").await, tenant(&api, "two-77c1").await);
    number_streams(&api).await;
    let mut owner = api.db.urls().owner.connect().await.unwrap();
    let theirs = rows(&mut owner, on.id).await;
    let (secret, known) = (texts(&theirs), texts(&rows(&mut owner, by.id).await));
    let names: Vec<String> =
        secret.difference(&known).filter(|text| text.len() >= SECRET_MIN_CHARS).cloned().collect();
    assert!(names.len() > 20, "a tenant with one of everything has more names: {names:#?}");

    let document = serde_json::to_value(crate::openapi()).unwrap();
    let mut found = BTreeSet::new();
    let mut asked = 0;
    for route in DECLARATIONS.iter().filter(|route| !route.is_stream) {
        let is_named =
            route.path.contains('{') || document["paths"][route.path].to_string().contains("\"query\"");
        // A route that takes no name says the same whatever the name: one will do.
        let tried = if is_named || route.write.is_some() { &names[..] } else { &names[..1] };
        // The route before may have ended the session.
        by.token = sign_in(&api, &by.user).await;
        for name in tried {
            for request in requests(&document, route, name, &by, &on) {
                let shown = format!("{} {}", request.method(), request.uri());
                let answer = api.send(request).await;
                asked += 1;
                if answer.status.is_server_error() {
                    found.insert(format!("{shown}: {} {}", answer.status, answer.body));
                }
                // What was asked with may be told back.
                let told = answer
                    .body
                    .replace(name.as_str(), "")
                    .replace(&on.id.to_string(), "")
                    .replace(&on.user.user_id.to_string(), "");
                for secret in &names {
                    if told.contains(secret.as_str()) {
                        found.insert(format!("{} {} tells {secret:?}", route.method(), route.path));
                    }
                }
            }
        }
    }
    assert_eq!(found, BTreeSet::new());
    assert!(asked > DECLARATIONS.len(), "{asked} requests");
    let after = rows(&mut owner, on.id).await;
    for (table, before) in &theirs {
        let gone: Vec<_> = before.iter().filter(|row| !after[table].contains(row)).collect();
        assert!(gone.is_empty(), "{table}: changed or gone: {gone:#?}");
        let new: Vec<_> = after[table].iter().filter(|row| !before.contains(row)).collect();
        // Anybody may knock: to try to sign in at a tenant leaves a nonce or the record of a refusal there.
        let is_knock = |row: &&String| {
            table == "sign_in_nonces"
                || (table == "audit_staging" && row.contains("\"actor\": \"anonymous\""))
        };
        assert!(new.iter().all(is_knock), "{table}: new: {new:#?}");
    }
}

/// Without this the walk would find nothing for want of anything to find.
#[tokio::test]
async fn the_same_walk_by_the_tenant_itself_finds_what_is_its_own() {
    let api = Api::followed().await;
    let own = tenant(&api, "one-f3a9").await;
    number_streams(&api).await;
    let mut owner = api.db.urls().owner.connect().await.unwrap();
    let texts = texts(&rows(&mut owner, own.id).await);
    let is_own = |text: &&String| text.contains("one-f3a9") || text.parse::<Uuid>().is_ok();
    let names: Vec<&String> = texts.iter().filter(is_own).collect();
    let document = serde_json::to_value(crate::openapi()).unwrap();
    let mut telling = BTreeSet::new();
    for route in DECLARATIONS.iter().filter(|route| !route.is_stream && route.write.is_none()) {
        // A signer is nobody's own, and is asked for by its address; a checkpoint by its size.
        let size = "1".to_owned();
        let others = texts.iter().filter(|text| is_own(text) || text.parse::<Address>().is_ok());
        for name in others.chain([&size]) {
            for request in requests(&document, route, name, &own, &own) {
                let answer = api.send(request).await;
                if answer.status.is_success() && names.iter().any(|name| answer.body.contains(name.as_str()))
                {
                    telling.insert(route.path);
                }
            }
        }
    }
    let needing = DECLARATIONS.iter().filter(|route| {
        route.write.is_none() && !route.is_stream && matches!(route.access, crate::gateway::Access::Needs(_))
    });
    let silent: Vec<_> = needing.map(|route| route.path).filter(|path| !telling.contains(path)).collect();
    assert_eq!(
        silent,
        Vec::<&str>::new(),
        "these tell a tenant nothing of its own: give `tenant` one of what they tell of"
    );
}
