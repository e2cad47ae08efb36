//! One file for each thing that can be asked on the command line.

pub(crate) mod admin;
pub(crate) mod backfill;
pub(crate) mod backup;
pub(crate) mod balances;
pub(crate) mod chain;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod fence;
pub(crate) mod fold;
pub(crate) mod ledger;
pub(crate) mod migrate;
pub(crate) mod openapi;
pub(crate) mod probe;
mod progress;
pub(crate) mod relayer;
mod repair;
pub(crate) mod replay;
pub(crate) mod replay_books;
pub(crate) mod run;
pub(crate) mod signers;
pub(crate) mod tx;
pub(crate) mod verify;
pub(crate) mod verify_export;
pub(crate) mod verify_ledger;
mod waiting;

use std::io::Write as _;

use plimsoll_chain::Pool;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::config::{Chain, Config, Loaded};
use crate::failure::Failure;

/// The configuration, if nothing is wrong with it.
pub(crate) fn configured(loaded: &Loaded) -> Result<&Config, Failure> {
    loaded.config.as_ref().ok_or_else(|| Failure::configuration(loaded))
}

/// The configured chains, or the one that was asked for.
pub(crate) fn chosen(config: &Config, chain_id: Option<u64>) -> Result<Vec<&Chain>, Failure> {
    let chains: Vec<_> =
        config.chains.iter().filter(|c| chain_id.is_none_or(|id| id == c.chain_id)).collect();
    if chains.is_empty()
        && let Some(id) = chain_id
    {
        let known: Vec<_> = config.chains.iter().map(|c| c.chain_id.to_string()).collect();
        return Err(Failure::usage(format!("chain {id} is not configured"))
            .remedy(format!("ask for one of {}", known.join(", "))));
    }
    Ok(chains)
}

/// That the nodes are of this chain. One that is silent is passed over where another answers.
pub(crate) async fn of_chain(loaded: &Loaded, chain: &Chain, pool: &Pool) -> Result<(), Failure> {
    let (mut answered, mut silent) = (false, None);
    for (rpc, endpoint) in pool.endpoints().iter().zip(&chain.endpoints) {
        match rpc.chain_id().await {
            Ok(found) if found == chain.chain_id => answered = true,
            Ok(found) => {
                let what =
                    format!("the node at {} serves chain {found}, not {}", rpc.endpoint(), chain.chain_id);
                return Err(Failure::usage(what)
                    .at(loaded, &chain.origin)
                    .remedy("correct `chain_id`, or the node's URL"));
            }
            Err(error) => silent = silent.or_else(|| Some(Failure::from(error).at(loaded, &endpoint.origin))),
        }
    }
    match silent {
        Some(failure) if !answered => Err(failure),
        _ => Ok(()),
    }
}

/// Writes to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::new(format!("standard output cannot be written: {error}"))),
    }
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Lays out rows under a header, each column as wide as its widest cell.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|h| h.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut out = line(header.to_vec());
    for row in rows {
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

/// A time, to the second, as RFC 3339 writes it in UTC.
pub(crate) fn when(time: OffsetDateTime) -> impl std::fmt::Display {
    let time = time.to_offset(UtcOffset::UTC).truncate_to_second();
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

/// An absent number as a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
