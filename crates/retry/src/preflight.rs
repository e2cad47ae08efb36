//! Before an attempt is sent (spec 1 §7.3): the view is there, no module cache is expired, and the call does not revert.

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_chain::abi::{Contract, Contracts};
use plimsoll_chain::{CallError, Pool, Reverts, RpcError, UnsignedTransaction};
use plimsoll_types::{RequestId, address_text};
use uuid::Uuid;

use crate::events::{Key, RETRY_HEALTH, RETRY_POSITION, has_function, selector};

/// Reads the modules' addresses again.
const REFRESH: &str = "refreshModuleCache()";
/// Whether they are too old to be used.
const IS_EXPIRED: &str = "isModuleCacheExpired()";
/// When they were read, which tells one refresh from the next.
const REFRESHED_AT: &str = "moduleCacheRefreshedAt()";

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing stands in its way on this block.
    Ready { block_number: u64 },
    /// These caches are expired: they are refreshed first.
    Expired(Vec<Expired>),
    /// It would fail.
    Broken(String),
}

/// A contract whose module cache is expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) contract: Address,
    /// As the contract says it.
    refreshed_at: B256,
}

impl Expired {
    /// The request of its refresh: whoever finds the same cache expired asks for the same refresh.
    pub(crate) fn request_id(&self, chain_id: u64) -> Uuid {
        let name = [&chain_id.to_be_bytes()[..], self.contract.as_slice(), self.refreshed_at.as_slice()];
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &name.concat())
    }

    /// Its call.
    pub(crate) fn call() -> Bytes {
        Bytes::copy_from_slice(selector(REFRESH).as_slice())
    }
}

/// The call of an attempt, which carries its request's id; or why there is none.
pub(crate) fn call(contracts: &Contracts, key: &Key, request_id: Uuid) -> Result<Bytes, String> {
    let function = if key.asset.is_some() { RETRY_POSITION } else { RETRY_HEALTH };
    let contract = contracts.get(&key.view).filter(|contract| contract.tenant_id == key.tenant_id);
    if !contract.is_some_and(|contract| has_function(contract, function)) {
        return Err(format!(
            "{} is no contract of the tenant that has `{function}`: give it, with its ABI, as a `[[chain.contract]]`",
            address_text(&key.view)
        ));
    }
    let arguments = [Some(key.user), key.asset];
    let arguments = arguments.into_iter().flatten().map(DynSolValue::Address).collect();
    let arguments = DynSolValue::Tuple(arguments).abi_encode_params();
    let bare = [selector(function).as_slice(), &arguments].concat();
    let id = RequestId::from_uuid(request_id);
    contracts.with_request_id(&key.view, &bare, id).map(|(data, _)| data).map_err(|error| error.to_string())
}

/// Looks, on the newest block.
pub(crate) async fn look(
    pool: &Pool,
    contracts: &Contracts,
    reverts: &Reverts,
    key: &Key,
    (signer, data): (Address, &Bytes),
) -> Result<Finding, RpcError> {
    let head = pool.ask(None, |rpc| async move { rpc.head().await }).await?;
    let at = Some(head.number);
    let code = pool.ask(at, |rpc| async move { rpc.code_at(key.view, head.hash).await }).await?;
    if code.is_empty() {
        let why = format!("there is no code at the view {}", address_text(&key.view));
        return Ok(Finding::Broken(why));
    }
    let expired = expired(pool, contracts, key.tenant_id, (head.number, head.hash)).await?;
    if !expired.is_empty() {
        return Ok(Finding::Expired(expired));
    }
    let transaction =
        UnsignedTransaction { from: signer, to: Some(key.view), value: U256::ZERO, data: data.clone() };
    let transaction = &transaction;
    let ran = pool.ask(at, |rpc| async move { rpc.run(transaction, None, Some(head.hash)).await }).await?;
    Ok(match ran {
        Ok(_) => Finding::Ready { block_number: head.number },
        Err(CallError::Reverted { data, .. }) => {
            Finding::Broken(format!("it would revert: {}", reverts.read(&data).text))
        }
        Err(error @ CallError::Failed { .. }) => Finding::Broken(format!("it cannot be run: {error}")),
    })
}

/// The contracts of a tenant whose module caches are expired.
async fn expired(
    pool: &Pool,
    contracts: &Contracts,
    tenant_id: Uuid,
    (number, hash): (u64, B256),
) -> Result<Vec<Expired>, RpcError> {
    let has_cache =
        |contract: &&Contract| [REFRESH, IS_EXPIRED, REFRESHED_AT].iter().all(|f| has_function(contract, f));
    let mut with_cache: Vec<_> = contracts
        .iter()
        .filter(|contract| contract.tenant_id == tenant_id)
        .filter(has_cache)
        .map(|contract| contract.address)
        .collect();
    with_cache.sort_unstable();
    let question = |function| Bytes::copy_from_slice(selector(function).as_slice());
    let calls: Vec<_> = with_cache
        .iter()
        .flat_map(|address| [(*address, question(IS_EXPIRED)), (*address, question(REFRESHED_AT))])
        .collect();
    let calls = &calls;
    let answers = pool.ask(Some(number), |rpc| async move { rpc.call_many_at(hash, calls).await }).await?;
    let word = |answer: &Result<Bytes, CallError>| {
        answer.as_ref().ok().and_then(|bytes| B256::try_from(&bytes[..]).ok())
    };
    let answers = answers.chunks(2).map(|two| (two.first().and_then(word), two.get(1).and_then(word)));
    Ok(with_cache
        .into_iter()
        .zip(answers)
        .filter_map(|(contract, answer)| match answer {
            (Some(is_expired), Some(refreshed_at)) if !is_expired.is_zero() => {
                Some(Expired { contract, refreshed_at })
            }
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use alloy_json_abi::JsonAbi;

    use super::*;

    #[test]
    fn a_call_carries_its_request_and_goes_to_a_view_of_the_tenant_only() {
        let view = Address::repeat_byte(7);
        let abi = Arc::new(
            JsonAbi::parse(["function retryUserPositionUpdate(address user, address asset)"]).unwrap(),
        );
        let contracts = Contracts::new([Contract::new("PositionView", view, Uuid::nil(), 0, abi)]);
        let key = |tenant_id, asset| Key { tenant_id, user: Address::repeat_byte(1), asset, view };
        let (asset, request_id) = (Some(Address::repeat_byte(2)), Uuid::from_u128(9));
        let data = call(&contracts, &key(Uuid::nil(), asset), request_id).unwrap();
        assert_eq!(contracts.request_id_of_call(&view, &data), Some(RequestId::from_uuid(request_id)));
        assert_eq!(data.len(), 4 + 3 * 32);
        let health = call(&contracts, &key(Uuid::nil(), None), request_id).unwrap_err();
        assert!(health.contains("retryUserHealthUpdate(address)"), "{health}");
        assert!(call(&contracts, &key(Uuid::from_u128(5), asset), request_id).is_err(), "another tenant's");
    }
}
