//! How people prove who they are: keys, sealing, passwords, providers.

use plimsoll_identity::UserStatus;
use plimsoll_identity::sign_in::Registration;
use plimsoll_identity::webauthn::UserVerification;

use super::Check;
use crate::config::read::Group;
use crate::config::source::{Origin, shorten};
use crate::config::{Identity, Provider, Secret, Tenant};

impl Check<'_> {
    pub(super) fn identity(&mut self, group: &Group, tenants: &[Tenant]) -> Option<Identity> {
        self.unique(group.groups("provider"), "name");
        let providers =
            group.groups("provider").iter().filter_map(|group| self.provider(group, tenants)).collect();
        Some(Identity {
            keys_dir: self.path(group.text("keys_dir")?),
            keys_origin: group.origin_of("keys_dir"),
            registration: match group.text("registration")? {
                "open" => Registration::Open(UserStatus::Active),
                "pending_review" => Registration::Open(UserStatus::PendingReview),
                _ => Registration::Closed,
            },
            seal_key: self.seal_key(group, "seal_key_file"),
            former_seal_key: self.seal_key(group, "former_seal_key_file"),
            password_file: group
                .text("password_file")
                .map(|path| (self.path(path), group.origin_of("password_file"))),
            webauthn_domain: group.text("webauthn_domain").map(str::to_owned),
            webauthn_user_verification: match group.text("webauthn_user_verification")? {
                "required" => UserVerification::Required,
                "discouraged" => UserVerification::Discouraged,
                _ => UserVerification::Preferred,
            },
            providers,
        })
    }

    fn seal_key(&mut self, group: &Group, key: &str) -> Option<(Secret, Origin)> {
        group.text(key)?;
        self.secret_file(group, key).map(|(text, origin)| (Secret::new(text), origin))
    }

    fn provider(&mut self, group: &Group, tenants: &[Tenant]) -> Option<Provider> {
        let name = group.text("name").and_then(|name| self.provider_name(name, group));
        let tenant_id = group.text("tenant").and_then(|text| self.tenant(text, group, tenants));
        let secret = self.secret(group, "client_secret", "client_secret_file");
        if secret.is_none() && !group.given("client_secret") && !group.given("client_secret_file") {
            self.problems.add(
                group.origin.clone(),
                format!("`{}` has no client secret", group.path),
                "add `client_secret_file = \"./path/to/file\"`: the provider gave the secret with the client id",
            );
        }
        let texts = |key| group.texts(key).iter().map(|(text, _)| text.clone()).collect();
        Some(Provider {
            name: name?,
            tenant_id: tenant_id?,
            issuer: group.text("issuer")?.to_owned(),
            client_id: group.text("client_id")?.to_owned(),
            client_secret: secret?.0,
            scopes: texts("scopes"),
            second_factor_amr: texts("second_factor_amr"),
            second_factor_acr: texts("second_factor_acr"),
            creates: group.text("provisioning")? == "create",
            role: group.text("role").map(str::to_owned),
            origin: group.origin.clone(),
        })
    }

    /// It stands in a path and in a cookie.
    fn provider_name(&mut self, name: &str, group: &Group) -> Option<String> {
        let is_name = name.len() <= 64
            && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if is_name {
            return Some(name.to_owned());
        }
        self.problems.add(
            group.origin_of("name"),
            format!("`{}.name` is \"{}\", which is no name for a provider", group.path, shorten(name)),
            "use lower-case letters, digits and `-`, at most 64",
        );
        None
    }
}
