//! Whether there is room for what a run writes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// What a whole run from a cold cache writes at most, beside what is there: 6 GB of compiled code, databases and chains of the tests.
const WANTED_MIB: u64 = 10 * 1024;

/// Says so when a run from a cold cache might not find room in `place`.
pub(crate) fn warn_when_short(place: &Path) {
    match free_mib(place) {
        Ok(free) if free < WANTED_MIB => println!(
            "disk: {free} MiB are free for {}, and a run from a cold cache may write {WANTED_MIB} MiB: make room, or set \
             CARGO_TARGET_DIR and TMPDIR to where there is some",
            place.display()
        ),
        Ok(_) => {}
        Err(error) => println!("disk: {error:#}"),
    }
}

fn free_mib(place: &Path) -> Result<u64> {
    let there = place.ancestors().find(|dir| dir.exists()).unwrap_or(place);
    let said = process::output(Command::new("df").args(["-P", "-m"]).arg(there))?;
    available(&said).with_context(|| format!("`df` said of {} what cannot be read: {said}", there.display()))
}

/// The fourth column of the second line (POSIX).
fn available(said: &str) -> Option<u64> {
    said.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_of_df_as_it_speaks() {
        let said = "Filesystem     1048576-blocks  Used Available Capacity Mounted on\n/dev/vda               257899 90112      6758      94% /\n";
        assert_eq!(available(said), Some(6758));
        assert_eq!(available("nothing"), None);
        assert!(free_mib(&std::env::temp_dir().join("not/there/yet")).unwrap() > 0);
    }
}
