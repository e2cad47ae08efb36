//! The chain changes its mind.

use crate::house::{House, Settings};
use crate::world::{World, seed};

#[tokio::test(flavor = "multi_thread")]
async fn reorgs_of_depth_1_to_8_are_followed_and_the_mirrors_stay_true() {
    let seed = seed(201);
    let mut world = World::new(seed, 40).await;
    let mut house = House::new(&world, Settings::default()).await;
    house.start();
    for depth in 1..=8 {
        world.blocks(2).await;
        world.deposit().await;
        // What Plimsoll has not seen it need not take back.
        house.catches_up(&world).await;
        let reorg = world.reorg(depth).await;
        assert!(reorg.orphaned_event_kinds > 1, "{reorg:?}");
        house.catches_up(&world).await;
        house.mirrors_are_true().await;
    }
    assert_eq!(house.status().await.metric("reorgs_total").to_string(), "8");
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, Settings::default()).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_goes_to_another_branch_and_back_is_as_it_was() {
    let seed = seed(202);
    let mut world = World::new(seed, 40).await;
    let mut house = House::new(&world, Settings::default()).await;
    house.start();
    world.stop().await;
    world.save("fork");

    world.start().await;
    world.blocks(7).await;
    house.catches_up(&world).await;
    let first = house.projection().await;
    world.stop().await;
    world.save("first branch");

    world.restore("fork");
    world.start().await;
    world.blocks(9).await;
    house.agrees(&world).await;
    assert!(!first.differences(&house.projection().await).is_empty());

    // The first branch is the shorter one: it is believed once it stays.
    world.stop().await;
    world.restore("first branch");
    world.start().await;
    house.agrees(&world).await;
    let differences = first.differences(&house.projection().await);
    assert!(differences.is_empty(), "first: before, second: after\n{differences:#?}");

    world.blocks(5).await;
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, Settings::default()).await;
    house.stop().await;
}
