//! `plimsoll probe`: numbers of a chain's state at a block.

use alloy_primitives::B256;
use plimsoll_chain::Pool;
use plimsoll_chain::abi::Contracts;
use plimsoll_chain::probe::{DeclaredProbe, Probe, ProbeOptions, Probed, probes_at};
use plimsoll_store::Db;
use plimsoll_types::{hash_text, parse_hash};
use serde_json::{Value, json};

use super::{chosen, of_chain, or_dash, print, print_json, table};
use crate::cli::{self, BlockChoice};
use crate::config::{Chain, Config, Loaded};
use crate::failure::{Failure, UNVERIFIED};
use crate::repo::{self, to_i64};
use crate::wiring;

/// A probe, and how it was asked for.
struct Asked {
    label: String,
    probe: Probe,
}

/// `db` is needed for blocks of the journal.
pub(crate) async fn probe(
    loaded: &Loaded,
    config: &Config,
    db: Option<&Db>,
    asked: &cli::Probe,
) -> Result<(), Failure> {
    // There is one, or it is an error.
    let chain = chosen(config, Some(asked.chain))?[0];
    let numbers = declared(asked, &wiring::contracts(chain))?;
    let pool = wiring::pool(loaded, chain)?;
    of_chain(loaded, chain, &pool).await?;
    let block_hash = block(chain, &pool, db, asked.block).await?;

    let mut options = ProbeOptions::of_chain(chain.chain_id);
    if let Some(choice) = asked.multicall {
        options.multicall = choice.0;
    }
    let probes: Vec<_> = numbers.iter().map(|asked| asked.probe.clone()).collect();
    let probed = probes_at(&pool, &options, block_hash, &probes).await?;
    if asked.json {
        print_json(&as_json(chain, &numbers, &probed))?;
    } else {
        print(&as_text(chain, &numbers, &probed))?;
    }
    match probed.answers.iter().filter(|answer| answer.is_err()).count() {
        0 => Ok(()),
        unknown => {
            Err(Failure::found(format!("{unknown} of {} numbers are unknown", numbers.len()), UNVERIFIED)
                .remedy("the reasons are printed with them; an unknown number is not zero"))
        }
    }
}

/// What is asked for, in the order of the options and within each as given.
fn declared(asked: &cli::Probe, contracts: &Contracts) -> Result<Vec<Asked>, Failure> {
    let numbers = &asked.numbers;
    let mut declared: Vec<(String, DeclaredProbe)> = Vec::new();
    for account in &numbers.native {
        declared.push((format!("native {account}"), DeclaredProbe::Native { account: account.clone() }));
    }
    for text in &numbers.erc20 {
        let (token, holder) = text.split_once(':').ok_or_else(|| {
            Failure::usage(format!("`--erc20 {text}` does not name an account"))
                .remedy("write the token's address, a colon and the account's address")
        })?;
        let probe = DeclaredProbe::Erc20 { token: token.to_owned(), holder: holder.to_owned() };
        declared.push((format!("erc20 {text}"), probe));
    }
    for text in &numbers.call {
        let probe =
            DeclaredProbe::parse_call(text).map_err(|error| Failure::usage(format!("`--call`: {error}")))?;
        declared.push((format!("call {text}"), probe));
    }
    if let Some(path) = &numbers.file {
        let unusable = |error: String| Failure::usage(format!("{}: {error}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let listed: Vec<DeclaredProbe> = serde_json::from_str(&text)
            .map_err(|error| unusable(format!("it is no array of probes: {error}")))?;
        declared.extend(
            listed.into_iter().enumerate().map(|(at, probe)| (format!("{} [{at}]", path.display()), probe)),
        );
    }
    let check = |(label, mut declared): (String, DeclaredProbe)| {
        if let (DeclaredProbe::Call { direct, .. }, true) = (&mut declared, asked.direct) {
            *direct = true;
        }
        let probe = declared.check(contracts).map_err(|error| Failure::usage(format!("{label}: {error}")))?;
        Ok(Asked { label, probe })
    };
    declared.into_iter().map(check).collect()
}

async fn block(chain: &Chain, pool: &Pool, db: Option<&Db>, choice: BlockChoice) -> Result<B256, Failure> {
    match choice {
        BlockChoice::Hash(hash) => Ok(hash),
        BlockChoice::Head => Ok(pool.ask(None, |rpc| async move { rpc.head().await }).await?.hash),
        BlockChoice::Number(number) => {
            let found =
                pool.ask(Some(number), |rpc| async move { rpc.header_by_number(number).await }).await?;
            let missing = || {
                Failure::new(format!("chain {} has no block {number} yet", chain.chain_id))
                    .remedy("ask for a block at or below the node's head; `--block head` is that")
            };
            Ok(found.ok_or_else(missing)?.hash)
        }
        BlockChoice::Confirmed | BlockChoice::Final => {
            let is_final = choice == BlockChoice::Final;
            let found = match db {
                Some(db) => repo::marked_hash(db.worker(), to_i64(chain.chain_id), is_final).await?,
                None => None,
            };
            let what = if is_final { "final" } else { "confirmed" };
            let hash = found.ok_or_else(|| {
                Failure::new(format!("the journal of chain {} has no {what} block yet", chain.chain_id))
                    .remedy("`plimsoll chain status` shows how far it is; `--block head` asks without it")
            })?;
            Ok(parse_hash(&hash)?)
        }
    }
}

fn as_text(chain: &Chain, numbers: &[Asked], probed: &Probed) -> String {
    let header = &probed.header;
    let mut out = format!(
        "chain {}: block {} is {}, its state root {}\n\n",
        chain.chain_id,
        header.number,
        hash_text(&header.hash),
        hash_text(&header.state_root)
    );
    let rows: Vec<Vec<String>> = numbers
        .iter()
        .zip(&probed.answers)
        .map(|(asked, answer)| {
            let why = answer.as_ref().err().map(ToString::to_string);
            vec![asked.label.clone(), or_dash(answer.as_ref().ok()), why.unwrap_or_default()]
        })
        .collect();
    out.push_str(&table(&["what", "number", "why it is unknown"], &rows));
    out
}

fn as_json(chain: &Chain, numbers: &[Asked], probed: &Probed) -> Value {
    let header = &probed.header;
    let entry = |(asked, answer): (&Asked, &Result<_, plimsoll_chain::probe::ProbeError>)| match answer {
        Ok(value) => json!({ "probe": asked.label, "value": value }),
        Err(why) => {
            json!({ "probe": asked.label, "unknown": { "reason": why.as_str(), "detail": why.to_string() } })
        }
    };
    json!({
        "chain_id": chain.chain_id,
        "block_number": header.number,
        "block_hash": header.hash,
        "state_root": header.state_root,
        "probes": numbers.iter().zip(&probed.answers).map(entry).collect::<Vec<Value>>(),
    })
}
