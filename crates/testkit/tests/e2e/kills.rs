//! The process is killed, or told to end, in the midst of its work.

use rand::RngExt as _;

use crate::house::{BLOCK_BY_BLOCK, House, Settings, Storage};
use crate::world::{World, random, seed};

const KILLS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_during_a_backfill_leave_what_an_undisturbed_run_leaves() {
    let seed = seed(101);
    let mut rng = random(seed);
    let world = World::new(seed, 250).await;
    let mut house = House::new(&world, Settings { chain: BLOCK_BY_BLOCK, ..Settings::default() }).await;
    for kill in 1..=KILLS {
        let seq = house.journal_seq().await;
        house.start();
        house.reaches(seq + rng.random_range(1..=50)).await;
        house.kill();
        let (head, last_final) = house.progress().await;
        assert!(head < last_final, "kill {kill} came after the backfill: {head} of {last_final}");
    }
    house.start();
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, Settings::default()).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_at_the_head_amid_reorgs_leave_what_an_undisturbed_run_leaves() {
    let seed = seed(102);
    let mut rng = random(seed);
    let mut world = World::new(seed, 40).await;
    let mut house = House::new(&world, Settings { storage: Storage::Private, ..Settings::default() }).await;
    house.start();
    house.catches_up(&world).await;
    for _ in 0..KILLS {
        // Each block is a record at least, so this record will come.
        let seq = house.journal_seq().await + rng.random_range(1..=10);
        let depth = rng.random_bool(0.5).then(|| rng.random_range(1..=8));
        tokio::join!(
            async {
                if let Some(depth) = depth {
                    world.reorg(depth).await;
                }
                world.blocks(10).await;
            },
            async {
                house.reaches(seq).await;
                house.kill();
            }
        );
        if rng.random_bool(0.5) {
            world.reorg(rng.random_range(1..=8)).await;
        }
        house.start();
        house.catches_up(&world).await;
    }
    house.agrees(&world).await;
    house.equals_an_undisturbed_run(&world, Settings::default()).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_during_a_backfill_it_ends_with_0_and_goes_on_where_it_was() {
    let seed = seed(103);
    let mut rng = random(seed);
    let world = World::new(seed, 120).await;
    let settings = Settings { storage: Storage::Private, chain: BLOCK_BY_BLOCK, ..Settings::default() };
    let mut house = House::new(&world, settings).await;
    house.start();
    house.reaches(rng.random_range(10..=100)).await;
    house.stop().await;
    assert!(!house.log().contains("backfill done"), "the end came after the backfill");
    house.start();
    house.agrees(&world).await;
    house.stop().await;
}
