//! `GET /api/v1/events`.

use axum::Json;
use axum::extract::State;
use plimsoll_types::api::Events;
use plimsoll_types::{B256, BlockState, RequestId, address_text, hash_text, parse_address, parse_hash};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::cursor::{Fingerprint, decode, encode};
use crate::limits::{EVENTS_PAGE_DEFAULT, EVENTS_PAGE_MAX};
use crate::openapi::PageProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, bigint, shown, whole_number, yes_or_no};
use crate::repo::chains::ids;
use crate::repo::events::{Order, Wanted, page};
use crate::state::ApiState;

const EVENT_NAME_MAX_BYTES: usize = 128;

/// What may be asked of events.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The chain. May be left out while one chain alone is followed.
    #[param(value_type = Option<u64>, example = 31_337)]
    chain_id: Option<i64>,
    /// The contract that emitted them.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    contract: Option<String>,
    /// The event's name. Indexed.
    #[param(example = "UserPositionCachedV2", max_length = 128, pattern = "^[0-9A-Za-z_$]+$")]
    event_name: Option<String>,
    /// The `requestId` that they carry: a UUID, or 32 bytes as `0x` text, not all zero. Indexed.
    #[param(
        pattern = "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|0x(?!0{64}$)[0-9a-fA-F]{64})$"
    )]
    request_id: Option<String>,
    /// The transaction. Indexed for canonical events; with orphaned ones, give `from_block` and `to_block` too.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{64}$")]
    tx_hash: Option<B256>,
    /// The address in the parameter `user`.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    user: Option<String>,
    /// The address in the parameter `asset`.
    #[param(value_type = Option<String>, pattern = "^0x[0-9a-fA-F]{40}$")]
    asset: Option<String>,
    /// The first block.
    #[param(value_type = Option<u64>, default = 0)]
    from_block: i64,
    /// The last block.
    #[param(value_type = Option<u64>)]
    to_block: i64,
    /// How sure their block is now. `orphaned` gives the orphaned ones alone.
    #[param(value_type = Option<BlockState>, inline)]
    state: Option<BlockState>,
    /// Give those that a reorg orphaned as well.
    #[param(value_type = Option<bool>, default = false)]
    include_orphaned: bool,
    /// `desc`, as when it is not given: newest first; `asc`: oldest first.
    #[param(value_type = Option<Direction>, inline)]
    order: Direction,
    /// Rows on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: u32,
    /// The `next_cursor` of the page before, under the same filters and order.
    cursor: Option<String>,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Direction {
    Desc,
    Asc,
}

impl Parameters for EventsQuery {
    const KNOWN: &'static [&'static str] = &[
        "chain_id",
        "contract",
        "event_name",
        "request_id",
        "tx_hash",
        "user",
        "asset",
        "from_block",
        "to_block",
        "state",
        "include_orphaned",
        "order",
        "limit",
        "cursor",
    ];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let address = |text: &str| parse_address(text).map(|address| address_text(&address));
        let limit = |text: &str| {
            whole_number(text, 1, EVENTS_PAGE_MAX.into())
                .map(|limit| u32::try_from(limit).unwrap_or(EVENTS_PAGE_MAX))
        };
        let query = Self {
            chain_id: fields.take("chain_id", bigint),
            contract: fields.take("contract", address),
            event_name: fields.take("event_name", event_name),
            request_id: fields.take("request_id", request_id),
            tx_hash: fields.take("tx_hash", parse_hash),
            user: fields.take("user", address),
            asset: fields.take("asset", address),
            from_block: fields.take("from_block", bigint).unwrap_or(0),
            to_block: fields.take("to_block", bigint).unwrap_or(i64::MAX),
            state: fields.take("state", str::parse::<BlockState>),
            include_orphaned: fields.take("include_orphaned", yes_or_no).unwrap_or(false),
            order: fields.take("order", direction).unwrap_or(Direction::Desc),
            limit: fields.take("limit", limit).unwrap_or(EVENTS_PAGE_DEFAULT),
            cursor: fields.take("cursor", |text| Ok::<_, String>(text.to_owned())),
        };
        fields.finish()?;
        if query.from_block > query.to_block {
            let detail = format!("`from_block` {} is above `to_block` {}", query.from_block, query.to_block);
            return Err(Problem::new(ProblemKind::InvalidParameter, detail)
                .with_remedy("give a range that has blocks in it"));
        }
        Ok(query)
    }
}

fn event_name(text: &str) -> Result<String, String> {
    if text.len() > EVENT_NAME_MAX_BYTES
        || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte))
    {
        return Err(format!("`{}` is not the name of an event", shown(text)));
    }
    Ok(text.to_owned())
}

/// In the form that the column has.
fn request_id(text: &str) -> Result<String, String> {
    let id = if text.starts_with("0x") {
        parse_hash(text).ok().and_then(RequestId::from_chain)
    } else {
        Uuid::try_parse(text).ok().map(RequestId::from_uuid)
    };
    id.map(|id| id.to_string()).ok_or_else(|| {
        format!("`{}` is not a UUID, nor 32 bytes as `0x` text that are not all zero", shown(text))
    })
}

pub(super) fn direction(text: &str) -> Result<Direction, String> {
    match text {
        "desc" => Ok(Direction::Desc),
        "asc" => Ok(Direction::Asc),
        _ => Err(format!("`{}` is not `desc` or `asc`", shown(text))),
    }
}

impl EventsQuery {
    fn fingerprint(&self, chain_id: i64) -> Fingerprint {
        Fingerprint::of(&[
            Some(chain_id.to_string()),
            self.contract.clone(),
            self.event_name.clone(),
            self.request_id.clone(),
            self.tx_hash.as_ref().map(hash_text),
            self.user.clone(),
            self.asset.clone(),
            Some(self.from_block.to_string()),
            Some(self.to_block.to_string()),
            self.state.map(|state| state.to_string()),
            Some(format!("{} {:?}", self.include_orphaned, self.order)),
        ])
    }
}

/// Events of a chain
///
/// Newest first, or oldest first with `order=asc`. A cursor is a key: while blocks come in, a walk sees each event that was there once. Go
/// on until `next_cursor` is null: a page looks at no more than 10,000 rows, so with filters that have no index (`contract`, `user`,
/// `asset`) it may be short, or empty, before the last one. A reorg between two pages may replace blocks that you have seen: look at `block.state`, or
/// ask for `state=final`.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    tag = "events",
    params(EventsQuery),
    responses((status = 200, description = "A page of events", body = Events), PageProblems)
)]
pub(crate) async fn events(
    State(state): State<ApiState>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Events>, Problem> {
    let chain_id = match query.chain_id {
        Some(chain_id) => chain_id,
        None => the_only_chain(&ids(state.app()).await?)?,
    };
    let filters = query.fingerprint(chain_id);
    let after = query.cursor.as_deref().map(|cursor| decode(filters, cursor)).transpose()?;
    let wanted = Wanted {
        chain_id,
        contract: query.contract,
        event_name: query.event_name,
        request_id: query.request_id,
        tx_hash: query.tx_hash,
        user: query.user,
        asset: query.asset,
        from_block: query.from_block,
        to_block: query.to_block,
        state: query.state,
        include_orphaned: query.include_orphaned,
        order: match query.order {
            Direction::Desc => Order::NewestFirst,
            Direction::Asc => Order::OldestFirst,
        },
        after,
        limit: query.limit,
    };
    let found = page(state.app(), &wanted, &state.options().freshness).await?;
    let found = found.ok_or_else(|| Problem::unknown_chain(chain_id.unsigned_abs()))?;
    let next_cursor = found.next.map(|key| encode(filters, &key));
    Ok(Json(Events { items: found.events, next_cursor, as_of: found.as_of, fresh: found.fresh }))
}

fn the_only_chain(ids: &[i64]) -> Result<i64, Problem> {
    match ids {
        [] => Err(Problem::new(ProblemKind::NotSynced, "no chain is followed yet")),
        [id] => Ok(*id),
        several => {
            let ids = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            Err(Problem::new(
                ProblemKind::MissingParameter,
                format!("`chain_id` is not given, and several chains are followed: {ids}"),
            )
            .with_remedy("give one of them as `chain_id`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_sought_in_the_form_that_is_stored() {
        let uuid = "0123456789ab4cde8f0123456789abcd";
        let stored = "01234567-89ab-4cde-8f01-23456789abcd";
        for text in [stored, &stored.to_uppercase(), uuid, &format!("0x{}{uuid}", "0".repeat(32))] {
            assert_eq!(request_id(text).unwrap(), stored, "{text}");
        }
        assert_eq!(request_id(&format!("0x{}", "AB".repeat(32))).unwrap(), format!("0x{}", "ab".repeat(32)));
        for text in ["1", "0x", &format!("0x{}", "0".repeat(64))] {
            assert!(request_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_event_name_is_an_identifier() {
        assert!(event_name("UserPositionCachedV2").is_ok());
        for text in ["a b", "a'", &"a".repeat(129)] {
            assert!(event_name(text).is_err(), "{text}");
        }
    }
}
