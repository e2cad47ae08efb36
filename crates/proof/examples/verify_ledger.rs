//! Checks an export of a ledger against a signed checkpoint, with nothing else: no database, no server, no configuration.
//!
//!     cargo run --release -p plimsoll-proof --example verify_ledger -- ledger.jsonl checkpoint 'books.example.com/…+d6cfcb3b+Aepk…'
//!
//! It says what does not hold, and ends with 1 if anything does not.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{available_parallelism, scope};

use plimsoll_proof::ledger::checkpoint::{Checkpoint, MAX_NOTE_BYTES, NoteKey, origin_tenant};
use plimsoll_proof::ledger::encoding::Encoder;
use plimsoll_proof::ledger::export::{ExportFault, MAX_ROW_BYTES};
use plimsoll_proof::ledger::verify::{Examined, Report, Verifier};

/// So many lines go to a thread at once.
const BATCH_LINES: usize = 512;
/// So many batches wait for a thread, and as many for the one that puts them in order.
const BATCHES: usize = 4;

type Failure = Box<dyn Error + Send + Sync>;
/// The number of the first line, and the lines.
type Batch = (u64, Vec<String>);
type Answers = Vec<Result<Examined, ExportFault>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [export, checkpoint, key] = arguments.as_slice() else {
        eprintln!("usage: verify_ledger <export> <checkpoint> <public key, or a file with it>");
        return ExitCode::from(2);
    };
    match check(export, checkpoint, key) {
        Ok(report) if report.is_sound() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn check(export: &str, checkpoint: &str, key: &str) -> Result<Report, Failure> {
    let key = if key.contains('+') { key.to_owned() } else { short_file(key)? };
    let key: NoteKey = key.trim_end().parse()?;
    let note = short_file(checkpoint)?;
    // The log's key is named after its origin.
    let checkpoint = Checkpoint::verify(&note, &key, key.name())?;
    let tenant_id = origin_tenant(&checkpoint.origin).ok_or("the checkpoint's origin names no tenant")?;
    println!("{} with {} postings, root {}", checkpoint.origin, checkpoint.size, checkpoint.root);

    let file =
        BufReader::with_capacity(1 << 20, File::open(export).map_err(|error| format!("{export}: {error}"))?);
    let report = verify(file, Verifier::new(tenant_id, &checkpoint))?;
    for found in &report.breaks {
        println!("{found}");
    }
    let unnamed = report.break_count - report.breaks.len() as u64;
    if unnamed > 0 {
        println!("and {unnamed} more");
    }
    let verdict = if report.is_sound() { "sound" } else { "NOT SOUND" };
    println!("{verdict}: {} postings, {} lines, {} accounts", report.postings, report.lines, report.accounts);
    Ok(report)
}

fn short_file(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let limit = MAX_NOTE_BYTES as u64 + 1;
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, limit), &mut text)?;
    Ok(text)
}

/// One thread reads lines, some examine postings, and this one takes them in the order of the file. Nobody waits for ever: batches go round the
/// threads in a fixed order and are taken in the same, and whoever ends closes his channels.
fn verify(file: impl BufRead + Send, mut verifier: Verifier) -> Result<Report, Failure> {
    let threads = available_parallelism().map_or(1, usize::from);
    scope(|scope| {
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_worker, batches) = sync_channel::<Batch>(BATCHES);
            let (answers, from_worker) = sync_channel::<Answers>(BATCHES);
            scope.spawn(move || examine(&batches, &answers));
            to_workers.push(to_worker);
            from_workers.push(from_worker);
        }
        let reader = scope.spawn(move || read(file, &to_workers));
        let mut shown = 0;
        for worker in (0..threads).cycle() {
            let Ok(answers) = from_workers[worker].recv() else { break };
            answers.into_iter().for_each(|row| verifier.add(row));
            if verifier.postings() >= shown + 1_000_000 {
                shown = verifier.postings();
                eprintln!("{shown} postings");
            }
        }
        // A reader that waits for a place in a channel is let go.
        drop(from_workers);
        reader.join().map_err(|_| "the reader panicked")??;
        std::io::stderr().flush()?;
        Ok(verifier.finish())
    })
}

fn examine(batches: &Receiver<Batch>, answers: &SyncSender<Answers>) {
    let mut encoder = Encoder::new();
    for (first, lines) in batches {
        let examined = (first..).zip(&lines).map(|(line, json)| Examined::read(&mut encoder, line, json));
        if answers.send(examined.collect()).is_err() {
            return;
        }
    }
}

fn read(mut file: impl BufRead, workers: &[SyncSender<Batch>]) -> Result<(), Failure> {
    let (mut line, mut worker) = (1, 0);
    loop {
        let mut batch = Vec::with_capacity(BATCH_LINES);
        while batch.len() < BATCH_LINES {
            let mut text = String::new();
            let limit = MAX_ROW_BYTES as u64 + 2;
            let read = std::io::Read::take(&mut file, limit).read_line(&mut text);
            if read.map_err(|error| format!("line {}: {error}", line + batch.len() as u64))? == 0 {
                break;
            }
            text.truncate(text.trim_end_matches('\n').len());
            batch.push(text);
        }
        let lines = batch.len();
        if lines == 0 || workers[worker].send((line, batch)).is_err() {
            return Ok(());
        }
        line += lines as u64;
        worker = (worker + 1) % workers.len();
    }
}
