//! Who sits at the terminal.

use std::fs::read_to_string;

/// As the audit log names who runs a command: `cli:<user of the system>`, by the process's real user id. A variable such as `USER` is not asked:
/// anyone can set it.
pub(in crate::commands) fn actor() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = read_to_string("/etc/passwd").unwrap_or_default(); // without it there is still the number
    match name_of(uid, &users) {
        Some(name) => format!("cli:{name}"),
        None => format!("cli:uid-{uid}"),
    }
}

fn name_of(uid: u32, users: &str) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name).filter(|name| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\n:x:7:7::/:\n";
        assert_eq!((name_of(0, users), name_of(1000, users)), (Some("root"), Some("ada")));
        assert_eq!((name_of(1, users), name_of(7, users)), (None, None));
    }
}
