//! How decoded values are written as JSON: the way that payloads are stored and that mirrors are compared in.

use alloy_dyn_abi::DynSolValue;

/// Writes a decoded value as JSON: integers as decimal strings, bytes and addresses as lower-case hex, tuples as arrays.
pub fn write_json_value(value: &DynSolValue, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let mut hex = |bytes: &[u8]| {
        out.extend_from_slice(b"\"0x");
        for byte in bytes {
            out.extend_from_slice(&HEX_PAIRS[usize::from(*byte)]);
        }
        out.push(b'"');
    };
    match value {
        DynSolValue::Address(address) => hex(address.as_slice()),
        DynSolValue::FixedBytes(word, size) => hex(&word[..*size]),
        DynSolValue::Bytes(bytes) => hex(bytes),
        DynSolValue::Function(function) => hex(function.as_slice()),
        DynSolValue::Bool(true) => out.extend_from_slice(b"true"),
        DynSolValue::Bool(false) => out.extend_from_slice(b"false"),
        DynSolValue::Uint(value, _) => match u64::try_from(*value) {
            Ok(small) => write!(out, "\"{small}\"").expect("a Vec takes every write"),
            Err(_) => write!(out, "\"{value}\"").expect("a Vec takes every write"),
        },
        DynSolValue::Int(value, _) => write!(out, "\"{value}\"").expect("a Vec takes every write"),
        DynSolValue::String(text) => write_json_text(text, out),
        DynSolValue::Array(values) | DynSolValue::FixedArray(values) | DynSolValue::Tuple(values) => {
            out.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_json_value(value, out);
            }
            out.push(b']');
        }
    }
}

/// A JSON string. NUL, which Postgres's `jsonb` cannot hold, is written as U+FFFD; the raw data keeps the original.
pub(super) fn write_json_text(text: &str, out: &mut Vec<u8>) {
    let written = if text.contains('\0') {
        serde_json::to_writer(&mut *out, &text.replace('\0', "\u{fffd}"))
    } else {
        serde_json::to_writer(&mut *out, text)
    };
    written.expect("a string is always JSON");
}

const HEX_PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut i = 0;
    while i < 256 {
        pairs[i] = [digits[i >> 4], digits[i & 15]];
        i += 1;
    }
    pairs
};
