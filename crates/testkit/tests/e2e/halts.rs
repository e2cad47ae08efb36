//! A reorganisation that reaches below what was called final.

use rand::RngExt as _;
use serde_json::Value;

use crate::house::{BLOCK_BY_BLOCK, House, Settings};
use crate::world::{World, random, seed};

fn shallow() -> Settings<'static> {
    Settings { finality_depth: 4, ..Settings::default() }
}

async fn halted(house: &mut House, chain: &str) -> Value {
    house
        .until("the chain to halt", async |house| {
            let (status, body) = house.get(chain).await?;
            assert_eq!(status, 200, "{body:#}");
            (body["state"] == "halted").then_some(body)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_past_finality_halts_the_chain_until_an_operator_lifts_it() {
    let seed = seed(401);
    let mut world = World::new(seed, 40).await;
    let mut house = House::new(&world, shallow()).await;
    house.start();
    world.stop().await;
    world.save("fork");
    world.start().await;
    world.blocks(8).await;
    house.catches_up(&world).await;
    let before = house.projection().await;
    world.stop().await;
    world.save("right branch");

    world.restore("fork");
    world.start().await;
    world.blocks(11).await;
    let chain = format!("/api/v1/chains/{}", world.chain_id());
    let found = halted(&mut house, &chain).await;
    assert_eq!(found["halt"]["kind"], "deep_reorg", "{found:#}");
    for key in ["what", "final_number", "final_hash", "endpoint_hash", "remedy"] {
        assert!(!found["halt"][key].is_null(), "{key}: {found:#}");
    }

    // It is not ready and says why, and everything else is served on.
    let (status, ready) = house.get("/readyz").await.unwrap();
    let reasons = ready["why"].as_array().unwrap();
    let reason = reasons.iter().find(|reason| reason["code"] == "chain_halted");
    let text = reason.unwrap_or_else(|| panic!("{ready:#}"))["text"].as_str().unwrap();
    assert!(status == 503 && text.contains("final"), "{status} {ready:#}");
    let (status, body) = house.get("/api/v1/events?limit=3").await.unwrap();
    assert!(
        status == 200 && body["items"].as_array().is_some_and(|items| items.len() == 3),
        "{status} {body:#}"
    );
    assert!(before.differences(&house.projection().await).is_empty(), "a halted chain keeps what it had");

    // Neither a restart nor a resumption on the wrong branch gets past it.
    house.stop().await;
    house.start();
    house.until("the API to be up", async |house| house.get("/healthz").await.map(|_| ())).await;
    halted(&mut house, &chain).await;
    resume(&house, &world).await;
    house
        .until("the chain to halt again", async |house| {
            (house.log().matches("reorg past finality: the chain halts").count() >= 2).then_some(())
        })
        .await;
    halted(&mut house, &chain).await;

    world.stop().await;
    world.restore("right branch");
    world.start().await;
    resume(&house, &world).await;
    house.agrees(&world).await;
    assert!(before.differences(&house.projection().await).is_empty());
    world.blocks(10).await;
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, shallow()).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_finds_another_final_block_when_it_goes_on_halts() {
    let seed = seed(402);
    let mut rng = random(seed);
    let mut world = World::new(seed, 5).await;
    world.stop().await;
    world.save("fork");
    world.start().await;
    world.blocks(120).await;
    let mut house = House::new(&world, Settings { chain: BLOCK_BY_BLOCK, ..shallow() }).await;
    house.start();
    house.reaches(rng.random_range(10..=60)).await;
    house.kill();
    let (head, last_final) = house.progress().await;
    assert!(head < last_final, "the kill came after the backfill: {head} of {last_final}");
    world.stop().await;
    world.save("right branch");

    world.restore("fork");
    world.start().await;
    world.blocks(130).await;
    let before = house.projection().await;
    house.start();
    let chain = format!("/api/v1/chains/{}", world.chain_id());
    house.until("the API to be up", async |house| house.get(&chain).await.map(|_| ())).await;
    halted(&mut house, &chain).await;
    assert_eq!(house.projection().await.rows("chain_events"), before.rows("chain_events"));

    world.stop().await;
    world.restore("right branch");
    world.start().await;
    resume(&house, &world).await;
    house.agrees(&world).await;
    house.stop().await;
}

async fn resume(house: &House, world: &World) {
    let chain_id = world.chain_id().to_string();
    let ended = house
        .run(&[
            "chain",
            "resume",
            "--chain",
            &chain_id,
            "--operator",
            "tester",
            "--reason",
            "its node was mended",
        ])
        .await;
    assert!(ended.status.success(), "{ended:?}");
}
