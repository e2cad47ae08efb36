//! `GET /api/v1/positions`.

use axum::Json;
use axum::extract::State;
use plimsoll_types::api::Positions;
use plimsoll_types::{Address, address_text, parse_address};

use crate::cursor::{Fingerprint, decode, encode};
use crate::limits::{POSITIONS_PAGE_DEFAULT, POSITIONS_PAGE_MAX};
use crate::openapi::PageProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, bigint, whole_number};
use crate::repo::positions::{By, POSITIONS_FOLD, Wanted, page};
use crate::state::ApiState;

/// What may be asked of positions.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PositionsQuery {
    /// The user's address, in any letter case. This or `asset` is required.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8")]
    user: Option<Address>,
    /// The asset's address. This or `user` is required.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    asset: Option<Address>,
    /// One chain alone.
    #[param(value_type = Option<u64>)]
    chain_id: Option<i64>,
    /// One position view alone.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    contract: Option<Address>,
    /// Rows on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 100)]
    limit: u32,
    /// The `next_cursor` of the page before, under the same filters.
    cursor: Option<String>,
}

impl Parameters for PositionsQuery {
    const KNOWN: &'static [&'static str] = &["user", "asset", "chain_id", "contract", "limit", "cursor"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let limit = |text: &str| {
            whole_number(text, 1, POSITIONS_PAGE_MAX.into())
                .map(|limit| u32::try_from(limit).unwrap_or(POSITIONS_PAGE_MAX))
        };
        let query = Self {
            user: fields.take("user", parse_address),
            asset: fields.take("asset", parse_address),
            chain_id: fields.take("chain_id", bigint),
            contract: fields.take("contract", parse_address),
            limit: fields.take("limit", limit).unwrap_or(POSITIONS_PAGE_DEFAULT),
            cursor: fields.take("cursor", |text| Ok::<_, String>(text.to_owned())),
        };
        fields.finish()?;
        Ok(query)
    }
}

impl PositionsQuery {
    fn fingerprint(&self) -> Fingerprint {
        let address = |address: &Option<Address>| address.as_ref().map(address_text);
        let chain_id = self.chain_id.map(|chain_id| chain_id.to_string());
        Fingerprint::of(&[address(&self.user), address(&self.asset), chain_id, address(&self.contract)])
    }

    fn wanted(&self) -> Result<Wanted, Problem> {
        let by = match (self.user, self.asset) {
            (Some(user), asset) => By::User { user, asset },
            (None, Some(asset)) => By::Asset(asset),
            (None, None) => {
                return Err(Problem::new(
                    ProblemKind::MissingParameter,
                    "neither `user` nor `asset` is given",
                )
                .with_remedy("give `user`, `asset` or both"));
            }
        };
        let after = self.cursor.as_deref().map(|cursor| decode(self.fingerprint(), cursor)).transpose()?;
        Ok(Wanted { by, chain_id: self.chain_id, contract: self.contract, after, limit: self.limit })
    }
}

/// Positions of a user or in an asset
///
/// Each row with its version, the block that wrote it and how sure that is, the watermark it is true at, and how far behind the
/// chain that is. A chain that is not followed is an error, and so is one whose positions were never computed: an empty page means
/// that there is no position. While the data is behind or halted it is still given, with `stale: true` and the reasons.
#[utoipa::path(
    get,
    path = "/api/v1/positions",
    tag = "positions",
    params(PositionsQuery),
    responses((status = 200, description = "A page of positions", body = Positions), PageProblems)
)]
pub(crate) async fn positions(
    State(state): State<ApiState>,
    Query(query): Query<PositionsQuery>,
) -> Result<Json<Positions>, Problem> {
    let found = page(state.app(), &query.wanted()?, &state.options().freshness).await?;
    match query.chain_id {
        Some(chain_id) if found.chains.is_empty() => {
            return Err(Problem::unknown_chain(chain_id.unsigned_abs()));
        }
        None if found.chains.is_empty() => {
            return Err(Problem::new(ProblemKind::NotSynced, "no chain is followed yet"));
        }
        _ => {}
    }
    let mut as_of = Vec::with_capacity(found.chains.len());
    let mut stale = false;
    for chain in found.chains {
        stale |= chain.fresh.stale;
        as_of.push(chain.as_of.ok_or_else(|| never_computed(chain.chain_id, query.chain_id.is_none()))?);
    }
    let next_cursor = found.next.map(|key| encode(query.fingerprint(), &key));
    Ok(Json(Positions { items: found.positions, next_cursor, as_of, stale }))
}

fn never_computed(chain_id: u64, is_any_chain_asked: bool) -> Problem {
    let detail = format!("fold {POSITIONS_FOLD} has not covered a block of chain {chain_id} yet");
    let problem = Problem::new(ProblemKind::NotSynced, detail);
    if is_any_chain_asked {
        problem.with_remedy(
            "give `chain_id` to ask another chain, or try again soon; `/readyz` says what it waits for",
        )
    } else {
        problem
    }
}
