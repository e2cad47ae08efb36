//! How people prove who they are: keys, sealing, passwords, providers.

use plimsoll_identity::seal::Sealer;
use plimsoll_identity::sign_in::Registration;
use plimsoll_identity::webauthn::UserVerification;
use plimsoll_identity::{UserStatus, oidc};

use super::Check;
use crate::config::read::Group;
use crate::config::source::{Origin, shorten};
use crate::config::{Identity, Provider, Secret, Tenant};

impl Check<'_> {
    /// `public_url`: where users reach the API, if that is known.
    pub(super) fn identity(
        &mut self,
        group: &Group,
        tenants: &[Tenant],
        public_url: Option<&str>,
    ) -> Option<Identity> {
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
            former_seal_key: self.former_seal_key(group),
            password_file: group
                .text("password_file")
                .map(|path| (self.path(path), group.origin_of("password_file"))),
            webauthn_domain: self.webauthn_domain(group, public_url),
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
        let (text, origin) = self.secret_file(group, key)?;
        if Sealer::new(&text.clone().into(), &[]).is_err() {
            self.problems.add(
                origin,
                format!("`identity.{key}`: the file holds no sealing key: 32 random bytes in base64"),
                "write one into it: `openssl rand -base64 32`",
            );
            return None;
        }
        Some((Secret::new(text), origin))
    }

    fn former_seal_key(&mut self, group: &Group) -> Option<(Secret, Origin)> {
        if group.text("former_seal_key_file").is_some() && !group.given("seal_key_file") {
            self.problems.add(
                group.origin_of("former_seal_key_file"),
                "`identity.former_seal_key_file` is of no use without `identity.seal_key_file`",
                "give the key that is in use by `seal_key_file`; a former one only opens what was sealed before",
            );
            return None;
        }
        self.seal_key(group, "former_seal_key_file")
    }

    /// A browser makes keys for the domain of its page, or for one above it (WebAuthn §5.1.3, step 8).
    fn webauthn_domain(&mut self, group: &Group, public_url: Option<&str>) -> Option<String> {
        let domain = group.text("webauthn_domain")?;
        let host = public_url.and_then(|url| url.split_once("://")).map(|(_, authority)| {
            authority
                .rsplit_once(':')
                .filter(|(_, port)| port.parse::<u16>().is_ok())
                .map_or(authority, |(host, _)| host)
        });
        let is_above =
            |host: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match host {
            Some(host) if !is_above(host) => {
                self.problems.add(
                    group.origin_of("webauthn_domain"),
                    format!(
                        "`identity.webauthn_domain` is \"{}\", and users reach the API at \"{}\": no browser takes a security key for another domain",
                        shorten(domain),
                        shorten(host)
                    ),
                    "write that domain or one above it, without scheme and port; or set `api.public_url`",
                );
                None
            }
            _ => Some(domain.to_owned()),
        }
    }

    fn provider(&mut self, group: &Group, tenants: &[Tenant]) -> Option<Provider> {
        let name = group.text("name").and_then(|name| self.provider_name(name, group));
        let tenant_id = group.text("tenant").and_then(|text| self.tenant(text, "tenant", group, tenants));
        let secret = self.secret(group, "client_secret", "client_secret_file");
        if secret.is_none() && !group.given("client_secret") && !group.given("client_secret_file") {
            self.problems.add(
                group.origin.clone(),
                format!("`{}` has no client secret", group.path),
                "add `client_secret_file = \"./path/to/file\"`: the provider gave the secret with the client id",
            );
        }
        let issuer = group.text("issuer").and_then(|issuer| self.issuer(issuer, group));
        let scopes = self.scopes(group);
        let texts = |key| group.texts(key).iter().map(|(text, _)| text.clone()).collect();
        Some(Provider {
            name: name?,
            tenant_id: tenant_id?,
            issuer: issuer?,
            client_id: group.text("client_id")?.to_owned(),
            client_secret: secret?.0,
            scopes: scopes?,
            second_factor_amr: texts("second_factor_amr"),
            second_factor_acr: texts("second_factor_acr"),
            creates: group.text("provisioning")? == "create",
            role: group.text("role").map(str::to_owned),
            origin: group.origin.clone(),
        })
    }

    fn issuer(&mut self, issuer: &str, group: &Group) -> Option<String> {
        if oidc::is_issuer(issuer) {
            return Some(issuer.to_owned());
        }
        self.problems.add(
            group.origin_of("issuer"),
            format!("`{}.issuer` is no https URL without user, query and fragment", group.path),
            "copy the `issuer` of the provider's discovery document, as `https://login.example.com/realms/acme`; `http` only on this machine",
        );
        None
    }

    /// Each is sent as a word of a list (RFC 6749 §3.3).
    fn scopes(&mut self, group: &Group) -> Option<Vec<String>> {
        let is_scope = |text: &str| text.bytes().all(|c| c.is_ascii_graphic() && c != b'"' && c != b'\\');
        let mut scopes = Some(Vec::new());
        for (text, origin) in group.texts("scopes") {
            if !is_scope(text) {
                self.problems.add(
                    origin.clone(),
                    format!("`{}.scopes` has \"{}\" in it, which is no scope", group.path, shorten(text)),
                    "write each scope as a text of its own: `scopes = [\"profile\", \"email\"]`",
                );
                scopes = None;
            } else if let Some(scopes) = &mut scopes {
                scopes.push(text.clone());
            }
        }
        scopes
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
