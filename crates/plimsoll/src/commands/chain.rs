//! `plimsoll chain`: where chains stand, and the operator's word about one that has halted.

use plimsoll_store::Db;

use super::fold::pretty;
use super::{or_dash, print, print_json, table};
use crate::cli::Decision;
use crate::failure::Failure;
use crate::repo::{self, to_i64};

pub(crate) async fn status(db: &Db, chain_id: Option<u64>, json: bool) -> Result<(), Failure> {
    let chains = repo::chains(db.worker(), chain_id.map(to_i64)).await?;
    if json {
        return print_json(&chains);
    }
    if chains.is_empty() {
        return print("no chain has been followed yet\n");
    }
    let rows: Vec<Vec<String>> = chains
        .iter()
        .map(|c| {
            vec![
                c.chain_id.to_string(),
                c.name.clone(),
                c.state.clone(),
                or_dash(c.rpc_head_number),
                or_dash(c.head_number),
                or_dash(c.confirmed_number),
                or_dash(c.final_number),
                c.journal_seq.to_string(),
            ]
        })
        .collect();
    let mut out =
        table(&["chain", "name", "state", "node head", "head", "confirmed", "final", "journal seq"], &rows);
    for chain in &chains {
        let hashes =
            [("head", chain.head_number, &chain.head_hash), ("final", chain.final_number, &chain.final_hash)];
        for (what, number, hash) in hashes {
            if let (Some(number), Some(hash)) = (number, hash) {
                out.push_str(&format!("chain {}: {what} block {number} is {hash}\n", chain.chain_id));
            }
        }
        if let Some(halt) = &chain.halt {
            out.push_str(&format!("\nchain {} has halted:\n{}\n", chain.chain_id, pretty(halt)));
        }
    }
    print(&out)
}

pub(crate) async fn resume(db: &Db, chain_id: u64, decision: &Decision) -> Result<(), Failure> {
    if plimsoll_journal::resume(db, chain_id, &decision.operator, &decision.reason).await? {
        return print(&format!("chain {chain_id} resumes; the process that follows it notices by itself\n"));
    }
    let what = match repo::chains(db.worker(), Some(to_i64(chain_id))).await?.as_slice() {
        [] => format!("chain {chain_id} was never followed here"),
        _ => format!("chain {chain_id} has not halted"),
    };
    Err(Failure::new(what).remedy("`plimsoll chain status` shows every chain"))
}
