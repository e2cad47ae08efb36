//! Plimsoll's binary: the configuration, the command line, and the supervisor of the roles.
//!
//! It promises three things. Nothing starts on a configuration with a problem in it, and all problems are said at once.
//! Every failure ends as *what, where, remedy* on standard error and as a non-zero exit code. And a signal ends the
//! process within five seconds, whatever its roles are doing: everything that they had not committed never happened, and
//! everything that they had is found again by the next process, because cursors and effects are committed together.
//!
//! The capabilities know nothing of each other; what joins them is here: [`wiring`] makes each from the configuration,
//! [`roles`] says what their errors mean, and the [`supervisor`] keeps them running.

mod cli;
mod commands;
mod config;
mod database;
mod failure;
mod first_key;
mod keys;
mod logging;
mod repo;
mod retrying;
mod roles;
mod sending;
mod supervisor;
mod telemetry;
mod wallet;
mod watermark;
mod wiring;

use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::cli::{Chain, Cli, Command, Config as ConfigCommand, Fence, Fold, Replay, Signers, Verify};
use crate::commands::configured;
use crate::config::{Environment, Loaded, LogFormat, Logging};
use crate::database::{Database, Purpose};
use crate::failure::Failure;

/// What a request allocates in one thread is freed in another: the C library's allocator takes a tenth of its time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "./plimsoll.toml";
/// Blocking work that is still under way at the end gets this long.
const RUNTIME_END_LIMIT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let Cli { command, config } = Cli::parse();
    match dispatch(command, config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(command: Command, file: Option<&Path>) -> Result<(), Failure> {
    let load = || load(file);
    match command {
        Command::Completions { shell } => commands::completions::completions(shell),
        Command::Openapi => commands::openapi::openapi(),
        Command::Config(ConfigCommand::Example) => commands::print(config::EXAMPLE),
        Command::Config(ConfigCommand::Show) => commands::check::show(&load()),
        Command::Config(ConfigCommand::Check { online }) => {
            log_quietly()?;
            let mut loaded = load();
            block_on(commands::check::check(&mut loaded, online))
        }
        Command::Run(asked) => {
            let loaded = load();
            let config = configured(&loaded)?;
            let (spans, sender) = telemetry::open(&config.telemetry)?.unzip();
            logging::install(&config.logging, spans)?;
            block_on(commands::run::run(&loaded, config, &asked.roles, sender))
        }
        Command::Signers(Signers::New(asked)) => commands::signers::new(&asked),
        Command::Signers(Signers::Check) => {
            log_quietly()?;
            let loaded = load();
            block_on(commands::signers::check(&loaded, configured(&loaded)?))
        }
        Command::Signers(asked) => visit(&load(), async |loaded, config, db| {
            commands::signers::ask(loaded, config, db, &asked).await
        }),
        Command::Tx(asked) => {
            visit(&load(), async |_, config, db| commands::tx::ask(config, db, &asked).await)
        }
        Command::Relayer(asked) => visit(&load(), async |loaded, config, db| {
            commands::relayer::ask(loaded, config, db, &asked).await
        }),
        Command::Migrate => {
            log_quietly()?;
            let loaded = load();
            block_on(commands::migrate::migrate(&loaded, configured(&loaded)?))
        }
        Command::Backup { file } => {
            log_quietly()?;
            let loaded = load();
            block_on(commands::backup::backup(configured(&loaded)?, &file))
        }
        Command::Restore { file, data_dir } => {
            log_quietly()?;
            block_on(commands::backup::restore(&file, &data_dir))
        }
        Command::Fence(Fence::Status) => commands::fence::status(configured(&load())?),
        Command::Fence(Fence::Lift(decision)) => commands::fence::lift(configured(&load())?, &decision),
        Command::Verify(Verify::Views(asked)) => visit(&load(), async |loaded, config, db| {
            commands::verify::views(loaded, config, db, &asked).await
        }),
        Command::Verify(Verify::Balances(asked)) => visit(&load(), async |loaded, config, db| {
            commands::balances::balances(loaded, config, db, &asked).await
        }),
        Command::Verify(Verify::Completeness(asked)) => visit(&load(), async |loaded, config, db| {
            commands::verify::completeness(loaded, config, db, &asked).await
        }),
        Command::Verify(Verify::Audit(asked)) => {
            visit(&load(), async |_, _, db| commands::verify::audit(db, &asked).await)
        }
        Command::Verify(Verify::Ledger(asked)) => visit(&load(), async |_, config, db| {
            commands::verify_ledger::verify_ledger(config, db, &asked).await
        }),
        Command::Verify(Verify::Export(asked)) => commands::verify_export::verify(&asked),
        Command::Ledger(asked) => {
            visit(&load(), async |_, config, db| commands::ledger::ask(config, db, &asked).await)
        }
        Command::Replay(Replay::Books(asked)) => {
            visit(&load(), async |_, config, db| commands::replay_books::books(config, db, &asked).await)
        }
        Command::Replay(Replay::Views(asked)) => {
            visit(&load(), async |_, config, db| commands::replay::views(config, db, &asked).await)
        }
        Command::Backfill(asked) => visit(&load(), async |loaded, config, db| {
            commands::backfill::backfill(loaded, config, db, &asked).await
        }),
        Command::Probe(asked) if asked.block.is_in_journal() => visit(&load(), async |loaded, config, db| {
            commands::probe::probe(loaded, config, Some(db), &asked).await
        }),
        Command::Probe(asked) => {
            log_quietly()?;
            let loaded = load();
            block_on(commands::probe::probe(&loaded, configured(&loaded)?, None, &asked))
        }
        Command::Fold(asked) => visit(&load(), async |_, _, db| match &asked {
            Fold::Status { chain, json } => commands::fold::status(db, *chain, *json).await,
            Fold::Skip(skip) => commands::fold::skip(db, skip).await,
            Fold::Retry(retry) => commands::fold::retry(db, retry).await,
        }),
        Command::Admin(asked) => open(&load(), commands::admin::purpose(&asked), async |_, config, db| {
            commands::admin::Admin { db, config }.run(&asked).await
        }),
        Command::Chain(asked) => visit(&load(), async |_, config, db| match &asked {
            Chain::Status { chain, json } => commands::chain::status(db, *chain, *json).await,
            Chain::Resume { chain, decision } => commands::chain::resume(db, *chain, decision).await,
            Chain::Watch { chain, sender, since, change } => {
                commands::chain::watch(config, db, (*chain, sender, *since), change).await
            }
        }),
    }
}

fn load(file: Option<&Path>) -> Loaded {
    let environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect();
    config::load(file.unwrap_or(Path::new(DEFAULT_FILE)), file.is_some(), &environment)
}

/// Opens the database for one command, beside a process that serves it or alone, and closes it again.
fn visit(
    loaded: &Loaded,
    command: impl AsyncFnOnce(&Loaded, &config::Config, &plimsoll_store::Db) -> Result<(), Failure>,
) -> Result<(), Failure> {
    open(loaded, Purpose::Visit, command)
}

fn open(
    loaded: &Loaded,
    purpose: Purpose,
    command: impl AsyncFnOnce(&Loaded, &config::Config, &plimsoll_store::Db) -> Result<(), Failure>,
) -> Result<(), Failure> {
    log_quietly()?;
    let config = configured(loaded)?;
    block_on(async {
        let database = Database::open(loaded, config, purpose).await?;
        let outcome = command(loaded, config, &database.db).await;
        let closed = database.close().await;
        outcome.and(closed)
    })
}

/// A command that prints its result logs only what went wrong.
fn log_quietly() -> Result<(), Failure> {
    logging::install(&Logging { format: LogFormat::Text, level: "error".into() }, None)
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(RUNTIME_END_LIMIT);
    outcome
}
