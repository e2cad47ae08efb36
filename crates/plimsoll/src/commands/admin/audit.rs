//! `plimsoll admin audit`: the log as people look at it.

use std::time::Duration;

use plimsoll_bus::audit::{self, Filter, Recorded};
use serde_json::Value;

use super::Admin;
use super::sheet::{Sheet, list, shown};
use crate::cli::{Audit, AuditFilter, AuditList, AuditTail, Bound};
use crate::commands::{or_dash, print, when};
use crate::failure::Failure;

const COLUMNS: &[&str] = &["number", "recorded_at", "actor", "action", "target", "request_id"];
/// How often `tail --follow` looks for what has come.
const FOLLOW_PAUSE: Duration = Duration::from_secs(1);

impl Admin<'_> {
    pub(super) async fn audit(&self, asked: &Audit) -> Result<(), Failure> {
        match asked {
            Audit::Show { request, json } => {
                let entries = audit::by_request(&mut *self.db.begin_worker().await?, None, *request).await?;
                if entries.is_empty() {
                    return Err(Failure::new(format!("no entry of the audit log is of the request {request}"))
                        .remedy("a request that only read, or was refused, leaves none; entries past their retention are gone"));
                }
                match json {
                    true => crate::commands::print_json(&entries),
                    false => print(&entries.iter().map(told).collect::<Vec<_>>().join("\n")),
                }
            }
            Audit::List(asked) => self.list_audit(asked).await,
            Audit::Tail(asked) => self.tail_audit(asked).await,
            Audit::Export(asked) => self.export(asked).await,
        }
    }

    async fn list_audit(&self, asked: &AuditList) -> Result<(), Failure> {
        let filter = self.filter(&asked.filter).await?;
        let (mut found, mut next) = (Vec::new(), Some(0));
        // Ends: each page goes on beyond the one before, and the log is finite.
        while let Some(after) = next
            && found.len() < asked.limit as usize
        {
            let wanted = i64::from(asked.limit) - i64::try_from(found.len())?;
            let page = audit::page(&mut *self.db.begin_worker().await?, &filter, after, wanted).await?;
            found.extend(page.entries);
            next = page.next;
        }
        if asked.json {
            crate::commands::print_json(&found)?;
        } else {
            list(&found.iter().map(row).collect::<Vec<_>>(), COLUMNS, "there is no such entry", false)?;
        }
        if let (Some(_), Some(last)) = (next, found.last().and_then(|entry| entry.sequence)) {
            eprintln!("there may be more: go on with `--from {}`", last + 1);
        }
        self.tell_waiting().await
    }

    async fn tail_audit(&self, asked: &AuditTail) -> Result<(), Failure> {
        let filter = self.filter(&asked.filter).await?;
        // What comes later than this look is for `--follow`, and nothing is passed over in between.
        let newest =
            audit::page_back(&mut *self.db.begin_worker().await?, &Filter::default(), None, 1).await?;
        let mut seen = newest.entries.first().and_then(|entry| entry.sequence).unwrap_or(0);
        let until_now = Filter { to: Some(filter.to.map_or(seen, |to| to.min(seen))), ..filter.clone() };
        let (mut found, mut before) = (Vec::new(), None);
        // Ends: as above, downwards.
        loop {
            let wanted = i64::from(asked.rows) - i64::try_from(found.len())?;
            let page =
                audit::page_back(&mut *self.db.begin_worker().await?, &until_now, before, wanted).await?;
            found.extend(page.entries);
            before = page.next;
            if before.is_none() || found.len() >= asked.rows as usize {
                break;
            }
        }
        found.reverse();
        say(&found, asked.json, true)?;
        if !asked.follow {
            return self.tell_waiting().await;
        }
        loop {
            tokio::select! {
                ended = tokio::signal::ctrl_c() => return Ok(ended?),
                () = tokio::time::sleep(FOLLOW_PAUSE) => {}
            }
            let mut next = Some(seen);
            while let Some(after) = next {
                let page =
                    audit::page(&mut *self.db.begin_worker().await?, &filter, after, audit::PAGE_MAX_ROWS)
                        .await?;
                say(&page.entries, asked.json, false)?;
                seen = page.entries.last().and_then(|entry| entry.sequence).unwrap_or(seen);
                next = page.next;
            }
        }
    }

    /// As the log's own functions take it.
    pub(super) async fn filter(&self, asked: &AuditFilter) -> Result<Filter, Failure> {
        let tenant = self.tenant_if_named(asked.tenant.as_ref()).await?;
        let (from, since) = parts(asked.from);
        let (to, until) = parts(asked.to);
        Ok(Filter {
            tenant_id: tenant.map(|tenant| tenant.tenant_id),
            user_id: asked.user,
            actor: asked.actor.clone(),
            action: asked.action.clone(),
            target_type: asked.target_type.clone(),
            target_id: asked.target.clone(),
            from,
            to,
            since,
            until,
        })
    }

    /// Entries without numbers are in no list: whoever looks for one is told.
    pub(super) async fn tell_waiting(&self) -> Result<(), Failure> {
        let waiting = audit::waiting(&mut *self.db.begin_worker().await?).await?;
        if waiting > 0 {
            eprintln!(
                "{waiting} more wait for their numbers, which a process with the role `sequencer` gives; `plimsoll admin audit show` finds them by request"
            );
        }
        Ok(())
    }
}

fn parts(bound: Option<Bound>) -> (Option<i64>, Option<time::OffsetDateTime>) {
    match bound {
        Some(Bound::Number(number)) => (Some(number), None),
        Some(Bound::Time(time)) => (None, Some(time)),
        None => (None, None),
    }
}

/// Entries as they come: a table once, or a line each.
fn say(entries: &[Recorded], json: bool, is_first: bool) -> Result<(), Failure> {
    if json {
        let mut lines = String::new();
        for entry in entries {
            lines.push_str(&serde_json::to_string(entry)?);
            lines.push('\n');
        }
        return print(&lines);
    }
    if is_first {
        return list(
            &entries.iter().map(row).collect::<Vec<_>>(),
            COLUMNS,
            "there is no such entry yet",
            false,
        );
    }
    for entry in entries {
        let number = or_dash(entry.sequence);
        let at = when(entry.recorded_at);
        print(&format!(
            "{number}  {at}  {}  {}  {}  {}\n",
            shown(&entry.actor.clone().into()),
            entry.action,
            target(entry),
            entry.request_id
        ))?;
    }
    Ok(())
}

fn row(entry: &Recorded) -> Sheet {
    Sheet::new()
        .with("number", entry.sequence)
        .at("recorded_at", entry.recorded_at)
        .with("actor", &*entry.actor)
        .with("action", &*entry.action)
        .with("target", target(entry))
        .with("request_id", entry.request_id.to_string())
}

fn target(entry: &Recorded) -> String {
    shown(&format!("{} {}", entry.target_type, entry.target_id).into())
}

/// All of an entry.
fn told(entry: &Recorded) -> String {
    let text = |text: &Option<String>| shown(&text.clone().into());
    let id = |id: Option<uuid::Uuid>| or_dash(id);
    let number = entry.sequence.map_or_else(|| "waits for its number".into(), |number| number.to_string());
    let mut out = format!(
        "number       {number}\nrecorded at  {}\nactor        {}\naction       {}\ntarget       {}\ntenant       {}\nuser         {}\nrequest      {}\nreason       {}\ntransaction  {}\nhash         {}\n",
        when(entry.recorded_at),
        shown(&entry.actor.clone().into()),
        shown(&entry.action.clone().into()),
        target(entry),
        id(entry.tenant_id),
        id(entry.user_id),
        entry.request_id,
        text(&entry.reason),
        text(&entry.tx_id),
        text(&entry.hash),
    );
    for (name, state) in [("before", &entry.before), ("after", &entry.after)] {
        match state.as_ref().map(|raw| raw.get()) {
            None => out.push_str(&format!("{name:<11}  -\n")),
            Some(json) => out.push_str(&format!("{name:<11}  {}\n", shown(&Value::String(json.to_owned())))),
        }
    }
    out
}
