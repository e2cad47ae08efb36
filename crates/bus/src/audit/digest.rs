//! The digest of an entry. What it covers, and how, is in the documentation of [`super`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plimsoll_store::sequencer::Hash;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::Row;

/// Deeper JSON is refused: nothing that people audit is.
const MAX_DEPTH: usize = 64;
const TAG: &[u8] = b"plimsoll audit row v1\n";

/// Why a text has no canonical form.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CanonicalError {
    #[error("is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("contains a number with an exponent out of all proportion")]
    Exponent,
}

struct Fields(Sha256);

impl Fields {
    fn put(&mut self, field: Option<&[u8]>) {
        match field {
            None => self.0.update([0]),
            Some(bytes) => {
                self.0.update([1]);
                self.0.update((bytes.len() as u64).to_be_bytes());
                self.0.update(bytes);
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.put(Some(text.as_bytes()));
    }

    fn json(&mut self, json: Option<&str>) -> Result<(), CanonicalError> {
        let canonical = json.map(canonical).transpose()?;
        self.put(canonical.as_deref().map(str::as_bytes));
        Ok(())
    }
}

pub(crate) fn row_digest(row: &Row) -> Result<Hash, CanonicalError> {
    let mut fields = Fields(Sha256::new_with_prefix(TAG));
    let context = &row.context;
    fields.put(context.tenant_id.as_ref().map(|id| &id.as_bytes()[..]));
    fields.put(Some(context.request_id.as_bytes()));
    fields.put(context.user_id.as_ref().map(|id| &id.as_bytes()[..]));
    fields.text(&context.actor);
    fields.text(&row.action);
    fields.text(&row.target_type);
    fields.text(&row.target_id);
    fields.json(row.before.as_deref())?;
    fields.json(row.after.as_deref())?;
    fields.put(row.tx_id.as_deref().map(str::as_bytes));
    fields.put(row.reason.as_deref().map(str::as_bytes));
    fields.text(&context.correlation_id);
    let micros = row.recorded_at.unix_timestamp() * 1_000_000 + i64::from(row.recorded_at.microsecond());
    fields.put(Some(&micros.to_be_bytes()));
    Ok(fields.0.finalize().into())
}

/// The canonical form of a JSON text.
pub(crate) fn canonical(json: &str) -> Result<String, CanonicalError> {
    let mut out = String::with_capacity(json.len());
    write(json, 0, &mut out)?;
    Ok(out)
}

fn write(json: &str, depth: usize, out: &mut String) -> Result<(), CanonicalError> {
    if depth > MAX_DEPTH {
        return Err(CanonicalError::Depth);
    }
    let json = json.trim_ascii();
    match json.as_bytes().first() {
        Some(b'{') => {
            // Numbers stay text: nothing on the way may round them.
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            let mut before = '{';
            for (name, value) in &fields {
                out.push(before);
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
                write(value.get(), depth + 1, out)?;
                before = ',';
            }
            if fields.is_empty() {
                out.push('{');
            }
            out.push('}');
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(json)?;
            let mut before = '[';
            for value in &values {
                out.push(before);
                write(value.get(), depth + 1, out)?;
                before = ',';
            }
            if values.is_empty() {
                out.push('[');
            }
            out.push(']');
        }
        Some(b'"') => out.push_str(&serde_json::to_string(&serde_json::from_str::<String>(json)?)?),
        Some(b'-' | b'0'..=b'9') => {
            serde_json::from_str::<&RawValue>(json)?;
            write_number(json, out)?;
        }
        _ => {
            // `null`, `true`, `false`, or no JSON at all.
            out.push_str(serde_json::from_str::<&RawValue>(json)?.get());
        }
    }
    Ok(())
}

fn write_number(number: &str, out: &mut String) -> Result<(), CanonicalError> {
    let (sign, magnitude) = number.strip_prefix('-').map_or(("", number), |magnitude| ("-", magnitude));
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let exponent: i64 = exponent.parse().map_err(|_| CanonicalError::Exponent)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return Ok(());
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let shift = |length: usize| i64::try_from(length).map_err(|_| CanonicalError::Exponent);
    let exponent = exponent
        .checked_add(shift(zeros)?)
        .and_then(|exponent| exponent.checked_sub(shift(fraction.len()).ok()?))
        .ok_or(CanonicalError::Exponent)?;
    let _infallible = write!(out, "{sign}{significant}e{exponent}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_types::Context;
    use time::OffsetDateTime;
    use uuid::Uuid;

    #[test]
    fn one_value_has_one_form() {
        for (json, form) in [
            (r#" { "b" : 1.0, "a": [ ] , "c" : {} } "#, r#"{"a":[],"b":1e0,"c":{}}"#),
            ("1200", "12e2"),
            ("0.50", "5e-1"),
            ("-0.0", "0"),
            ("1e2", "1e2"),
            ("100.000", "1e2"),
            ("1E+2", "1e2"),
            ("-12.5e-3", "-125e-4"),
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
                "115792089237316195423570985008687907853269984665640564039457584007913129639935e0",
            ),
            (r#""\u0041\/\u00e9\n""#, "\"A/é\\n\""),
            ("[true,null,false]", "[true,null,false]"),
        ] {
            assert_eq!(canonical(json).unwrap(), form, "{json}");
            if !json.contains("é") {
                assert_eq!(canonical(form).unwrap(), form);
            }
        }
        for wrong in ["", "nul", "{", "1 2", "01", "{\"a\":}", "1e99999999999999999999"] {
            assert!(canonical(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(canonical(&"[".repeat(200)), Err(CanonicalError::Syntax(_))));
        assert!(matches!(
            canonical(&format!("{}{}", "[".repeat(100), "]".repeat(100))),
            Err(CanonicalError::Depth)
        ));
    }

    fn row() -> Row {
        Row {
            context: Context::new(Uuid::from_u128(1), "cli:root")
                .on_behalf_of(Uuid::from_u128(2), Some(Uuid::from_u128(3))),
            action: "user.suspend".into(),
            target_type: "user".into(),
            target_id: "7".into(),
            before: Some(r#"{"status":"active"}"#.into()),
            after: None,
            tx_id: None,
            reason: Some("ticket 42".into()),
            recorded_at: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
        }
    }

    #[test]
    fn every_field_is_covered_and_none_runs_into_the_next() {
        let known = row_digest(&row()).unwrap();
        let with = |change: fn(&mut Row)| {
            let mut row = row();
            change(&mut row);
            row_digest(&row).unwrap()
        };
        for (field, changed) in [
            ("tenant_id", with(|row| row.context.tenant_id = None)),
            ("request_id", with(|row| row.context.request_id = Uuid::from_u128(9))),
            ("user_id", with(|row| row.context.user_id = None)),
            ("actor", with(|row| row.context.actor.push('x'))),
            ("action", with(|row| row.action.push('x'))),
            ("target_type", with(|row| row.target_type.push('x'))),
            ("target_id", with(|row| row.target_id.push('x'))),
            ("before", with(|row| row.before = None)),
            ("after", with(|row| row.after = Some("null".into()))),
            ("tx_id", with(|row| row.tx_id = Some(String::new()))),
            ("reason", with(|row| row.reason = None)),
            ("correlation_id", with(|row| row.context.correlation_id.push('x'))),
            ("recorded_at", with(|row| row.recorded_at += time::Duration::MICROSECOND)),
            (
                "two fields' border",
                with(|row| (row.target_type, row.target_id) = ("use".into(), "r7".into())),
            ),
        ] {
            assert_ne!(known, changed, "{field}");
        }
        assert_eq!(known, with(|row| row.before = Some(r#" {"status" : "active"}"#.into())));
        assert_eq!(known, with(|row| row.context.causation_id = Some("not of the row".into())));
    }
}
