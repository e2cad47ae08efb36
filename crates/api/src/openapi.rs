use std::collections::BTreeMap;

use axum::http::StatusCode;
use plimsoll_types::api;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AdditionalProperties, Schema, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, ObjectBuilder, OpenApi as OpenApiDocument, Ref, RefOr, Required};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::gateway::{Access, Declaration, KeyPolicy, WriteMethod};
use crate::problem::ProblemKind;
use crate::routes::{
    DECLARATIONS, audit, chains, events, health, metrics, openapi as document, positions, ready, story,
    streams,
};
use crate::routes::{approvals, auth, keys, roles, sessions, tenants, users};

/// Of RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";
const PROBLEM_PREFIX: &str = "Problem: ";
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
        streams::socket,
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
        auth::callback,
        users::list,
        users::create,
        users::show,
        users::suspend,
        users::activate,
        users::link,
        users::unlink,
        users::assign,
        users::withdraw,
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
    ),
    components(schemas(api::Problem, api::StreamEnd)),
    modifiers(&Bearer),
    tags(
        (name = "positions", description = "What each user holds and owes, as the position view last wrote it"),
        (name = "events", description = "What the followed contracts logged"),
        (name = "chains", description = "How far each chain is followed"),
        (name = "bus", description = "What happened, in one order: live, and as stories"),
        (name = "audit", description = "Who did what, and what it changed"),
        (name = "identity", description = "Who acts, and what they may do. Every write carries `request_id`, `tenant_id` and `user_id` in its body"),
        (name = "operations", description = "For those who run it"),
    ),
)]
struct Document;

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
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for declaration in DECLARATIONS.iter() {
        if let Some(operation) = operation(&mut document, declaration) {
            guarded(operation, declaration);
            say_no_empty_parameter(operation);
        }
    }
    for schema in document.components.iter_mut().flat_map(|components| components.schemas.values_mut()) {
        close_variants(schema);
    }
    document
}

/// A parameter that is given has a value ([`crate::query`]).
fn say_no_empty_parameter(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(Parameter {
            parameter_in: ParameterIn::Query,
            schema: Some(RefOr::T(Schema::Object(schema))),
            ..
        }) = parameter
            && schema.enum_values.is_none()
            && schema.min_length.is_none()
            && is_text(&schema.schema_type)
        {
            schema.min_length = Some(1);
        }
    }
}

fn is_text(kind: &SchemaType) -> bool {
    match kind {
        SchemaType::Type(kind) => *kind == Type::String,
        SchemaType::Array(kinds) => kinds.contains(&Type::String),
        SchemaType::AnyValue => false,
    }
}

/// The variants of a tagged body refuse what they do not know, and serde's attribute on the whole does not tell them so.
fn close_variants(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(variants)) = schema else { return };
    for variant in &mut variants.items {
        if let RefOr::T(Schema::Object(object)) = variant
            && object.additional_properties.is_none()
            && !object.properties.is_empty()
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

fn operation<'a>(document: &'a mut OpenApiDocument, declaration: &Declaration) -> Option<&'a mut Operation> {
    let item = document.paths.paths.get_mut(declaration.path)?;
    match declaration.write.map(|(method, _)| method) {
        None => item.get.as_mut(),
        Some(WriteMethod::Post) => item.post.as_mut(),
        Some(WriteMethod::Put) => item.put.as_mut(),
        Some(WriteMethod::Patch) => item.patch.as_mut(),
        Some(WriteMethod::Delete) => item.delete.as_mut(),
    }
}

/// What follows from a route's declaration: who may use it, how a write is sent again, and the problems that come of both.
fn guarded(operation: &mut Operation, declaration: &Declaration) {
    let bearer = || SecurityRequirement::new(BEARER, Vec::<String>::new());
    let mut kinds = Vec::new();
    let mut may = None;
    match declaration.access {
        Access::Anybody => {}
        Access::Open(permission) => {
            operation.security = Some(vec![SecurityRequirement::default(), bearer()]);
            may = Some(format!("Open, or with the permission `{permission}` where the operator closed it."));
            kinds.extend([ProblemKind::Unauthenticated, ProblemKind::Forbidden]);
        }
        Access::SignedIn => {
            operation.security = Some(vec![bearer()]);
            kinds.extend([ProblemKind::Unauthenticated]);
        }
        Access::Needs(permission) => {
            operation.security = Some(vec![bearer()]);
            may = Some(format!("Needs the permission `{permission}`."));
            kinds.extend([ProblemKind::Unauthenticated, ProblemKind::Forbidden, ProblemKind::NotFound]);
            if permission.is_sensitive() {
                kinds.push(ProblemKind::SecondFactorRequired);
            }
        }
    }
    if let Some(may) = may {
        let description = operation.description.take().unwrap_or_default();
        operation.description = Some(format!("{description}\n\n{may}").trim().to_owned());
    }
    if declaration.is_stream {
        kinds.push(ProblemKind::TooManyStreams);
    }
    if let Some((_, policy)) = declaration.write {
        kinds.extend([ProblemKind::BodyTooLarge, ProblemKind::BodyTooSlow]);
        if !matches!(policy, KeyPolicy::Exempt(_)) {
            kinds.extend([
                ProblemKind::InvalidIdempotencyKey,
                ProblemKind::RequestInFlight,
                ProblemKind::IdempotencyKeyReused,
            ]);
            operation
                .parameters
                .get_or_insert_default()
                .push(idempotency_key(policy == KeyPolicy::Required).into());
        }
        if policy == KeyPolicy::Required {
            kinds.push(ProblemKind::MissingIdempotencyKey);
        }
        if declaration.is_secret {
            kinds.push(ProblemKind::ResponseWithheld);
        }
    }
    for (status, response) in responses(&kinds) {
        merge(&mut operation.responses.responses, status, response);
    }
}

fn idempotency_key(is_required: bool) -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(if is_required { Required::True } else { Required::False })
        .description(Some("New for each new request, the same when one is sent again: it is then answered again and not done again"))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255))))
        .example(Some("5f0c7f0e-6a54-4d0b-9f2c-6f7a1d2b3c4d".into()))
        .build()
}

/// Adds a response; of two problems of one status, the description names both.
fn merge(all: &mut BTreeMap<String, RefOr<Response>>, status: String, response: RefOr<Response>) {
    let RefOr::T(new) = response else { return };
    match all.get_mut(&status) {
        Some(RefOr::T(present)) => {
            if let Some(names) = new.description.strip_prefix(PROBLEM_PREFIX) {
                let missing: Vec<&str> =
                    names.split(", ").filter(|name| !present.description.contains(name)).collect();
                if !missing.is_empty() {
                    present.description = format!("{}, {}", present.description, missing.join(", "));
                }
            }
        }
        _ => {
            all.insert(status, RefOr::T(new));
        }
    }
}

/// The problems of a route over data.
pub(crate) struct DataProblems;

/// [`DataProblems`], and those of a chain that is not followed.
pub(crate) struct ChainProblems;

const DATA: &[ProblemKind] = &[
    ProblemKind::InvalidApiVersion,
    ProblemKind::TooManyRequests,
    ProblemKind::UnknownParameter,
    ProblemKind::InvalidParameter,
    ProblemKind::DatabaseUnavailable,
    ProblemKind::SchemaMismatch,
    ProblemKind::TimedOut,
    ProblemKind::Overloaded,
    ProblemKind::Internal,
];

impl IntoResponses for DataProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(DATA)
    }
}

impl IntoResponses for ChainProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[DATA, &[ProblemKind::UnknownChain]].concat())
    }
}

/// The problems of a page: those of a chain, of cursors and of folds.
pub(crate) struct PageProblems;

impl IntoResponses for PageProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let of_pages = [
            ProblemKind::MissingParameter,
            ProblemKind::InvalidCursor,
            ProblemKind::UnknownChain,
            ProblemKind::NotSynced,
        ];
        responses(&[DATA, &of_pages].concat())
    }
}

/// The problems of a page that is of no chain.
pub(crate) struct PagesProblems;

impl IntoResponses for PagesProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[DATA, &[ProblemKind::InvalidCursor]].concat())
    }
}

/// The problems of whatever reads or writes.
const ALWAYS: [ProblemKind; 7] = [
    ProblemKind::InvalidApiVersion,
    ProblemKind::TooManyRequests,
    ProblemKind::DatabaseUnavailable,
    ProblemKind::SchemaMismatch,
    ProblemKind::TimedOut,
    ProblemKind::Overloaded,
    ProblemKind::Internal,
];
/// The problems of a body.
const BODY: [ProblemKind; 3] =
    [ProblemKind::InvalidBody, ProblemKind::UnsupportedMediaType, ProblemKind::BodyTooLarge];

/// The problems of a list of a tenant's things.
pub(crate) struct ListProblems;

impl IntoResponses for ListProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[DATA, &[ProblemKind::InvalidCursor]].concat())
    }
}

/// The problems of one thing of a tenant's.
pub(crate) struct RecordProblems;

impl IntoResponses for RecordProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[DATA, &[ProblemKind::NotFound]].concat())
    }
}

/// The problems of a write with the three keys.
pub(crate) struct WriteProblems;

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let of_writes = [ProblemKind::MissingKey, ProblemKind::NotFound, ProblemKind::Conflict];
        responses(&[&ALWAYS[..], &BODY, &of_writes].concat())
    }
}

/// The problems of signing in, staying in and signing out.
pub(crate) struct SignInProblems;

impl IntoResponses for SignInProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let of_sign_in = [
            ProblemKind::NotFound,
            ProblemKind::Conflict,
            ProblemKind::NotConfigured,
            ProblemKind::MalformedSignIn,
            ProblemKind::Unauthenticated,
            ProblemKind::WrongDomain,
            ProblemKind::WrongUri,
            ProblemKind::WrongChain,
            ProblemKind::MessageExpired,
            ProblemKind::MessageNotYetValid,
            ProblemKind::WrongSignature,
            ProblemKind::NonceUnknown,
            ProblemKind::NonceUsed,
            ProblemKind::OtherTenantsNonce,
            ProblemKind::NoSuchUser,
            ProblemKind::Suspended,
            ProblemKind::WrongCredentials,
            ProblemKind::SessionOver,
            ProblemKind::WalletUnavailable,
        ];
        responses(&[&ALWAYS[..], &BODY, &of_sign_in].concat())
    }
}

/// The problems of signing in at a provider.
pub(crate) struct OidcProblems;

impl IntoResponses for OidcProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let of_providers = [
            ProblemKind::MissingParameter,
            ProblemKind::NotFound,
            ProblemKind::Conflict,
            ProblemKind::NotConfigured,
            ProblemKind::ProviderUnavailable,
            ProblemKind::ProviderSignInRefused,
            ProblemKind::NoSuchUser,
            ProblemKind::Suspended,
            ProblemKind::Unauthenticated,
        ];
        responses(&[DATA, &of_providers].concat())
    }
}

/// The problems of second factors.
pub(crate) struct SecondFactorProblems;

impl IntoResponses for SecondFactorProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let of_second_factors = [
            ProblemKind::Unauthenticated,
            ProblemKind::SessionOver,
            ProblemKind::SecondFactorRequired,
            ProblemKind::SecondFactorRefused,
            ProblemKind::Conflict,
            ProblemKind::NotConfigured,
        ];
        responses(&[&ALWAYS[..], &BODY, &of_second_factors].concat())
    }
}

fn responses(kinds: &[ProblemKind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<StatusCode, Vec<&'static str>> = BTreeMap::new();
    for kind in kinds {
        by_status.entry(kind.status()).or_default().push(kind.slug());
    }
    by_status
        .into_iter()
        .map(|(status, slugs)| {
            let description = format!("{PROBLEM_PREFIX}{}", slugs.join(", "));
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let response =
                ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build();
            (status.as_str().to_owned(), response.into())
        })
        .collect()
}
