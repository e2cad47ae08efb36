//! Databases for tests: one private cluster a process, one fresh database a test. And a way to cut off what uses them.
//!
//! The cluster lives on a thread and a runtime of its own, as each test's runtime ends with the test. A small shell holds the other end of
//! a pipe: when the test process ends, however it ends, it stops the server and removes the directory.

use std::future::poll_fn;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::task::Poll;

use sqlx::{ConnectOptions, Connection};

use crate::cluster::{Cluster, connect_options};
use crate::db::Db;
use crate::repo::roles as repo;
use crate::roles::{RolePasswords, prepare_roles};
use crate::urls::DatabaseUrls;

const TEMPLATE: &str = "plimsoll_template";
/// Waits for the end of its input, which is the end of the process that started it.
const CARETAKER: &str = r#"
    read -r _
    kill -QUIT "$(head -n 1 "$0/postgres/postmaster.pid")" 2>/dev/null
    tries=0
    while [ -e "$0/postgres/postmaster.pid" ] && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    rm -rf "$0"
"#;

static SHARED: OnceLock<Shared> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

struct Shared {
    cluster: Cluster,
    /// Its input stays open for as long as this process lives.
    _caretaker: Child,
}

/// A fresh database with all migrations applied.
///
/// # Panics
/// When there is no Postgres to run: a test cannot go on then.
pub async fn database() -> DatabaseUrls {
    create(&format!("CREATE DATABASE {} TEMPLATE {TEMPLATE}", next_name())).await
}

/// A fresh database without a schema, on a server that has the roles.
///
/// # Panics
/// As [`database`].
pub async fn empty_database() -> DatabaseUrls {
    create(&format!("CREATE DATABASE {}", next_name())).await
}

/// Pools on a fresh database with all migrations applied.
///
/// # Panics
/// As [`database`].
pub async fn db() -> Db {
    Db::connect(&database().await).await.expect("a database made by these migrations passes its own checks")
}

/// How [`drop_after`] polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// When there is news.
    WhenWoken,
    /// Whether or not there is news, so that tasks which it waits for are cut off in their midst too.
    Restless,
}

/// Polls so many times, unless it is ready before, and drops it.
pub async fn drop_after<F: Future>(polls: usize, polling: Polling, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                if polling == Polling::Restless {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    })
    .await
}

fn next_name() -> String {
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn create(statement: &str) -> DatabaseUrls {
    let cluster = &shared().cluster;
    let socket_dir = cluster.socket_dir();
    let connected = connect_options(&socket_dir, "postgres").connect().await;
    let mut conn =
        connected.unwrap_or_else(|error| panic!("the test cluster: {error}\n{}", cluster.log_tail()));
    repo::execute(&mut conn, statement).await.expect("a test database can be created");
    conn.close().await.expect("a connection can be closed");
    let name = statement.split(' ').nth(2).expect("the statement names the database");
    DatabaseUrls::from_options(&connect_options(&socket_dir, name), None, None)
}

fn shared() -> &'static Shared {
    SHARED.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                sender.send(start().await).expect("the starter waits");
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("the test cluster's thread lives")
    })
}

async fn start() -> Shared {
    let dir = std::env::temp_dir().join(format!("plimsoll-test-{}", std::process::id()));
    let caretaker = caretaker(&dir);
    let cluster = Cluster::start(&dir).await.unwrap_or_else(|error| panic!("{error}"));
    let options = connect_options(&cluster.socket_dir(), "postgres");
    let mut conn = options.connect().await.expect("the test cluster runs");
    repo::execute(&mut conn, &format!("CREATE DATABASE {TEMPLATE}"))
        .await
        .expect("the template can be created");
    conn.close().await.expect("a connection can be closed");
    let template = DatabaseUrls::from_options(&options.database(TEMPLATE), None, None);
    prepare_roles(&template.owner, &RolePasswords::default()).await.unwrap_or_else(|error| panic!("{error}"));
    crate::migrate::migrate(&template).await.unwrap_or_else(|error| panic!("{error}"));
    Shared { cluster, _caretaker: caretaker }
}

fn caretaker(dir: &Path) -> Child {
    Command::new("/bin/sh")
        .arg("-c")
        .arg(CARETAKER)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("there is a shell")
}
