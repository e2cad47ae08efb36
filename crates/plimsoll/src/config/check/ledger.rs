//! The ledger's log: its name, and the key that signs it.

use alloy_primitives::hex;
use plimsoll_proof::ledger::checkpoint::NoteSigner;

use super::Check;
use crate::config::Ledger;
use crate::config::read::Group;
use crate::config::source::shorten;

impl Check<'_> {
    /// Whether there is one; `None` where a problem was noted.
    pub(super) fn ledger(&mut self, group: &Group) -> Option<Option<Ledger>> {
        let is_given = group.text("signing_key").is_some() || group.text("signing_key_file").is_some();
        let Some(name) = group.text("log_name") else {
            if is_given {
                self.problems.add(
                    group.origin.clone(),
                    "`ledger.log_name` is missing: a key signs logs of a name",
                    "add `log_name = \"books.example.com\"`: a name that is yours, and that stays",
                );
                return None;
            }
            return Some(None);
        };
        // Any key will do to see whether the name does.
        if NoteSigner::new(name, &[1; 32]).is_err() || name.len() > 200 {
            self.problems.add(
                group.origin_of("log_name"),
                format!("`ledger.log_name` is \"{}\", which no log can be called", shorten(name)),
                "write up to 200 characters without white space and `+`, as `books.example.com`",
            );
            return None;
        }
        if !is_given {
            return Some(None);
        }
        let (key, origin) = self.secret(group, "signing_key", "signing_key_file")?;
        let decoded: Option<[u8; 32]> =
            hex::decode(key.expose().trim()).ok().and_then(|bytes| bytes.try_into().ok());
        let Some(signer) = decoded.and_then(|bytes| NoteSigner::new(name, &bytes).ok()) else {
            let key =
                if origin == group.origin_of("signing_key") { "signing_key" } else { "signing_key_file" };
            self.problems.add(
                origin,
                format!("`ledger.{key}` is no signing key: 32 random bytes in hexadecimal"),
                "write one into a file: `openssl rand -hex 32`",
            );
            return None;
        };
        Some(Some(Ledger { log_name: name.to_owned(), signer: signer.into() }))
    }
}
