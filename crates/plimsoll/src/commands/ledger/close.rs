//! `plimsoll ledger close` and `closings`.

use plimsoll_ledger::period::{self, CloseError, Closing};
use time::OffsetDateTime;

use super::{Of, in_request};
use crate::cli::{Final, Whose};
use crate::commands::admin::change::{As, Done};
use crate::commands::admin::sheet::{self, Sheet};
use crate::failure::Failure;

impl Of<'_> {
    pub(super) async fn close(
        &self,
        whose: &Whose,
        through: OffsetDateTime,
        change: &Final,
    ) -> Result<(), Failure> {
        let tenant = self.admin().tenant(whose).await?;
        let (how, context) = in_request(&change.how, tenant.tenant_id);
        let change = Final { how, ..change.clone() };
        self.admin()
            .change(&change.order(), As::Tenant(tenant.tenant_id), async |conn| {
                let last = period::closings(conn, tenant.tenant_id, None, 1).await?.pop();
                let made = period::close_in(conn, through, &change.reason, &context)
                    .await
                    .map_err(|error| explained(&error))?;
                // What is under way still comes into it: how many postings it has is known when it is closed.
                let standing = |of: Option<&Closing>| {
                    Sheet::new().with("closed_through", of.map(|of| exact(of.closed_through)))
                };
                Ok(Done {
                    action: "ledger.period.close",
                    target_type: "books",
                    target_id: tenant.tenant_id.to_string(),
                    order: format!(
                        "close the books of {} through {}",
                        tenant.name,
                        exact(made.closed_through)
                    ),
                    confirmation: tenant.name.clone(),
                    before: Some(standing(last.as_ref())),
                    after: Some(standing(Some(&made))),
                    secret: None,
                    note: Some(format!("a checkpoint of {} postings or more has all of it", made.log_size)),
                })
            })
            .await
    }

    pub(super) async fn closings(&self, whose: &Whose, limit: u16, json: bool) -> Result<(), Failure> {
        let tenant_id = self.tenant(whose).await?;
        let mut tx = self.db.tenant_tx(&[tenant_id]).await?;
        let found = period::closings(&mut tx, tenant_id, None, limit).await?;
        let sheets: Vec<_> = found.iter().map(shown).collect();
        let columns = ["closed_through", "log_size", "closed_at", "closed_by", "reason"];
        sheet::list(&sheets, &columns, "no period is closed yet", json)
    }
}

fn shown(of: &Closing) -> Sheet {
    Sheet::new()
        .with("closed_through", exact(of.closed_through))
        .with("log_size", of.log_size)
        .at("closed_at", of.created_at)
        .with("closed_by", &*of.created_by)
        .with("reason", &*of.reason)
        .with("request_id", of.request_id.to_string())
}

/// A period ends at a microsecond.
pub(super) fn exact(at: OffsetDateTime) -> String {
    at.format(&time::format_description::well_known::Rfc3339).unwrap_or_else(|_| at.to_string())
}

fn explained(error: &CloseError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        CloseError::Future { .. } => failure.remedy("name a time that has passed"),
        CloseError::Closed { .. } => failure.remedy("`plimsoll ledger closings` lists what is closed"),
        CloseError::NoBooks { .. } => failure.remedy("`plimsoll ledger chart open` opens them"),
        _ => failure,
    }
}
