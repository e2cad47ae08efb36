//! `plimsoll admin users factors`.

use plimsoll_identity::directory::{self, User};
use plimsoll_identity::second_factor::{self, FactorId, FactorInfo, RemovalError};
use plimsoll_identity::tenant::Tenant;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Admin;
use super::change::As;
use super::sheet::{Sheet, list};
use super::users::{self, done, locked};
use crate::cli::{Factors, Final, OfUser};
use crate::failure::Failure;

const COLUMNS: &[&str] = &["factor", "label", "created_at", "last_used_at", "cloned_at"];

impl From<&FactorInfo> for Sheet {
    fn from(factor: &FactorInfo) -> Self {
        Self::new()
            .with("factor", factor.id.to_string())
            .with("label", factor.label.clone())
            .at("created_at", factor.created_at)
            .at("last_used_at", factor.last_used_at)
            .at("cloned_at", factor.cloned_at)
    }
}

impl Admin<'_> {
    pub(super) async fn factors(&self, asked: &Factors) -> Result<(), Failure> {
        match asked {
            Factors::List(OfUser { whose, user, json }) => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
                directory::user(&mut tx, tenant.tenant_id, *user)
                    .await
                    .map_err(|error| users::explained(error, &tenant))?;
                let found = second_factor::list(&mut tx, tenant.tenant_id, *user).await?;
                let sheets: Vec<Sheet> = found.iter().map(Sheet::from).collect();
                list(&sheets, COLUMNS, "the user has no second factor", *json)
            }
            Factors::Remove { whose, user, factor, change } => {
                self.remove_factor(&self.tenant(whose).await?, *user, factor, change).await
            }
        }
    }

    async fn remove_factor(
        &self,
        tenant: &Tenant,
        user_id: Uuid,
        id: &FactorId,
        change: &Final,
    ) -> Result<(), Failure> {
        let tenant_id = tenant.tenant_id;
        self.change(&change.order(), As::Tenant(tenant_id), async |conn| {
            let user = locked(conn, tenant, user_id).await?;
            let before = whole(conn, &user).await?;
            let ended = second_factor::remove(conn, tenant_id, user_id, id)
                .await
                .map_err(|error| explained(error, tenant, user_id))?
                .len();
            let after = whole(conn, &user).await?;
            let (before, after) = match ended {
                0 => (before, after),
                _ => (before.with("sessions_in_force", ended), after.with("sessions_in_force", 0)),
            };
            let name = &user.display_name;
            let order =
                format!("take the second factor {id} from the user {name} ({user_id}) of {}", tenant.name);
            Ok(done("identity.second_factor.remove", &user, order, Some(before), after))
        })
        .await
    }
}

/// The user with what second factors they have.
async fn whole(conn: &mut PgConnection, user: &User) -> Result<Sheet, Failure> {
    let factors = second_factor::list(conn, user.tenant_id, user.user_id).await?;
    let factors: Vec<String> = factors.iter().map(|factor| factor.id.to_string()).collect();
    Ok(Sheet::from(user).with("second_factors", factors))
}

fn explained(error: RemovalError, tenant: &Tenant, user_id: Uuid) -> Failure {
    match error {
        RemovalError::Unknown(_) => Failure::new(&error).remedy(format!(
            "`plimsoll admin users factors list --tenant {} {user_id}` shows those that there are",
            tenant.tenant_id
        )),
        RemovalError::Directory(error) => users::explained(error, tenant),
        RemovalError::Db(error) => error.into(),
        RemovalError::NotGiven | RemovalError::NoSession | RemovalError::Last => Failure::new(&error),
    }
}
