//! Chains and their contracts: nodes, depths, addresses, tenants.

use std::collections::HashMap;
use std::time::Duration;

use alloy_primitives::Address;
use plimsoll_chain::FinalityTag;
use plimsoll_ingest::Finality;
use plimsoll_types::Completeness;
use plimsoll_types::parse_address;
use uuid::Uuid;

use super::{Check, duration, narrow};
use crate::config::read::Group;
use crate::config::schema::did_you_mean;
use crate::config::source::shorten;
use crate::config::{Chain, Contract, Endpoint, Origin, Secret, Tenant, abi};

impl Check<'_> {
    pub(super) fn chains(
        &mut self,
        groups: &[Group],
        tenants: &[Tenant],
        relayer: Option<&Group>,
    ) -> Vec<Chain> {
        self.unique(groups, "chain_id");
        self.unique(groups, "name");
        groups.iter().filter_map(|group| self.chain(group, tenants, relayer)).collect()
    }

    fn chain(&mut self, group: &Group, tenants: &[Tenant], relayer: Option<&Group>) -> Option<Chain> {
        let endpoints = self.endpoints(group);
        let finality = finality(group);
        if let (Some(confirmations), Some(Finality::Depth(finality_depth))) =
            (group.integer("confirmations"), finality)
            && confirmations > finality_depth
        {
            let key = if group.given("confirmations") { "confirmations" } else { "finality_depth" };
            self.problems.add(
                group.origin_of(key),
                format!("`{0}.confirmations` is {confirmations} and `{0}.finality_depth` is {finality_depth}: a block would be final before it is confirmed", group.path),
                format!("lower `confirmations` to at most {finality_depth}, or raise `finality_depth` to at least {confirmations}"),
            );
        }
        if let (Some(initial), Some(max)) =
            (group.integer("backfill_initial_blocks"), group.integer("backfill_max_blocks"))
            && initial > max
        {
            let key = if group.given("backfill_max_blocks") {
                "backfill_max_blocks"
            } else {
                "backfill_initial_blocks"
            };
            self.problems.add(
                group.origin_of(key),
                format!(
                    "`{0}.backfill_initial_blocks` is {initial}, more than `{0}.backfill_max_blocks`, {max}",
                    group.path
                ),
                format!("lower `backfill_initial_blocks` to at most {max}"),
            );
        }
        let mut watched_senders = Vec::new();
        for (text, origin) in group.texts("watched_senders") {
            watched_senders.extend(self.address(text, origin, &format!("{}.watched_senders", group.path)));
        }
        let books = group.text("books").map(|text| self.tenant(text, "books", group, tenants));
        let contracts = self.contracts(group, tenants);
        Some(Chain {
            chain_id: group.integer("chain_id")?,
            name: group.text("name")?.to_owned(),
            endpoints: endpoints?,
            confirmations: group.integer("confirmations")?,
            finality: finality?,
            head_completeness: completeness(group, "head_completeness")?,
            backfill_completeness: completeness(group, "backfill_completeness")?,
            poll_interval: duration(group, "poll_interval_ms")?,
            request_timeout: duration(group, "request_timeout_ms")?,
            max_concurrent_requests: narrow(group.integer("max_concurrent_requests"))?,
            backfill_initial_blocks: group.integer("backfill_initial_blocks")?,
            backfill_max_blocks: group.integer("backfill_max_blocks")?,
            backfill_in_flight: narrow(group.integer("backfill_in_flight"))?,
            max_lag_blocks: group.integer("max_lag_blocks")?,
            max_lag: duration(group, "max_lag_ms")?,
            max_head_age: duration(group, "max_head_age_ms")?,
            watched_senders,
            books: match books {
                Some(tenant) => Some(tenant?),
                None => None,
            },
            contracts,
            relayer: super::relayer::of_chain(group, relayer)?,
            origin: group.origin_of("chain_id"),
        })
    }

    /// The chain's nodes: its own `rpc`, and each `[[chain.endpoint]]`.
    fn endpoints(&mut self, chain: &Group) -> Option<Vec<Endpoint>> {
        let groups = chain.groups("endpoint");
        self.unique(groups, "name");
        let mut endpoints = Vec::new();
        if groups.is_empty() || chain.given("rpc") || chain.given("rpc_file") {
            endpoints.push(self.endpoint(chain, None));
        }
        for group in groups {
            let name = group.text("name").map(str::to_owned);
            endpoints.push(self.endpoint(group, name));
        }
        endpoints.into_iter().collect()
    }

    fn endpoint(&mut self, group: &Group, name: Option<String>) -> Option<Endpoint> {
        let (rpc, origin) = self.rpc(group)?;
        // At most a million.
        let requests_per_second = group.integer("requests_per_second").and_then(|n| u32::try_from(n).ok());
        Some(Endpoint { name, rpc, requests_per_second, origin })
    }

    fn rpc(&mut self, group: &Group) -> Option<(Secret, Origin)> {
        if !group.given("rpc") && !group.given("rpc_file") {
            self.problems.add(
                group.origin.clone(),
                format!("`{}` lacks `rpc`", group.path),
                "add `rpc = \"http://127.0.0.1:8545\"`, or `rpc_file = \"…\"` with a file that holds the URL",
            );
            return None;
        }
        let (rpc, origin) = self.secret(group, "rpc", "rpc_file")?;
        let rest = ["http://", "https://", "ws://", "wss://"]
            .iter()
            .find_map(|scheme| rpc.expose().strip_prefix(scheme));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        if host.is_none_or(|host| host.is_empty() || host.contains(char::is_whitespace)) {
            self.problems.add(
                origin,
                format!("`{}.rpc` is no URL of a JSON-RPC node", group.path),
                "write it as `http://127.0.0.1:8545`, with `https://`, `ws://` or `wss://` where the node asks for it",
            );
            return None;
        }
        if let Some(port) = host.and_then(port_of).filter(|port| port.parse::<u16>().is_err()) {
            self.problems.add(
                origin,
                format!("`{}.rpc`: `{}` is no port from 0 to 65535", group.path, shorten(port)),
                "correct the port, or leave it away for the scheme's own",
            );
            return None;
        }
        Some((rpc, origin))
    }

    fn contracts(&mut self, chain: &Group, tenants: &[Tenant]) -> Vec<Contract> {
        let groups = chain.groups("contract");
        self.unique(groups, "name");
        if groups.is_empty() && !chain.given("contract") {
            self.notes.push(format!(
                "{}: `{}` has no [[chain.contract]]: its blocks are followed and no log is read",
                self.problems.place(&chain.origin),
                chain.path
            ));
        }
        let mut seen: HashMap<Address, Origin> = HashMap::new();
        let mut contracts = Vec::new();
        for group in groups {
            let origin = group.origin_of("address");
            let address = group
                .text("address")
                .and_then(|text| self.address(text, &origin, &format!("{}.address", group.path)));
            if let Some(address) = address
                && let Some(first) = seen.insert(address, origin.clone())
            {
                let place = self.problems.place(&first);
                self.problems.add(
                    origin.clone(),
                    format!("`{}.address`: this address has a contract already ({place})", group.path),
                    "keep one entry for each address; for a proxy give the ABI of its implementation",
                );
            }
            let abi = group.text("abi").and_then(|path| {
                abi::read(&self.path(path), path, &group.origin_of("abi"), &group.path, self.problems)
            });
            let tenant = group.text("tenant").and_then(|text| self.tenant(text, "tenant", group, tenants));
            contracts.extend((|| {
                let (abi, abi_digest) = abi?;
                Some(Contract {
                    name: group.text("name")?.to_owned(),
                    address: address?,
                    abi,
                    abi_digest,
                    start_block: group.integer("start_block")?,
                    tenant_id: tenant?,
                    origin,
                })
            })());
        }
        contracts
    }

    /// An address in lower or upper case, or with its EIP-55 checksum.
    pub(super) fn address(&mut self, text: &str, origin: &Origin, path: &str) -> Option<Address> {
        let Ok(address) = parse_address(text) else {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            let what = if !text.starts_with("0x") {
                "does not begin with `0x`".to_owned()
            } else if let Some(c) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
                format!("has the character `{c}` in it, which is no hexadecimal digit")
            } else {
                format!("has {} hexadecimal digits instead of 40", digits.len())
            };
            self.problems.add(
                origin.clone(),
                format!("`{path}`: the address \"{}\" {what}", shorten(text)),
                "copy it again, whole: `0x` and 40 hexadecimal digits",
            );
            return None;
        };
        let digits = &text[2..];
        let mixed = digits.contains(|c: char| c.is_ascii_lowercase())
            && digits.contains(|c: char| c.is_ascii_uppercase());
        if mixed && address.to_checksum(None) != text {
            self.problems.add(
                origin.clone(),
                format!("`{path}`: the address {text} does not have the checksum that its letter case claims (EIP-55): a digit may be wrong"),
                format!("copy it again from its source; if every digit is right, its checksummed form is {}", address.to_checksum(None)),
            );
            return None;
        }
        Some(address)
    }

    /// The tenant that the text under `key` names.
    pub(super) fn tenant(
        &mut self,
        text: &str,
        key: &str,
        group: &Group,
        tenants: &[Tenant],
    ) -> Option<Uuid> {
        if let Some(tenant) = tenants.iter().find(|tenant| tenant.name == text) {
            return Some(tenant.id);
        }
        if let Ok(id) = Uuid::parse_str(text) {
            return Some(id);
        }
        if self.is_tenant_unsure {
            return None;
        }
        let remedy = match did_you_mean(text, tenants.iter().map(|t| t.name.clone())) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!(
                "declare it: `[[tenant]]` with `name = \"{}\"` and an `id`; or give a UUID",
                shorten(text)
            ),
        };
        self.problems.add(
            group.origin_of(key),
            format!("`{}.{key}` is \"{}\", and no [[tenant]] has that name", group.path, shorten(text)),
            remedy,
        );
        None
    }
}

/// Chains whose nodes tell what is final, by chain id: Ethereum with its test networks, and Arbitrum One, Nova and Sepolia, where `finalized` is
/// what a final block of Ethereum holds.
const TELL_WHAT_IS_FINAL: &[u64] = &[1, 17_000, 560_048, 11_155_111, 42_161, 42_170, 421_614];

/// When a block is final, as it is written or as the chain is known.
fn finality(group: &Group) -> Option<Finality> {
    let known = group.integer("chain_id").is_some_and(|id| TELL_WHAT_IS_FINAL.contains(&id));
    let meant = if group.given("finality_depth") {
        "depth"
    } else if group.given("finality_age_s") {
        "age"
    } else if known {
        "finalized"
    } else {
        "depth"
    };
    match group.text("finality").unwrap_or(meant) {
        "finalized" => Some(Finality::Tag(FinalityTag::Finalized)),
        "safe" => Some(Finality::Tag(FinalityTag::Safe)),
        "age" => Some(Finality::Age(Duration::from_secs(group.integer("finality_age_s")?))),
        _ => Some(Finality::Depth(group.integer("finality_depth")?)),
    }
}

fn completeness(group: &Group, key: &str) -> Option<Completeness> {
    match group.text(key)? {
        "receipts" => Some(Completeness::Receipts),
        "bloom" => Some(Completeness::Bloom),
        _ => Some(Completeness::Trusted),
    }
}

/// The port of a URL's authority, where it has one. A colon in a user's password or in an IPv6 address begins none.
fn port_of(authority: &str) -> Option<&str> {
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let after = host.rfind(']').map_or(host, |end| &host[end..]);
    after.split_once(':').map(|(_, port)| port)
}
