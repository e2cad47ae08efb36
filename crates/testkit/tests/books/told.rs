//! What else the chain says of what is booked: when it happened, what it cost on the chain below, how a token's amounts are shown; and what it says late.

use std::sync::Arc;

use alloy_primitives::U256;
use plimsoll_chain::transport::Fault;
use plimsoll_testkit::node::Call;
use plimsoll_types::{Completeness, address_text};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::house::{CONFIRMATIONS, FINALITY_DEPTH, House, ground};
use super::{SUSPENSE, collateral, deposit, deposit_to, reward};

/// When a posting of this kind happened, as the books say, and the block that it is of.
async fn booked_times(house: &House, operation: &str) -> Vec<(i64, OffsetDateTime)> {
    sqlx::query_as(
        "SELECT chain_block_number, effective_at FROM ledger_postings WHERE operation_type = $1 ORDER BY 1",
    )
    .bind(operation)
    .fetch_all(house.db.worker())
    .await
    .unwrap()
}

async fn time_of_block(house: &House, number: i64) -> OffsetDateTime {
    let block =
        house.anvil.raw("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await.unwrap();
    let seconds = block["timestamp"].as_str().unwrap().trim_start_matches("0x");
    OffsetDateTime::from_unix_timestamp(i64::from_str_radix(seconds, 16).unwrap()).unwrap()
}

#[tokio::test]
async fn what_is_booked_of_a_backfilled_range_has_its_own_blocks_time() {
    for level in [Completeness::Trusted, Completeness::Bloom, Completeness::Receipts] {
        let (anvil, deployment) = ground().await;
        for _ in 0..3 {
            anvil.send(&deposit_to(&deployment, 500, Uuid::new_v4())).await.unwrap();
            anvil.mine(1).await.unwrap();
            // What comes after it is a minute later.
            anvil.raw("evm_increaseTime", json!([60])).await.unwrap();
            anvil.mine(4).await.unwrap();
        }
        // All of it is final when the first range is asked for.
        anvil.mine(FINALITY_DEPTH).await.unwrap();
        let mut house = House::on(anvil, deployment, level, None).await;
        house.followed().await;
        house.folded().await;
        let booked = booked_times(&house, "deposit").await;
        assert_eq!(booked.len(), 3, "at level {level:?}");
        for (number, at) in booked {
            assert_eq!(at, time_of_block(&house, number).await, "block {number} at level {level:?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_the_books_do_not_have_is_shown_with_its_own_decimals_and_symbol() {
    let mut house = House::build().await;
    house.act(&[deposit(&house, 500, Uuid::new_v4()), reward(&house, 7, U256::ZERO.into())]).await;
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    let shown: Vec<(Option<String>, i16, String)> = sqlx::query_as(
        "SELECT token_address, decimals, name FROM currencies ORDER BY token_address NULLS FIRST",
    )
    .fetch_all(house.db.worker())
    .await
    .unwrap();
    let asset = &house.deployment.assets[0];
    let native = format!("native coin of chain {}", house.deployment.chain_id);
    let token = (Some(address_text(&asset.token)), i16::from(asset.decimals), asset.symbol.clone());
    assert_eq!(shown, [(None, 18, native), token]);
}

/// Receipts say that each transaction paid so much besides, as on the OP stack.
fn with_l1_fee(fee: u64) -> Fault {
    Fault::Rewrite(Arc::new(move |mut answer: Value| {
        let receipts = match &mut answer {
            Value::Array(receipts) => receipts.iter_mut().collect(),
            one => vec![one],
        };
        for receipt in receipts.into_iter().filter(|receipt| receipt.is_object()) {
            receipt["l1Fee"] = json!(format!("{fee:#x}"));
        }
        answer
    }))
}

#[tokio::test]
async fn what_a_transaction_paid_for_its_place_on_the_chain_below_is_booked_as_gas() {
    const FEE: u64 = 123_456_789;
    let (anvil, deployment) = ground().await;
    anvil.mine(FINALITY_DEPTH).await.unwrap();
    let mut house = House::on(anvil, deployment, Completeness::Bloom, Some(with_l1_fee(FEE))).await;
    let paid = reward(&house, 7, U256::ZERO.into());
    let tx_hash = house.anvil.send(&paid).await.unwrap();
    house.anvil.mine(1 + CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    let receipt = house.anvil.raw("eth_getTransactionReceipt", json!([tx_hash])).await.unwrap();
    let [used, price] = ["gasUsed", "effectiveGasPrice"].map(|field| {
        u128::from_str_radix(receipt[field].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    });
    let booked: String = sqlx::query_scalar(
        "SELECT e.debit::text FROM ledger_postings p JOIN ledger_entries e USING (posting_id) WHERE p.operation_type = 'gas' AND p.chain_tx_hash = $1 AND e.debit > 0",
    )
    .bind(tx_hash.as_slice())
    .fetch_one(house.db.worker())
    .await
    .unwrap();
    assert_eq!(booked, (used * price + u128::from(FEE)).to_string());
}

/// What each account got from suspense or gave to it, where that is not nothing.
async fn out_of_suspense(house: &House) -> Vec<(String, String)> {
    sqlx::query_as(
        "SELECT a.name, sum(e.debit - e.credit)::text FROM ledger_entries e JOIN ledger_postings p USING (posting_id) JOIN accounts a USING (account_id)
         WHERE p.operation_type = 'silent_change' AND a.currency LIKE '%erc20%' GROUP BY a.account_id, a.name HAVING sum(e.debit - e.credit) <> 0 ORDER BY a.name",
    )
    .fetch_all(house.db.worker())
    .await
    .unwrap()
}

#[tokio::test]
async fn what_was_held_in_suspense_is_released_when_its_cause_is_booked_late_also_while_the_chain_stands_still()
 {
    let mut house = House::build().await;
    let (name, currency) = collateral(&house);
    let manager = format!("held by {}", address_text(&house.deployment.address("CollateralManager")));
    let both: [Call; 2] = [deposit(&house, 500, Uuid::new_v4()), deposit(&house, 20, Uuid::new_v4())];
    house.act(&both).await;
    house.followed().await;
    // The second one is passed over: as if an endpoint had withheld it.
    let mut owner = house.db.urls().owner.connect().await.unwrap();
    let (seq, reference, number): (i64, i64, i64) = sqlx::query_as(
        "SELECT j.seq, j.ref, j.block_number FROM journal j JOIN chain_events e ON e.id = j.ref AND j.kind = 'append' WHERE e.event_name = 'Deposited' ORDER BY j.seq DESC LIMIT 1",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    sqlx::query("INSERT INTO fold_skips (fold, chain_id, seq, operator, reason) VALUES ('books', $1, $2, 'ada', 'test')")
        .bind(house.deployment.chain_id.cast_signed())
        .bind(seq)
        .execute(house.db.worker())
        .await
        .unwrap();
    house.anvil.mine(CONFIRMATIONS).await.unwrap();
    house.followed().await;
    house.folded().await;
    assert_eq!(house.holds(&name, &currency).await, "500");
    house.compare_and_settle().await;
    let held = out_of_suspense(&house).await;
    // Both accounts lacked it: what came to one is what the other owes.
    assert_eq!(held, [(name.clone(), "-20".to_owned()), (manager.clone(), "20".to_owned())]);
    assert_eq!(house.holds(&name, &currency).await, "520");

    // It comes late, and no block comes with it.
    house.stop_following();
    sqlx::query(
        "WITH place AS (UPDATE chains SET next_seq = next_seq + 1 RETURNING chain_id, next_seq - 1 AS seq)
         INSERT INTO journal (chain_id, seq, block_number, ref, kind) SELECT chain_id, seq, $1, $2, 'late_append' FROM place",
    )
    .bind(number)
    .bind(reference)
    .execute(&mut owner)
    .await
    .unwrap();
    house.folded().await;
    assert_eq!(house.holds(&name, &currency).await, "540", "it is there twice until somebody compares");
    house.compare_and_settle().await;
    assert_eq!(out_of_suspense(&house).await, [], "nothing is left of it");
    assert_eq!(house.holds(&name, &currency).await, "520");
    assert_eq!(house.holds(SUSPENSE, &currency).await, "0");
    assert!(house.compared(0).await.breaks.is_empty());
    house.sums_are_zero().await;
}
