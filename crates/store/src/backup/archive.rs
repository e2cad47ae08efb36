//! The file: archive, manifest, length of the manifest, magic. Read from the end.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::file;
use super::{BackupError, Manifest, sync_parent};

const MAGIC: &[u8; 16] = b"PLIMSOLL-BACKUP1";
/// Length of the manifest as a u64, then the magic.
const TRAILER_BYTES: u64 = 8 + 16;
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;
const CHUNK_BYTES: usize = 256 * 1024;

pub(super) struct ArchiveWriter {
    target: PathBuf,
    partial: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
    is_finished: bool,
}

impl ArchiveWriter {
    /// Writes beside the target, under a name of its own, readable by its owner alone.
    pub(super) fn create(target: &Path) -> Result<Self, BackupError> {
        let target = std::path::absolute(target).map_err(file("reading", target))?;
        if fs::symlink_metadata(&target).is_ok() {
            return Err(BackupError::Exists { target });
        }
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = target.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .map_err(file("creating", &partial))?;
        Ok(Self { target, partial, file, digest: Sha256::new(), bytes: 0, is_finished: false })
    }

    pub(super) async fn copy_from(&mut self, mut source: impl AsyncRead + Unpin) -> Result<(), BackupError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length =
                source.read(&mut chunk).await.map_err(file("reading the archive for", &self.partial))?;
            if length == 0 {
                return Ok(());
            }
            self.digest.update(&chunk[..length]);
            self.bytes += length as u64;
            self.file.write_all(&chunk[..length]).map_err(file("writing", &self.partial))?;
        }
    }

    pub(super) fn finish(
        mut self,
        manifest: impl FnOnce(u64, String) -> Manifest,
    ) -> Result<Manifest, BackupError> {
        let manifest = manifest(self.bytes, hex(&self.digest.finalize_reset()));
        let mut write = || -> std::io::Result<()> {
            let text = serde_json::to_vec(&manifest)?;
            self.file.write_all(&text)?;
            self.file.write_all(&(text.len() as u64).to_be_bytes())?;
            self.file.write_all(MAGIC)?;
            self.file.sync_all()
        };
        write().map_err(file("writing", &self.partial))?;
        // A link, unlike a rename, never takes another file's place.
        fs::hard_link(&self.partial, &self.target).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => BackupError::Exists { target: self.target.clone() },
            _ => file("naming the finished backup", &self.target)(source),
        })?;
        fs::remove_file(&self.partial).map_err(file("removing the working name", &self.partial))?;
        self.is_finished = true;
        sync_parent(&self.target)?;
        Ok(manifest)
    }
}

impl Drop for ArchiveWriter {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = fs::remove_file(&self.partial)
        {
            tracing::warn!(path = %self.partial.display(), %error, "the unfinished backup was not removed");
        }
    }
}

pub(super) struct ArchiveReader {
    path: PathBuf,
    manifest: Manifest,
}

impl ArchiveReader {
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let damaged =
            |reason: &str| BackupError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
        let io = || file("reading", path);
        let mut source = File::open(path).map_err(io())?;
        let length = source.metadata().map_err(io())?.len();
        let trailer_at = length.checked_sub(TRAILER_BYTES).ok_or_else(|| damaged("it is too short"))?;
        source.seek(SeekFrom::Start(trailer_at)).map_err(io())?;
        let mut manifest_bytes = [0; 8];
        let mut magic = [0; 16];
        source.read_exact(&mut manifest_bytes).and_then(|()| source.read_exact(&mut magic)).map_err(io())?;
        if magic != *MAGIC {
            return Err(damaged("it does not end as one"));
        }
        let manifest_bytes = u64::from_be_bytes(manifest_bytes);
        let manifest_at = trailer_at
            .checked_sub(manifest_bytes)
            .filter(|_| manifest_bytes <= MAX_MANIFEST_BYTES)
            .ok_or_else(|| damaged("its manifest has an impossible length"))?;
        source.seek(SeekFrom::Start(manifest_at)).map_err(io())?;
        let mut text = Vec::new();
        source.take(manifest_bytes).read_to_end(&mut text).map_err(io())?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
        if manifest.archive_bytes != manifest_at {
            return Err(damaged("the archive is not as long as its manifest says"));
        }
        Ok(Self { path: path.to_owned(), manifest })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads the whole archive once, and compares its digest.
    pub(super) fn verify(&self) -> Result<(), BackupError> {
        let mut archive =
            File::open(&self.path).map_err(file("reading", &self.path))?.take(self.manifest.archive_bytes);
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = archive.read(&mut chunk).map_err(file("reading", &self.path))?;
            if length == 0 {
                break;
            }
            digest.update(&chunk[..length]);
        }
        if hex(&digest.finalize()) == self.manifest.archive_sha256 {
            return Ok(());
        }
        Err(BackupError::Damaged {
            path: self.path.clone(),
            reason: "its digest is not the one in its manifest".to_owned(),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
