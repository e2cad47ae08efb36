//! A configuration that does not fit the chain is refused in words, and nothing is damaged by the attempt.

use plimsoll_types::address_text;

use crate::house::{House, Settings};
use crate::world::{World, seed};

/// A transfer's topic, with a receiver that is not in the topics.
const FOREIGN_TRANSFER: &str = r#"[{"type":"event","name":"Transfer","anonymous":false,"inputs":[
    {"name":"from","type":"address","indexed":true},
    {"name":"to","type":"address","indexed":false},
    {"name":"amount","type":"uint256","indexed":false}]}]"#;

/// Runs, expects the end with this exit code and these words, and no event written.
async fn refused(house: &House, code: i32, words: &[&str]) {
    let ended = house.run(&["run"]).await;
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "`{word}` is not in:\n{told}");
    }
    assert_eq!(house.projection().await.rows("chain_events"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_chain_a_contract_without_code_and_a_foreign_abi_are_refused_and_mended() {
    let seed = seed(501);
    let mut world = World::new(seed, 25).await;
    let mut house = House::new(&world, Settings::default()).await;
    let right = std::fs::read_to_string(house.path("plimsoll.toml")).unwrap();

    house.edit(|text| text.replace("chain_id = 31337", "chain_id = 31338"));
    let words = ["the endpoint serves chain 31337, the configuration says 31338", "plimsoll.toml:"];
    refused(&house, 1, &words).await;

    let view = address_text(&world.deployment().address("PositionView"));
    let nobody = address_text(&world.deployment().users[0]);
    house.edit(|_| right.replace(&view, &nobody));
    refused(&house, 1, &["no contract `PositionView`", &nobody, "start_block"]).await;

    // An event that the views know is compared with what they expect before anything is asked of the chain.
    house.edit(|_| right.clone());
    let file = house.path("abi/PositionView.json");
    let abi = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, abi.replace("\"indexed\": true", "\"indexed\": false")).unwrap();
    refused(&house, 2, &["abi/PositionView.json declares `UserPositionCachedV2", "give the ABI"]).await;
    std::fs::write(&file, abi).unwrap();

    // Any other is found out by the first log that does not decode.
    std::fs::write(house.path("abi/token.json"), FOREIGN_TRANSFER).unwrap();
    let token = address_text(&world.deployment().assets[0].token);
    house.edit(|text| {
        format!("{text}\n[[chain.contract]]\nname = \"USDC\"\naddress = \"{token}\"\nabi = \"abi/token.json\"\nstart_block = 1\ntenant = \"demo\"\n")
    });
    let words = [
        "the ABI of USDC",
        "does not match the chain",
        "Transfer(address,address,uint256)",
        "give the ABI file",
    ];
    refused(&house, 1, &words).await;

    house.edit(|_| right);
    world.blocks(5).await;
    house.start();
    house.agrees(&world).await;
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_at_the_nodes_address_ends_a_running_process_with_the_reason_and_writes_nothing() {
    let mut world = World::new(seed(502), 25).await;
    let mut house = House::new(&world, Settings::default()).await;
    for (chain_id, blocks, told) in [
        (31_338, 60, "the endpoint serves chain 31338, the configuration says 31337"),
        (31_338, 3, "correct `chain_id` or the URL of 127.0.0.1:"),
    ] {
        house.start();
        house.catches_up(&world).await;
        let before = house.projection().await;
        world.stop().await;
        let stranger = world.stranger(chain_id, blocks).await;
        assert_eq!(house.ends().await, Some(1));
        assert!(house.log().contains(told), "{}", house.log());
        let differences = before.differences(&house.projection().await);
        assert!(differences.is_empty(), "{differences:#?}");
        stranger.stop().await.unwrap();
        world.start().await;
        world.blocks(3).await;
    }
    house.start();
    house.agrees(&world).await;
    house.stop().await;
}
