//! Kill switches on the command line: the platform's, and every tenant's.

use plimsoll_identity::tenant::Tenant;
use plimsoll_relayer::switches::{self, REASON_MAX_CHARS, Scope, Switch, SwitchError};
use plimsoll_store::Db;

use crate::cli::Halt;
use crate::commands::admin::Admin;
use crate::commands::admin::change::{As, Done};
use crate::commands::admin::operator;
use crate::commands::admin::sheet::{self, Sheet};
use crate::commands::signers::named;
use crate::config::Config;
use crate::failure::Failure;

/// What is meant, and how it is called.
struct Meant {
    scope: Scope,
    words: String,
    /// What is typed to confirm it.
    word: String,
    tenant: Option<Tenant>,
}

pub(super) async fn list(config: &Config, db: &Db, json: bool) -> Result<(), Failure> {
    let thrown = switches::thrown(&mut *db.worker().acquire().await?).await?;
    let admin = Admin { db, config };
    let mut sheets = Vec::with_capacity(thrown.len());
    for switch in &thrown {
        let tenant = match switch.scope.tenant_id {
            Some(id) => admin.tenant_if_named(Some(&id.to_string())).await?.map(|tenant| tenant.name),
            None => None,
        };
        sheets.push(sheet_of(switch).set("tenant", tenant));
    }
    let columns = ["tenant", "chain", "signer", "thrown_at", "thrown_by", "reason"];
    sheet::list(&sheets, &columns, "nothing is held back", json)
}

pub(super) async fn halt(config: &Config, db: &Db, asked: &Halt) -> Result<(), Failure> {
    let chars = asked.change.reason.chars().count();
    if chars > REASON_MAX_CHARS {
        return Err(Failure::usage(format!("`--reason` has {chars} characters, {REASON_MAX_CHARS} may be")));
    }
    let meant = meant(config, db, asked).await?;
    let order = asked.change.order().that_can_be_undone();
    Admin { db, config }
        .change(&order, As::Worker(meant.scope.tenant_id), async |conn| {
            let by = operator::actor();
            let thrown = switches::throw(conn, meant.scope, &by, &asked.change.reason).await;
            let thrown = thrown.map_err(|error| explained(error, &meant))?;
            let done = done("relayer.kill_switch.throw", "hold back", &meant, None, Some(sheet_of(&thrown)));
            let of = meant.tenant.as_ref().map_or("NAME", |tenant| &tenant.name);
            let note = format!("what has a nonce goes on: `plimsoll tx list --tenant {of} --state tracking`");
            Ok(Done { note: Some(note), ..done })
        })
        .await
}

pub(super) async fn resume(config: &Config, db: &Db, asked: &Halt) -> Result<(), Failure> {
    let meant = meant(config, db, asked).await?;
    let order = asked.change.order().that_can_be_undone();
    Admin { db, config }
        .change(&order, As::Worker(meant.scope.tenant_id), async |conn| {
            let released = switches::release(conn, meant.scope).await?.ok_or_else(|| {
                Failure::new(format!("no switch of its own holds back {}", meant.words))
                    .remedy("`plimsoll relayer halts` shows those that are thrown: name exactly what one of them holds back")
            })?;
            Ok(done("relayer.kill_switch.release", "release", &meant, Some(sheet_of(&released)), None))
        })
        .await
}

async fn meant(config: &Config, db: &Db, asked: &Halt) -> Result<Meant, Failure> {
    let tenant = Admin { db, config }.tenant_if_named(asked.tenant.as_ref()).await?;
    let signer = match &asked.signer {
        Some(name) => Some(named(db, name, asked.chain).await?),
        None => None,
    };
    let of_tenant = tenant.as_ref().map(|tenant| format!(" of the tenant {}", tenant.name));
    let of_signer =
        signer.as_ref().map(|one| format!(" by the signer {} on chain {}", one.name, one.signer.chain_id));
    let word = signer
        .as_ref()
        .map(|one| one.name.clone())
        .or_else(|| tenant.as_ref().map(|tenant| tenant.name.clone()));
    Ok(Meant {
        scope: Scope {
            tenant_id: tenant.as_ref().map(|tenant| tenant.tenant_id),
            signer: signer.as_ref().map(|one| one.signer),
        },
        words: format!("everything{}{}", of_tenant.unwrap_or_default(), of_signer.unwrap_or_default()),
        word: word.unwrap_or_else(|| "everything".to_owned()),
        tenant,
    })
}

fn done(
    action: &'static str,
    verb: &str,
    meant: &Meant,
    before: Option<Sheet>,
    after: Option<Sheet>,
) -> Done {
    let named = |sheet: Sheet| sheet.set("tenant", meant.tenant.as_ref().map(|tenant| tenant.name.clone()));
    Done {
        action,
        target_type: "kill_switch",
        target_id: meant.scope.signer.map_or_else(|| "all".to_owned(), |signer| signer.to_string()),
        order: format!("{verb} {}", meant.words),
        confirmation: meant.word.clone(),
        before: before.map(named),
        after: after.map(named),
        secret: None,
        note: None,
    }
}

/// Without what only the database knows of it, which a rehearsal has not: its number, and when.
fn sheet_of(switch: &Switch) -> Sheet {
    Sheet::new()
        .with("tenant", switch.scope.tenant_id.map(|id| id.to_string()))
        .with("chain", switch.scope.signer.map(|signer| signer.chain_id))
        .with("signer", switch.scope.signer.map(|signer| plimsoll_types::address_text(&signer.address)))
        .with("thrown_by", &*switch.thrown_by)
        .with("reason", &*switch.reason)
        .at("thrown_at", switch.thrown_at)
}

fn explained(error: SwitchError, meant: &Meant) -> Failure {
    match error {
        SwitchError::Database(error) => error.into(),
        SwitchError::Thrown(switch) => Failure::new(format!(
            "{} is held back already, by {}: {}",
            meant.words, switch.thrown_by, switch.reason
        ))
        .remedy("nothing needs to be done; `plimsoll relayer halts` shows it"),
        SwitchError::UnknownSigner(_) => Failure::new(error.to_string()),
    }
}
