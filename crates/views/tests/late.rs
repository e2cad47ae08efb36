//! History that comes late, on a real Postgres: the mirrors end as those of whoever followed from the first block, and show nothing older meanwhile.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use alloy_primitives::Address;
use common::{Log, Scene, address_of, asset, cached, log, uint, user, word};
use plimsoll_journal::{StepOptions, step};

/// A mirror's event of that key.
fn health(tx: u8, who: u8, factor: u64) -> Log {
    log(tx, "HealthView", "HealthFactorCached", &[user(who).into(), uint(factor), uint(7)])
}

/// Another mirror's, and a trail's.
fn stats(tx: u8, what: u8, price: u64) -> Log {
    let values: Vec<_> = std::iter::once(asset(what).into())
        .chain([uint(price), uint(1), uint(2), uint(7), word(1), uint(1)])
        .collect();
    log(tx, "VaultRouter", "AssetStatsPushed", &values)
}

/// Everything but positions and health is followed from the start.
fn is_followed_early(contract: Address) -> bool {
    ![address_of("PositionView"), address_of("HealthView")].contains(&contract)
}

/// Final blocks, and two that are not.
fn blocks() -> (Vec<Vec<Log>>, Vec<Vec<Log>>) {
    let settled = vec![
        vec![cached(0, 1, 1, 10, 0, 1), health(1, 1, 100)],
        vec![stats(0, 1, 50), cached(1, 1, 1, 20, 5, 2), cached(1, 1, 1, 25, 5, 3), cached(2, 2, 1, 7, 0, 1)],
        vec![],
        vec![health(0, 1, 90), health(1, 2, 80), cached(2, 1, 1, 30, 5, 4)],
    ];
    let young = vec![
        vec![cached(0, 1, 1, 40, 5, 5), health(1, 1, 70), stats(2, 1, 60)],
        vec![cached(0, 1, 1, 50, 5, 6), cached(1, 3, 1, 1, 0, 1)],
    ];
    (settled, young)
}

/// The journal of whoever followed all from the start.
async fn straight(blocks: &[&[Vec<Log>]], salt: u8) -> Vec<String> {
    let mut scene = Scene::new().await;
    for (part, salt) in blocks.iter().zip([0, salt]) {
        scene.switch(0, part, salt, None).await;
    }
    scene.fold().await;
    scene.projection().await
}

#[tokio::test]
async fn the_mirrors_end_as_if_it_had_come_in_time_and_again_after_a_reorg_above_it() {
    let (settled, young) = blocks();
    for parts in [&[(0, 3)][..], &[(3, 3), (0, 2)], &[(2, 3), (1, 1), (0, 0)]] {
        let mut scene = Scene::new().await;
        scene.switch_keeping(0, &settled, 0, None, is_followed_early).await;
        scene.switch(0, &young, 0, Some(3)).await;
        scene.fold().await;
        for (from, to) in parts {
            scene.late(*from, *to).await;
            scene.fold().await;
        }
        assert_eq!(scene.projection().await, straight(&[&settled, &young], 0).await, "{parts:?}");
        assert_eq!(scene.late(0, 3).await, 0, "it is there already");
        assert!(scene.anomalies().await.iter().all(|kind| kind == "history_starts_late"));

        // What stood beneath the young blocks is what came late.
        let other = [vec![], vec![stats(0, 1, 61)]];
        scene.switch(2, &other, 9, None).await;
        scene.fold().await;
        assert_eq!(scene.projection().await, straight(&[&settled, &other], 9).await, "{parts:?}");
    }
}

#[tokio::test]
async fn what_was_withheld_of_a_key_takes_its_place_among_what_is_there() {
    // Of the key there is a version before what was withheld and, above finality, one after it.
    let settled = [
        vec![cached(0, 1, 1, 10, 0, 1), health(1, 1, 100)],
        vec![cached(0, 1, 1, 20, 0, 2), health(1, 1, 90)],
    ];
    let young = [vec![cached(0, 1, 1, 30, 0, 3), health(1, 1, 80)]];
    for has_young in [true, false] {
        let mut scene = Scene::new().await;
        scene.switch(0, &settled[..1], 0, None).await;
        scene.switch_keeping(0, &settled[1..], 0, Some(1), is_followed_early).await;
        scene.fold().await;
        if has_young {
            scene.extend(&young).await;
            scene.fold().await;
        }
        assert_eq!(scene.late(0, 1).await, 2, "the others are there");
        scene.fold().await;
        let version = |row: Option<(String, String, Option<String>, Option<String>)>| row.map(|row| row.1);
        let expected = if has_young { "3" } else { "2" };
        assert_eq!(version(scene.position(1, 1).await).as_deref(), Some(expected));
        if has_young {
            scene.switch(1, &[vec![]], 9, None).await;
            scene.fold().await;
        }
        assert_eq!(version(scene.position(1, 1).await).as_deref(), Some("2"));
        let health: Vec<String> = sqlx::query_scalar(
            "SELECT value ->> 'healthFactor' FROM view_mirror WHERE view = 'health_factor'",
        )
        .fetch_all(scene.db.worker())
        .await
        .unwrap();
        assert_eq!(health, ["90"]);
    }
}

#[tokio::test]
async fn nothing_older_is_shown_while_it_comes() {
    let (settled, young) = blocks();
    let mut scene = Scene::new().await;
    scene.switch_keeping(0, &settled, 0, None, is_followed_early).await;
    scene.switch(0, &young[1..], 0, Some(3)).await;
    scene.fold().await;
    let mut last = scene.dump("position_cache_mirror", &[]).await.len();
    scene.late(0, 3).await;
    let options = StepOptions { max_records: 1, up_to_seq: None, tail: None, lease: None };
    let mut steps = 0;
    while step(&mut scene.fold, &scene.db, scene.chain_id, options).await.unwrap().records > 0 {
        steps += 1;
        // Keys come; none goes back.
        let rows = scene.dump("position_cache_mirror", &[]).await.len();
        assert!(rows >= last);
        last = rows;
        assert_eq!(scene.position(1, 1).await.unwrap().1, "6");
        let second = scene.position(2, 1).await.map(|row| row.1);
        assert!(second.is_none_or(|version| version == "1"));
    }
    assert_eq!(steps, 3, "a block at a time");
    let log = scene.apply_log().await;
    let late: Vec<_> = log.iter().filter(|row| row.3.as_deref() == Some("late_history")).collect();
    assert_eq!(late.len(), 5, "{log:#?}");
    assert!(late.iter().all(|row| row.2 == "ignored"));
}
