//! What leaves the chain leaves the mirrors, and what is final leaves nothing behind to undo.

use super::one_of_each_view;
use crate::common::{Scene, cached, pushed};

#[tokio::test]
async fn a_reorg_restores_what_stood_before_and_is_on_record_event_by_event() {
    let mut scene = Scene::new().await;
    scene
        .extend(&[vec![pushed(0, 1, 1, 10, 0, 0x11, 1), cached(0, 1, 1, 10, 0, 1)], one_of_each_view()])
        .await;
    scene.fold().await;
    let before = scene.mirrors().await;
    let mut lost = vec![pushed(0, 1, 1, 20, 0, 0x22, 2), cached(0, 1, 1, 20, 0, 2), cached(1, 2, 1, 5, 0, 1)];
    lost.extend(one_of_each_view());
    scene.extend(&[lost.clone(), vec![cached(0, 1, 1, 30, 0, 3)]]).await;
    scene.fold().await;
    assert_ne!(scene.mirrors().await, before);

    scene.switch(2, &[vec![]], 9, None).await;
    scene.fold().await;
    assert_eq!(scene.mirrors().await, before);
    let log = scene.apply_log().await;
    let rollbacks = log.iter().filter(|row| row.3.as_deref() == Some("reorg_rollback")).count();
    assert_eq!(rollbacks, lost.len() + 1);
    let newest_first: Vec<serde_json::Value> = sqlx::query_scalar(
        "SELECT reject_detail -> 'retracted_seq' FROM view_apply_log WHERE reject_code = 'reorg_rollback' ORDER BY journal_seq",
    )
    .fetch_all(scene.db.worker())
    .await
    .unwrap();
    assert!(newest_first.windows(2).all(|pair| pair[0].as_i64() > pair[1].as_i64()), "{newest_first:?}");
}

#[tokio::test]
async fn a_contract_that_is_not_followed_any_more_is_taken_back_all_the_same() {
    let mut scene = Scene::new().await;
    scene.extend(&[vec![cached(0, 1, 1, 10, 0, 1)]]).await;
    scene.fold().await;
    let before = scene.mirrors().await;
    scene.extend(&[vec![cached(0, 1, 1, 20, 0, 2), cached(0, 2, 1, 20, 0, 1)]]).await;
    scene.fold().await;
    scene.fold = plimsoll_views::ViewFold::new(scene.chain_id, &plimsoll_chain::abi::Contracts::default());
    scene.switch(1, &[vec![]], 9, None).await;
    scene.fold().await;
    assert_eq!(scene.mirrors().await, before);
}

#[tokio::test]
async fn nothing_final_leaves_an_undo_behind() {
    let mut scene = Scene::new().await;
    scene
        .switch(
            0,
            &[vec![cached(0, 1, 1, 10, 0, 1)], one_of_each_view(), vec![cached(0, 1, 1, 20, 0, 2)]],
            0,
            Some(1),
        )
        .await;
    scene.fold().await;
    let undone: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT block_number FROM fold_undo")
        .fetch_all(scene.db.worker())
        .await
        .unwrap();
    assert_eq!(undone, [2]);
}
