//! What was recorded from a node is what the replayer says.

use alloy_primitives::{B256, Bytes};
use alloy_transport::BoxTransport;
use plimsoll_chain::{
    Block, CallError, ErrorClass, Header, Log, Receipt, Rpc,
    transport::{self, Recorder, Replayer, TapeError},
};

use crate::support::{Anvil, Store};

#[derive(Debug, PartialEq)]
struct Answers {
    chain_id: u64,
    head: Header,
    headers: Vec<Option<Header>>,
    logs: Vec<Log>,
    block: Option<Block>,
    receipts: Option<Vec<Receipt>>,
    calls: Vec<Result<Bytes, CallError>>,
    unknown: ErrorClass,
}

async fn ask_everything(rpc: &Rpc, store: &Store, hash: B256) -> Answers {
    let calls = [(store.address, Bytes::new()), (store.address, Bytes::new())];
    Answers {
        chain_id: rpc.chain_id().await.expect("chain id"),
        head: rpc.head().await.expect("head"),
        headers: rpc.headers_by_number(0, 4).await.expect("headers"),
        logs: rpc.logs_in_range(0, 2, &store.filter()).await.expect("logs"),
        block: rpc.block_with_transactions(hash).await.expect("block"),
        receipts: rpc.receipts_of_block(hash).await.expect("receipts"),
        calls: rpc.call_many_at(hash, &calls).await.expect("calls"),
        unknown: rpc.code_at(store.address, B256::ZERO).await.expect_err("no such block").class(),
    }
}

#[tokio::test]
async fn a_replayed_recording_gives_the_answers_of_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tape");
    let anvil = Anvil::start().await;
    let plain = anvil.rpc().await;
    let store = Store::deploy(&plain).await;
    let hash = store.block_of(&[1, 2, 3]).await;

    let (recorder, handle) = Recorder::create(transport::open(&anvil.http()).unwrap(), &file).unwrap();
    let recording = Rpc::over(BoxTransport::new(recorder), &anvil.http());
    let first = ask_everything(&recording, &store, hash).await;
    let later_hash = store.block_of(&[4]).await;
    let later_head = recording.head().await.unwrap();
    handle.flush().unwrap();
    drop(anvil);

    let replayer = Replayer::open(&file).unwrap();
    assert!(replayer.requests() > 8);
    let replaying = Rpc::over(BoxTransport::new(replayer), &transport_free_config());
    assert_eq!(ask_everything(&replaying, &store, hash).await, first);
    assert_eq!(replaying.head().await.unwrap(), later_head, "the second answer to the same question");
    assert_eq!(replaying.head().await.unwrap(), later_head, "the last answer stays");
    assert_eq!(later_head.hash, later_hash);

    let error = replaying.header_by_number(77).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Rejected);
    assert!(error.to_string().contains(r#"no answer to eth_getBlockByNumber ["0x4d",false]"#), "{error}");
}

#[tokio::test]
async fn a_damaged_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tape");
    let anvil = Anvil::start().await;
    let (recorder, handle) = Recorder::create(transport::open(&anvil.http()).unwrap(), &file).unwrap();
    Rpc::over(BoxTransport::new(recorder), &anvil.http()).head().await.unwrap();
    handle.flush().unwrap();

    let whole = std::fs::read(&file).unwrap();
    for len in [17, 40, whole.len() - 1] {
        std::fs::write(&file, &whole[..len]).unwrap();
        assert!(matches!(Replayer::open(&file), Err(TapeError::Damaged(16))), "{len} bytes");
    }
    std::fs::write(&file, b"something else entirely").unwrap();
    assert!(matches!(Replayer::open(&file), Err(TapeError::Magic)));
    assert!(matches!(Replayer::open(&folder.path().join("missing")), Err(TapeError::Io(_))));
}

fn transport_free_config() -> plimsoll_chain::EndpointConfig {
    plimsoll_chain::EndpointConfig::new("http://recording.invalid")
}
