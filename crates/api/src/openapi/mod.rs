//! The document (OpenAPI 3.1), made from the handlers and from what their routes declare.

mod declared;
mod links;
mod problems;
mod schemas;
mod sse;
mod texts;

use plimsoll_types::{CloudEvent, api};
use utoipa::openapi::OpenApi as OpenApiDocument;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

pub(crate) use self::problems::{
    ChainProblems, ChainStreamProblems, DataProblems, ImportProblems, ListProblems, LogProblems,
    OidcLinkProblems, OidcProblems, OwnProblems, OwnWriteProblems, PageProblems, PostingProblems,
    RecordProblems, RotationProblems, SecondFactorProblems, SignInProblems, SignerProblems, SocketProblems,
    StatementProblems, StreamProblems, SubmitProblems, WriteProblems,
};
pub(crate) use self::sse::ServerSentEvent;
use crate::routes::{
    DECLARATIONS, approvals, audit, auth, chains, events, health, keys, kill_switches, ledger, metrics,
    openapi as document, positions, ready, roles, sessions, signers, story, streams, tenants, transactions,
    users,
};

/// The name of the one way to say who asks.
const BEARER: &str = "bearer";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plimsoll",
        description = "The off-chain half of an on-chain business: what the chain said, mirrored and proven.\n\n\
            Amounts, versions and on-chain sequences are decimal strings. Every answer says which block it is true at and how far behind the \
            chain that is; `stale: true` means: do not act on this. Errors are RFC 9457 problems with a `request_id` (send your own \
            as `X-Request-Id`) and a `remedy`. Parameters that are not known are refused.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        positions::positions,
        events::events,
        chains::chains,
        chains::chain,
        story::story,
        streams::stream,
        streams::blocks,
        streams::socket,
        streams::transactions,
        streams::transactions_socket,
        audit::by_request,
        audit::page,
        audit::export,
        health::healthz,
        ready::readyz,
        metrics::metrics,
        document::document,
        auth::jwks,
        auth::nonce,
        auth::login,
        auth::refresh,
        auth::logout,
        auth::who,
        auth::enroll,
        auth::confirm,
        auth::verify,
        auth::begin_registration,
        auth::finish_registration,
        auth::begin_assertion,
        auth::finish_assertion,
        auth::start,
        auth::link,
        auth::callback,
        auth::factors,
        auth::remove_factor,
        auth::identities,
        auth::unlink,
        users::list,
        users::create,
        users::show,
        users::suspend,
        users::activate,
        users::link,
        users::unlink,
        users::assign,
        users::withdraw,
        users::second_factors::list,
        users::second_factors::remove,
        users::identities::list,
        users::identities::link,
        users::identities::unlink,
        roles::list,
        roles::create,
        roles::grant,
        roles::revoke,
        keys::list,
        keys::issue,
        keys::rotate,
        keys::revoke,
        sessions::list,
        sessions::revoke,
        approvals::list,
        approvals::show,
        approvals::request,
        approvals::approve,
        approvals::reject,
        tenants::show,
        tenants::put,
        transactions::prepare,
        transactions::submit,
        transactions::list,
        transactions::show,
        transactions::explain,
        transactions::cancel,
        transactions::speed_up,
        signers::list,
        signers::show,
        kill_switches::list,
        kill_switches::throw,
        kill_switches::release,
        signers::explain,
        signers::rotate,
        ledger::post,
        ledger::post_batch,
        ledger::import,
        ledger::entries,
        ledger::vouchers,
        ledger::posting,
        ledger::export,
        ledger::currencies,
        ledger::put_currency,
        ledger::accounts,
        ledger::open_account,
        ledger::account,
        ledger::close_account,
        ledger::limit_account,
        ledger::balances,
        ledger::reverse,
        ledger::closings,
        ledger::close_period,
        ledger::statement,
        ledger::trial_balance,
        ledger::balance_sheet,
        ledger::inclusion,
        ledger::consistency,
        ledger::latest_checkpoint,
        ledger::checkpoint,
        ledger::keys,
    ),
    components(schemas(api::Problem, api::StreamEnd, api::BlockMark, api::TransactionChange, CloudEvent)),
    modifiers(&Bearer),
    tags(
        (name = "positions", description = "What each user holds and owes, as the position view last wrote it"),
        (name = "events", description = "What the followed contracts logged"),
        (name = "chains", description = "How far each chain is followed"),
        (name = "bus", description = "What happened, in one order: live, and as stories"),
        (name = "audit", description = "Who did what, and what it changed"),
        (name = "identity", description = "Who acts, and what they may do. Every write carries `request_id`, `tenant_id` and `user_id` in its body"),
        (name = "ledger", description = "The books: postings that balance, what accounts hold, and the signed log that nobody can rewrite. `docs/ledger.md` says how to check it"),
        (name = "relayer", description = "Transactions that the platform signs and sends: each request has one effect, or an end that says why not"),
        (name = "operations", description = "For those who run it"),
    ),
)]
struct Document;

/// Where a reference to a schema of ours begins.
const COMPONENTS: &str = "#/components/schemas/";

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApiDocument) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An access token of `/auth/login`, or an API key (`plk_…`)"))
            .build();
        document.components.get_or_insert_default().add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI 3.1 document of this API, made from the handlers.
#[must_use]
pub fn openapi() -> OpenApiDocument {
    let mut document = Document::openapi();
    for declaration in DECLARATIONS.iter() {
        if let Some(operation) = declared::operation(&mut document, declaration) {
            declared::guarded(operation, declaration);
            schemas::say_no_empty_parameter(operation);
        }
    }
    links::add(&mut document);
    texts::say_no_nul(&mut document);
    for (name, schema) in document.components.iter_mut().flat_map(|components| &mut components.schemas) {
        schemas::close_variants(schema);
        if *name == api::PermissionName::name() {
            schemas::name_permissions(schema);
        }
    }
    document
}
