//! All SQL of this crate. Each file takes the caller's transaction and decides nothing but what must be decided in one statement:
//! "once" is an UPDATE whose condition says "not yet", and whoever gets the row back was first.

pub(crate) mod api_keys;
pub(crate) mod approvals;
pub(crate) mod bootstrap;
pub(crate) mod directory;
pub(crate) mod external;
pub(crate) mod listing;
pub(crate) mod nonces;
pub(crate) mod oidc;
pub(crate) mod roles;
pub(crate) mod sessions;
pub(crate) mod settings;
pub(crate) mod tenants;
pub(crate) mod totp;
pub(crate) mod webauthn;

use std::time::Duration;

use sqlx::postgres::PgQueryResult;
use sqlx::postgres::types::PgInterval;

/// To the microsecond, which is all that an interval holds. Our limits keep every term far below its range.
pub(crate) fn interval(term: Duration) -> Result<PgInterval, sqlx::Error> {
    let whole = Duration::new(term.as_secs(), term.subsec_micros() * 1_000);
    PgInterval::try_from(whole).map_err(sqlx::Error::Encode)
}

/// A stored hash; the table's CHECK says that it has 32 bytes.
pub(crate) fn hash(stored: &[u8]) -> Result<[u8; 32], sqlx::Error> {
    stored.try_into().map_err(|_| sqlx::Error::Decode(format!("a hash of {} bytes", stored.len()).into()))
}

/// Whether the one row that a statement is about was there to be changed.
#[expect(clippy::needless_pass_by_value, reason = "what `map` gives")]
pub(crate) fn changed_one(done: PgQueryResult) -> bool {
    done.rows_affected() == 1
}
