//! `plimsoll admin audit export`: the log as a file that can be given away.
//!
//! The file is written beside its place under another name, brought to disk, and renamed: it is there when it is whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use plimsoll_bus::audit::{self, AUDIT_LOG, Filter};
use plimsoll_store::sequencer;
use serde::Serialize;

use super::Admin;
use crate::cli::AuditExport;
use crate::commands::{or_dash, print, print_json};
use crate::failure::Failure;

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Written {
    file: PathBuf,
    entries: u64,
    first: Option<i64>,
    last: Option<i64>,
    /// Of the last entry in the file.
    last_hash: Option<String>,
    /// Where the whole log stood.
    head: i64,
    head_hash: String,
}

/// A file under another name until it is whole; removed if it never is.
struct Partial {
    path: PathBuf,
    is_whole: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_whole
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::error!(file = %self.path.display(), %error, "an unfinished file could not be removed");
        }
    }
}

impl Admin<'_> {
    pub(super) async fn export(&self, asked: &AuditExport) -> Result<(), Failure> {
        let filter = self.filter(&asked.filter).await?;
        if asked.out.try_exists()? {
            return Err(Failure::usage(format!("{} exists already", asked.out.display()))
                .remedy("name another file, or move this one away"));
        }
        let name = asked.out.file_name().ok_or_else(|| {
            Failure::usage(format!("{} names no file", asked.out.display())).remedy("say `--out audit.jsonl`")
        })?;
        let folder =
            asked.out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = folder.join(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
        // For its owner alone: it tells who did what.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| unwritable(&path, &error))?;
        let mut partial = Partial { path, is_whole: false };

        let written = self.write(&filter, file, &asked.out).await?;
        std::fs::rename(&partial.path, &asked.out).map_err(|error| unwritable(&asked.out, &error))?;
        partial.is_whole = true;
        File::open(folder)?.sync_all()?; // the name, too

        if asked.json {
            print_json(&written)?;
        } else {
            print(&format!(
                "wrote {}: {} entries, numbers {} to {}\nhash of the last one in it: {}\nthe log ends at number {} with hash {}\n",
                asked.out.display(),
                written.entries,
                or_dash(written.first),
                or_dash(written.last),
                or_dash(written.last_hash.as_ref()),
                written.head,
                written.head_hash
            ))?;
        }
        self.tell_waiting().await
    }

    /// Page by page, in transactions of their own: numbered entries do not change.
    async fn write(&self, filter: &Filter, file: File, name: &Path) -> Result<Written, Failure> {
        let head = sequencer::head(&mut *self.db.begin_worker().await?, &AUDIT_LOG).await?;
        let filter = Filter {
            to: Some(filter.to.map_or(head.sequence, |to| to.min(head.sequence))),
            ..filter.clone()
        };
        let mut written = Written {
            file: name.to_owned(),
            head: head.sequence,
            head_hash: head.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            ..Written::default()
        };
        let mut out = BufWriter::new(file);
        let mut next = Some(0);
        // Ends: each page goes on beyond the one before, up to the head that was read.
        while let Some(after) = next {
            let page = audit::page(&mut *self.db.begin_worker().await?, &filter, after, audit::PAGE_MAX_ROWS)
                .await?;
            for entry in &page.entries {
                serde_json::to_writer(&mut out, entry)?;
                out.write_all(b"\n").map_err(|error| unwritable(name, &error))?;
                written.entries += 1;
                written.first = written.first.or(entry.sequence);
                written.last = entry.sequence;
            }
            if let Some(entry) = page.entries.last() {
                written.last_hash.clone_from(&entry.hash);
            }
            next = page.next;
        }
        let file = out.into_inner().map_err(|error| unwritable(name, error.error()))?;
        file.sync_all().map_err(|error| unwritable(name, &error))?;
        Ok(written)
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(format!("{} cannot be written: {error}", path.display()));
    match error.kind() {
        ErrorKind::NotFound => {
            failure.remedy("name a file in a directory that exists; a relative path starts where you are")
        }
        _ => failure,
    }
}
