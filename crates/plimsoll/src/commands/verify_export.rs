//! `plimsoll verify export`: an export of the ledger against a signed checkpoint, without a database, a server or a configuration.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use plimsoll_proof::ledger::checkpoint::{Checkpoint, KeyFault, MAX_NOTE_BYTES, NoteKey, origin_tenant};
use plimsoll_proof::ledger::encoding::Encoder;
use plimsoll_proof::ledger::export::MAX_ROW_BYTES;
use plimsoll_proof::ledger::verify::{Examined, Verifier};

use super::print;
use crate::cli::VerifyExport;
use crate::failure::{FAILED, Failure};

pub(crate) fn verify(asked: &VerifyExport) -> Result<(), Failure> {
    let key = key(&asked.key)?;
    let note = short(&asked.checkpoint)?;
    // The log's key is named after it.
    let checkpoint = Checkpoint::verify(&note, &key, key.name()).map_err(|fault| {
        Failure::found(format!("{}: {fault}", asked.checkpoint.display()), FAILED)
            .remedy("take the checkpoint and the key of the same log; if they are, somebody else signed it")
    })?;
    let tenant_id = origin_tenant(&checkpoint.origin)
        .ok_or_else(|| Failure::usage("the checkpoint's origin names no tenant"))?;

    let mut verifier = Verifier::new(tenant_id, &checkpoint);
    let mut encoder = Encoder::new();
    let mut export = BufReader::with_capacity(1 << 20, opened(&asked.file)?);
    for number in 1.. {
        let mut line = String::new();
        let read = export.by_ref().take(MAX_ROW_BYTES as u64 + 2).read_line(&mut line);
        if read.map_err(|error| unreadable(&asked.file, &error))? == 0 {
            break;
        }
        verifier.add(Examined::read(&mut encoder, number, line.trim_end_matches('\n')));
    }
    let report = verifier.finish();
    for found in &report.breaks {
        print(&format!("{found}\n"))?;
    }
    print(&format!(
        "{}, {} postings signed: the export has {} with {} lines on {} accounts\n",
        checkpoint.origin, checkpoint.size, report.postings, report.lines, report.accounts
    ))?;
    if report.is_sound() {
        return print("sound: it is the log that was signed, whole, and its books are right\n");
    }
    Err(Failure::found(format!("the export does not hold: {} breaks", report.break_count), FAILED).remedy(
        "keep the export and the checkpoint as they are; `docs/ledger.md` says what each break means",
    ))
}

/// A public key, as it is written or in a file.
pub(super) fn key(text: &str) -> Result<NoteKey, Failure> {
    let read = || {
        short(Path::new(text)).map_err(|failure| failure.remedy("a key is written as `<name>+<id>+<Base64>`; anything else is taken for a file that holds one"))
    };
    let key = if text.contains('+') { text.to_owned() } else { read()? };
    key.trim().parse().map_err(|fault: KeyFault| Failure::usage(fault.to_string()))
}

fn short(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = opened(path)?.take(MAX_NOTE_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| unreadable(path, &error))?;
    Ok(text)
}

fn opened(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} cannot be read: {error}", path.display()))
}
