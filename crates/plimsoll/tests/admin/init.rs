//! The first command of all.

use plimsoll_identity::bootstrap;
use plimsoll_store::{Cluster, Db};
use secrecy::SecretString;
use serde_json::Value;

use crate::common::{CHAIN_ID, Place, configuration, node_of_chain};

/// A place with a private cluster that was never started.
fn fresh(tenants: &str) -> Place {
    let place = Place::new();
    place.write("plimsoll.toml", &format!("{tenants}\n{}", configuration(node_of_chain(CHAIN_ID), "")));
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_command_of_all_prints_one_link_that_makes_the_administrator() {
    const TENANT: &str = "[[tenant]]\nid = \"0a53ecb3-3a5d-4c3f-9a32-09a9a1e9b6f0\"\nname = \"acme\"";
    for (tenants, made) in [(TENANT, false), ("", true)] {
        let place = fresh(tenants);
        let words = ["admin", "init", "--tenant", "acme", "--url", "https://p.example/"];
        let dry = place.run(&[&words[..], &["--dry-run"]].concat());
        assert!(dry.code == 0 && !dry.out.contains("https://p.example"), "{dry:#?}");
        let ended = place.run(&words);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let links: Vec<&str> =
            ended.out.lines().filter(|line| line.starts_with("https://p.example/init#token=plb_")).collect();
        let [link] = links[..] else { panic!("not one link: {ended:#?}") };
        assert!(ended.out.contains("good once, for 60 minutes, until "), "{ended:#?}");
        assert_eq!(ended.out.contains("name it in the configuration"), made, "{ended:#?}");

        let cluster = Cluster::start(&place.path("plimsoll-data")).await.unwrap();
        let db = Db::connect(&cluster.urls()).await.unwrap();
        let mut tx = db.begin_worker().await.unwrap();
        let token = SecretString::from(link.rsplit('=').next().unwrap());
        let admin = bootstrap::redeem(&mut tx, &token, "ada").await.unwrap();
        tx.commit().await.unwrap();
        // Beside the one that runs it.
        place.run(&words).fails(1, &["acme has an administrator already", "users list"]);
        let listed = place.run(&["admin", "users", "list", "--role", "admin", "--json"]);
        let listed: Value = serde_json::from_str(&listed.out).unwrap();
        assert_eq!(listed[0]["user_id"], admin.user_id.to_string());
        if !made {
            place
                .run(&["admin", "tenants", "rename", "Acme"])
                .fails(2, &["from the configuration", "[[tenant]]"]);
        }
        db.close().await;
        cluster.stop().await.unwrap();
    }
}

#[test]
fn a_look_makes_no_cluster_and_a_link_knows_where_it_leads() {
    let place = fresh("");
    place.run(&["admin", "users", "list"]).fails(1, &["no private cluster"]);
    assert!(!place.path("plimsoll-data").exists());
    for (listen, base) in
        [("127.0.0.1:8081", "http://127.0.0.1:8081/"), ("0.0.0.0:8081", "http://localhost:8081/")]
    {
        let listening = [("PLIMSOLL_API__LISTEN", listen)];
        let ended = place.run_with(&["admin", "init", "--tenant", "acme", "--json"], &listening);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let told: Value = serde_json::from_str(&ended.out).unwrap();
        assert!(told["link"].as_str().unwrap().starts_with(base), "{told}");
    }
}
