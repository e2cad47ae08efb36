//! Whether a process is still there, told by the database.
//!
//! # The promise
//! Every session that a process has with the database holds, shared, one advisory lock of that process's own: those of its pools from before they
//! are handed out, and the one that keeps its leases. So where nobody holds it, none of the process's transactions is left, and it begins none
//! while somebody else has the lock.
//!
//! # Why it holds
//! An advisory lock of a session ends with the session, and not before unless it is given back, which nobody does here. The server ends the session of
//! a client that is dead: at once where it waits for the client, within a second (`client_connection_check_interval`) where it works or waits for a lock, and by the
//! connection's keepalives where the machine is gone. The number is random, and drawn anew with each [`crate::Db`]: nobody inherits it.
//!
//! # What it does not say
//! A process without a session is not a dead one: all of its connections may be lost, and it may open others a moment later. Whoever acts on its
//! absence needs a fence for the case that it comes back: idempotency claims have their token.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::session;

/// How often the server looks whether the client of a session that works is still there, in milliseconds.
pub(crate) const CLIENT_CHECK_MS: u64 = 1_000;

/// A process, as the database can know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Presence(i64);

impl Presence {
    /// One that nobody had before.
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4().as_u64_pair().0.cast_signed())
    }

    /// The advisory lock's number.
    pub(crate) fn lock(self) -> i64 {
        self.0
    }

    /// Has the session say, until it ends, that this process is there.
    pub(crate) async fn announce(self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        session::attend(conn, self.0).await
    }
}
