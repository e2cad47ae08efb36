//! Asks contract wallets (EIP-1271) on the chains that are followed.

use std::collections::HashMap;

use alloy_primitives::{Address, Bytes};
use plimsoll_chain::{CallError, Pool, Rpc};
use plimsoll_identity::siwe::{CallOutcome, WalletCalls, WalletUnavailable};

/// The nodes of the chains, by chain id.
#[derive(Clone)]
pub(crate) struct ContractWallets {
    nodes: HashMap<u64, Pool>,
}

impl ContractWallets {
    /// Over these nodes.
    pub(crate) fn new(nodes: HashMap<u64, Pool>) -> Self {
        Self { nodes }
    }
}

/// Code and answer are of one block, the node's head, named by its hash: one that leaves the chain between the two questions is an error, and
/// an error is neither yes nor no.
impl WalletCalls for ContractWallets {
    async fn call(&self, chain_id: u64, to: Address, data: Bytes) -> Result<CallOutcome, WalletUnavailable> {
        let unavailable = |error: &dyn std::fmt::Display| WalletUnavailable(error.to_string());
        let pool = self
            .nodes
            .get(&chain_id)
            .ok_or_else(|| WalletUnavailable(format!("no node of chain {chain_id} is configured")))?;
        let ask_all = |rpc: Rpc| {
            let data = data.clone();
            async move {
                let block = rpc.head().await?.hash;
                if rpc.code_at(to, block).await?.is_empty() {
                    return Ok(None);
                }
                rpc.call_many_at(block, &[(to, data)]).await.map(Some)
            }
        };
        let Some(answers) = pool.ask(None, ask_all).await.map_err(|error| unavailable(&error))? else {
            return Ok(CallOutcome::NoCode);
        };
        match answers.into_iter().next() {
            Some(Ok(returned)) => Ok(CallOutcome::Returned(returned)),
            Some(Err(CallError::Reverted { .. })) => Ok(CallOutcome::Reverted),
            Some(Err(error @ CallError::Failed { .. })) => Err(unavailable(&error)),
            None => Err(WalletUnavailable("the node gave no answer to one call".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, Bytes, hex};
    use k256::ecdsa::SigningKey;
    use plimsoll_chain::{EndpointConfig, Rpc, transport};
    use plimsoll_identity::siwe::{CheckError, Expectations, check, personal_digest};
    use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining};
    use plimsoll_testkit::node::Call;
    use serde_json::Value;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    const ARTIFACT: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/artifacts/ContractWallet.json"));

    fn address(key: &SigningKey) -> Address {
        Address::from_raw_public_key(&key.verifying_key().to_encoded_point(false).as_bytes()[1..])
    }

    fn wallets(url: &str, chain_id: u64) -> ContractWallets {
        let endpoint = EndpointConfig::new(url);
        let rpc = Rpc::over(transport::open(&endpoint).unwrap(), &endpoint);
        ContractWallets::new([(chain_id, rpc.into())].into())
    }

    /// Whether the wallet at `account` accepts what `key` signs.
    async fn signs(
        wallets: &ContractWallets,
        account: Address,
        key: &SigningKey,
        chain_id: u64,
    ) -> Result<(), CheckError> {
        let now = OffsetDateTime::now_utc();
        let text = format!(
            "app.example.com wants you to sign in with your Ethereum account:\n{}\n\nI am here.\n\nURI: https://app.example.com\nVersion: 1\n\
             Chain ID: {chain_id}\nNonce: 0123456789abcdef\nIssued At: {}",
            account.to_checksum(None),
            now.format(&Rfc3339).unwrap()
        );
        let (signature, parity) = key.sign_prehash_recoverable(personal_digest(&text).as_slice()).unwrap();
        let mut bytes = signature.to_vec();
        bytes.push(27 + parity.to_byte());
        let expected = Expectations {
            domain: "app.example.com".into(),
            scheme: "https".into(),
            chain_ids: vec![chain_id],
        };
        check(&text, &bytes, &expected, now, wallets)
            .await
            .map(|proven| assert_eq!(proven.address(), account))
    }

    #[tokio::test]
    async fn a_contract_wallet_signs_in_with_its_owners_key_and_with_no_other() {
        let anvil = Anvil::start(&AnvilOptions { mining: Mining::Automatic, ..AnvilOptions::default() })
            .await
            .unwrap();
        let node = anvil.node();
        let chain_id = node.chain_id().await.unwrap();
        let (owner, stranger) =
            (SigningKey::from_slice(&[7; 32]).unwrap(), SigningKey::from_slice(&[8; 32]).unwrap());
        let artifact: Value = serde_json::from_str(ARTIFACT).unwrap();
        let mut code = hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap();
        code.extend_from_slice(address(&owner).into_word().as_slice());
        let from = node.accounts().await.unwrap()[0];
        let deployed = node.send(&Call { from, to: None, data: Bytes::from(code) }).await.unwrap();
        let receipt = node.wait_receipt(deployed).await.unwrap();
        let wallet: Address = receipt["contractAddress"].as_str().unwrap().parse().unwrap();

        let wallets = wallets(node.url(), chain_id);
        signs(&wallets, wallet, &owner, chain_id).await.unwrap();
        let refused = signs(&wallets, wallet, &stranger, chain_id).await;
        assert_eq!(refused, Err(CheckError::ContractRefused(wallet)));
        // An address without code is a key's, and its signature did not fit.
        let nobody = address(&stranger);
        assert_eq!(signs(&wallets, nobody, &owner, chain_id).await, Err(CheckError::OtherSigner(nobody)));
        let elsewhere = signs(&wallets, wallet, &owner, chain_id + 1).await;
        assert!(matches!(elsewhere, Err(CheckError::Unavailable(_))), "{elsewhere:?}");

        anvil.stop().await.unwrap();
        let silent = signs(&wallets, wallet, &owner, chain_id).await;
        assert!(matches!(silent, Err(CheckError::Unavailable(_))), "neither yes nor no: {silent:?}");
    }
}
