//! Numbers of the chain's state at a block, against a real node: with a multicall and without, and what becomes of them in trouble.

#![allow(missing_docs, clippy::unwrap_used)]

mod stage;
mod trouble;

use alloy_primitives::{Address, B256};
use plimsoll_chain::probe::{Probe, ProbeError, ProbeOptions, Reading, probes_at};
use plimsoll_chain::{CallError, ErrorClass, Pool};

use stage::{EMPTY, HEAVY, HOG, MINUS_FIVE, POOR, RICH, Stage, THIEF, call, signed, unsigned};

type Answers = Vec<Result<Reading, ProbeError>>;

async fn answers(pool: &Pool, options: &ProbeOptions, at: B256, probes: &[Probe]) -> Answers {
    let probed = probes_at(pool, options, at, probes).await.unwrap();
    assert_eq!((probed.header.hash, probed.answers.len()), (at, probes.len()));
    probed.answers
}

/// Native balances and then token balances of these accounts, the supply, a signed number.
fn usual(stage: &Stage, accounts: &[Address]) -> Vec<Probe> {
    let native = accounts.iter().map(|account| Probe::native(*account));
    let token = accounts.iter().map(|account| Probe::erc20(stage.token, *account));
    native.chain(token).chain([stage.supply(), call(MINUS_FIVE, "skew()(int128)", &[])]).collect()
}

#[tokio::test]
async fn every_number_is_what_the_node_says_at_that_block_with_a_multicall_and_without() {
    let stage = Stage::set().await;
    let (pool, faults) = stage.pool();
    let accounts = [RICH, POOR, THIEF, stage.token];
    let probes = usual(&stage, &accounts);
    let options = stage.options();
    let without = ProbeOptions { multicall: None, ..options.clone() };
    let mut blocks = vec![stage.head().await];
    stage.put_multicall().await;
    blocks.push(stage.head().await);
    stage.mint(POOR, 8).await;
    stage.anvil.raw("anvil_setBalance", serde_json::json!([POOR, "0x9"])).await.unwrap();
    stage.anvil.mine(1).await.unwrap();
    blocks.push(stage.head().await);

    for (at, supply) in blocks.iter().zip([50, 50, 58]) {
        let mut expected: Answers = stage.truth(*at, &accounts).await.into_iter().map(Ok).collect();
        expected.extend([Ok(unsigned(supply)), Ok(signed(-5))]);
        let (calls, balances) = (faults.requests("eth_call"), faults.requests("eth_getBalance"));
        assert_eq!(answers(&pool, &options, *at, &probes).await, expected);
        let (calls, balances) =
            (faults.requests("eth_call") - calls, faults.requests("eth_getBalance") - balances);
        if *at == blocks[0] {
            assert_eq!((calls, balances), (2 + 1 + 5, 4), "there was no multicall at that block yet");
        } else {
            assert_eq!((calls, balances), (2 + 1, 0), "the token's, the native, and the single one");
        }
        assert_eq!(answers(&pool, &without, *at, &probes).await, expected);
    }
}

#[tokio::test]
async fn many_numbers_come_in_few_calls() {
    let stage = Stage::with_multicall().await;
    let (pool, faults) = stage.pool();
    let accounts: Vec<Address> =
        (0..250_u64).map(|i| Address::left_padding_from(&(i + 1_000).to_be_bytes())).collect();
    for place in [0, 99, 100, 249] {
        stage.mint(accounts[place], place as u64 + 1).await;
    }
    let probes: Vec<_> = accounts.iter().map(|account| Probe::erc20(stage.token, *account)).collect();
    let found = answers(&pool, &stage.options(), stage.head().await, &probes).await;
    for (place, answer) in found.into_iter().enumerate() {
        let minted = if [0, 99, 100, 249].contains(&place) { place as u64 + 1 } else { 0 };
        assert_eq!(answer, Ok(unsigned(minted)), "account {place}");
    }
    assert_eq!(faults.requests("eth_call"), 3);
}

#[tokio::test]
async fn what_fails_is_unknown_with_its_reason_and_disturbs_no_other() {
    let stage = Stage::with_multicall().await;
    let (pool, _) = stage.pool();
    let at = stage.head().await;
    let probes = [
        Probe::erc20(stage.token, RICH),
        call(stage.token, "noSuchFunction()", &[]),
        call(stage.token, "decimals()(uint8)", &[]),
        Probe::erc20(stage.token, POOR),
        Probe::erc20(EMPTY, RICH),
        Probe::erc20(EMPTY, POOR),
        Probe::native(RICH),
        call(MINUS_FIVE, "skew()(uint128)", &[]),
    ];
    for options in [stage.options(), ProbeOptions { multicall: None, ..stage.options() }] {
        let found = answers(&pool, &options, at, &probes).await;
        assert_eq!(
            (&found[0], &found[3], &found[6]),
            (&Ok(unsigned(50)), &Ok(unsigned(0)), &Ok(unsigned(5)))
        );
        assert!(matches!(found[1], Err(ProbeError::Call(CallError::Reverted { .. }))), "{:?}", found[1]);
        assert_eq!(found[2], Ok(unsigned(18)));
        assert_eq!((&found[4], &found[5]), (&Err(ProbeError::Nothing), &Err(ProbeError::Nothing)));
        assert!(
            matches!(found[7], Err(ProbeError::Unreadable { .. })),
            "a negative number is no uint128: {:?}",
            found[7]
        );
    }
}

#[tokio::test]
async fn gas_that_some_use_up_is_not_missed_by_the_others() {
    let stage = Stage::with_multicall().await;
    let (pool, faults) = stage.pool();
    let at = stage.head().await;
    // Each alone has enough; a hundred million in one call is more than a block has.
    let heavy = vec![call(HEAVY, "costly()", &[]); 100];
    assert_eq!(answers(&pool, &stage.options(), at, &heavy).await, vec![Ok(unsigned(7)); 100]);
    assert!(faults.requests("eth_call") < 100 + 20, "{} calls", faults.requests("eth_call"));

    let arguments = ["0", "0", "0", "4", "5", "6", "7", "8", "0", "10"];
    let mixed: Vec<_> = arguments.iter().map(|argument| call(HOG, "spend(uint256)", &[argument])).collect();
    let found = answers(&pool, &stage.options(), at, &mixed).await;
    for (argument, answer) in arguments.iter().zip(found) {
        match answer {
            Err(ProbeError::Call(_)) if *argument == "0" => {}
            answer => assert_eq!(answer, Ok(unsigned(argument.parse().unwrap())), "{argument}"),
        }
    }
}

#[tokio::test]
async fn a_contract_that_moves_money_while_it_is_asked_moves_nobody_s_number() {
    let stage = Stage::with_multicall().await;
    let (pool, _) = stage.pool();
    let at = stage.head().await;
    let theft = || call(THIEF, "balanceOf(address)", &["0x00000000000000000000000000000000000000b1"]);
    let probes = [
        theft(),
        theft(),
        Probe::native(POOR),
        Probe::native(THIEF),
        Probe::erc20(stage.token, RICH),
        theft(),
    ];
    let found = answers(&pool, &stage.options(), at, &probes).await;
    let expected = [1, 1, 0, 100, 50, 1].map(|value| Ok(unsigned(value)));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_block_that_left_the_chain_gives_no_number() {
    let stage = Stage::with_multicall().await;
    let (pool, faults) = stage.pool();
    let probes = usual(&stage, &[RICH, POOR]);
    let options = stage.options();
    stage.mint(POOR, 8).await;
    let gone = stage.head().await;
    assert_eq!(answers(&pool, &options, gone, &probes).await[3], Ok(unsigned(8)));

    // It leaves while it is asked about.
    faults.next("eth_call", 1, plimsoll_chain::transport::Fault::Stall);
    let before = faults.requests("eth_call");
    let asking = tokio::spawn({
        let (pool, options, probes) = (pool.clone(), options.clone(), probes.clone());
        async move { probes_at(&pool, &options, gone, &probes).await }
    });
    faults.wait_for_requests("eth_call", before + 1).await;
    stage.anvil.reorg(1, &[]).await.unwrap();
    faults.release();
    let error = asking.await.unwrap().unwrap_err();
    assert_eq!(error.class(), ErrorClass::BlockUnknown, "{error}");

    let error = probes_at(&pool, &options, gone, &probes).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::BlockUnknown, "{error}");
    assert_eq!(answers(&pool, &options, stage.head().await, &probes).await[3], Ok(unsigned(0)));
}
