//! `plimsoll ledger chart`.

use plimsoll_ledger::chart::{self, CHARTS, ChartError, Slot};
use plimsoll_ledger::{Currency, register};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Of;
use super::layout::{Row, parts};
use crate::cli::{Change, Charts, Whose};
use crate::commands::admin::change::{As, Done};
use crate::commands::admin::sheet::Sheet;
use crate::commands::print_json;
use crate::config::did_you_mean;
use crate::failure::Failure;

impl Of<'_> {
    pub(super) async fn chart(&self, asked: &Charts) -> Result<(), Failure> {
        match asked {
            Charts::Show { json } => show(*json),
            Charts::Open { chart, whose, currency, decimals, user, change } => {
                self.open_chart(named(chart)?, whose, (currency, *decimals), *user, change).await
            }
        }
    }

    async fn open_chart(
        &self,
        chart: &chart::Chart,
        whose: &Whose,
        (currencies, decimals): (&[String], Option<u8>),
        user: Option<Uuid>,
        change: &Change,
    ) -> Result<(), Failure> {
        let tenant = self.admin().tenant(whose).await?;
        let tenant_id = tenant.tenant_id;
        self.admin()
            .change(&change.order(), As::Tenant(tenant_id), async |conn| {
                let known =
                    currencies_of(conn, tenant_id, currencies, decimals.filter(|_| user.is_none())).await?;
                let opened = match user {
                    None => chart::open_chart_in(conn, tenant_id, chart, &known).await,
                    Some(user) => {
                        let names: Vec<_> = currencies.iter().map(String::as_str).collect();
                        chart::open_user_in(conn, tenant_id, chart, user, &names).await
                    }
                };
                let opened = opened.map_err(|error| explained(&error))?;
                let whose = user.map(|user| format!("user {user} in ")).unwrap_or_default();
                let sheet = |opened: u64| {
                    Sheet::new()
                        .with("chart", format!("{} (version {})", chart.name, chart.version))
                        .with("currencies", currencies.to_vec())
                        .with("accounts_opened", opened)
                };
                Ok(Done {
                    action: "ledger.chart.open",
                    target_type: "books",
                    target_id: tenant_id.to_string(),
                    order: format!("open the chart {} for {whose}the books of {}", chart.name, tenant.name),
                    confirmation: String::new(),
                    before: Some(sheet(0)),
                    after: Some(sheet(opened)),
                    secret: None,
                    note: None,
                })
            })
            .await
    }
}

fn named(name: &str) -> Result<&'static chart::Chart, Failure> {
    let known = || CHARTS.iter().map(|chart| chart.name);
    CHARTS.iter().find(|chart| chart.name == name).copied().ok_or_else(|| {
        let failure = Failure::usage(format!("there is no chart {name:?}"));
        match did_you_mean(name, known()) {
            Some(meant) => failure.remedy(format!("did you mean {meant:?}?")),
            None => failure.remedy(format!("the charts are {}", known().collect::<Vec<_>>().join(", "))),
        }
    })
}

/// The books' currencies of these names; a new one where there is none and its decimals are known.
async fn currencies_of(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    names: &[String],
    decimals: Option<u8>,
) -> Result<Vec<Currency>, Failure> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let known = register::currency_by_name(conn, tenant_id, name).await?;
        let unknown = || {
            Failure::usage(format!("the books have no currency {name:?}"))
                .remedy("say `--decimals` for a new code (without --user); a token of a chain is put into the books by `POST /api/v1/ledger/currencies`")
        };
        found.push(match (known, decimals) {
            (Some(known), _) => Currency {
                currency: known.currency,
                chain_id: known.chain_id,
                token_address: known.token_address,
                decimals: known.decimals,
                name: known.name,
            },
            (None, Some(decimals)) => Currency {
                currency: name.clone(),
                chain_id: None,
                token_address: None,
                decimals,
                name: name.clone(),
            },
            (None, None) => return Err(unknown()),
        });
    }
    Ok(found)
}

fn show(json: bool) -> Result<(), Failure> {
    if json {
        let slot = |slot: &Slot| json!({ "domain": slot.domain, "name": slot.name, "account_type": slot.account_type.as_str(), "class": slot.class.as_str(), "never_negative": slot.is_never_negative });
        let slots = |slots: &[Slot]| slots.iter().map(slot).collect::<Vec<_>>();
        let charts = CHARTS.iter().map(|chart| {
            json!({ "name": chart.name, "version": chart.version, "accounts": slots(chart.accounts), "users": slots(chart.users) })
        });
        return print_json(&charts.collect::<Vec<_>>());
    }
    let rows = CHARTS.iter().flat_map(|chart| {
        let of_books = chart.accounts.iter().map(|slot| (slot, slot.name.to_owned()));
        let of_users = chart.users.iter().map(|slot| (slot, format!("{} <user>", slot.name)));
        of_books.chain(of_users).map(|(slot, name)| Row {
            heading: format!("{} (version {}), domain {}", chart.name, chart.version, slot.domain),
            cells: vec![
                name,
                slot.account_type.as_str().into(),
                slot.class.as_str().into(),
                if slot.is_never_negative { "never negative".into() } else { String::new() },
            ],
        })
    });
    parts(
        &[("account", false), ("type", false), ("class", false), ("", false)],
        rows.collect(),
        "there is no chart",
    )
}

fn explained(error: &ChartError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        ChartError::Differs { .. } => {
            failure.remedy("`plimsoll ledger accounts` shows it; nothing was opened")
        }
        ChartError::Database(_) => failure,
    }
}
