//! What Plimsoll stands on goes away for a while.

use rand::RngExt as _;
use serde_json::Value;

use crate::house::{BLOCK_BY_BLOCK, House, Settings, Storage};
use crate::world::{World, random, seed};

/// Shorter than a test's patience, long enough for a busy machine.
const SHORT_TIMEOUT: &str = "request_timeout_ms = 700";

/// Waits until `/readyz` says that the ingest has failed and is tried again.
async fn ingest_is_down(house: &mut House) {
    house
        .until("/readyz to say that the ingest waits for the node", async |house| {
            let (status, body) = house.get("/readyz").await?;
            let why = body["why"].as_array()?;
            let down = |reason: &Value| {
                reason["code"] == "role_down"
                    && reason["text"].as_str().is_some_and(|text| text.contains("role ingest"))
            };
            (status == 503 && why.iter().any(down)).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let seed = seed(301);
    let mut rng = random(seed);
    let mut world = World::new(seed, 80).await;
    let settings = Settings { storage: Storage::Private, chain: BLOCK_BY_BLOCK, ..Settings::default() };
    let mut house = House::new(&world, settings).await;
    house.start();
    house.reaches(rng.random_range(10..=40)).await;
    house.kill_postgres();
    assert!(!house.log().contains("backfill done"), "the kill came after the backfill");
    house.catches_up(&world).await;
    for restart in 2..=5 {
        // Each block is a record at least, so this record will come.
        let seq = house.journal_seq().await + rng.random_range(1..=10);
        tokio::join!(
            async {
                world.blocks(10).await;
                world.reorg(4).await;
            },
            async {
                house.reaches(seq).await;
                house.kill_postgres();
            }
        );
        house
            .until("the server to be started again", async |house| {
                (house.log().matches("the private Postgres runs again").count() >= restart).then_some(())
            })
            .await;
        house.catches_up(&world).await;
    }
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, Settings::default()).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stalls_is_waited_for() {
    let seed = seed(302);
    let mut world = World::new(seed, 40).await;
    let mut house = House::new(&world, Settings { chain: SHORT_TIMEOUT, ..Settings::default() }).await;
    house.start();
    house.catches_up(&world).await;
    for _ in 0..2 {
        world.blocks(5).await;
        world.node().stall().unwrap();
        ingest_is_down(&mut house).await;
        world.node().resume().unwrap();
        world.blocks(5).await;
        house.catches_up(&world).await;
    }
    house.agrees(&world).await;

    world.node().stall().unwrap();
    ingest_is_down(&mut house).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_whose_node_stalls_goes_on_where_it_was() {
    let seed = seed(304);
    let mut rng = random(seed);
    let world = World::new(seed, 150).await;
    let chain = format!("{SHORT_TIMEOUT}\n{BLOCK_BY_BLOCK}");
    let mut house = House::new(&world, Settings { chain: &chain, ..Settings::default() }).await;
    house.start();
    house.reaches(rng.random_range(10..=100)).await;
    world.node().stall().unwrap();
    ingest_is_down(&mut house).await;
    assert!(!house.log().contains("backfill done"), "the stall came after the backfill");
    world.node().resume().unwrap();
    house.agrees(&world).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_restarts_is_followed_also_when_it_forgot_its_last_blocks() {
    let seed = seed(303);
    let mut world = World::new(seed, 40).await;
    let mut house = House::new(&world, Settings { chain: SHORT_TIMEOUT, ..Settings::default() }).await;
    house.start();
    house.catches_up(&world).await;

    world.stop().await;
    ingest_is_down(&mut house).await;
    world.start().await;
    world.blocks(3).await;
    house.catches_up(&world).await;

    // What was mined since the chain was last written is gone with a crash.
    world.blocks(5).await;
    house.catches_up(&world).await;
    world.crash();
    ingest_is_down(&mut house).await;
    world.start().await;
    world.blocks(9).await;
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, Settings::default()).await;
    house.stop().await;
}
