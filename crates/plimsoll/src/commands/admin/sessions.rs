//! `plimsoll admin sessions`.

use plimsoll_identity::listing::{self, SessionInfo};
use plimsoll_identity::session::{self, RevokeReason};
use plimsoll_identity::tenant::Tenant;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Admin;
use super::change::{As, Done, Order};
use super::sheet::{Sheet, list};
use super::users;
use crate::cli::Sessions;
use crate::failure::Failure;

const COLUMNS: &[&str] =
    &["session_id", "state", "user_id", "method", "created_at", "expires_at", "second_factor_at"];

impl From<&SessionInfo> for Sheet {
    fn from(session: &SessionInfo) -> Self {
        let state = match session.revoked_at {
            Some(_) => "revoked",
            None if session.expires_at <= OffsetDateTime::now_utc() => "expired",
            None => "in force",
        };
        Self::new()
            .with("session_id", session.session_id.to_string())
            .with("state", state)
            .with("user_id", session.user_id.to_string())
            .with("method", &*session.method)
            .at("created_at", session.created_at)
            .at("expires_at", session.expires_at)
            .at("second_factor_at", session.second_factor_at)
            .at("revoked_at", session.revoked_at)
            .with("revoke_reason", session.revoke_reason.clone())
    }
}

impl Admin<'_> {
    pub(super) async fn sessions(&self, asked: &Sessions) -> Result<(), Failure> {
        match asked {
            Sessions::List { whose, user, all, part, json } => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.begin_worker().await?;
                let found =
                    listing::sessions(&mut tx, tenant.tenant_id, *user, *all, part.after, part.limit).await?;
                let sheets: Vec<Sheet> = found.iter().map(Sheet::from).collect();
                list(&sheets, COLUMNS, "there is no such session", *json)
            }
            Sessions::Revoke(asked) => {
                let tenant = self.tenant(&asked.whose).await?;
                let order = asked.change.order();
                match (asked.which.session, asked.which.user) {
                    (Some(session_id), _) => self.revoke_session(&tenant, session_id, &order).await,
                    (None, Some(user_id)) => self.revoke_sessions_of(&tenant, user_id, &order).await,
                    (None, None) => Err(Failure::usage("name a session, or a user with `--user`")),
                }
            }
        }
    }

    async fn revoke_session(
        &self,
        tenant: &Tenant,
        session_id: Uuid,
        order: &Order<'_>,
    ) -> Result<(), Failure> {
        self.change(order, As::Worker(Some(tenant.tenant_id)), async |conn| {
            let found = listing::lock_session(conn, tenant.tenant_id, session_id).await?;
            let before = found.ok_or_else(|| no_session(tenant, session_id))?;
            session::revoke(conn, tenant.tenant_id, session_id, RevokeReason::Administrator).await?;
            let after = listing::lock_session(conn, tenant.tenant_id, session_id).await?;
            Ok(Done {
                action: "identity.session.revoke",
                target_type: "session",
                target_id: session_id.to_string(),
                order: format!(
                    "end the session {session_id} of the user {} of {}",
                    before.user_id, tenant.name
                ),
                confirmation: session_id.to_string(),
                before: Some(Sheet::from(&before)),
                after: after.as_ref().map(Sheet::from),
                secret: None,
                note: None,
            })
        })
        .await
    }

    async fn revoke_sessions_of(
        &self,
        tenant: &Tenant,
        user_id: Uuid,
        order: &Order<'_>,
    ) -> Result<(), Failure> {
        self.change(order, As::Worker(Some(tenant.tenant_id)), async |conn| {
            let user = listing::lock_user(conn, tenant.tenant_id, user_id)
                .await
                .map_err(|error| users::explained(error, tenant))?;
            let ended = session::revoke_all(conn, tenant.tenant_id, user_id, RevokeReason::Administrator)
                .await?
                .len();
            let sheet = |count: usize| Sheet::from(&user).with("sessions_in_force", count);
            Ok(Done {
                action: "identity.session.revoke_all",
                target_type: "user",
                target_id: user_id.to_string(),
                order: format!(
                    "end all sessions of the user {} ({user_id}) of {}",
                    user.display_name, tenant.name
                ),
                confirmation: user.display_name.clone(),
                before: Some(sheet(ended)),
                after: Some(sheet(0)),
                secret: None,
                note: None,
            })
        })
        .await
    }
}

fn no_session(tenant: &Tenant, session_id: Uuid) -> Failure {
    Failure::new(format!("the tenant {} has no session {session_id}", tenant.name))
        .remedy(format!("`plimsoll admin sessions list --tenant {} --all` shows them", tenant.tenant_id))
}
