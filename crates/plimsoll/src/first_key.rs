//! The first signing key of an installation that has none.
//!
//! The directory of keys appears whole or not at all: a process that is killed while it makes the key leaves none that the next one would have to refuse.
//! What it leaves is a directory beside it that nobody reads, and that a process of the same id removes.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use plimsoll_identity::keys::{SIGNING_FILE, generate_pem};
use secrecy::ExposeSecret as _;

/// Whether a signing key had to be made. A directory that has other keys but none that signs is left alone: loading it says what is missing.
pub(crate) fn make_key(directory: &Path) -> io::Result<bool> {
    if directory.exists() {
        return Ok(false);
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let unfinished = unfinished(directory);
    remove(&unfinished)?;
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished.join(SIGNING_FILE))?;
    file.write_all(generate_pem().expose_secret().as_bytes())?;
    file.sync_all()?;
    File::open(&unfinished)?.sync_all()?;
    if let Err(error) = std::fs::rename(&unfinished, directory) {
        remove(&unfinished)?;
        // Another process was quicker, and its key is everybody's.
        return if directory.exists() { Ok(false) } else { Err(error) };
    }
    File::open(parent)?.sync_all()?;
    Ok(true)
}

/// Where a key is made.
fn unfinished(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".unfinished-{}", std::process::id()));
    directory.with_file_name(name)
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use plimsoll_identity::keys::{KeyDirectory, Keys};

    use super::*;

    fn is_whole(directory: &Path) -> bool {
        Keys::load(&KeyDirectory(directory.to_owned())).is_ok()
    }

    #[test]
    fn the_directory_of_keys_is_never_seen_without_a_whole_key() {
        let home = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let directory = home.path().join(format!("of/{round}/keys"));
            let is_made = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let looker = scope.spawn(|| {
                    while !is_made.load(Ordering::SeqCst) {
                        assert!(!directory.exists() || is_whole(&directory), "round {round}");
                    }
                });
                assert!(make_key(&directory).unwrap());
                is_made.store(true, Ordering::SeqCst);
                looker.join().unwrap();
            });
            assert!(is_whole(&directory));
            assert_eq!(std::fs::read_dir(directory.parent().unwrap()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way_and_what_is_there_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("keys");
        std::fs::create_dir(unfinished(&directory)).unwrap();
        std::fs::write(unfinished(&directory).join(SIGNING_FILE), "-----BEGIN").unwrap();
        assert!(make_key(&directory).unwrap());
        let made = std::fs::read(directory.join(SIGNING_FILE)).unwrap();
        assert!(!make_key(&directory).unwrap());
        assert_eq!(std::fs::read(directory.join(SIGNING_FILE)).unwrap(), made);

        let others = home.path().join("others");
        std::fs::create_dir(&others).unwrap();
        assert!(!make_key(&others).unwrap());
        assert_eq!(std::fs::read_dir(&others).unwrap().count(), 0);
    }
}
