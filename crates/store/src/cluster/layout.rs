//! The data directory: what is in it, who owns it, who may work on it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

use super::ClusterError;

const OWNER_ONLY: u32 = 0o700;
/// Root keeps the directory itself, and Postgres's user passes through it to what is its own.
const PASS_THROUGH: u32 = 0o711;
/// `sockaddr_un` holds 108 bytes; `/.s.PGSQL.5432.lock` takes 19.
const MAX_SOCKET_DIR_BYTES: usize = 88;

/// Where everything of one cluster lies.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) user: Option<ServerUser>,
}

/// The unprivileged user that the server runs as when we are root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUser {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Layout {
    /// Of an existing directory or of one to be made; nothing is touched.
    pub(crate) fn of(data_dir: &Path) -> Result<Self, ClusterError> {
        let root = std::path::absolute(data_dir).map_err(file_error("reading", data_dir))?;
        let user = if rustix::process::geteuid().is_root() { Some(ServerUser::find()?) } else { None };
        Ok(Self { root, user })
    }

    pub(crate) fn pgdata(&self) -> PathBuf {
        self.root.join("postgres")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("plimsoll.lock")
    }

    /// The major version of the server that made the data, if there is any.
    pub(crate) fn data_major(&self) -> Result<Option<u32>, ClusterError> {
        let path = self.pgdata().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ClusterError::File { action: "reading", path, source }),
        }
    }

    /// Makes the directory, or makes sure that it is ours.
    pub(crate) fn prepare(&self) -> Result<(), ClusterError> {
        if !self.root.exists() {
            DirBuilder::new()
                .recursive(true)
                .create(&self.root)
                .map_err(file_error("creating the data directory", &self.root))?;
        } else if !self.lock().exists() {
            let mut entries =
                fs::read_dir(&self.root).map_err(file_error("reading the data directory", &self.root))?;
            if entries.next().is_some() {
                return Err(ClusterError::NotOurs { data_dir: self.root.clone() });
            }
        }
        set_mode(&self.root, if self.user.is_some() { PASS_THROUGH } else { OWNER_ONLY })?;
        self.check_passable()
    }

    /// Every directory above must let the server's user through.
    fn check_passable(&self) -> Result<(), ClusterError> {
        let Some(user) = &self.user else { return Ok(()) };
        for dir in self.root.ancestors() {
            let meta = fs::metadata(dir).map_err(file_error("looking at", dir))?;
            let bit = match () {
                () if meta.uid() == user.uid => 0o100,
                () if meta.gid() == user.gid => 0o010,
                () => 0o001,
            };
            if meta.mode() & bit == 0 {
                return Err(ClusterError::Unreachable { user: user.name.clone(), blocked: dir.to_owned() });
            }
        }
        Ok(())
    }

    /// A directory that belongs to the server's user alone. An existing one is accepted only if it is just that.
    pub(crate) fn private_dir(&self, path: &Path) -> Result<(), ClusterError> {
        match DirBuilder::new().mode(OWNER_ONLY).create(path) {
            Ok(()) => {
                if let Some(user) = &self.user {
                    chown(path, Some(user.uid), Some(user.gid))
                        .map_err(file_error("giving to the server's user", path))?;
                }
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(path).map_err(file_error("looking at", path))?;
                let uid =
                    self.user.as_ref().map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
                if !meta.is_dir() || meta.uid() != uid {
                    let source = std::io::Error::new(
                        std::io::ErrorKind::PermissionDenied,
                        "it belongs to another user",
                    );
                    return Err(ClusterError::File {
                        action: "using as the server's own directory",
                        path: path.to_owned(),
                        source,
                    });
                }
                set_mode(path, OWNER_ONLY)
            }
            Err(source) => Err(ClusterError::File { action: "creating", path: path.to_owned(), source }),
        }
    }

    /// Where the socket goes: inside the data directory, or, when that path is too long for a socket (or has characters that the
    /// server's own list syntax takes apart), in the temporary directory under a name that follows from the data directory.
    pub(crate) fn socket_dir(&self) -> PathBuf {
        let inside = self.root.join("run");
        let text = inside.to_string_lossy();
        let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
        if is_plain && text.len() <= MAX_SOCKET_DIR_BYTES {
            return inside;
        }
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let short: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let base = std::env::var_os("XDG_RUNTIME_DIR")
            .filter(|_| self.user.is_none())
            .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        base.join(format!("plimsoll-{short}"))
    }
}

impl ServerUser {
    fn find() -> Result<Self, ClusterError> {
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).map_err(file_error("reading", path))?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Self::parse(&passwd, name))
            .ok_or(ClusterError::NoUser)
    }

    fn parse(passwd: &str, name: &str) -> Option<Self> {
        let fields = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))?;
        Some(Self {
            name: name.to_owned(),
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
        })
    }
}

/// Held for as long as a process works on the data directory. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    pub(crate) fn take(layout: &Layout) -> Result<Self, ClusterError> {
        let path = layout.lock();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(file_error("opening", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(file_error("reading", &path))?;
                return Err(ClusterError::InUse {
                    data_dir: layout.root.clone(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(error) => return Err(ClusterError::File { action: "locking", path, source: error.into() }),
        }
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(file_error("writing", &path))?;
        Ok(Self { _file: file })
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ClusterError> {
    let meta = fs::metadata(path).map_err(file_error("looking at", path))?;
    if meta.mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(file_error("setting the mode of", path))
}

pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ClusterError {
    let path = path.to_owned();
    move |source| ClusterError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_gets_a_short_one_that_is_always_the_same() {
        let long = Layout { root: PathBuf::from("/srv").join("x".repeat(120)), user: None };
        assert!(long.socket_dir().as_os_str().len() <= MAX_SOCKET_DIR_BYTES);
        assert_eq!(long.socket_dir(), long.clone().socket_dir());
        let short = Layout { root: PathBuf::from("/srv/plimsoll"), user: None };
        assert_eq!(short.socket_dir(), Path::new("/srv/plimsoll/run"));
        let comma = Layout { root: PathBuf::from("/srv/a,b"), user: None };
        assert!(!comma.socket_dir().starts_with("/srv"));
    }

    #[test]
    fn the_servers_user_is_read_from_passwd() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        let user = ServerUser::parse(passwd, "postgres").unwrap();
        assert_eq!((user.uid, user.gid), (101, 104));
        assert_eq!(ServerUser::parse(passwd, "nobody"), None);
    }
}
