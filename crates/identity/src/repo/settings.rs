//! What tenants chose for themselves.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::settings::Settings;

pub(crate) async fn settings(
    conn: &mut PgConnection,
    tenant_id: Uuid,
) -> Result<Option<Settings>, sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT t.name, s.theme AS "theme?" FROM tenants t LEFT JOIN tenant_settings s USING (tenant_id) WHERE t.tenant_id = $1"#,
        tenant_id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Settings {
        name: row.name,
        theme: match row.theme {
            Some(Value::Object(theme)) => theme,
            _ => serde_json::Map::new(),
        },
    }))
}

/// The row is locked by the write: of two the second's theme stays.
pub(crate) async fn put_theme(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    theme: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO tenant_settings (tenant_id, theme) VALUES ($1, $2)
         ON CONFLICT (tenant_id) DO UPDATE SET theme = EXCLUDED.theme, updated_at = now()",
        tenant_id,
        theme,
    )
    .execute(conn)
    .await
    .map(drop)
}
