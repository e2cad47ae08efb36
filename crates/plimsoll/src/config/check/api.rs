//! Where the API listens, who may reach it how, and how often.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use plimsoll_api::{Clients, Rate, RateLimits, TlsFiles};

use super::{Check, duration, narrow};
use crate::config::read::Group;
use crate::config::source::shorten;
use crate::config::{Api, Internal};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

impl Check<'_> {
    pub(super) fn api(&mut self, group: &Group) -> Option<Api> {
        let listen = self.listen_address(group, "listen")?;
        let tls = self.tls(group);
        let is_tls = tls.as_ref().is_some_and(Option::is_some);
        let public_url = self.public_url(group, listen, is_tls);
        let node_url = self.node_url(group);
        let internal = self.internal(group, listen);
        let trusted_proxies =
            self.each(group, "trusted_proxies", network, "write an IP address or a network, as `10.0.0.0/8`");
        let cors_origins = self.each(group, "cors_origins", origin, "write a scheme, a host in lower case and perhaps a port, as `https://console.example`, and no path");
        let rate = |period, requests: &str, burst: &str| {
            Some(Rate::per(period, narrow(group.integer(requests))?, narrow(group.integer(burst))?))
        };
        Some(Api {
            listen,
            listen_origin: group.origin_of("listen"),
            public_url: public_url?,
            node_url: node_url?,
            tls: tls?,
            internal: internal?,
            trusted_proxies: trusted_proxies?,
            cors_origins: cors_origins?,
            open_reads: group.text("anonymous_reads")? == "allow",
            request_timeout: duration(group, "request_timeout_ms")?,
            body_timeout: duration(group, "body_timeout_ms")?,
            write_timeout: duration(group, "write_timeout_ms")?,
            max_concurrent_requests: narrow(group.integer("max_concurrent_requests"))?,
            max_costly_requests: narrow(group.integer("max_costly_requests"))?,
            max_connections: narrow(group.integer("max_connections"))?,
            max_streams: narrow(group.integer("max_streams"))?,
            max_streams_per_tenant: narrow(group.integer("max_streams_per_tenant"))?,
            rate_limits: RateLimits {
                address: rate(SECOND, "address_requests_per_second", "address_burst")?,
                sign_in: rate(MINUTE, "sign_in_requests_per_minute", "sign_in_burst")?,
                user: rate(SECOND, "user_requests_per_second", "user_burst")?,
                tenant: rate(SECOND, "tenant_requests_per_second", "tenant_burst")?,
            },
        })
    }

    fn listen_address(&mut self, group: &Group, key: &str) -> Option<SocketAddr> {
        let text = group.text(key)?;
        if let Ok(address) = SocketAddr::from_str(text) {
            return Some(address);
        }
        let what = match text.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_err() => {
                format!("`{}` is no port from 0 to 65535", shorten(port))
            }
            Some((host, _)) => format!("`{}` is no IP address", shorten(host)),
            None => "the port is missing".into(),
        };
        self.problems.add(
            group.origin_of(key),
            format!("`api.{key}` is \"{}\": {what}", shorten(text)),
            "write an IP address and a port, as `127.0.0.1:8080`, or `0.0.0.0:8080` for every interface",
        );
        None
    }

    /// An origin: a scheme, a host and perhaps a port. What sign-in messages name has no path.
    fn public_url(&mut self, group: &Group, listen: SocketAddr, is_tls: bool) -> Option<String> {
        let scheme = if is_tls { "https" } else { "http" };
        let Some(given) = group.text("public_url") else { return Some(format!("{scheme}://{listen}")) };
        let url = given.strip_suffix('/').unwrap_or(given);
        if is_origin(url) {
            return Some(url.to_owned());
        }
        self.problems.add(
            group.origin_of("public_url"),
            "`api.public_url` is not of the form `https://host` or `https://host:port`",
            "give the scheme, the host and, if it is not the usual one, the port under which users reach the API, and no path",
        );
        None
    }

    /// `Some(None)`: nobody is told where this process is by itself.
    fn node_url(&mut self, group: &Group) -> Option<Option<String>> {
        let Some(given) = group.text("node_url") else { return Some(None) };
        let url = given.strip_suffix('/').unwrap_or(given);
        if is_origin(url) {
            return Some(Some(url.to_owned()));
        }
        self.problems.add(
            group.origin_of("node_url"),
            "`api.node_url` is not of the form `https://host` or `https://host:port`",
            "give the scheme, the host and, if it is not the usual one, the port under which this process alone is reached, and no path",
        );
        None
    }

    /// `Some(None)`: plain HTTP.
    fn tls(&mut self, group: &Group) -> Option<Option<TlsFiles>> {
        let authorities = self.file(group, "client_ca_file");
        let is_required = group.text("client_certificates") == Some("require");
        let (certificate, key) = (self.file(group, "tls_cert_file"), self.file(group, "tls_key_file"));
        let (is_whole, wanting, given) = match (&certificate, &key) {
            (Some(_), None) => (false, "tls_key_file", "tls_cert_file"),
            (None, Some(_)) => (false, "tls_cert_file", "tls_key_file"),
            (None, None) if authorities.is_some() => (false, "tls_cert_file", "client_ca_file"),
            _ if is_required && authorities.is_none() => (false, "client_ca_file", "client_certificates"),
            _ => (true, "", ""),
        };
        if !is_whole {
            self.problems.add(
                group.origin_of(given),
                format!("`api.{given}` is of no use without `api.{wanting}`"),
                match given {
                    "client_certificates" => "name there the authorities whose certificates you require, or leave `client_certificates` out",
                    _ => "give both, or neither; without `tls_cert_file` and `tls_key_file` the API speaks plain HTTP",
                },
            );
            return None;
        }
        let (Some(certificate), Some(key)) = (certificate, key) else { return Some(None) };
        let clients = match authorities {
            None => Clients::NotAsked,
            Some(path) if is_required => Clients::Required(path),
            Some(path) => Clients::Asked(path),
        };
        Some(Some(TlsFiles { certificate, key, clients }))
    }

    /// `Some(None)`: there is none. One that others reach asks each client for a certificate.
    fn internal(&mut self, group: &Group, public: SocketAddr) -> Option<Option<Internal>> {
        if !group.given("internal_listen") {
            return Some(None);
        }
        let listen = self.listen_address(group, "internal_listen")?;
        let origin = group.origin_of("internal_listen");
        if listen == public && listen.port() != 0 {
            self.problems.add(
                origin,
                "`api.internal_listen` is the address of `api.listen`",
                "give each its own address or port, or leave `internal_listen` out",
            );
            return None;
        }
        if listen.ip().is_loopback() {
            return Some(Some(Internal { listen, origin, tls: None }));
        }
        let files = ["tls_cert_file", "tls_key_file", "client_ca_file"].map(|key| self.file(group, key));
        let [Some(certificate), Some(key), Some(authorities)] = files else {
            self.problems.add(
                origin,
                "`api.internal_listen` can be reached from other machines, and nothing says whose certificates are let in",
                "set `tls_cert_file`, `tls_key_file` and `client_ca_file` beside it, or listen on 127.0.0.1",
            );
            return None;
        };
        let tls = Some(TlsFiles { certificate, key, clients: Clients::Required(authorities) });
        Some(Some(Internal { listen, origin, tls }))
    }

    fn file(&self, group: &Group, key: &str) -> Option<PathBuf> {
        group.text(key).map(|path| self.path(path))
    }

    /// Every text of a list, read; `None` where a problem was noted.
    fn each<T>(
        &mut self,
        group: &Group,
        key: &str,
        read: fn(&str) -> Option<T>,
        remedy: &str,
    ) -> Option<Vec<T>> {
        let mut all = Some(Vec::new());
        for (text, origin) in group.texts(key) {
            match read(text) {
                Some(value) => {
                    if let Some(all) = &mut all {
                        all.push(value);
                    }
                }
                None => {
                    let what = format!("`api.{key}` has \"{}\" in it, which cannot be used", shorten(text));
                    self.problems.add(origin.clone(), what, remedy);
                    all = None;
                }
            }
        }
        all
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// As browsers write it (RFC 6454 §6.2).
fn origin(text: &str) -> Option<String> {
    (is_origin(text) && text.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()))
        .then(|| text.to_owned())
}

fn is_origin(text: &str) -> bool {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    authority.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '*']))
}
