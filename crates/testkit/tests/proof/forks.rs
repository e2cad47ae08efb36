use plimsoll_proof::{Finding, Fork};
use plimsoll_testkit::anvil::{Anvil, AnvilOptions};
use serde_json::json;

use crate::send::{LOGS_OF_A_CALL, Sender};

#[tokio::test]
async fn a_block_of_every_fork_is_proven() {
    for (hardfork, fork) in [
        ("frontier", Fork::Frontier),
        ("byzantium", Fork::Frontier),
        ("berlin", Fork::Frontier),
        ("london", Fork::London),
        ("paris", Fork::London),
        ("shanghai", Fork::Shanghai),
        ("cancun", Fork::Cancun),
        ("prague", Fork::Prague),
        ("osaka", Fork::Prague),
    ] {
        let options = AnvilOptions { hardfork: Some(hardfork), ..AnvilOptions::default() };
        let sender = Sender::new(Anvil::start(&options).await.unwrap()).await;
        let emitter = sender.emitter().await;
        sender.send(json!({ "to": emitter, "gasPrice": "0x77359400" })).await;
        let number = sender.mine().await;
        let (header, receipts) = sender.block(number).await.prove();
        assert_eq!(header.fork(), fork, "{hardfork}");
        assert_eq!(receipts.logs().count(), LOGS_OF_A_CALL, "{hardfork}");

        // Before Shanghai the node's genesis has Cancun's blob fields: a header that no fork has.
        match sender.block(0).await.header().prove() {
            Ok(genesis) => assert_eq!(genesis.fork(), fork, "{hardfork}"),
            Err(fault) => {
                assert!(fork < Fork::Shanghai, "{hardfork}: {fault}");
                assert_eq!(fault.finding(), Finding::Unproven, "{hardfork}: {fault}");
            }
        }
    }
}
