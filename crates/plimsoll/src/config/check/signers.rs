//! Signers: on which chain, with which key, and what is granted to whom.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;

use alloy_json_abi::Function;
use alloy_primitives::{Address, Selector, U256};
use plimsoll_relayer::grant::{Allowed, ForeignUse, Grant, Grantee, Limit, Method, SignerPolicy};

use super::{Check, duration, narrow, saturated};
use crate::config::read::Group;
use crate::config::schema::did_you_mean;
use crate::config::source::shorten;
use crate::config::{Chain, Origin, RemoteSigner, Secret, Signer, SignerKey, Tenant};

/// What any target, method or tenant is written as.
const ANY: &str = "*";
/// What no limit is written as.
pub(in crate::config) const UNLIMITED: &str = "unlimited";

impl Check<'_> {
    pub(super) fn signers(
        &mut self,
        groups: &[Group],
        chains: &[Group],
        tenants: &[Tenant],
        known: &[Chain],
    ) -> Vec<Signer> {
        self.unique(groups, "name");
        let mut seen: HashMap<(u64, Address), Origin> = HashMap::new();
        let mut signers = Vec::new();
        for group in groups {
            let origin = group.origin_of("address");
            let address = group
                .text("address")
                .and_then(|text| self.address(text, &origin, &format!("{}.address", group.path)));
            let chain_id = group.text("chain").and_then(|text| self.chain_named(text, group, chains));
            if let (Some(chain_id), Some(address)) = (chain_id, address)
                && let Some(first) = seen.insert((chain_id, address), origin.clone())
            {
                let place = self.problems.place(&first);
                self.problems.add(
                    origin.clone(),
                    format!(
                        "`{}.address`: this address has a signer on this chain already ({place})",
                        group.path
                    ),
                    "keep one of the two: two would give the same nonces",
                );
            }
            let key = group.group("key").and_then(|key| self.signer_key(key, group));
            let grants = self.grants(group, tenants);
            signers.extend((|| {
                Some(Signer {
                    policy: SignerPolicy {
                        name: group.text("name")?.to_owned(),
                        chain_id: chain_id?,
                        address: address?,
                        window: narrow(group.integer("window")).and_then(NonZeroU32::new)?,
                        max_fee_per_gas_wei: Some(max_fee(group, known, chain_id?)?),
                        on_foreign_use: match group.text("on_foreign_use")? {
                            "replace" => ForeignUse::Replace,
                            _ => ForeignUse::Requeue,
                        },
                        grants: grants?,
                    },
                    key: key?,
                    simulates: group.text("simulate")? == "always",
                    origin: group.origin.clone(),
                })
            })());
        }
        signers
    }

    /// By its name, or by its id.
    fn chain_named(&mut self, text: &str, group: &Group, chains: &[Group]) -> Option<u64> {
        let named = chains.iter().find(|chain| chain.text("name") == Some(text));
        let numbered =
            || chains.iter().find(|chain| chain.integer("chain_id").is_some_and(|id| id.to_string() == text));
        if let Some(chain) = named.or_else(numbered) {
            return chain.integer("chain_id");
        }
        // A chain that could not be read may be the one.
        if chains.iter().any(|chain| chain.text("name").is_none() || chain.integer("chain_id").is_none()) {
            return None;
        }
        let names = || chains.iter().filter_map(|chain| chain.text("name"));
        let remedy = match did_you_mean(text, names()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!(
                "write one that is configured ({}), or configure it as a [[chain]]",
                names().collect::<Vec<_>>().join(", ")
            ),
        };
        self.problems.add(
            group.origin_of("chain"),
            format!("`{}.chain` is \"{}\", and no [[chain]] has that name or id", group.path, shorten(text)),
            remedy,
        );
        None
    }

    fn signer_key(&mut self, key: &Group, signer: &Group) -> Option<SignerKey> {
        const OF_KEYSTORE: &[&str] = &["password", "password_file"];
        const OF_REMOTE: &[&str] = &[
            "identifier",
            "token",
            "token_file",
            "ca_file",
            "client_cert_file",
            "client_key_file",
            "request_timeout_ms",
            "max_concurrent_requests",
        ];
        match (key.given("keystore"), key.given("web3signer")) {
            (true, true) => {
                // One that could not be read has its problem already.
                key.text("keystore").and(key.text("web3signer"))?;
                self.problems.add(
                    key.origin_of("web3signer"),
                    format!("`{0}.keystore` and `{0}.web3signer` both hold the key", key.path),
                    "keep one of the two",
                );
                None
            }
            (false, false) => {
                let origin = if key.origin == Origin::Default { &signer.origin } else { &key.origin };
                self.problems.add(
                    origin.clone(),
                    format!("`{}` says nowhere where the signer's key is", key.path),
                    "write `[signers.key]` below the signer, and in it `keystore = \"./path/to/file\"` with its `password_file`, or `web3signer = \"https://…\"`",
                );
                None
            }
            (true, false) => {
                self.useless(key, OF_REMOTE, "web3signer")?;
                self.keystore(key)
            }
            (false, true) => {
                self.useless(key, OF_KEYSTORE, "keystore")?;
                self.remote_signer(key)
            }
        }
    }

    fn keystore(&mut self, group: &Group) -> Option<SignerKey> {
        let password = self.secret(group, "password", "password_file");
        if password.is_none() && !group.given("password") && !group.given("password_file") {
            self.problems.add(
                group.origin_of("keystore"),
                format!("`{}` has no password for its keystore", group.path),
                "add `password_file = \"./path/to/file\"`, with a file that holds the password and nothing else",
            );
        }
        let path = self.path(group.text("keystore")?);
        Some(SignerKey::Keystore { path, password: password?.0, origin: group.origin_of("keystore") })
    }

    fn remote_signer(&mut self, group: &Group) -> Option<SignerKey> {
        let token = self.secret(group, "token", "token_file");
        if token.is_none() && (group.given("token") || group.given("token_file")) {
            return None;
        }
        let identity = match (group.text("client_cert_file"), group.text("client_key_file")) {
            (Some(certificate), Some(key)) => Some((self.path(certificate), self.path(key))),
            (None, None) => None,
            (certificate, _) => {
                let (given, wanting) = match certificate {
                    Some(_) => ("client_cert_file", "client_key_file"),
                    None => ("client_key_file", "client_cert_file"),
                };
                self.problems.add(
                    group.origin_of(given),
                    format!("`{0}.{given}` is of no use without `{0}.{wanting}`", group.path),
                    "give both, or neither",
                );
                return None;
            }
        };
        Some(SignerKey::Remote(Box::new(RemoteSigner {
            url: Secret::new(group.text("web3signer")?),
            identifier: group.text("identifier").map(str::to_owned),
            token: token.map(|(token, _)| token),
            ca_file: group.text("ca_file").map(|path| self.path(path)),
            identity,
            request_timeout: duration(group, "request_timeout_ms")?,
            max_concurrent_requests: narrow(group.integer("max_concurrent_requests"))?,
            origin: group.origin_of("web3signer"),
        })))
    }

    /// Notes the first of these settings that was given: each belongs to another kind of key.
    fn useless(&mut self, group: &Group, settings: &[&str], of: &str) -> Option<()> {
        let is_given =
            |name: &&&str| group.setting(name).is_some_and(|setting| setting.origin != Origin::Default);
        let Some(given) = settings.iter().find(is_given) else { return Some(()) };
        self.problems.add(
            group.origin_of(given),
            format!("`{0}.{given}` is of no use without `{0}.{of}`", group.path),
            "remove it, or give the other kind of key",
        );
        None
    }

    /// `None` where a problem was noted.
    fn grants(&mut self, signer: &Group, tenants: &[Tenant]) -> Option<Vec<Grant>> {
        let groups = signer.groups("grants");
        if groups.is_empty() && !signer.given("grants") {
            self.notes.push(format!(
                "{}: `{}` has no [[signers.grants]]: no tenant may use it",
                self.problems.place(&signer.origin),
                signer.path
            ));
        }
        let mut seen: HashMap<Option<uuid::Uuid>, Origin> = HashMap::new();
        let grants: Vec<Option<Grant>> = groups
            .iter()
            .map(|group| {
                let grantee = group.text("tenant").and_then(|text| match text {
                    ANY => Some(Grantee::Everybody),
                    text => self.tenant(text, "tenant", group, tenants).map(Grantee::Tenant),
                });
                if let Some(grantee) = grantee {
                    self.once(grantee, group, &mut seen);
                }
                let (targets, methods, limits) =
                    (self.targets(group), self.methods(group), self.limits(group));
                let ((targets, may_create), limits) = (targets?, limits?);
                Some(Grant {
                    grantee: grantee?,
                    targets,
                    may_create,
                    methods: methods?,
                    max_value_wei: limits[0],
                    max_value_wei_per_day: limits[1],
                    max_gas_wei_per_day: limits[2],
                })
            })
            .collect();
        grants.into_iter().collect()
    }

    /// What is spent is counted by tenant and signer, so a second grant would have no budget of its own.
    fn once(&mut self, grantee: Grantee, group: &Group, seen: &mut HashMap<Option<uuid::Uuid>, Origin>) {
        let tenant = match grantee {
            Grantee::Tenant(id) => Some(id),
            Grantee::Everybody => None,
        };
        if let Some(first) = seen.insert(tenant, group.origin_of("tenant")) {
            let place = self.problems.place(&first);
            self.problems.add(
                group.origin_of("tenant"),
                format!(
                    "`{}.tenant`: this tenant has a grant from this signer already ({place})",
                    group.path
                ),
                "keep one grant for each tenant, with all of its targets and methods",
            );
        }
    }

    fn targets(&mut self, group: &Group) -> Option<(Allowed<Address>, bool)> {
        let (mut targets, mut may_create, mut is_any, mut is_right) = (BTreeSet::new(), false, false, true);
        for (text, origin) in group.setting("targets").map(|_| group.texts("targets"))? {
            match &**text {
                ANY => is_any = true,
                "create" => may_create = true,
                text => match self.address(text, origin, &format!("{}.targets", group.path)) {
                    Some(target) => _ = targets.insert(target),
                    None => is_right = false,
                },
            }
        }
        if is_right && !is_any && !may_create && targets.is_empty() {
            self.empty(group, "targets");
            return None;
        }
        let targets = if is_any { Allowed::Any } else { Allowed::Only(targets) };
        is_right.then_some((targets, may_create))
    }

    fn methods(&mut self, group: &Group) -> Option<Allowed<Method>> {
        let (mut methods, mut is_any, mut is_right) = (BTreeSet::new(), false, true);
        for (text, origin) in group.setting("methods").map(|_| group.texts("methods"))? {
            match method(text) {
                _ if text == ANY => is_any = true,
                Some(method) => _ = methods.insert(method),
                None => {
                    is_right = false;
                    self.problems.add(
                        origin.clone(),
                        format!("`{}.methods` has \"{}\" in it, which is no method", group.path, shorten(text)),
                        "write a signature without names as `transfer(address,uint256)`, a selector as `0xa9059cbb`, `none` for a transfer without data, or `*` for anything",
                    );
                }
            }
        }
        if is_right && !is_any && methods.is_empty() {
            self.empty(group, "methods");
            return None;
        }
        is_right.then_some(if is_any { Allowed::Any } else { Allowed::Only(methods) })
    }

    fn empty(&mut self, group: &Group, key: &str) {
        self.problems.add(
            group.origin_of(key),
            format!("`{}.{key}` is empty, so that the grant grants nothing", group.path),
            "list what is granted, write `[\"*\"]` for anything, or remove the grant",
        );
    }

    /// Of one transaction's value, of a day's, of a day's gas.
    fn limits(&mut self, group: &Group) -> Option<[Limit; 3]> {
        let of = |key| group.text(key).map(limit);
        let [one, day, gas] =
            [of("max_value_wei")?, of("max_value_wei_per_day")?, of("max_gas_wei_per_day")?];
        let is_more = match (one, day) {
            (Limit::Wei(one), Limit::Wei(day)) => one > day,
            (Limit::None, Limit::Wei(_)) => true,
            (_, Limit::None) => false,
        };
        if is_more {
            let key = if group.given("max_value_wei") { "max_value_wei" } else { "max_value_wei_per_day" };
            self.problems.add(
                group.origin_of(key),
                format!("`{0}.max_value_wei` is more than `{0}.max_value_wei_per_day`: a transaction that it allows could never be sent", group.path),
                "raise `max_value_wei_per_day` to at least as much, or write \"unlimited\"",
            );
            return None;
        }
        Some([one, day, gas])
    }
}

/// The signer's own limit, or its chain's.
fn max_fee(signer: &Group, chains: &[Chain], chain_id: u64) -> Option<u128> {
    if signer.given("max_fee_per_gas_wei") {
        return signer.text("max_fee_per_gas_wei").map(saturated);
    }
    // A chain that is not there has its problem already.
    chains.iter().find(|chain| chain.chain_id == chain_id).map(|chain| chain.relayer.max_fee_per_gas_wei)
}

fn method(text: &str) -> Option<Method> {
    if text == "none" {
        return Some(Method::Plain);
    }
    if text.starts_with("0x") {
        return text.parse::<Selector>().ok().map(Method::Selector);
    }
    // What is written is what is hashed: a slip, as `uint` for `uint256`, would be the selector of no method.
    let function = Function::parse(text).ok()?;
    (function.signature() == text).then(|| Method::Selector(function.selector()))
}

/// Of digits that were found to be a number.
fn limit(text: &str) -> Limit {
    match text {
        UNLIMITED => Limit::None,
        digits => Limit::Wei(U256::from_str_radix(digits, 10).unwrap_or(U256::MAX)),
    }
}
