//! What users sign: prepared, kept before it is sent, sent by whoever has the right to, and told as the chain has it.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256, hex, keccak256};
use plimsoll_chain::Pool;
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_relayer::chains::Chain;
use plimsoll_relayer::desk::{DeskOptions, Market};
use plimsoll_relayer::fees::Pricing;
use plimsoll_relayer::keys::Secret;
use plimsoll_relayer::prepare::{Carried, Draft, PrepareError, Prepared};
use plimsoll_relayer::request::Request;
use plimsoll_relayer::users::{
    Courier, ForwardRequest, SignedRequest, SignedTransaction, UserSubmitError, put_in, takes_authorizations,
};
use plimsoll_relayer::{explain, read};
use plimsoll_store::Leases;
use plimsoll_testkit::anvil::Mining;
use plimsoll_testkit::deploy::artifacts::artifact;
use plimsoll_testkit::node::Call;
use plimsoll_types::api::{Transaction, TransactionKind, WaitsFor};
use plimsoll_types::{Context, RequestId, TransactionState};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::house::{House, calldata};

/// Anvil's third account, whose key everybody knows: no signer of the house.
const USER: [u8; 32] = hex!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a");

pub(crate) fn user() -> Secret {
    Secret::new(&USER).unwrap()
}

pub(crate) fn chain(house: &House, pool: Pool, more: Option<(&str, Address)>) -> Chain {
    let named = [("RequestCounter", house.counter)].into_iter().chain(more);
    let contracts = named.map(|(name, address)| {
        Contract::new(name, address, house.tenant, 0, Arc::clone(&artifact(name).abi))
    });
    Chain {
        chain_id: house.signer.chain_id,
        market: Market::new(pool),
        pricing: Pricing::BaseFee,
        contracts: Contracts::new(contracts),
    }
}

pub(crate) fn draft(house: &House, request_id: Uuid) -> Draft {
    Draft {
        from: user().address(),
        to: house.counter,
        value: U256::ZERO,
        data: calldata("perform", Uuid::nil()),
        request_id: RequestId::from_uuid(request_id),
    }
}

pub(crate) fn signed(prepared: &Prepared) -> SignedTransaction {
    let raw = prepared.unsigned.signed(&user().sign(&keccak256(prepared.unsigned.payload()))).raw;
    SignedTransaction::read(&raw).unwrap()
}

pub(crate) fn request(house: &House, request_id: Uuid, transaction: SignedTransaction) -> SignedRequest {
    let mut context = Context::new(request_id, "test");
    context.tenant_id = Some(house.tenant);
    SignedRequest { context, operation_type: "count".into(), transaction }
}

/// Prepared and signed.
pub(crate) async fn signed_for(house: &House, request_id: Uuid) -> (Chain, SignedRequest) {
    let chain = chain(house, house.pool(), None);
    let prepared = chain.prepare(&draft(house, request_id)).await.unwrap();
    (chain, request(house, request_id, signed(&prepared)))
}

pub(crate) async fn put(
    house: &House,
    chain: &Chain,
    request: &SignedRequest,
) -> Result<(Uuid, bool), UserSubmitError> {
    request.check(chain)?;
    let checked = request.checked(chain).await?;
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let put = put_in(&mut tx, "node-0", checked).await?;
    tx.commit().await.unwrap();
    Ok(put)
}

/// Prepared, signed and put.
pub(crate) async fn handed_in(house: &House) -> (SignedRequest, Uuid) {
    let (chain, request) = signed_for(house, Uuid::new_v4()).await;
    let (id, is_replay) = put(house, &chain, &request).await.unwrap();
    assert!(!is_replay);
    (request, id)
}

/// A courier, until it is stopped or dropped where it is.
pub(crate) struct Working(CancellationToken, JoinHandle<()>);

impl Working {
    pub(crate) async fn of(house: &House, node: &str, pool: Pool) -> Self {
        let leases = Leases::connect(&house.db, node, Duration::from_secs(2)).await.unwrap();
        let (chain_id, market) = (house.signer.chain_id, Market::new(pool));
        let bell = house.bell.clone();
        let courier = Courier::new(chain_id, market, house.db.clone(), leases, node.into(), bell);
        let stop = CancellationToken::new();
        let until = stop.clone();
        Self(stop, tokio::spawn(async move { courier.run(&until).await }))
    }

    pub(crate) async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }

    pub(crate) async fn kill(self) {
        self.1.abort();
        let _ = self.1.await;
    }
}

pub(crate) async fn until(house: &House, id: Uuid, state: TransactionState, mines: bool) {
    let statement = match state {
        TransactionState::Tracking => {
            "SELECT state = 'tracking' AND block_hash IS NULL FROM user_transactions WHERE id = $1"
        }
        TransactionState::Mined => "SELECT state = 'mined' FROM user_transactions WHERE id = $1",
        TransactionState::Confirmed => "SELECT state = 'confirmed' FROM user_transactions WHERE id = $1",
        TransactionState::Failed => "SELECT state = 'failed' FROM user_transactions WHERE id = $1",
        TransactionState::Replaced => "SELECT state = 'replaced' FROM user_transactions WHERE id = $1",
        other => panic!("nobody waits for {other}"),
    };
    house.until(state.as_str(), mines, statement, id).await;
}

pub(crate) async fn until_taken(house: &House, id: Uuid) {
    let statement = "SELECT count(*) > 0 FROM user_transaction_answers WHERE transaction_id = $1 AND answer IN ('accepted', 'already_known')";
    house.until("a node has it", false, statement, id).await;
}

pub(crate) async fn told(house: &House, id: Uuid) -> Transaction {
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    read::by_id(&mut tx, house.tenant, id).await.unwrap().unwrap()
}

pub(crate) async fn waits_for(house: &House, id: Uuid) -> WaitsFor {
    let transaction = told(house, id).await;
    let front = chain(house, house.pool(), None).front(transaction.signer.parse().unwrap()).await;
    let known = explain::Known { front, ..explain::Known::default() };
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let explained = explain::of_transaction(&mut tx, house.db.worker(), house.tenant, &transaction, known);
    explained.await.unwrap().waits_for
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_signed_is_kept_first_then_sent_followed_and_taken_back_with_its_block() {
    let house = House::new(Mining::OnDemand).await;
    let (request, id) = handed_in(&house).await;
    assert_eq!(house.anvil.pool_size().await.unwrap(), 0, "nothing is sent by taking it");
    assert_eq!(
        (told(&house, id).await.state, waits_for(&house, id).await),
        (TransactionState::Pending, WaitsFor::Holder)
    );

    let courier = Working::of(&house, "node-1", house.pool()).await;
    until_taken(&house, id).await;
    assert_eq!(waits_for(&house, id).await, WaitsFor::Block);
    house.anvil.mine(1).await.unwrap();
    until(&house, id, TransactionState::Mined, false).await;
    assert_eq!(waits_for(&house, id).await, WaitsFor::Confirmations);
    house.anvil.reorg(1, &[]).await.unwrap();
    until(&house, id, TransactionState::Tracking, false).await;
    until(&house, id, TransactionState::Confirmed, true).await;
    let is_settled = "SELECT is_final FROM user_transactions WHERE id = $1";
    house.until("it is final", true, is_settled, id).await;
    assert_eq!(house.effects(request.context.request_id).await, 1);
    let history = house.history(id).await;
    assert_eq!(history, ["pending", "tracking", "mined", "tracking", "mined", "confirmed"]);

    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let found = read::by_hash(&mut tx, house.tenant, &request.transaction.tx_hash).await.unwrap().unwrap();
    drop(tx);
    let inclusion = found.inclusion.as_ref().unwrap();
    assert_eq!((found.kind, inclusion.tx_hash), (TransactionKind::UserSigned, request.transaction.tx_hash));
    assert!(inclusion.succeeded && inclusion.is_final && inclusion.gas_paid_wei.is_some());
    let in_meta = "SELECT count(*) > 0 FROM chain_tx_meta m JOIN user_transactions t ON t.signed_hash = m.tx_hash AND m.sender = t.sender WHERE t.id = $1";
    house.until("the raw store has it", false, in_meta, id).await;
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_one_and_what_does_not_fit_is_refused() {
    let house = House::new(Mining::OnDemand).await;
    let (request, id) = handed_in(&house).await;
    let chain = chain(&house, house.pool(), None);
    assert_eq!(put(&house, &chain, &request).await.unwrap(), (id, true));
    let all = futures::future::join_all((0..10).map(|_| put(&house, &chain, &request))).await;
    assert!(all.into_iter().all(|put| put.unwrap() == (id, true)));

    let mut renamed = request.clone();
    renamed.operation_type = "another".into();
    let refused = put(&house, &chain, &renamed).await.unwrap_err();
    assert!(matches!(refused, UserSubmitError::Known { id: known } if known == id), "{refused}");
    let mut other = draft(&house, request.context.request_id);
    other.value = U256::from(1);
    let other = signed(&chain.prepare(&other).await.unwrap());
    let conflicting = SignedRequest { transaction: other, ..request.clone() };
    let refused = put(&house, &chain, &conflicting).await.unwrap_err();
    assert!(matches!(refused, UserSubmitError::Conflict { id: known, .. } if known == id), "{refused}");
    let mut strange = request.clone();
    strange.context.request_id = Uuid::new_v4();
    let refused = put(&house, &chain, &strange).await.unwrap_err();
    assert!(matches!(refused, UserSubmitError::Invalid(_)), "{refused}");

    // No block takes it.
    let mut starved = chain.prepare(&draft(&house, strange.context.request_id)).await.unwrap();
    starved.unsigned.gas_limit = 20_999;
    let starved = SignedRequest { transaction: signed(&starved), ..strange.clone() };
    let refused = put(&house, &chain, &starved).await.unwrap_err().to_string();
    assert!(refused.contains("gas limit of 20999") && refused.contains("21000"), "{refused}");

    // Its nonce is used meanwhile, or far ahead.
    let prepared = chain.prepare(&draft(&house, strange.context.request_id)).await.unwrap();
    strange.transaction = signed(&prepared);
    let mut ahead = prepared.clone();
    ahead.unsigned.nonce += 65;
    let far = SignedRequest { transaction: signed(&ahead), ..strange.clone() };
    assert!(matches!(put(&house, &chain, &far).await, Err(UserSubmitError::Ahead { .. })));
    let from = user().address();
    house.anvil.send(&Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    assert!(matches!(put(&house, &chain, &strange).await, Err(UserSubmitError::Used { nonce: 0, next: 1 })));
    // What is there is found all the same.
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    assert_eq!(request.found(&mut tx).await.unwrap(), Some(id));
    drop(tx);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_a_block_before_it_was_kept_is_found_once_that_block_is_final() {
    let house = House::new(Mining::OnDemand).await;
    // From here on its sender is followed.
    let (_, first) = handed_in(&house).await;
    let courier = Working::of(&house, "node-1", house.pool()).await;
    until_taken(&house, first).await;
    until(&house, first, TransactionState::Confirmed, true).await;
    courier.stop().await;

    let (chain, request_id) = (chain(&house, house.pool(), None), Uuid::new_v4());
    let prepared = chain.prepare(&draft(&house, request_id)).await.unwrap();
    let request = request(&house, request_id, signed(&prepared));
    let checked = request.checked(&chain).await.unwrap();
    // The wallet has sent it too, and the fold has passed its block by the time at which it is kept.
    let raw = request.transaction.raw.clone();
    house.pool().endpoints()[0].send_raw(&[raw]).await.pop().unwrap().unwrap();
    house.anvil.mine(1).await.unwrap();
    let passed = "SELECT EXISTS (SELECT FROM user_transactions t JOIN chain_tx_meta m ON m.chain_id = t.chain_id AND m.sender = t.sender AND m.nonce = 1
                                 JOIN journal j ON j.chain_id = m.chain_id AND j.kind = 'included' AND j.ref = m.id
                                 JOIN fold_cursors f ON f.chain_id = m.chain_id AND f.fold = 'relayer' AND f.seq >= j.seq WHERE t.id = $1)";
    house.until("the fold has passed it", false, passed, first).await;
    let mut tx = house.db.tenant_tx(&[house.tenant]).await.unwrap();
    let (id, _) = put_in(&mut tx, "node-0", checked).await.unwrap();
    tx.commit().await.unwrap();
    until(&house, id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request_id).await, 1);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_transaction_of_the_same_wallet_replaces_it_once_that_is_final_and_not_before() {
    let house = House::new(Mining::OnDemand).await;
    let (request, id) = handed_in(&house).await;
    let courier = Working::of(&house, "node-1", house.pool()).await;
    until_taken(&house, id).await;
    house.anvil.drop_all_transactions().await.unwrap();
    let from = user().address();
    house.anvil.send(&Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    let displaced = "SELECT state = 'tracking' AND block_hash IS NOT NULL AND tx_hash <> signed_hash FROM user_transactions WHERE id = $1";
    house.until("it is known what took its nonce", false, displaced, id).await;
    assert_eq!(waits_for(&house, id).await, WaitsFor::Finality);
    until(&house, id, TransactionState::Replaced, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 0);
    let told = told(&house, id).await;
    assert_eq!(told.inclusion.unwrap().attempt, None);
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reverts_fails_in_a_final_block() {
    let house = House::new(Mining::OnDemand).await;
    let (request, id) = handed_in(&house).await;
    house.refuse(true).await;
    let courier = Working::of(&house, "node-1", house.pool()).await;
    until_taken(&house, id).await;
    until(&house, id, TransactionState::Failed, true).await;
    assert_eq!(house.effects(request.context.request_id).await, 0);
    // What would fail now is not prepared.
    let refused = chain(&house, house.pool(), None).prepare(&draft(&house, Uuid::new_v4())).await;
    assert!(
        matches!(&refused, Err(PrepareError::WouldFail(why)) if why.starts_with("Refused(requestId: 0x")),
        "{refused:?}"
    );
    courier.stop().await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_carries_its_request_and_goes_behind_what_waits() {
    let house = House::new(Mining::OnDemand).await;
    let (chain, request_id) = (chain(&house, house.pool(), None), Uuid::new_v4());
    let first = chain.prepare(&draft(&house, request_id)).await.unwrap();
    assert_eq!((first.unsigned.nonce, first.carried), (0, Carried::Argument));
    assert_eq!(first.unsigned.call.data, calldata("perform", request_id));
    let from = user().address();
    house.anvil.send(&Call { from, to: Some(from), data: Bytes::new() }).await.unwrap();
    // To somebody of whom no ABI is known.
    let stranger = Draft { to: Address::repeat_byte(7), data: Bytes::new(), ..draft(&house, request_id) };
    let behind = chain.prepare(&stranger).await.unwrap();
    assert_eq!((behind.unsigned.nonce, behind.carried), (1, Carried::Suffix));
    assert_eq!(behind.unsigned.call.data[..], RequestId::from_uuid(request_id).to_chain()[..]);
    assert!(behind.unsigned.gas_limit >= behind.gas_estimate && behind.most_wei > U256::ZERO);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorised_call_is_made_once_for_its_user_whoever_brings_it() {
    let house = House::new(Mining::OnDemand).await;
    let deployer = house.anvil.accounts().await.unwrap()[3];
    let code = artifact("Forwarder").bytecode.clone();
    let created = house.anvil.send(&Call { from: deployer, to: None, data: code }).await.unwrap();
    house.anvil.mine(1).await.unwrap();
    let receipt = house.anvil.wait_receipt(created).await.unwrap();
    let forwarder: Address = receipt["contractAddress"].as_str().unwrap().parse().unwrap();
    let contracts = chain(&house, house.pool(), Some(("Forwarder", forwarder))).contracts;
    assert!(
        takes_authorizations(&contracts, &forwarder) && !takes_authorizations(&contracts, &house.counter)
    );

    let request_id = Uuid::new_v4();
    let authorised = ForwardRequest {
        chain_id: house.signer.chain_id,
        forwarder,
        from: user().address(),
        to: house.counter,
        data: calldata("perform", request_id),
        request_id: RequestId::from_uuid(request_id),
        deadline: 10_000_000_000,
    };
    let call = authorised.call(&user().sign(&authorised.digest()).as_bytes()).unwrap();
    let to = call.to.unwrap();
    assert_eq!(contracts.request_id_of_call(&to, &call.data), Some(authorised.request_id));
    let as_request = |operation_type: &str, gas_limit| {
        let plain = house.request();
        let context = Context { request_id, ..plain.context.clone() };
        Request { context, operation_type: operation_type.into(), call: call.clone(), gas_limit, ..plain }
    };
    let desk = house.work("node-1", house.pool(), DeskOptions::default()).await;
    let id = house.acceptor.accept(as_request("forward", None)).await.unwrap().id;
    house.until_state(id, TransactionState::Confirmed, true).await;
    assert_eq!(house.effects(request_id).await, 1);
    // Brought again, whether it is estimated or not, it is refused by the contract.
    let again = house.acceptor.accept(as_request("again", None)).await.unwrap().id;
    house.until_state(again, TransactionState::Failed, true).await;
    let sent = house.acceptor.accept(as_request("sent", Some(400_000))).await.unwrap().id;
    house.until_state(sent, TransactionState::Failed, true).await;
    assert_eq!(house.effects(request_id).await, 1);
    desk.stop().await;
    house.end().await;
}
