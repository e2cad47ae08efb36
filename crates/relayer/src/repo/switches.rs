//! Kill switches, written by an operator: by the app's role for the tenant that it is confined to, by the worker's for anybody.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{address, to_u64};
use crate::request::SignerId;
use crate::switches::{Scope, Switch, columns};

struct Row {
    id: i64,
    tenant_id: Option<Uuid>,
    chain_id: Option<i64>,
    signer: Option<String>,
    thrown_by: String,
    reason: String,
    thrown_at: OffsetDateTime,
}

impl Row {
    fn read(self) -> Result<Switch, sqlx::Error> {
        let signer = match (self.chain_id, self.signer) {
            (Some(chain_id), Some(signer)) => {
                Some(SignerId { chain_id: to_u64(chain_id)?, address: address(&signer)? })
            }
            _ => None,
        };
        Ok(Switch {
            id: self.id,
            scope: Scope { tenant_id: self.tenant_id, signer },
            thrown_by: self.thrown_by,
            reason: self.reason,
            thrown_at: self.thrown_at,
        })
    }
}

/// Throws it; none: it is thrown already.
pub(crate) async fn throw(
    conn: &mut PgConnection,
    scope: Scope,
    by: &str,
    reason: &str,
) -> Result<Option<Switch>, sqlx::Error> {
    let (chain_id, signer) = columns(scope.signer);
    let row = sqlx::query_as!(
        Row,
        "INSERT INTO kill_switches (tenant_id, chain_id, signer, thrown_by, reason) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, chain_id, signer) DO NOTHING RETURNING id, tenant_id, chain_id, signer, thrown_by, reason, thrown_at",
        scope.tenant_id,
        chain_id,
        signer,
        by,
        reason,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::read).transpose()
}

pub(crate) async fn find(conn: &mut PgConnection, scope: Scope) -> Result<Option<Switch>, sqlx::Error> {
    let (chain_id, signer) = columns(scope.signer);
    let row = sqlx::query_as!(
        Row,
        "SELECT id, tenant_id, chain_id, signer, thrown_by, reason, thrown_at FROM kill_switches
         WHERE tenant_id IS NOT DISTINCT FROM $1 AND chain_id IS NOT DISTINCT FROM $2 AND signer IS NOT DISTINCT FROM $3",
        scope.tenant_id,
        chain_id,
        signer,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::read).transpose()
}

/// Releases it; none: it is not thrown.
pub(crate) async fn release(conn: &mut PgConnection, scope: Scope) -> Result<Option<Switch>, sqlx::Error> {
    let (chain_id, signer) = columns(scope.signer);
    let row = sqlx::query_as!(
        Row,
        "DELETE FROM kill_switches
         WHERE tenant_id IS NOT DISTINCT FROM $1 AND chain_id IS NOT DISTINCT FROM $2 AND signer IS NOT DISTINCT FROM $3
         RETURNING id, tenant_id, chain_id, signer, thrown_by, reason, thrown_at",
        scope.tenant_id,
        chain_id,
        signer,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::read).transpose()
}

pub(crate) async fn thrown(conn: &mut PgConnection) -> Result<Vec<Switch>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, tenant_id, chain_id, signer, thrown_by, reason, thrown_at FROM kill_switches ORDER BY thrown_at, id"
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::read).collect()
}
