//! A tenant with books, and what is asked of them.

use axum::body::Body;
use axum::http::{Method, Request};
use plimsoll_identity::UserKind;
use plimsoll_ledger::{Sealer, seal};
use plimsoll_proof::ledger::checkpoint::NoteSigner;
use plimsoll_store::{DEFAULT_TERM, Leases};
use plimsoll_types::Context;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::people::Person;
use super::super::{Answer, Api};

pub(super) const POST: &str = "/api/v1/ledger/post";
pub(super) const BATCH: &str = "/api/v1/ledger/post/batch";
pub(super) const LOG: &str = "books.example.com";

/// Two accounts of a tenant, and somebody who may do everything.
pub(super) struct House {
    pub(super) api: Api,
    pub(super) admin: Person,
    pub(super) cash: Uuid,
    pub(super) deposits: Uuid,
}

pub(super) async fn house() -> House {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let admin = api.person(tenant_id, UserKind::Person, &["admin"]).await;
    let (cash, deposits) = books(&api, &admin).await;
    House { api, admin, cash, deposits }
}

/// Opens books with two accounts in USDC.
pub(super) async fn books(api: &Api, admin: &Person) -> (Uuid, Uuid) {
    let usdc = json!({ "currency": "USDC", "decimals": 6, "name": "USD Coin" });
    api.post(admin, "/api/v1/ledger/currencies", usdc).await.expect(201);
    let open = async |name: &str, class: &str, limits: Value| {
        let mut fields =
            json!({ "name": name, "account_type": "PLATFORM", "class": class, "currency": "USDC" });
        fields.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
        let made = api.post(admin, "/api/v1/ledger/accounts", fields).await.expect(201);
        made["account_id"].as_str().unwrap().parse::<Uuid>().unwrap()
    };
    (
        open("Cash", "asset", json!({ "min_balance": "0" })).await,
        open("Deposits", "liability", json!({})).await,
    )
}

impl House {
    /// A deposit, as the spec writes it.
    pub(super) fn deposit(&self, amount: u64) -> Value {
        json!({
            "request_id": Uuid::new_v4(),
            "tenant_id": self.admin.tenant_id,
            "operation_type": "deposit",
            "entries": [
                { "account_id": self.cash, "debit": amount, "credit": 0, "currency": "USDC" },
                { "account_id": self.deposits, "debit": 0, "credit": amount.to_string(), "currency": "USDC" },
            ],
        })
    }

    /// The other way round.
    pub(super) fn withdrawal(&self, amount: u64) -> Value {
        let mut body = self.deposit(amount);
        body["operation_type"] = json!("withdrawal");
        body["entries"][0]["account_id"] = json!(self.deposits);
        body["entries"][1]["account_id"] = json!(self.cash);
        body
    }

    pub(super) async fn send(&self, path: &str, key: &str, body: &Value) -> Answer {
        send(&self.api, &self.admin, path, key, body).await
    }

    /// Under a new key.
    pub(super) async fn post(&self, body: &Value) -> Answer {
        self.send(POST, &Uuid::new_v4().to_string(), body).await
    }

    pub(super) async fn read(&self, path: &str) -> Value {
        self.api.read(&self.admin, path).await.expect(200)
    }

    /// What the account holds, on its normal side.
    pub(super) async fn balance(&self, account: Uuid, as_of: &str) -> String {
        let found = self.read(&format!("/api/v1/ledger/balances?account_id={account}{as_of}")).await;
        found["items"][0]["balance"].as_str().unwrap().to_owned()
    }

    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.api.db.worker()).await.unwrap()
    }
}

pub(super) async fn send(api: &Api, who: &Person, path: &str, key: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", format!("Bearer {}", who.token))
        .header("idempotency-key", key)
        .header("content-type", "application/json");
    api.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// Seals what was booked, and signs it.
pub(super) async fn sealed(api: &Api) {
    let leases = Leases::connect(&api.db, "here:seal", DEFAULT_TERM).await.unwrap();
    let lease = leases.acquire_wait(seal::LEASE, &CancellationToken::new()).await.unwrap();
    let signer = NoteSigner::new(LOG, &[7; 32]).unwrap();
    let sealer = Sealer::new(api.db.clone(), leases, LOG, signer);
    sealer.show_key(&lease).await.unwrap();
    while sealer.seal(&lease).await.unwrap().postings > 0 {}
    sealer.checkpoint(&lease).await.unwrap();
    lease.release().await.unwrap();
}

/// A tenant's books with something in each table: for the walks over all routes.
pub(in super::super) async fn one_of(api: &Api, context: &Context, name: &str) {
    use plimsoll_ledger as ledger;
    let tenant_id = context.tenant_id.unwrap();
    let currency = ledger::Currency {
        currency: format!("CODE-{name}"),
        chain_id: None,
        token_address: None,
        decimals: 6,
        name: format!("currency of {name}"),
    };
    let account = |side: &str, class| ledger::NewAccount {
        account_id: Uuid::now_v7(),
        name: format!("{side} of {name}"),
        account_type: ledger::AccountType::Platform,
        class,
        domain: "cash".into(),
        currency: currency.currency.clone(),
        user_id: None,
        chain_id: None,
        address: None,
        min_balance: None,
        max_balance: None,
    };
    let accounts =
        [account("debits", ledger::AccountClass::Asset), account("credits", ledger::AccountClass::Liability)];
    ledger::open(&api.db, tenant_id, std::slice::from_ref(&currency), &accounts).await.unwrap();
    let line = |at: usize, direction| ledger::Line {
        account_id: accounts[at].account_id,
        direction,
        amount: plimsoll_types::Amount::from(5_u64),
        currency: currency.currency.clone(),
        entry_type: "TRADE".into(),
    };
    let draft = ledger::Draft {
        context: Context { request_id: Uuid::new_v4(), ..context.clone() },
        operation_type: format!("booking-of-{name}"),
        domain: "cash".into(),
        origin: ledger::Origin::Request,
        internal_tx_id: None,
        trace_id: None,
        effective_at: None,
        on_chain: None,
        correction: None,
        metadata: serde_json::Map::new(),
        lines: vec![line(0, ledger::Direction::Debit), line(1, ledger::Direction::Credit)],
    };
    let posting = ledger::Posting::new(draft).unwrap();
    ledger::Intake::start(api.db.clone()).post(posting).await.unwrap();
    let closing = format!("closing of {name}");
    let context = Context { request_id: Uuid::new_v4(), ..context.clone() };
    ledger::period::close(&api.db, time::OffsetDateTime::UNIX_EPOCH, &closing, &context).await.unwrap();
    sealed(api).await;
}
