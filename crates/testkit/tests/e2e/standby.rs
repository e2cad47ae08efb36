//! Two processes on one database: one does the work, the other stands by, says so, and takes over.

use crate::house::{House, Settings};
use crate::world::{World, seed};

/// What `/readyz` says of each role: name, state, detail.
async fn roles(house: &House) -> Option<(u16, Vec<(String, String, String)>)> {
    let (status, ready) = house.get("/readyz").await?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let roles = ready["roles"].as_array()?.iter();
    let roles = roles.map(|role| (text(&role["role"]), text(&role["state"]), text(&role["detail"])));
    Some((status, roles.collect()))
}

/// Waits until exactly these roles stand by and the process is ready.
async fn until_these_stand_by(house: &mut House, wanted: &[&str]) {
    house
        .until(&format!("{wanted:?} to stand by"), async |house| {
            let (status, roles) = roles(house).await?;
            let standing_by: Vec<_> = roles.iter().filter(|(_, state, _)| state == "standby").collect();
            let names: Vec<_> = standing_by.iter().map(|(role, _, _)| role.as_str()).collect();
            let explained = standing_by.iter().all(|(_, _, detail)| detail.contains("holds the lease"));
            (status == 200 && names == wanted && explained).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_process_stands_by_and_takes_over_when_the_first_is_killed() {
    let mut world = World::new(seed(601), 20).await;
    let mut first = House::new(&world, Settings::default()).await;
    first.start();
    first.catches_up(&world).await;
    let mut second = first.beside(&world);
    second.start();
    until_these_stand_by(
        &mut second,
        &[
            "balances",
            "books",
            "ingest",
            "retention",
            "retry:jobs",
            "sequencer:audit_log",
            "sequencer:events",
            "verify",
            "views",
        ],
    )
    .await;
    until_these_stand_by(&mut first, &[]).await;
    first.kill();
    until_these_stand_by(&mut second, &[]).await;
    world.blocks(5).await;
    second.agrees(&world).await;
    second.stop().await;
}
