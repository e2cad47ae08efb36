//! `plimsoll admin users identities`.

use plimsoll_identity::directory::{self, User};
use plimsoll_identity::external::{self, ExternalError, ExternalIdentity};
use plimsoll_identity::tenant::Tenant;
use sqlx::PgConnection;

use super::Admin;
use super::change::{As, Done};
use super::sheet::{Sheet, list};
use super::users::{self, done, locked};
use crate::cli::{Identities, OfUser, Subject};
use crate::failure::Failure;

const COLUMNS: &[&str] = &["issuer", "subject", "linked_at"];

impl From<&ExternalIdentity> for Sheet {
    fn from(known: &ExternalIdentity) -> Self {
        Self::new()
            .with("issuer", &*known.issuer)
            .with("subject", &*known.subject)
            .at("linked_at", known.linked_at)
    }
}

impl Admin<'_> {
    pub(super) async fn identities(&self, asked: &Identities) -> Result<(), Failure> {
        match asked {
            Identities::List(OfUser { whose, user, json }) => {
                let tenant = self.tenant(whose).await?;
                let mut tx = self.db.tenant_tx(&[tenant.tenant_id]).await?;
                directory::user(&mut tx, tenant.tenant_id, *user)
                    .await
                    .map_err(|error| users::explained(error, &tenant))?;
                let found = external::list(&mut tx, tenant.tenant_id, *user)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
                let sheets: Vec<Sheet> = found.iter().map(Sheet::from).collect();
                list(&sheets, COLUMNS, "the user is known at no provider", *json)
            }
            Identities::Link(asked) => self.change_identity(asked, true).await,
            Identities::Unlink(asked) => self.change_identity(asked, false).await,
        }
    }

    async fn change_identity(&self, asked: &Subject, is_link: bool) -> Result<(), Failure> {
        let Subject { whose, user: user_id, issuer, subject, change } = asked;
        let tenant = self.tenant(whose).await?;
        let tenant_id = tenant.tenant_id;
        let mut providers = self.config.identity.providers.iter();
        let is_configured =
            providers.any(|provider| provider.tenant_id == tenant_id && provider.issuer == *issuer);
        let note = (is_link && !is_configured).then(|| {
            format!("no provider of {} has this issuer in the configuration: nobody signs in with it until one has", tenant.name)
        });
        self.change(&change.order(), As::Tenant(tenant_id), async |conn| {
            let user = locked(conn, &tenant, *user_id).await?;
            let before = whole(conn, &tenant, &user).await?;
            let (name, of) = (&user.display_name, &tenant.name);
            let (action, order) = if is_link {
                external::link(conn, tenant_id, *user_id, issuer, subject)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
                let order = format!("let {subject:?} of {issuer} sign in as the user {name} of {of}");
                ("identity.external.link", order)
            } else {
                let had = external::unlink(conn, tenant_id, *user_id, issuer, subject)
                    .await
                    .map_err(|error| explained(error, &tenant))?;
                if !had {
                    return Err(Failure::new(format!("the user is not {subject:?} of {issuer}")).remedy(
                        format!("`plimsoll admin users identities list --tenant {tenant_id} {user_id}` shows who they are"),
                    ));
                }
                let order = format!("let {subject:?} of {issuer} sign in as the user {name} of {of} no more");
                ("identity.external.unlink", order)
            };
            let after = whole(conn, &tenant, &user).await?;
            Ok(Done { note: note.clone(), ..done(action, &user, order, Some(before), after) })
        })
        .await
    }
}

/// The user with all that they are elsewhere.
async fn whole(conn: &mut PgConnection, tenant: &Tenant, user: &User) -> Result<Sheet, Failure> {
    let known =
        external::list(conn, user.tenant_id, user.user_id).await.map_err(|error| explained(error, tenant))?;
    let known: Vec<String> =
        known.iter().map(|known| format!("{} {}", known.issuer, known.subject)).collect();
    Ok(Sheet::from(user).with("identities", known))
}

fn explained(error: ExternalError, tenant: &Tenant) -> Failure {
    match error {
        ExternalError::Directory(error) => users::explained(error, tenant),
        ExternalError::Db(error) => error.into(),
        ExternalError::Taken { .. } => Failure::new(&error).remedy(
            "find out whose it is; `plimsoll admin users identities unlink` takes it from them first",
        ),
        ExternalError::Malformed => Failure::usage(&error),
        ExternalError::NoSession | ExternalError::SecondFactor | ExternalError::OnlyWay => {
            Failure::new(&error)
        }
    }
}
