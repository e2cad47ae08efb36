//! The ledger's log: its name, and the key that signs it.

use alloy_primitives::hex;
use plimsoll_proof::ledger::checkpoint::NoteSigner;

use super::Check;
use crate::config::Ledger;
use crate::config::read::Group;
use crate::config::source::shorten;

/// As long as the database keeps one.
const NAME_MAX_CHARS: usize = 200;

impl Check<'_> {
    /// Whether there is one; `None` where a problem was noted. Name and key are both looked at, so that both are told.
    pub(super) fn ledger(&mut self, group: &Group) -> Option<Option<Ledger>> {
        let is_given = |key| group.text(key).is_some();
        let has_key = is_given("signing_key") || is_given("signing_key_file");
        let key = if has_key { self.signing_key(group).map(Some) } else { Some(None) };
        // Any key will do to see whether the name does.
        let log = self.log(group, &key.flatten().unwrap_or([1; 32]), has_key);
        let (key, log) = (key?, log?);
        Some(log.filter(|_| key.is_some()))
    }

    /// The log that is named, signed with this key; `None` where a problem was noted.
    fn log(&mut self, group: &Group, key: &[u8; 32], has_key: bool) -> Option<Option<Ledger>> {
        let Some(name) = group.text("log_name") else {
            if !has_key {
                return Some(None);
            }
            self.problems.add(
                group.origin.clone(),
                "`ledger.log_name` is missing: a key signs logs of a name",
                "add `log_name = \"books.example.com\"`: a name that is yours, and that stays",
            );
            return None;
        };
        let signer = NoteSigner::new(name, key).ok();
        let Some(signer) = signer.filter(|_| name.chars().count() <= NAME_MAX_CHARS) else {
            self.problems.add(
                group.origin_of("log_name"),
                format!("`ledger.log_name` is \"{}\", which no log can be called", shorten(name)),
                "write up to 200 characters without white space and `+`, as `books.example.com`",
            );
            return None;
        };
        Some(Some(Ledger { log_name: name.to_owned(), signer: signer.into() }))
    }

    fn signing_key(&mut self, group: &Group) -> Option<[u8; 32]> {
        let (text, origin) = self.secret(group, "signing_key", "signing_key_file")?;
        let key: Option<[u8; 32]> =
            hex::decode(text.expose().trim()).ok().and_then(|bytes| bytes.try_into().ok());
        if key.is_none() {
            let of_text = origin == group.origin_of("signing_key");
            let key = if of_text { "signing_key" } else { "signing_key_file" };
            self.problems.add(
                origin,
                format!("`ledger.{key}` is no signing key: 32 random bytes in hexadecimal"),
                "write one into a file: `openssl rand -hex 32`",
            );
        }
        key
    }
}
