//! The kinds of problem: one table.

use axum::http::StatusCode;

/// What is said of a kind.
#[derive(Clone, Copy)]
struct Row {
    slug: &'static str,
    status: StatusCode,
    is_worth_a_retry: bool,
    title: &'static str,
    remedy: &'static str,
}

const fn is_any(words: &[&str]) -> bool {
    !words.is_empty()
}

/// The enum and its table. A row: name, type, status, `again` where the same request may pass in a while; title; remedy.
macro_rules! kinds {
    ($($name:ident: $slug:literal, $status:ident $(, $again:ident)? $title:literal $remedy:literal;)*) => {
        /// The kinds of problem. Their URNs are part of the contract: a kind may be added, none changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ProblemKind {
            $($name,)*
        }

        impl ProblemKind {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        slug: $slug,
                        status: StatusCode::$status,
                        is_worth_a_retry: is_any(&[$(stringify!($again))?]),
                        title: $title,
                        remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

kinds! {
    UnknownParameter: "unknown-parameter", BAD_REQUEST
        "A parameter is not known"
        "leave it out, or give one of the known parameters";
    InvalidParameter: "invalid-parameter", BAD_REQUEST
        "A parameter has a value that cannot be used"
        "give a value as `/docs` describes it";
    MissingParameter: "missing-parameter", BAD_REQUEST
        "A parameter is missing"
        "give the parameter";
    InvalidCursor: "invalid-cursor", BAD_REQUEST
        "The cursor cannot be used"
        "begin again without a cursor; keep filters and order the same from page to page";
    NotFound: "not-found", NOT_FOUND
        "There is nothing at this path"
        "see `/docs` for the paths";
    UnknownChain: "unknown-chain", NOT_FOUND
        "The chain is not followed"
        "ask `/api/v1/chains` for the chains that are followed";
    MethodNotAllowed: "method-not-allowed", METHOD_NOT_ALLOWED
        "The path does not take this method"
        "use one of the methods in the `Allow` header";
    BodyTooLarge: "body-too-large", PAYLOAD_TOO_LARGE
        "The request's body is too large"
        "send less: what a path takes is in the documentation, and one that only reads takes nothing";
    Internal: "internal", INTERNAL_SERVER_ERROR
        "Something went wrong here"
        "report it with the request_id: the log has the cause";
    NotSynced: "not-synced", SERVICE_UNAVAILABLE, again
        "There is nothing to answer from yet"
        "try again soon; `/readyz` says what it waits for";
    DatabaseUnavailable: "database-unavailable", SERVICE_UNAVAILABLE, again
        "The database does not answer"
        "try again soon; if it lasts, see `/readyz` and the database's own log";
    SchemaMismatch: "schema-mismatch", SERVICE_UNAVAILABLE
        "The database has another schema than this version knows"
        "run `plimsoll migrate`, or the version that the database was migrated to";
    TimedOut: "timed-out", SERVICE_UNAVAILABLE, again
        "The request took too long"
        "ask for less: fewer blocks, a smaller limit, or an indexed filter (event_name, request_id, tx_hash)";
    Overloaded: "overloaded", SERVICE_UNAVAILABLE, again
        "Too many requests are being worked on"
        "try again soon, with fewer requests at a time";
    MissingIdempotencyKey: "missing-idempotency-key", BAD_REQUEST
        "The request has no idempotency key"
        "send an `Idempotency-Key` that is new for each new request, and the same when you send one again";
    InvalidIdempotencyKey: "invalid-idempotency-key", BAD_REQUEST
        "The idempotency key cannot be used"
        "send 1 to 255 printable ASCII characters, in double quotes or without white space, commas and quotes";
    IdempotencyKeyReused: "idempotency-key-reused", UNPROCESSABLE_ENTITY
        "The idempotency key belongs to another request"
        "use a new key for a new request; to send one again, send it as it was the first time";
    RequestInFlight: "request-in-flight", CONFLICT, again
        "The request is being worked on"
        "send the same request with the same key again, later";
    ResponseWithheld: "response-withheld", GONE
        "The answer was given once and not kept"
        "look at what was created; if the secret is lost, revoke it and ask for another with a new key";
    Unauthenticated: "unauthenticated", UNAUTHORIZED
        "It is not known who asks"
        "sign in at `/auth/login`, or send an API key, as `Authorization: Bearer <credential>`";
    Forbidden: "forbidden", FORBIDDEN
        "The caller may not do this"
        "ask an administrator of the tenant for a role that allows it";
    SecondFactorRequired: "second-factor-required", FORBIDDEN
        "This needs a second factor"
        "give a second factor and ask again; a machine: use a key that is bound to its client certificate";
    TooManyStreams: "too-many-streams", TOO_MANY_REQUESTS, again
        "Too many streams are open"
        "end one that is not needed any longer, or come again later with the last number that was received";
    UpgradeRequired: "upgrade-required", UPGRADE_REQUIRED
        "This path speaks WebSocket"
        "connect with a WebSocket, or read the same events at `/api/v1/events/stream`";
    InvalidApiVersion: "invalid-api-version", BAD_REQUEST
        "The version of the API cannot be served"
        "ask for a version that is served, the same in the path and in `Api-Version`, or leave the header out";
    BodyTooSlow: "body-too-slow", REQUEST_TIMEOUT
        "The request's body took too long"
        "send the request again, over a better connection or with less in it";
    TooManyRequests: "too-many-requests", TOO_MANY_REQUESTS
        "There were too many requests"
        "wait for as long as `Retry-After` says";
    InvalidBody: "invalid-body", BAD_REQUEST
        "The request's body cannot be used"
        "send what `/docs` describes for this path, as JSON";
    UnsupportedMediaType: "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE
        "The request's body is of another media type"
        "send JSON, with `Content-Type: application/json`";
    MissingKey: "missing-key", BAD_REQUEST
        "A write lacks one of its three keys"
        "send `request_id`, `tenant_id` and `user_id` in the body, the latter two as `/auth/session` gives them";
    Conflict: "conflict", CONFLICT
        "This cannot be done as things stand"
        "look at what there is, and ask for what can be done";
    PostingRefused: "posting-refused", UNPROCESSABLE_ENTITY
        "The books do not allow this posting"
        "look at the accounts (`/api/v1/ledger/accounts`): whether they are open, what they are kept in, and what they may hold";
    NotConfigured: "not-configured", CONFLICT
        "This server was not set up for it"
        "ask whoever runs this server to set it up, or use another way";
    ManagedSender: "managed-sender", FORBIDDEN
        "The sender is a signer of the platform"
        "ask that signer for the call (`signer` in `/chain/tx/submit`), or use a wallet of the user's own";
    MalformedSignIn: "malformed-sign-in", BAD_REQUEST
        "This is no sign-in message"
        "sign a message as EIP-4361 has it, with what `/auth/nonce` gave";
    WrongDomain: "wrong-domain", UNAUTHORIZED
        "The message is for another site"
        "sign a message for the domain that `/auth/nonce` gave. If your wallet showed another, somebody may be passing on what you sign elsewhere";
    WrongUri: "wrong-uri", UNAUTHORIZED
        "The message is for another URI"
        "sign a message for the URI that `/auth/nonce` gave";
    WrongChain: "wrong-chain", UNAUTHORIZED
        "The message is for another chain"
        "sign a message for one of the chains that `/auth/nonce` gave";
    MessageExpired: "message-expired", UNAUTHORIZED
        "The message is too old"
        "ask for a new nonce and sign again";
    MessageNotYetValid: "message-not-yet-valid", UNAUTHORIZED
        "The message is of the future"
        "set the clock of the device that made the message, and sign again";
    WrongSignature: "wrong-signature", UNAUTHORIZED
        "The message was not signed by its address"
        "sign with the wallet of the address that the message names";
    NonceUnknown: "nonce-unknown", UNAUTHORIZED
        "The nonce is none of ours"
        "ask `/auth/nonce` for one, and sign a message with it";
    NonceUsed: "nonce-used", UNAUTHORIZED
        "The nonce was used already"
        "ask for a new nonce and sign again; if the answer to the first sign-in was lost, so";
    OtherTenantsNonce: "other-tenants-nonce", UNAUTHORIZED
        "The nonce is for another tenant"
        "ask for a nonce for the tenant that you want to sign in to";
    NoSuchUser: "no-such-user", FORBIDDEN
        "Nobody here has this identity"
        "ask an administrator of the tenant to link it to your user";
    Suspended: "suspended", FORBIDDEN
        "The user is suspended"
        "ask an administrator of the tenant";
    WrongCredentials: "wrong-credentials", UNAUTHORIZED
        "The credentials are not right"
        "try again, or sign in by another way";
    SessionOver: "session-over", UNAUTHORIZED
        "The session is over"
        "sign in again";
    SecondFactorRefused: "second-factor-refused", FORBIDDEN
        "The second factor was not taken"
        "wait for the next code and give that; the clock of the device must be right";
    WalletUnavailable: "wallet-unavailable", SERVICE_UNAVAILABLE, again
        "The wallet's contract could not be asked"
        "try again soon; it is neither a yes nor a no";
    ChainUnavailable: "chain-unavailable", SERVICE_UNAVAILABLE, again
        "The chain could not be asked"
        "try again soon; nothing was kept or sent";
    ProviderUnavailable: "provider-unavailable", SERVICE_UNAVAILABLE, again
        "The identity provider could not be asked"
        "try again soon; it is neither a yes nor a no";
    ProviderSignInRefused: "provider-sign-in-refused", UNAUTHORIZED
        "The sign-in at the identity provider is not taken"
        "begin again at `/auth/oidc/{provider}/start`, and come back in the same browser";
}

impl ProblemKind {
    pub(crate) const fn slug(self) -> &'static str {
        self.row().slug
    }

    pub(crate) const fn title(self) -> &'static str {
        self.row().title
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.row().status
    }

    /// What to do when the case at hand knows nothing better.
    pub(crate) const fn remedy(self) -> &'static str {
        self.row().remedy
    }

    /// Whether the same request may pass in a while.
    pub(super) const fn is_worth_a_retry(self) -> bool {
        self.row().is_worth_a_retry
    }

    /// The `type` of the problem.
    pub(crate) fn urn(self) -> String {
        format!("urn:plimsoll:problem:{}", self.slug())
    }
}
