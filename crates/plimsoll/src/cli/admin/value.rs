//! Values of arguments: each says what it wanted when it was given something else.

use std::time::Duration;

use alloy_primitives::{Address, hex};
use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use plimsoll_identity::Permission;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};

/// An end of a range of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// By number.
    Number(i64),
    /// By time.
    Time(OffsetDateTime),
}

pub(super) fn bound(text: &str) -> Result<Bound, String> {
    if let Ok(number) = text.parse::<i64>() {
        return if number > 0 { Ok(Bound::Number(number)) } else { Err("numbers begin at 1".into()) };
    }
    if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(Bound::Time(time));
    }
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map(|date| Bound::Time(date.with_time(Time::MIDNIGHT).assume_utc()))
        .map_err(|_| {
            "a number of the log, a day as 2026-01-31 (UTC), or a time as 2026-01-31T08:00:00Z is needed"
                .into()
        })
}

/// A length of time: a whole number and `s`, `m`, `h` or `d`.
pub(super) fn term(text: &str) -> Result<Duration, String> {
    let wanted = || "a length of time is a whole number and a unit: 30m, 24h, 90d; or 0".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit_at = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at)).ok_or_else(wanted)?;
    let (count, unit) = text.split_at(unit_at);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wanted()),
    };
    let count: u64 = count.parse().map_err(|_| wanted())?;
    count
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(|| "that is longer than anything lasts".into())
}

/// An address: in one case, or with a correct checksum (EIP-55).
pub(super) fn address(text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40);
    let parsed = digits.and_then(|_| text.parse::<Address>().ok());
    let parsed = parsed.ok_or("an address is `0x` and 40 hexadecimal digits")?;
    let is_mixed =
        text.contains(|c: char| c.is_ascii_uppercase()) && text.contains(|c: char| matches!(c, 'a'..='f'));
    if is_mixed && parsed.to_checksum(None) != text {
        return Err(format!(
            "its checksum (EIP-55) is wrong: look for a slip of the hand; if there is none it is {}",
            parsed.to_checksum(None)
        ));
    }
    Ok(parsed)
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256(text: &str) -> Result<[u8; 32], String> {
    hex::decode_to_array(text).map_err(|_| {
        "a SHA-256 hash is 64 hexadecimal digits: `openssl x509 -in client.pem -outform der | sha256sum`"
            .into()
    })
}

/// The beginning of every link: a URL without query, fragment and closing slash.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ', '@']) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("a URL as https://plimsoll.example.org is needed".into()),
    }
}

/// A permission by its name; the shell completes it, and a slip is corrected.
pub(super) fn permission() -> ValueParser {
    let names = PossibleValuesParser::new(Permission::ALL.iter().map(|permission| permission.name()));
    names.try_map(|name| Permission::from_name(&name).ok_or("no such permission")).into()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_bound_is_a_number_a_day_or_a_time() {
        for (text, expected) in [
            ("1", Some(Bound::Number(1))),
            ("0", None),
            ("-4", None),
            ("2026-01-31", Some(Bound::Time(datetime!(2026-01-31 00:00 UTC)))),
            ("2026-01-31T08:00:00Z", Some(Bound::Time(datetime!(2026-01-31 08:00 UTC)))),
            ("2026-01-31T08:00:00+02:00", Some(Bound::Time(datetime!(2026-01-31 06:00 UTC)))),
            ("2026-02-30", None),
            ("yesterday", None),
        ] {
            assert_eq!(bound(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_term_has_a_unit() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("90s", Some(90)),
            ("30m", Some(1_800)),
            ("24h", Some(86_400)),
            ("90d", Some(7_776_000)),
            ("90", None),
            ("d", None),
            ("", None),
            ("1.5h", None),
            ("-1h", None),
            ("1€", None),
            ("99999999999999999999d", None),
            ("9999999999999999999d", None),
        ] {
            assert_eq!(term(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_slip_of_the_hand_is_none() {
        let right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let wrong = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD";
        assert!(address(right).is_ok() && address(&right.to_lowercase()).is_ok());
        assert!(address(wrong).unwrap_err().contains(right));
        for text in ["", "0x", &right[2..], "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeA", "vitalik.eth"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_base_url_leads_to_a_server_and_nowhere_within() {
        for (text, expected) in [
            ("https://p.example", Some("https://p.example")),
            ("https://p.example/", Some("https://p.example")),
            ("http://127.0.0.1:8080/console", Some("http://127.0.0.1:8080/console")),
            ("https://", None),
            ("p.example", None),
            ("ftp://p.example", None),
            ("https://p.example/?a", None),
            ("https://p.example/#a", None),
        ] {
            assert_eq!(base_url(text).ok().as_deref(), expected, "{text}");
        }
    }
}
