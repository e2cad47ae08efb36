//! Roles belong to the whole server, so this test has a server, and therefore a process, of its own.

mod common;

use common::{CHAIN_ID, Place, configuration, node_of_chain};
use plimsoll_store::testing;
use sqlx::ConnectOptions as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_role_with_too_much_power_is_refused_with_the_sql_that_takes_it() {
    let place = Place::new();
    let urls = testing::database().await;
    let mut owner = urls.owner.connect().await.unwrap();
    let url = urls.owner.to_url_lossy();
    place.write("plimsoll.toml", &configuration(node_of_chain(CHAIN_ID), &format!("url = \"{url}\"")));
    sqlx::raw_sql("ALTER ROLE plimsoll_app BYPASSRLS").execute(&mut owner).await.unwrap();
    place.run(&["run"]).fails(
        1,
        &["bypasses row-level security", "ALTER ROLE", "NOBYPASSRLS", "where: ./plimsoll.toml:2:7"],
    );
    sqlx::raw_sql("ALTER ROLE plimsoll_app NOBYPASSRLS").execute(&mut owner).await.unwrap();
    assert_eq!(place.run(&["fold", "status"]).code, 0);
}
