//! What a tenant chose for itself: its theme, so far.
//!
//! Run these on a transaction of the app role that is confined to the tenant (`Db::tenant_tx`).

use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::repo::settings as repo;

/// The longest theme, as JSON text.
pub const THEME_MAX_BYTES: usize = 16 * 1024;

/// What a tenant chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The tenant's name.
    pub name: String,
    /// Its looks, for front ends; empty until it chose.
    pub theme: Map<String, Value>,
}

/// Why nothing was read or chosen.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No such tenant is seen by this transaction.
    #[error("there is no tenant {0}")]
    NoTenant(Uuid),
    /// The theme cannot be kept.
    #[error("a theme has at most {THEME_MAX_BYTES} bytes as JSON, and no NUL character")]
    Theme,
    /// The database's.
    #[error("the settings could not be read or written: {0}")]
    Db(#[from] sqlx::Error),
}

/// What the tenant chose.
///
/// # Errors
/// [`SettingsError::NoTenant`], or the database's.
pub async fn settings(conn: &mut PgConnection, tenant_id: Uuid) -> Result<Settings, SettingsError> {
    repo::settings(conn, tenant_id).await?.ok_or(SettingsError::NoTenant(tenant_id))
}

/// Chooses another theme, in the place of the former.
///
/// # Errors
/// [`SettingsError::Theme`], or the database's.
pub async fn put_theme(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    theme: &Map<String, Value>,
) -> Result<(), SettingsError> {
    let theme = Value::Object(theme.clone());
    let text = theme.to_string();
    if text.len() > THEME_MAX_BYTES || text.contains("\\u0000") {
        return Err(SettingsError::Theme);
    }
    Ok(repo::put_theme(conn, tenant_id, &theme).await?)
}
