//! Lists in recursive length prefix encoding (yellow paper, appendix B), written in one pass.

use alloy_rlp::{Decodable, Error, Header};

/// A list's head is at most one byte and eight of length.
const HEAD_BYTES: usize = 9;

/// Appends a list whose members `write` appends.
pub(crate) fn list(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    close_list(out, start);
}

/// Makes a list of all that was appended since `out` was `start` long.
///
/// The members are moved to make room for the head, which costs less than finding out their length beforehand.
pub(crate) fn close_list(out: &mut Vec<u8>, start: usize) {
    let payload_length = out.len() - start;
    let mut head = [0; HEAD_BYTES];
    let mut free = head.as_mut_slice();
    Header { list: true, payload_length }.encode(&mut free);
    let head_bytes = HEAD_BYTES - free.len();
    out.resize(start + head_bytes + payload_length, 0);
    out.copy_within(start..start + payload_length, start + head_bytes);
    out[start..start + head_bytes].copy_from_slice(&head[..head_bytes]);
}

/// Takes a list off the front of `rest`: its members.
pub(crate) fn take_list<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    Header::decode_bytes(rest, true)
}

/// Takes a value off the front of `rest` where there is one.
pub(crate) fn take_optional<T: Decodable>(rest: &mut &[u8]) -> Result<Option<T>, Error> {
    if rest.is_empty() { Ok(None) } else { T::decode(rest).map(Some) }
}

/// Nothing may be left.
pub(crate) fn end(rest: &[u8]) -> Result<(), Error> {
    if rest.is_empty() { Ok(()) } else { Err(Error::Custom("bytes after the end")) }
}

#[cfg(test)]
mod tests {
    use alloy_rlp::Encodable;

    use super::*;

    #[test]
    fn a_list_of_any_length_is_written_as_the_library_writes_it() {
        for members in [0, 1, 55, 56, 57, 255, 256, 70_000] {
            let mut ours = vec![0xaa];
            list(&mut ours, |out| vec![7; members].iter().for_each(|byte: &u8| byte.encode(out)));
            let mut theirs = vec![0xaa];
            alloy_rlp::encode_list::<u8, u8>(&vec![7; members], &mut theirs);
            assert_eq!(ours, theirs, "{members} members");
        }
    }
}
