//! Books that are kept from a real chain: what is confirmed is booked, what leaves it is reversed, and what the books hold is what the chain says.

#![allow(missing_docs, clippy::unwrap_used)]

mod house;
mod opening;
mod told;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{B256, Bytes, U256};
use house::{CONFIRMATIONS, House};
use plimsoll_ledger::rules::{RULES, Rule, RuleLine, Selector};
use plimsoll_ledger::{AccountClass, AccountType, Direction};
use plimsoll_store::testing::{Polling, drop_after};
use plimsoll_testkit::anvil::Replacement;
use plimsoll_testkit::deploy::Deployment;
use plimsoll_testkit::node::Call;
use plimsoll_testkit::traffic::{Scenario, Traffic};
use plimsoll_types::{RequestId, address_text};
use sqlx::ConnectOptions as _;
use uuid::Uuid;

const POSTINGS: &str = "SELECT count(*) FROM ledger_postings";
const SUSPENSE: &str = "unexplained on the chain";

/// A deposit of the first user, in the first asset.
fn deposit(house: &House, amount: u64, request: Uuid) -> Call {
    deposit_to(&house.deployment, amount, request)
}

fn deposit_to(deployment: &Deployment, amount: u64, request: Uuid) -> Call {
    let arguments = [
        DynSolValue::Address(deployment.assets[0].token),
        DynSolValue::Uint(U256::from(amount), 256),
        DynSolValue::FixedBytes(RequestId::from_uuid(request).to_chain(), 32),
        DynSolValue::Uint(U256::ZERO, 64),
    ];
    deployment.call(deployment.users[0], "CollateralManager", "deposit", &arguments)
}

fn collateral(house: &House) -> (String, String) {
    let manager = address_text(&house.deployment.address("CollateralManager"));
    let user = address_text(&house.deployment.users[0]);
    let token = address_text(&house.deployment.assets[0].token);
    let currency = format!("eip155:{}/erc20:{token}", house.deployment.chain_id);
    (format!("collateral of {user} at {manager}"), currency)
}

#[tokio::test]
async fn an_event_is_booked_once_it_is_confirmed_and_reversed_when_a_deeper_reorganisation_takes_it_back() {
    let mut house = House::build().await;
    let (name, currency) = collateral(&house);
    let request = Uuid::new_v4();
    house.act(&[deposit(&house, 500, request)]).await;
    house.followed().await;
    house.folded().await;
    assert_eq!(house.holds(&name, &currency).await, "0", "it is not confirmed yet");

    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    assert_eq!(house.holds(&name, &currency).await, "500");
    let story: String =
        sqlx::query_scalar("SELECT correlation_id FROM ledger_postings WHERE operation_type = 'deposit'")
            .fetch_one(house.db.worker())
            .await
            .unwrap();
    assert_eq!(story, request.to_string(), "the request that the chain carried");

    // One deeper than the confirmations: the deposit's block goes, and another amount comes in its place.
    let other = Replacement::Other(deposit(&house, 70, Uuid::new_v4()));
    house.anvil.reorg(CONFIRMATIONS + 1, &[(other, 0)]).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    house.followed().await;
    house.folded().await;
    assert_eq!(house.holds(&name, &currency).await, "70");
    let kinds: Vec<(String, i64)> = sqlx::query_as(
        "SELECT operation_type, count(*) FROM ledger_postings WHERE operation_type IN ('deposit', 'reversal') GROUP BY 1 ORDER BY 1",
    )
    .fetch_all(house.db.worker())
    .await
    .unwrap();
    assert_eq!(kinds, [("deposit".to_owned(), 2), ("reversal".to_owned(), 1)], "nothing is deleted");
    house.sums_are_zero().await;

    // A fold that begins anew finds what it has booked, whatever was reversed since.
    let before = house.count(POSTINGS).await;
    house.refold().await;
    assert_eq!(house.count(POSTINGS).await, before);
    assert_eq!(house.holds(&name, &currency).await, "70");
}

#[tokio::test]
async fn what_the_chain_did_silently_is_held_in_suspense_once_and_taken_out_when_its_cause_is_booked() {
    let mut house = House::build().await;
    house.act(&[deposit(&house, 500, Uuid::new_v4())]).await;
    // Tokens that come without any event of the protocol.
    let manager = house.deployment.address("CollateralManager");
    let token = house.deployment.assets[0].token;
    let mint = |amount: u64| {
        let mut data = vec![0x40, 0xc1, 0x0f, 0x19];
        data.extend_from_slice(manager.into_word().as_slice());
        data.extend_from_slice(&U256::from(amount).to_be_bytes::<32>());
        Call { from: house.deployment.users[1], to: Some(token), data: Bytes::from(data) }
    };
    let mint = mint(33);
    house.act(&[mint]).await;
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;

    let found = house.compared(1).await;
    let held: Vec<_> =
        found.breaks.iter().filter(|it| it.name == format!("held by {}", address_text(&manager))).collect();
    assert_eq!(held.len(), 1, "{found:?}");
    assert_eq!((held[0].ledger.to_string(), held[0].chain.to_string()), ("500".into(), "533".into()));
    assert_eq!(held[0].postings.len(), 1, "the deposit is the one posting that there is");
    let before = house.count(POSTINGS).await;
    assert_eq!(house.compared(1).await.breaks.len(), found.breaks.len(), "looking changes nothing");
    assert_eq!(house.count(POSTINGS).await, before);

    let settled = house.compare_and_settle().await;
    let after = house.count(POSTINGS).await;
    assert_eq!(after, before + i64::try_from(settled.breaks.len()).unwrap());
    let again = house.compare_and_settle().await;
    assert!(again.breaks.is_empty() && again.unverified.is_empty(), "{again:?}");
    assert_eq!(house.count(POSTINGS).await, after, "once");
    house.agrees_to_the_last_unit().await;
    house.sums_are_zero().await;
    let (_, currency) = collateral(&house);
    assert_eq!(house.holds(SUSPENSE, &currency).await, "33");

    // The block at which it was seen leaves the chain: what was held in suspense is reversed with it, and found anew.
    house.anvil.reorg(CONFIRMATIONS + 1, &[]).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    house.followed().await;
    house.folded().await;
    assert_eq!(house.holds(SUSPENSE, &currency).await, "0");
    house.compare_and_settle().await;
    house.agrees_to_the_last_unit().await;
    house.sums_are_zero().await;
}

#[tokio::test]
async fn an_event_that_does_not_decode_stops_the_fold_until_an_operator_passes_it_over() {
    let mut house = House::build().await;
    let (name, currency) = collateral(&house);
    house.act(&[deposit(&house, 500, Uuid::new_v4()), deposit(&house, 20, Uuid::new_v4())]).await;
    house.followed().await;
    let mut owner = house.db.urls().owner.connect().await.unwrap();
    let (seq,): (i64,) = sqlx::query_as(
        "WITH broken AS (UPDATE chain_events SET data = '\\x01' WHERE id = (SELECT min(id) FROM chain_events WHERE event_name = 'Deposited') RETURNING id)
         SELECT seq FROM journal JOIN broken ON ref = id AND kind = 'append'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    let stopped = loop {
        match house.step(1_000).await {
            Ok(step) => assert!(step.records > 0, "it must not go past it"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(stopped.contains(&format!("record {seq} cannot be applied: rule lending.deposit")), "{stopped}");

    sqlx::query("INSERT INTO fold_skips (fold, chain_id, seq, operator, reason) VALUES ('books', $1, $2, 'ada', 'test')")
        .bind(house.deployment.chain_id.cast_signed())
        .bind(seq)
        .execute(house.db.worker())
        .await
        .unwrap();
    house.folded().await;
    assert_eq!(house.holds(&name, &currency).await, "20", "the other one of its block is booked");
}

/// Pays the first user a reward.
fn reward(house: &House, amount: u64, request: B256) -> Call {
    let arguments = [
        DynSolValue::Address(house.deployment.users[0]),
        DynSolValue::Address(house.deployment.assets[0].token),
        DynSolValue::Uint(U256::from(amount), 256),
        DynSolValue::FixedBytes(request, 32),
    ];
    house.deployment.call(house.deployment.admin, "LendingEngineCore", "payReward", &arguments)
}

/// The rules, with a deposit that is booked as another kind of line.
const CHANGED: &[Rule] = &[Rule {
    name: "lending.deposit",
    version: 2,
    event: "event Deposited(address indexed user, address indexed asset, uint256 amount, bytes32 requestId)",
    operation_type: "deposit",
    lines: &[
        RuleLine {
            direction: Direction::Debit,
            account: Selector::Own {
                name: "elsewhere",
                account_type: AccountType::Platform,
                class: AccountClass::Asset,
            },
            amount: "amount",
            token: "asset",
            entry_type: "DEPOSIT",
        },
        RuleLine {
            direction: Direction::Credit,
            account: Selector::Position {
                name: "collateral",
                class: AccountClass::Liability,
                keeper: "getCollateral(address,address)(uint256)",
                user: "user",
            },
            amount: "amount",
            token: "asset",
            entry_type: "DEPOSIT",
        },
    ],
}];

#[tokio::test]
async fn a_dry_run_shows_what_other_rules_would_book_by_posting_and_account_and_writes_nothing() {
    let mut house = House::build().await;
    house.act(&[deposit(&house, 500, Uuid::new_v4())]).await;
    house.act(&[deposit(&house, 20, Uuid::new_v4()), reward(&house, 7, B256::ZERO)]).await;
    // What left the chain is no history: this deposit comes in another block.
    let again = Replacement::Other(deposit(&house, 20, Uuid::new_v4()));
    house.anvil.reorg(1, &[(again, 0)]).await.unwrap();
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    let before = house.count(POSTINGS).await;

    let same = house.dry_run(RULES).await;
    assert_eq!((same.changed, same.accounts.len()), (0, 0), "{same:?}");
    assert_eq!(i64::try_from(same.occasions).unwrap(), before, "each posting is of one occasion");

    let other = house.dry_run(CHANGED).await;
    assert_eq!(other.changed, 2, "{other:?}");
    assert_eq!((other.changes[0].booked.len(), other.changes[0].rule_version), (2, Some(2)));
    let manager = format!("held by {}", address_text(&house.deployment.address("CollateralManager")));
    let mut accounts: Vec<_> = other
        .accounts
        .iter()
        .map(|it| (it.name.as_str(), it.booked.to_string(), it.would_book.to_string()))
        .collect();
    accounts.sort_unstable();
    assert_eq!(
        accounts,
        [("elsewhere", "0".into(), "520".into()), (manager.as_str(), "520".to_owned(), "0".to_owned())]
    );
    assert_eq!(house.count(POSTINGS).await, before);
    assert_eq!(house.count("SELECT count(*) FROM accounts WHERE name = 'elsewhere'").await, 0);
}

#[tokio::test]
async fn after_a_hundred_mixed_operations_with_reorganisations_every_balance_is_the_chains_to_the_last_unit()
{
    const OPERATIONS: usize = 100;
    const SCENARIOS: [Scenario; 8] = [
        Scenario::Deposit,
        Scenario::Borrow,
        Scenario::Deposit,
        Scenario::Repay,
        Scenario::Withdraw,
        Scenario::Replay,
        Scenario::Overdraw,
        Scenario::Liquidation,
    ];
    let mut house = House::build().await;
    let mut traffic = Traffic::new(house.deployment.clone(), 26);
    for n in 0..OPERATIONS {
        if n % 9 == 8 {
            let request = RequestId::from_uuid(Uuid::from_u128(n as u128)).to_chain();
            house.act(&[reward(&house, 1_000 + n as u64, request)]).await;
        } else {
            let step = traffic.step(SCENARIOS[n % SCENARIOS.len()]);
            house.act(&step.calls).await;
        }
        match n {
            // Shallower than the confirmations, and deeper.
            20 | 60 => drop(traffic.reorg(&house.anvil, 1).await.unwrap()),
            40 | 80 => drop(traffic.reorg(&house.anvil, CONFIRMATIONS + 3).await.unwrap()),
            _ => {}
        }
        if n % 7 == 0 {
            house.followed().await;
            // In the midst of a step the process is gone.
            drop(drop_after(n, Polling::Restless, house.step(40)).await);
            house.restart_fold();
        }
        if n % 20 == 0 {
            house.followed().await;
            house.folded().await;
            house.compare_and_settle().await;
        }
    }
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    // What was put into the contracts before the books began, and nothing else, is not explained by an event.
    house.compare_and_settle().await;

    let report = house.compared(0).await;
    assert!(report.breaks.is_empty() && report.unverified.is_empty(), "{report:?}");
    assert!(report.equal > 20, "{report:?}");
    house.agrees_to_the_last_unit().await;
    house.sums_are_zero().await;
    let operations: Vec<(String, i64)> =
        sqlx::query_as("SELECT operation_type, count(*) FROM ledger_postings GROUP BY 1 ORDER BY 1")
            .fetch_all(house.db.worker())
            .await
            .unwrap();
    for wanted in ["borrow", "deposit", "gas", "liquidate", "repay", "reversal", "reward", "withdraw"] {
        assert!(operations.iter().any(|(operation, _)| operation == wanted), "{wanted}: {operations:?}");
    }
    // No position and no gas needed suspense: only what the contracts and senders had from the beginning.
    let positions = house
        .count(
            "SELECT count(*) FROM ledger_entries e JOIN accounts a USING (account_id) JOIN ledger_postings p USING (posting_id)
             WHERE p.operation_type = 'silent_change' AND a.account_type = 'USER'",
        )
        .await;
    assert_eq!(positions, 0, "{operations:?}");
    for asset in &house.deployment.assets {
        let currency = format!("eip155:{}/erc20:{}", house.deployment.chain_id, address_text(&asset.token));
        let liquidity = U256::from(1_000_000_000_u64) * U256::from(10).pow(U256::from(asset.decimals));
        assert_eq!(house.holds(SUSPENSE, &currency).await, liquidity.to_string(), "{}", asset.symbol);
    }
    let native = format!("eip155:{}/slip44:60", house.deployment.chain_id);
    let payers = house.count("SELECT count(*) FROM accounts WHERE name LIKE 'native coin of %'").await;
    let genesis = U256::from(payers) * U256::from(1_000_000) * U256::from(10).pow(U256::from(18));
    assert_eq!(house.holds(SUSPENSE, &native).await, genesis.to_string(), "all gas is booked as gas");
    let before = house.count(POSTINGS).await;
    house.refold().await;
    assert_eq!(house.count(POSTINGS).await, before, "a fold that begins anew books nothing twice");
    house.agrees_to_the_last_unit().await;
}
