//! `plimsoll run`: everything checked, then everything started, then everything ended in time.

use std::time::Duration;

use plimsoll_api::{Listeners, Roles};
use plimsoll_store::Leases;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::when;
use crate::cli::Role;
use crate::config::{Config, Loaded};
use crate::database::{Database, Purpose, named};
use crate::failure::Failure;
use crate::keys::keep_out_of_dumps;
use crate::roles::{self, Shared};
use crate::supervisor::{ROLES_LIMIT, SHUTDOWN_LIMIT, Supervisor};
use crate::telemetry::{Sender, Sending};
use crate::wiring::{self, Addresses, unavailable};

/// How a shell reports a process that a signal ended: 128 and the signal's number.
const SIGINT_CODE: i32 = 130;
const SIGTERM_CODE: i32 = 143;
/// How long the last spans may take to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one: its name, and the code for an end at once.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.interrupt.recv() => ("SIGINT", SIGINT_CODE),
            _ = self.terminate.recv() => ("SIGTERM", SIGTERM_CODE),
        }
    }
}

/// Runs until a signal (then `Ok`) or until a role fails for good.
pub(crate) async fn run(
    loaded: &Loaded,
    config: &Config,
    roles: &[Role],
    spans: Option<Sender>,
) -> Result<(), Failure> {
    if !config.signers.is_empty() {
        keep_out_of_dumps()?;
    }
    let mut signals = Signals::listen()?;
    let spans = spans.map(|sender| sender.start(&holder()));
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    let started = tokio::select! {
        started = start(loaded, config, roles) => started?,
        (name, _) = signals.next() => {
            tracing::info!(signal = name, "told to end while starting");
            return Ok(());
        }
    };
    let Started { database, mut supervisor, leases } = started;
    let outcome = tokio::select! {
        outcome = supervisor.watch() => outcome,
        (name, _) = signals.next() => {
            tracing::info!(signal = name, limit_ms = SHUTDOWN_LIMIT.as_millis(), "ending; a second signal ends at once");
            Ok(())
        }
    };
    if let Err(failure) = &outcome {
        tracing::error!(error = failure.what(), "a role failed for good: the process ends");
    }
    tokio::spawn(async move {
        let (name, code) = signals.next().await;
        tracing::warn!(signal = name, "a second signal: ending at once");
        std::process::exit(code);
    });
    end(database, &mut supervisor, leases, spans)
        .await
        .map_or_else(|late| outcome.clone().and(Err(late)), |()| outcome.clone())
}

struct Started {
    database: Database,
    supervisor: Supervisor,
    leases: Leases,
}

async fn start(loaded: &Loaded, config: &Config, roles: &[Role]) -> Result<Started, Failure> {
    let prometheus = plimsoll_api::metrics::install()?;
    // First of all, since a port in use is found out before anything is touched.
    let listeners = match roles.contains(&Role::Api) {
        true => {
            let addresses = Addresses::of(loaded, config)?;
            let taken = addresses.take().await.map_err(|error| unavailable(error, loaded, config))?;
            Some((addresses, taken))
        }
        false => None,
    };
    let database = Database::open(loaded, config, Purpose::Serve).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        database = %named(&config.database.source),
        chains = config.chains.len(),
        roles = roles.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(","),
        "starts"
    );
    if let Some(Some(fence)) = database.cluster().map(plimsoll_store::Cluster::fence).transpose()? {
        tracing::warn!(since = %when(fence.since), reason = fence.reason, "this database was restored and is fenced: `plimsoll fence status`");
    }
    match start_roles(loaded, config, roles, &database, prometheus, listeners).await {
        Ok((supervisor, leases)) => Ok(Started { database, supervisor, leases }),
        Err(failure) => {
            database.close().await?;
            Err(failure)
        }
    }
}

async fn start_roles(
    loaded: &Loaded,
    config: &Config,
    roles: &[Role],
    database: &Database,
    prometheus: metrics_exporter_prometheus::PrometheusHandle,
    listeners: Option<(Addresses, Listeners)>,
) -> Result<(Supervisor, Leases), Failure> {
    wiring::put_tenants(&database.db, config).await?;
    let holder = holder();
    let leases = Leases::connect(&database.db, &holder, config.lease_term).await?;
    let board = Roles::of(&holder);
    let mut supervisor = Supervisor::new(board.clone(), CancellationToken::new());
    let shared = Shared {
        loaded,
        config,
        db: database.db.clone(),
        leases: leases.clone(),
        holder,
        board,
        prometheus,
        listeners,
    };
    roles::start(shared, roles, &mut supervisor)?;
    Ok((supervisor, leases))
}

/// Who holds this process's leases, for people: the machine and the process.
fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", host.trim(), std::process::id())
}

/// Ends the roles, then the sessions, then the private server, within [`SHUTDOWN_LIMIT`]; the last spans go out beside that.
async fn end(
    database: Database,
    supervisor: &mut Supervisor,
    leases: Leases,
    spans: Option<Sending>,
) -> Result<(), Failure> {
    let began = Instant::now();
    let outcome = supervisor.end(began + ROLES_LIMIT).await;
    drop(leases);
    let flush = async {
        if let Some(spans) = spans {
            spans.flush(Instant::now() + FLUSH_LIMIT).await;
        }
    };
    let close =
        tokio::time::timeout_at(began + SHUTDOWN_LIMIT - Duration::from_millis(200), database.close());
    match tokio::join!(close, flush).0 {
        Ok(closed) => closed?,
        Err(_) => tracing::warn!("the private Postgres still writes out what it has; it ends by itself"),
    }
    tracing::info!(took_ms = began.elapsed().as_millis(), "ended");
    outcome
}
