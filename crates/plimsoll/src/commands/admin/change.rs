//! The one way in which a command changes something: checks, change and audit entry in one transaction, committed together or not at all.
//!
//! A dry run is the same transaction, rolled back. So is the rehearsal before a confirmation: a transaction is not held open while somebody
//! types. What was rehearsed is then done in a second transaction, and only if it finds what the first one showed.

use std::io::{BufRead, IsTerminal as _, Write};

use plimsoll_bus::audit::{self, Entry};
use plimsoll_bus::{Context, Keys};
use plimsoll_store::Tx;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::sheet::{Sheet, difference};
use super::{Admin, operator};
use crate::cli::{Change, Final, How};
use crate::commands::{print, print_json};
use crate::failure::Failure;

/// How a change was asked for.
pub(in crate::commands) struct Order<'a> {
    reason: Option<&'a str>,
    how: &'a How,
    confirms: bool,
    can_be_undone: bool,
}

/// As whom it is made.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) enum As {
    /// The app's role, confined to this tenant.
    Tenant(Uuid),
    /// The worker's role, for this tenant; `None`: for the platform itself.
    Worker(Option<Uuid>),
}

/// What was done within the transaction: as it is put on record, and as it is told.
pub(in crate::commands) struct Done {
    /// The action's name in the audit log.
    pub(in crate::commands) action: &'static str,
    /// What kind of thing it was done to.
    pub(in crate::commands) target_type: &'static str,
    /// To which of them.
    pub(in crate::commands) target_id: String,
    /// For people, as an order: `suspend the user …`.
    pub(in crate::commands) order: String,
    /// What is typed to confirm it.
    pub(in crate::commands) confirmation: String,
    pub(in crate::commands) before: Option<Sheet>,
    pub(in crate::commands) after: Option<Sheet>,
    /// What is shown once and never recorded: its name, and itself.
    pub(in crate::commands) secret: Option<(&'static str, String)>,
    /// What to know about it, once it is done.
    pub(in crate::commands) note: Option<String>,
}

/// Which end the transaction has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
}

impl Change {
    pub(in crate::commands) fn order(&self) -> Order<'_> {
        Order { reason: self.reason.as_deref(), how: &self.how, confirms: false, can_be_undone: true }
    }
}

impl Final {
    pub(in crate::commands) fn order(&self) -> Order<'_> {
        Order { reason: Some(&self.reason), how: &self.how, confirms: !self.yes, can_be_undone: false }
    }
}

impl Order<'_> {
    /// It is grave all the same: what is asked before it is done does not say that it cannot be.
    pub(in crate::commands) fn that_can_be_undone(self) -> Self {
        Self { can_be_undone: true, ..self }
    }

    pub(in crate::commands) fn reason(&self) -> Option<&str> {
        self.reason
    }
}

impl Admin<'_> {
    /// Does `work` and puts it on record, or shows what it would do.
    pub(in crate::commands) async fn change(
        &self,
        order: &Order<'_>,
        whom: As,
        work: impl AsyncFn(&mut PgConnection) -> Result<Done, Failure>,
    ) -> Result<(), Failure> {
        let request_id = order.how.request_id.unwrap_or_else(Uuid::now_v7);
        let context = Context::new(request_id, operator::actor());
        let (context, keys) = match whom {
            As::Tenant(tenant_id) | As::Worker(Some(tenant_id)) => {
                (context.on_behalf_of(tenant_id, None), Keys::Tenant)
            }
            As::Worker(None) => (context, Keys::Platform),
        };
        let attempt = async |seen: Option<&Done>, end: End| {
            let mut tx = self.begin(whom).await?;
            let done = work(&mut tx).await?;
            if done.before == done.after {
                return Err(Failure::new(format!("nothing to do: {} changes nothing", done.order))
                    .remedy("nothing needs to be done"));
            }
            if seen.is_some_and(|seen| seen.before != done.before || seen.order != done.order) {
                return Err(Failure::new("somebody changed it while you were asked, and nothing was done")
                    .remedy("run the command again, and look at what it shows"));
            }
            let entry = Entry::new(done.action, done.target_type, &*done.target_id)
                .with_change(done.before.as_ref().map(Sheet::json), done.after.as_ref().map(Sheet::json))
                .demanding(keys)
                .in_context(context.clone());
            let entry = match order.reason {
                Some(reason) => entry.with_reason(reason),
                None => entry,
            };
            audit::record(&mut tx, entry).await?;
            match end {
                End::Commit => tx.commit().await.map_err(|error| unknown(&error, request_id))?,
                End::RollBack => tx.rollback().await?,
            }
            Ok(done)
        };
        if order.how.dry_run {
            let done = attempt(None, End::RollBack).await?;
            return tell(&done, order.how, request_id);
        }
        let seen = match order.confirms {
            true => {
                let stdin = std::io::stdin();
                if !stdin.is_terminal() {
                    let what = if order.can_be_undone { "this is grave" } else { "this cannot be undone" };
                    return Err(Failure::usage(format!("{what}, and there is no terminal to confirm it at"))
                        .remedy("look at it with `--dry-run`, then say `--yes`"));
                }
                let done = attempt(None, End::RollBack).await?;
                confirm(&done, order.can_be_undone, &mut stdin.lock(), &mut std::io::stderr())?;
                Some(done)
            }
            false => None,
        };
        let done = attempt(seen.as_ref(), End::Commit).await?;
        tell(&done, order.how, request_id)
    }

    async fn begin(&self, whom: As) -> Result<Tx, Failure> {
        Ok(match whom {
            As::Tenant(tenant_id) => self.db.tenant_tx(&[tenant_id]).await?,
            As::Worker(_) => self.db.begin_worker().await?,
        })
    }
}

/// COMMIT was sent, and the answer did not come.
fn unknown(error: &sqlx::Error, request_id: Uuid) -> Failure {
    Failure::new(format!("whether it was done is not known: the database did not answer the commit: {error}"))
        .remedy(format!("`plimsoll admin audit show {request_id}` has an entry if and only if it was done"))
}

/// Asks for the one word that means it.
fn confirm(
    done: &Done,
    can_be_undone: bool,
    answers: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let warning = if can_be_undone { "" } else { "This cannot be undone. " };
    write!(
        out,
        "about to {}\n{}{warning}Type {:?} to go on: ",
        done.order,
        difference(done.before.as_ref(), done.after.as_ref()),
        done.confirmation
    )?;
    out.flush()?;
    let mut answer = String::new();
    answers.read_line(&mut answer)?;
    if answer.trim() == done.confirmation {
        return Ok(());
    }
    Err(Failure::new("it was not confirmed, and nothing was done"))
}

/// Prints what was done, or would be.
fn tell(done: &Done, how: &How, request_id: Uuid) -> Result<(), Failure> {
    let secret = done.secret.as_ref().filter(|_| !how.dry_run);
    if how.json {
        let sheet = |sheet: &Option<Sheet>| sheet.as_ref().map_or(Value::Null, Sheet::json);
        let mut told = json!({
            "action": done.action,
            "target_type": done.target_type,
            "target_id": done.target_id,
            "before": sheet(&done.before),
            "after": sheet(&done.after),
            "dry_run": how.dry_run,
            "request_id": if how.dry_run { Value::Null } else { json!(request_id) },
        });
        if let (Some((name, secret)), Some(fields)) = (secret, told.as_object_mut()) {
            fields.insert((*name).into(), json!(secret));
        }
        return print_json(&told);
    }
    let changed = difference(done.before.as_ref(), done.after.as_ref());
    if how.dry_run {
        return print(&format!("would {}\n{changed}nothing was changed (dry run)\n", done.order));
    }
    let mut out = format!("done: {}\n{changed}", done.order);
    if let Some((name, secret)) = secret {
        out.push_str(&format!("\n{name}, shown this once:\n{secret}\n\n"));
    }
    if let Some(note) = &done.note {
        out.push_str(&format!("{note}\n"));
    }
    out.push_str(&format!("request {request_id}\n"));
    print(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_confirms() {
        let done = Done {
            action: "identity.key.revoke",
            target_type: "api_key",
            target_id: "3f0a".into(),
            order: "revoke the key 3f0a".into(),
            confirmation: "3f0a".into(),
            before: Some(Sheet::new().with("state", "in force")),
            after: Some(Sheet::new().with("state", "revoked")),
            secret: None,
            note: None,
        };
        for (answer, is_confirmed) in [
            ("3f0a\n", true),
            (" 3f0a \n", true),
            ("3f0a", true),
            ("y\n", false),
            ("yes\n", false),
            ("\n", false),
            ("", false),
            ("3F0A\n", false),
        ] {
            let mut asked = Vec::new();
            assert_eq!(
                confirm(&done, false, &mut answer.as_bytes(), &mut asked).is_ok(),
                is_confirmed,
                "{answer:?}"
            );
            assert_eq!(
                String::from_utf8(asked).unwrap(),
                "about to revoke the key 3f0a\n  state: in force → revoked\nThis cannot be undone. Type \"3f0a\" to go on: "
            );
        }
    }
}
