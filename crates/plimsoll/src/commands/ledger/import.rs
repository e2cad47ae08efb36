//! `plimsoll ledger import`: read once to look at it, and once more to book it.

use std::fs::File;
use std::io::BufReader;

use plimsoll_bus::Keys;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_ledger::Intake;
use plimsoll_ledger::import::{Checked, Format, Import, ImportError, Imported};
use serde_json::json;
use uuid::Uuid;

use super::{Of, in_request};
use crate::cli::{ImportFile, LedgerFormat};
use crate::commands::progress::Progress;
use crate::commands::{print, print_json};
use crate::failure::{FAILED, Failure};

impl Of<'_> {
    pub(super) async fn import(&self, asked: &ImportFile) -> Result<(), Failure> {
        let tenant = self.admin().tenant(&asked.whose).await?;
        let how = &asked.change.how;
        let (_, context) = in_request(how, tenant.tenant_id);
        let request_id = context.request_id;
        let import = Import { db: self.db, tenant_id: tenant.tenant_id, context, format: format(asked)? };

        let mut line = Progress::new();
        let checked = import
            .check(open(asked)?, |so_far| line.line(|| format!("{} postings checked", so_far.postings)));
        let checked = checked.await.map_err(|error| Failure::new(error.to_string()))?;
        drop(line);
        if checked.problem_count > 0 || how.dry_run {
            return looked_at(&checked, how.json);
        }
        if checked.fresh() > 0 {
            self.put_on_record(asked, &import, &checked).await?;
        }
        let total = checked.postings;
        let (mut line, mut last) = (Progress::new(), Imported::default());
        let intake = Intake::start(self.db.clone());
        let done = import.book(checked.clone(), open(asked)?, &intake, |so_far| {
            last = so_far;
            line.line(|| {
                format!(
                    "{} of {total} postings: {} posted, {} on record",
                    so_far.posted + so_far.repeated,
                    so_far.posted,
                    so_far.repeated
                )
            });
        });
        let done = done.await.map_err(|error| stopped(&error, last))?;
        drop(line);
        if how.json {
            return print_json(&told(&checked, Some(done), Some(request_id)));
        }
        print(&format!(
            "{} posted, {} on record before, 0 in conflict\nrequest {request_id}\n",
            done.posted, done.repeated
        ))
    }

    /// Who imports what, before any of it is booked: each posting names this request as its cause.
    async fn put_on_record(
        &self,
        asked: &ImportFile,
        import: &Import<'_>,
        checked: &Checked,
    ) -> Result<(), Failure> {
        let file = asked.file.file_name().map(|name| name.to_string_lossy().into_owned());
        let after = json!({ "file": file, "postings": checked.postings, "to_be_posted": checked.fresh() });
        let entry = Entry::new("ledger.import", "file", &*checked.sha256)
            .with_change(None, Some(after))
            .demanding(Keys::Tenant)
            .in_context(import.context.clone());
        let entry = match &asked.change.reason {
            Some(reason) => entry.with_reason(reason),
            None => entry,
        };
        let mut tx = self.db.tenant_tx(&[import.tenant_id]).await?;
        audit::record(&mut tx, entry).await?;
        tx.commit().await?;
        Ok(())
    }
}

fn format(asked: &ImportFile) -> Result<Format, Failure> {
    let ends = asked.file.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
    match (asked.format, ends.as_deref()) {
        (Some(LedgerFormat::Jsonl), _) | (None, Some("jsonl" | "ndjson" | "json")) => Ok(Format::JsonLines),
        (Some(LedgerFormat::Csv), _) | (None, Some("csv")) => Ok(Format::Csv),
        (None, _) => {
            Err(Failure::usage(format!("{}: its name does not tell how it is written", asked.file.display()))
                .remedy("say `--format csv` or `--format jsonl`"))
        }
    }
}

fn open(asked: &ImportFile) -> Result<BufReader<File>, Failure> {
    let file = File::open(&asked.file);
    let file = file.map_err(|error| {
        Failure::usage(format!("{}: {error}", asked.file.display()))
            .remedy("name a file that can be read, and read twice")
    })?;
    Ok(BufReader::new(file))
}

fn told(checked: &Checked, done: Option<Imported>, request_id: Option<Uuid>) -> serde_json::Value {
    json!({ "file": checked, "imported": done, "dry_run": done.is_none(), "request_id": request_id })
}

/// What the file comes to, where nothing is booked.
fn looked_at(checked: &Checked, json: bool) -> Result<(), Failure> {
    if json {
        print_json(&told(checked, None, None))?;
    } else {
        let problems = checked.problems.iter().map(|problem| format!("{problem}\n"));
        print(&problems.collect::<String>())?;
    }
    if checked.problem_count > 0 {
        let wrong = ImportError::Unsound(checked.problem_count).to_string();
        let listed = match checked.problems.len() {
            all if all as u64 == checked.problem_count => String::new(),
            first => format!(" (the first {first})"),
        };
        return Err(Failure::found(wrong, FAILED)
            .remedy(format!("correct what is listed{listed}, and import the file again")));
    }
    if json {
        return Ok(());
    }
    let late = match checked.late {
        0 => String::new(),
        late => format!("{late} happened in a closed period, and would count in the open one\n"),
    };
    print(&format!(
        "{} postings with {} lines: would post {}, {} are on record\n{late}nothing was changed (dry run)\n",
        checked.postings,
        checked.lines,
        checked.fresh(),
        checked.repeated
    ))
}

fn stopped(error: &ImportError, last: Imported) -> Failure {
    let failure =
        Failure::new(format!("{error}; {} postings before it are booked, and stay so", last.posted));
    match error {
        ImportError::Stopped(_) => {
            failure.remedy("correct it, and import the file again: what is on record is not booked twice")
        }
        _ => failure.remedy("import the file again: what is on record is not booked twice"),
    }
}
