//! `plimsoll config`: everything that is wrong, at once.

use plimsoll_api::Tls;
use plimsoll_chain::{ErrorClass, RpcError};
use plimsoll_identity::keys::{KeyDirectory, Keys};
use plimsoll_identity::password::PasswordFile;
use plimsoll_types::address_text;

use super::{configured, print};
use crate::config::{Chain, Config, Endpoint, Loaded, Problems};
use crate::database::{named, reachable};
use crate::failure::{Failure, chain_of};
use crate::{keys, wiring};

pub(crate) async fn check(loaded: &mut Loaded, online: bool) -> Result<(), Failure> {
    if let Some(config) = loaded.config.take() {
        let mut problems = Problems::new(loaded.problems.file());
        check_files(loaded, &config, &mut problems);
        if online {
            check_online(loaded, &config, &mut problems).await;
        }
        loaded.problems = problems;
        loaded.config = Some(config).filter(|_| loaded.problems.is_empty());
    }
    for note in &loaded.notes {
        eprintln!("note: {note}");
    }
    let config = configured(loaded).map_err(Failure::into_finding)?;
    let contracts: usize = config.chains.iter().map(|c| c.contracts.len()).sum();
    print(&format!(
        "{} is right: {}, {} {}, {contracts} {}\n",
        loaded.problems.file(),
        named(&config.database.source),
        config.chains.len(),
        if config.chains.len() == 1 { "chain" } else { "chains" },
        if contracts == 1 { "contract" } else { "contracts" },
    ))
}

pub(crate) fn show(loaded: &Loaded) -> Result<(), Failure> {
    print(&loaded.show())?;
    configured(loaded).map(drop)
}

/// What is read only where the API is served, and what commands elsewhere do without.
fn check_files(loaded: &Loaded, config: &Config, problems: &mut Problems) {
    let internal = config.api.internal.as_ref().and_then(|internal| internal.tls.clone());
    for files in [config.api.tls.clone(), internal].into_iter().flatten() {
        if let Err(error) = Tls::load(files) {
            let remedy = "give a certificate, with its intermediates after it, and its private key, both in PEM and readable for this user";
            problems.add(loaded.origin_of(error.setting()), chain_of(&error), remedy);
        }
    }
    if let Some((path, origin)) = &config.identity.password_file
        && let Err(error) = PasswordFile::load(path)
    {
        let remedy = "write a line for each operator, `login:tenant:user:$argon2id$…`, into a file that this user alone may read";
        problems.add(origin.clone(), format!("`identity.password_file`: {}", chain_of(&error)), remedy);
    }
    for signer in &config.signers {
        if let Err(unusable) = keys::check(signer) {
            problems.add(unusable.origin, unusable.what, unusable.remedy);
        }
    }
    let directory = &config.identity.keys_dir;
    if directory.exists()
        && let Err(error) = Keys::load(&KeyDirectory(directory.clone()))
    {
        let remedy = "put a `signing.pem` there, or name a directory that is not there yet: one is made with a key in it";
        problems.add(
            config.identity.keys_origin.clone(),
            format!("`identity.keys_dir`: {}", chain_of(&error)),
            remedy,
        );
    }
}

async fn check_online(loaded: &Loaded, config: &Config, problems: &mut Problems) {
    if let Err(failure) = reachable(config).await {
        problems.add(
            config.database.origin.clone(),
            failure.what(),
            "make it reachable as configured; `plimsoll migrate` makes the roles and the schema",
        );
    }
    for chain in &config.chains {
        check_chain(loaded, chain, problems).await;
    }
}

async fn check_chain(loaded: &Loaded, chain: &Chain, problems: &mut Problems) {
    for endpoint in &chain.endpoints {
        check_endpoint(loaded, chain, endpoint, problems).await;
    }
}

async fn check_endpoint(loaded: &Loaded, chain: &Chain, endpoint: &Endpoint, problems: &mut Problems) {
    let rpc = match wiring::rpc(loaded, chain, endpoint) {
        Ok(rpc) => rpc,
        Err(failure) => return problems.add(endpoint.origin.clone(), failure.what(), "correct the URL"),
    };
    let found = match rpc.chain_id().await {
        Ok(found) => found,
        Err(error) => {
            let (what, remedy) = of_node(&error);
            return problems.add(endpoint.origin.clone(), what, remedy);
        }
    };
    if found != chain.chain_id {
        return problems.add(
            chain.origin.clone(),
            format!("the node at {} serves chain {found}, not {}", rpc.endpoint(), chain.chain_id),
            format!("write `chain_id = {found}`, or give the URL of a node of chain {}", chain.chain_id),
        );
    }
    let head = match rpc.head().await {
        Ok(head) => head,
        Err(error) => {
            let (what, remedy) = of_node(&error);
            return problems.add(endpoint.origin.clone(), what, remedy);
        }
    };
    for contract in &chain.contracts {
        let address = address_text(&contract.address);
        if contract.start_block > head.number {
            problems.add(
                contract.origin.clone(),
                format!(
                    "{} starts at block {}, and the node's head is {}",
                    contract.name, contract.start_block, head.number
                ),
                "correct `start_block`, or wait until the node is there",
            );
            continue;
        }
        match rpc.code_at(contract.address, head.hash).await {
            Ok(code) if code.is_empty() => problems.add(
                contract.origin.clone(),
                format!("there is no contract {} at {address} as of block {}", contract.name, head.number),
                "correct the address; look whether it was deployed on another chain",
            ),
            Ok(_) => {}
            Err(error)
                if matches!(error.class(), ErrorClass::BlockUnknown | ErrorClass::StateUnavailable) => {}
            Err(error) => {
                let (what, remedy) = of_node(&error);
                problems.add(contract.origin.clone(), what, remedy);
            }
        }
    }
}

/// What a node's error is, and what to do about it: its text has both.
fn of_node(error: &RpcError) -> (String, String) {
    let text = chain_of(error);
    match text.split_once(". What to do: ") {
        Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
        None => (text, "look at the node".to_owned()),
    }
}
