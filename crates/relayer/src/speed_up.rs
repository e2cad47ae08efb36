//! Asking for a better offer for what is under way, whatever the market says.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::speed_up as repo;

/// Asks for it in a transaction that is confined to the tenant; whether there was anything to ask for: it is under way and in no block, nobody asks for its end, and nobody asks for this
/// already. Whoever works the signer offers more at its next look, a tenth at least, as far as the limits allow; where they do not, as soon as they do.
///
/// # Errors
/// The database's.
pub async fn speed_up_in(
    conn: &mut PgConnection,
    id: Uuid,
    actor: &str,
    why: &str,
) -> Result<bool, sqlx::Error> {
    repo::wish(conn, id, actor, why).await
}
