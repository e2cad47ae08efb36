//! Whose address a request came from.
//!
//! The peer of the connection, unless that is one of the operator's own proxies: then the last address in `Forwarded` (RFC 7239) or
//! `X-Forwarded-For` that is none of theirs. Everything before that one was written by a stranger, and is not looked at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::header::FORWARDED;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What a client of IPv6 has to itself: at least so many leading bits.
const IPV6_PREFIX_BITS: u32 = 64;

/// Request extension: the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Request extension: the address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

impl Client {
    /// What counts as one client: an IPv4 address, or an IPv6 network, in which nobody needs to ask twice under one address.
    pub(super) fn key(self) -> u128 {
        match self.0 {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() >> (u128::BITS - IPV6_PREFIX_BITS),
        }
    }
}

/// The client's address; requests that came over no connection share one.
pub(super) fn address(request: &Request, trusted: &[IpNet]) -> IpAddr {
    let Some(Peer(peer)) = request.extensions().get::<Peer>().copied() else {
        return Ipv6Addr::UNSPECIFIED.into();
    };
    behind(peer.to_canonical(), request.headers(), trusted)
}

fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = last_untrusted(peer, headers, &FORWARDED, forwarded_for, trusted);
    let x_forwarded_for = last_untrusted(peer, headers, &X_FORWARDED_FOR, host, trusted);
    match (forwarded, x_forwarded_for) {
        (Some(address), None) | (None, Some(address)) => address,
        (Some(one), Some(other)) if one == other => one,
        // A proxy writes one of the two and lets the other through, and nobody can tell which.
        (Some(_), Some(_)) | (None, None) => peer,
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// From the right, the first address that is none of the operator's; `None` when there is no such header. At what cannot be read, the proxy that
/// wrote it answers for it.
fn last_untrusted(
    peer: IpAddr,
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl Fn(&str) -> Option<IpAddr>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut found = None;
    for value in headers.get_all(name).iter().rev() {
        let before = *found.get_or_insert(peer);
        let Ok(value) = value.to_str() else { return Some(before) };
        for hop in value.rsplit(',') {
            let Some(address) = read(hop.trim()) else { return found };
            found = Some(address);
            if !is_trusted(address, trusted) {
                return found;
            }
        }
    }
    found
}

/// The `for` of one element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        name.trim().eq_ignore_ascii_case("for").then(|| host(value)).flatten()
    })
}

/// An address, with or without brackets and a port.
fn host(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(peer: &str, headers: &[(HeaderName, &str)]) -> String {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer: IpAddr = peer.parse().unwrap();
        behind(peer.to_canonical(), &map, &trusted).to_string()
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        let claims = [(X_FORWARDED_FOR, "192.0.2.1"), (FORWARDED, "for=192.0.2.1")];
        assert_eq!(client("203.0.113.9", &claims), "203.0.113.9");
    }

    #[test]
    fn behind_proxies_it_is_the_last_address_that_is_none_of_theirs() {
        for (said, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1", "192.0.2.1"),
            ("198.51.100.7, 192.0.2.1, 10.1.1.1,10.2.2.2", "192.0.2.1"),
            ("192.0.2.1:5123", "192.0.2.1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("10.3.3.3", "10.3.3.3"),
            ("192.0.2.1, unknown", "10.0.0.1"),
            ("192.0.2.1, unknown, 10.3.3.3", "10.3.3.3"),
            ("", "10.0.0.1"),
            ("é", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(X_FORWARDED_FOR, said)]), expected, "{said}");
        }
        assert_eq!(client("::ffff:10.0.0.1", &[(X_FORWARDED_FOR, "192.0.2.1")]), "192.0.2.1");
        let two = [(X_FORWARDED_FOR, "198.51.100.7"), (X_FORWARDED_FOR, "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &two), "192.0.2.1", "several headers are one list");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (said, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("proto=https; For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=198.51.100.17, for=192.0.2.43, for=10.1.1.1", "192.0.2.43"),
            ("for=_hidden, for=10.1.1.1", "10.1.1.1"),
            ("by=203.0.113.43", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[(FORWARDED, said)]), expected, "{said}");
        }
    }

    #[test]
    fn two_headers_that_disagree_are_believed_neither() {
        let both = |other| client("10.0.0.1", &[(FORWARDED, "for=192.0.2.1"), (X_FORWARDED_FOR, other)]);
        assert_eq!(both("192.0.2.1"), "192.0.2.1");
        assert_eq!(both("198.51.100.7"), "10.0.0.1");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let key = |address: &str| Client(address.parse().unwrap()).key();
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }
}
