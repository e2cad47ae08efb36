//! `plimsoll verify ledger`.

use std::sync::{Mutex, PoisonError};

use plimsoll_identity::tenant;
use plimsoll_ledger::verify::{Finding, Progress as Done, Scope, TenantReport};
use plimsoll_ledger::{proofs, verify};
use plimsoll_proof::ledger::checkpoint::NoteKey;
use plimsoll_store::Db;
use serde_json::{Value, json};

use super::admin::Admin;
use super::progress::Progress;
use super::verify_export::key;
use super::{print, print_json, table};
use crate::cli::VerifyLedger;
use crate::config::Config;
use crate::failure::{FAILED, Failure};

pub(crate) async fn verify_ledger(config: &Config, db: &Db, asked: &VerifyLedger) -> Result<(), Failure> {
    let named = Admin { db, config }.tenant_if_named(asked.tenant.as_ref()).await?;
    let tenants = named.map(|tenant| vec![tenant.tenant_id]);
    let keys = match asked.key.as_slice() {
        [] => known_keys(config, db).await?,
        given => given.iter().map(|text| key(text)).collect::<Result<_, _>>()?,
    };
    let line = Mutex::new(Progress::new());
    let progress = |done: Done| {
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        line.line(|| format!("tenant {}: {} of {} postings", done.tenant_id, done.done, done.entries));
    };
    let report = verify(db, &Scope { tenants, keys }, &progress).await?;
    drop(line);
    if asked.json {
        print_json(&report.tenants.iter().map(of_tenant).collect::<Vec<_>>())?;
    } else {
        shown(&report.tenants)?;
    }
    let found: u64 = report.tenants.iter().map(|tenant| tenant.finding_count).sum();
    if found > 0 {
        return Err(Failure::found(format!("the ledger does not hold: {found} breaks"), FAILED).remedy(
            "keep the database as it is, and the report: `docs/ledger.md` says what each break means. Nothing more is sealed in a log that is broken",
        ));
    }
    Ok(())
}

/// The configured key, and those that the database says were used.
async fn known_keys(config: &Config, db: &Db) -> Result<Vec<NoteKey>, Failure> {
    let mut keys: Vec<_> = config.ledger.iter().map(|ledger| ledger.signer.key().clone()).collect();
    for tenant in tenant::all(&mut *db.begin_worker().await?).await? {
        let mut tx = db.tenant_tx(&[tenant.tenant_id]).await?;
        for used in proofs::keys(&mut tx, tenant.tenant_id).await? {
            keys.push(used.key.parse().map_err(|fault| Failure::new(format!("{}: {fault}", used.key)))?);
        }
    }
    Ok(keys)
}

fn shown(tenants: &[TenantReport]) -> Result<(), Failure> {
    for tenant in tenants {
        for finding in &tenant.findings {
            print(&format!("tenant {}: {finding}\n", tenant.tenant_id))?;
        }
    }
    let rows: Vec<_> = tenants.iter().map(row).collect();
    let columns = [
        "tenant",
        "sealed",
        "waiting",
        "lines",
        "accounts",
        "checkpoints",
        "signatures",
        "unchecked",
        "breaks",
    ];
    print(&table(&columns, &rows))?;
    let unchecked: u64 = tenants.iter().map(|tenant| tenant.unchecked_signatures).sum();
    if unchecked > 0 {
        print(&format!(
            "{unchecked} checkpoints are of logs that no key was given for: name them by --key\n"
        ))?;
    }
    Ok(())
}

fn row(of: &TenantReport) -> Vec<String> {
    let id = of.tenant_id.to_string();
    let counts = [
        of.entries,
        of.unsealed,
        of.lines,
        of.accounts,
        of.checkpoints,
        of.signatures,
        of.unchecked_signatures,
        of.finding_count,
    ];
    std::iter::once(id).chain(counts.iter().map(ToString::to_string)).collect()
}

fn of_tenant(of: &TenantReport) -> Value {
    json!({
        "tenant_id": of.tenant_id,
        "sealed": of.entries,
        "waiting": of.unsealed,
        "lines": of.lines,
        "accounts": of.accounts,
        "checkpoints": of.checkpoints,
        "signatures": of.signatures,
        "unchecked_signatures": of.unchecked_signatures,
        "breaks": of.finding_count,
        "findings": of.findings.iter().map(of_finding).collect::<Vec<_>>(),
    })
}

fn of_finding(of: &Finding) -> Value {
    json!({
        "leaf_index": of.index,
        "posting_id": of.posting_id,
        "sequence": of.line,
        "account_id": of.account_id,
        "what": of.what,
    })
}
