//! The relayer on the command line: what is held back, handed in, looked at, called off and handed over, each on record.

#![allow(clippy::unwrap_used)] // a panic is a failed test

mod common;

use common::{CHAIN_ID, Ended, Place, configuration, node_of_chain};
use plimsoll_identity::tenant;
use plimsoll_store::{Db, PoolSizes, testing};
use serde_json::Value;
use sqlx::ConnectOptions as _;
use uuid::Uuid;

const OLD: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
const NEW: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
const TARGET: &str = "0x5fbdb2315678afecb367f032d93f642f64180aa3";

/// A server with a tenant and two signers of one chain, one of which grants everybody calls of one target.
struct House {
    place: Place,
    db: Db,
    acme: Uuid,
}

fn signer(name: &str, address: &str) -> String {
    format!(
        "[[signers]]\nname = \"{name}\"\nchain = \"test\"\naddress = \"{address}\"\n[signers.key]\nweb3signer = \"http://127.0.0.1:1\"\n\
         [[signers.grants]]\ntenant = \"*\"\ntargets = [\"{TARGET}\"]\nmethods = [\"*\"]\nmax_gas_wei_per_day = \"unlimited\"\n"
    )
}

impl House {
    async fn new() -> Self {
        let urls = testing::database().await;
        let place = Place::new();
        let url = urls.owner.to_url_lossy();
        let base = configuration(node_of_chain(CHAIN_ID), &format!("url = \"{url}\""));
        place.write("plimsoll.toml", &format!("{base}{}{}", signer("settlement", OLD), signer("next", NEW)));
        let db = Db::connect_with(&urls, PoolSizes { app: 2, worker: 2 }).await.unwrap();
        let mut tx = db.begin_worker().await.unwrap();
        let acme = tenant::create(&mut tx, Uuid::now_v7(), "acme").await.unwrap().tenant_id;
        tenant::create(&mut tx, Uuid::now_v7(), "globex").await.unwrap();
        sqlx::query("INSERT INTO chains (chain_id, name, genesis_hash, start_block, confirmations, finality) VALUES ($1, 'test', decode(repeat('00', 32), 'hex'), 0, 1, '2 blocks')")
            .bind(i64::try_from(CHAIN_ID).unwrap())
            .execute(&mut *tx)
            .await
            .unwrap();
        for (name, address) in [("settlement", OLD), ("next", NEW)] {
            for statement in [
                "INSERT INTO signers (chain_id, address, name) VALUES ($1, $2, $3)",
                "INSERT INTO signer_progress (chain_id, address) SELECT $1, $2 WHERE $3 <> ''",
            ] {
                let row = sqlx::query(statement).bind(i64::try_from(CHAIN_ID).unwrap());
                row.bind(address).bind(name).execute(&mut *tx).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
        Self { place, db, acme }
    }

    fn run(&self, line: &str) -> Ended {
        self.place.run(&line.split(' ').collect::<Vec<_>>())
    }

    /// What it prints as JSON.
    fn json(&self, line: &str) -> Value {
        let ended = self.run(&format!("{line} --json"));
        assert_eq!(ended.code, 0, "{line}: {ended:#?}");
        serde_json::from_str(&ended.out).unwrap()
    }

    /// Hands in a transaction; its id.
    fn submit(&self, request: Uuid) -> Uuid {
        let line = format!(
            "tx submit --tenant acme --signer settlement --to {TARGET} --data 0xd09de08a --request-id {request}"
        );
        let told = self.json(&line);
        told["target_id"].as_str().unwrap().parse().unwrap()
    }

    async fn audited(&self, action: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM audit_staging WHERE action = $1 AND actor LIKE 'cli:%'")
            .bind(action)
            .fetch_one(self.db.worker())
            .await
            .unwrap()
    }

    async fn count(&self, table: &'static str) -> i64 {
        sqlx::query_scalar(table).fetch_one(self.db.worker()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_is_held_back_and_released_and_nothing_else() {
    let house = House::new().await;
    let switches = "SELECT count(*) FROM kill_switches";
    house.run("relayer halt --reason x").fails(2, &["--everything"]);
    house.run("relayer halt --everything --signer settlement --reason x").fails(2, &["cannot be used"]);
    house.run("relayer halt --everything").fails(2, &["--reason"]);
    house.run("relayer halt --everything --reason x").fails(2, &["this is grave", "--yes"]);
    house.run("relayer halt --signer setlement --reason x --yes").fails(2, &["no signer", "settlement"]);
    let elsewhere = "relayer halt --signer settlement --chain 999 --reason x --yes";
    house
        .run(elsewhere)
        .fails(2, &["no signer \"settlement\" on chain 999", &format!("signs on chain {CHAIN_ID}")]);
    house.run("relayer halt --tenant acne --reason x --yes").fails(2, &["no tenant", "acme"]);
    let dry = house.run("relayer halt --everything --reason x --dry-run");
    assert_eq!(dry.code, 0, "{dry:#?}");
    assert!(dry.out.starts_with("would hold back everything\n"), "{dry:#?}");
    assert_eq!(house.count(switches).await, 0);

    for meant in ["--everything", "--signer settlement", "--tenant acme --signer settlement", "--tenant acme"]
    {
        let ended = house.run(&format!("relayer halt {meant} --reason ticket-42 --yes"));
        assert_eq!(ended.code, 0, "{meant}: {ended:#?}");
        house.run(&format!("relayer halt {meant} --reason again --yes")).fails(1, &["already", "ticket-42"]);
    }
    let held = house.json("relayer halts");
    let held = held.as_array().unwrap();
    assert_eq!(held.len(), 4);
    assert_eq!((&held[2]["tenant"], &held[2]["signer"]), (&"acme".into(), &OLD.into()), "{held:#?}");
    assert!(held.iter().all(|one| one["thrown_by"].as_str().unwrap().starts_with("cli:")));
    let shown = house.json("signers show settlement");
    assert_eq!(shown["held_back_by"].as_array().unwrap().len(), 4, "{shown:#}");
    assert_eq!(house.json("signers show next")["held_back_by"].as_array().unwrap().len(), 2);

    // Exactly what is named is released.
    house
        .run("relayer resume --tenant globex --reason over --yes")
        .fails(1, &["no switch", "plimsoll relayer halts"]);
    let ended = house.run("relayer resume --tenant acme --signer settlement --reason over --yes");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(house.count(switches).await, 3);
    assert_eq!(house.audited("relayer.kill_switch.throw").await, 4);
    assert_eq!(house.audited("relayer.kill_switch.release").await, 1);
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_handed_in_once_shown_and_called_off() {
    let house = House::new().await;
    let requests = "SELECT count(*) FROM managed_transactions";
    let line = format!("tx submit --tenant acme --signer settlement --to {TARGET}");
    let dry = house.run(&format!("{line} --dry-run"));
    assert!(dry.code == 0 && dry.out.contains("would have the signer settlement send operator"), "{dry:#?}");
    assert_eq!(house.count(requests).await, 0);
    house.run(&format!("tx submit --tenant acme --signer settlement --to {OLD}")).fails(1, &["grants"]);
    house.run("tx submit --tenant acme --signer settlement --to 0x12").fails(2, &["--to"]);
    house.run(&format!("{line} --data 0xz")).fails(2, &["--data"]);
    house.run(&format!("tx submit --tenant acme --signer sett --to {TARGET}")).fails(2, &["is configured"]);
    assert_eq!(house.count(requests).await, 0);

    let request = Uuid::new_v4();
    let id = house.submit(request);
    let again = format!("{line} --data 0xd09de08a --request-id {request}");
    house.run(&again).fails(1, &["nothing to do", &id.to_string()]);
    house.run(&format!("{again}00")).fails(2, &[]);
    assert_eq!(house.count(requests).await, 1);

    assert_eq!(house.run("relayer halt --tenant acme --reason ticket-42 --yes").code, 0);
    let hold = "UPDATE managed_transactions SET held_why = 'fund the signer', held_at = now() WHERE id = $1";
    sqlx::query(hold).bind(id).execute(house.db.worker()).await.unwrap();
    let listed = house.run("tx list --tenant acme");
    assert!(listed.out.contains("ticket-42, fund the signer"), "{listed:#?}");
    let shown = house.run(&format!("tx show {id}"));
    assert_eq!(shown.code, 0, "{shown:#?}");
    for part in [
        &id.to_string(),
        "acme",
        "pending (version 1)",
        "0xd09de08a",
        "ticket-42",
        "fund the signer",
        "history",
        "accepted",
        "cli:",
    ] {
        assert!(shown.out.contains(part), "`{part}`: {}", shown.out);
    }
    let story = house.json(&format!("tx show {id}"));
    assert_eq!(story["tenant_id"], house.acme.to_string());
    assert_eq!(story["transaction"]["request_id"], request.to_string());
    assert_eq!(
        (&story["history"][0]["to"], &story["history"][0]["because"]),
        (&"pending".into(), &"accepted".into())
    );
    let list = house.run("tx list --tenant acme --signer settlement");
    assert!(list.out.contains(&id.to_string()) && list.out.contains("ticket-42"), "{list:#?}");
    assert_eq!(house.json("tx list --tenant acme --state mined"), serde_json::json!([]));
    assert_eq!(house.json("tx list --tenant globex"), serde_json::json!([]));
    house.run(&format!("tx show {}", Uuid::now_v7())).fails(1, &["no transaction"]);
    house.run("tx show what").fails(2, &["neither"]);

    house.run(&format!("tx cancel {id} --reason x")).fails(2, &["no terminal"]);
    let ended = house.run(&format!("tx cancel {id} --reason withdrawn --yes"));
    assert_eq!(ended.code, 0, "{ended:#?}");
    house.run(&format!("tx cancel {id} --reason withdrawn --yes")).fails(1, &["to be cancelled already"]);
    let story = house.json(&format!("tx show {id}"));
    assert_eq!(story["transaction"]["end_why"], "withdrawn");
    for action in ["relayer.transaction.submit", "relayer.transaction.cancel"] {
        assert_eq!(house.audited(action).await, 1, "{action}");
    }
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_hands_over_what_waits_and_says_so() {
    let house = House::new().await;
    for _ in 0..3 {
        house.submit(Uuid::new_v4());
    }
    let list = house.json("signers list");
    let of = |list: &Value, name: &str| {
        list.as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap()
    };
    assert_eq!((&of(&list, "settlement")["queued"], &of(&list, "next")["queued"]), (&3.into(), &0.into()));
    assert_eq!(of(&list, "settlement")["window"], 64);
    let dry = house.run("signers rotate settlement next --reason x --dry-run");
    assert!(dry.code == 0 && dry.out.contains("requests_moved: 0 → 3"), "{dry:#?}");
    assert_eq!(of(&house.json("signers list"), "settlement")["queued"], 3);

    let ended = house.run("signers rotate settlement next --reason leaked --yes");
    assert_eq!(ended.code, 0, "{ended:#?}");
    let list = house.json("signers list");
    assert_eq!((&of(&list, "settlement")["queued"], &of(&list, "next")["queued"]), (&0.into(), &3.into()));
    assert_eq!(of(&list, "settlement")["rotated_to"], NEW);
    house.run("signers rotate settlement next --reason leaked --yes").fails(1, &["nothing to do"]);
    house.run("signers rotate next settlement --reason x --yes").fails(1, &["itself"]);
    house.run("signers rotate next next --reason x --yes").fails(1, &["another signer of the same chain"]);
    assert_eq!(house.audited("relayer.signer.rotate").await, 1);
    house.db.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_claimed_of_a_signer_whose_nonces_nobody_tells() {
    let house = House::new().await;
    let ended = house.run("relayer reconcile --dry-run");
    ended.fails(3, &["of 2 signers too few endpoints tell the nonces"]);
    assert!(ended.out.ends_with("would fill 0, re-send 0, cancel 0; 0 stay\n"), "{ended:#?}");
    assert_eq!(house.count("SELECT sum(looks_wanted)::bigint FROM signers").await, 0);
    house.run("relayer reconcile --chain 5").fails(2, &["chain 5 is not configured"]);
    house.db.close().await;
}
