//! How people prove who they are.

use super::key;
use crate::config::schema::{Absent, Kind, Section};

pub(super) const IDENTITY: Section = Section {
    name: "identity",
    repeated: false,
    keys: &[
        key(
            "keys_dir",
            Kind::Path,
            Absent::Default("./plimsoll-keys"),
            "Where the keys are that sign access tokens: `signing.pem` signs, every other `*.pem` verifies. One is made where there is none; processes that serve the API together need the same.",
        ),
        key(
            "registration",
            Kind::Choice(&["closed", "pending_review", "open"]),
            Absent::Default("closed"),
            "What becomes of a wallet that nobody has when it signs in: it is turned away, becomes a user who may do nothing until somebody activates it, or an active user without a role.",
        ),
        key(
            "seal_key_file",
            Kind::SecretPath,
            Absent::Optional,
            "A file with the key under which seeds of second factors are sealed: 32 random bytes in base64 (`openssl rand -base64 32`). Without it nobody sets up a code app.",
        ),
        key(
            "former_seal_key_file",
            Kind::SecretPath,
            Absent::Optional,
            "A file with the key that `seal_key_file` had before, until every user has enrolled anew.",
        ),
        key(
            "password_file",
            Kind::Path,
            Absent::Optional,
            "A file of operators and their passwords, a line each: `login:tenant:user:$argon2id$…`. For development: production has OpenID Connect.",
        ),
        key(
            "webauthn_domain",
            Kind::Text,
            Absent::Optional,
            "The domain that security keys are made for: that of `api.public_url`, which it is if left out, or one above it. Changed, everyone enrols anew.",
        ),
        key(
            "webauthn_user_verification",
            Kind::Choice(&["required", "preferred", "discouraged"]),
            Absent::Default("preferred"),
            "Whether a security key must know its user, by PIN or finger.",
        ),
    ],
    sections: &[Section {
        name: "provider",
        repeated: true,
        keys: &[
            key(
                "name",
                Kind::Text,
                Absent::Required,
                "How the provider is named in `/auth/oidc/{provider}/start`, as `acme`.",
            ),
            key(
                "tenant",
                Kind::Text,
                Absent::Required,
                "Whose operators sign in there: a tenant's name, or a UUID.",
            ),
            key(
                "issuer",
                Kind::Url,
                Absent::Required,
                "The issuer, to the letter as the provider names itself.",
            ),
            key("client_id", Kind::Text, Absent::Required, "What the provider calls this server."),
            key(
                "client_secret",
                Kind::Secret,
                Absent::Optional,
                "By what the provider knows this server. This or `client_secret_file`.",
            ),
            key(
                "client_secret_file",
                Kind::SecretPath,
                Absent::Optional,
                "A file that holds `client_secret`.",
            ),
            key(
                "scopes",
                Kind::Texts,
                Absent::Optional,
                "Scopes beside `openid`: `profile` gives new users a name.",
            ),
            key(
                "second_factor_amr",
                Kind::Texts,
                Absent::Optional,
                "Authentication methods (RFC 8176) that the provider gives for two factors only, as `mfa`: these count as a second factor here.",
            ),
            key(
                "second_factor_acr",
                Kind::Texts,
                Absent::Optional,
                "Authentication context classes that the provider gives for two factors only: these count as well.",
            ),
            key(
                "provisioning",
                Kind::Choice(&["linked", "create"]),
                Absent::Default("linked"),
                "What becomes of a subject that no user has: it is turned away, or becomes a person. Create only where everyone whom the provider lets in is the tenant's.",
            ),
            key(
                "role",
                Kind::Text,
                Absent::Optional,
                "The role of a person whom `provisioning = \"create\"` makes.",
            ),
        ],
        sections: &[],
    }],
};
