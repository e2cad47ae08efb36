//! The demo's directory: what it keeps between runs, and what a run that ended badly left behind.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::anvil::check_state;
use crate::deploy::Deployment;

/// A node with a long chain takes a while to write its state.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// What the next run needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) deployment: Deployment,
    /// Time of the genesis block, in seconds since 1970.
    pub(super) genesis_time: u64,
    /// The last block of the last run that ended in order: number and hash.
    #[serde(default)]
    pub(super) head: Option<(u64, B256)>,
    /// Runs so far: the seed of the next run's traffic follows from it.
    pub(super) runs: u64,
    /// True while a run is under way.
    pub(super) under_way: bool,
    /// Processes of the run under way, should it not end them itself.
    pub(super) node_pid: Option<i32>,
    pub(super) plimsoll_pid: Option<i32>,
}

/// The directory, held by a lock for as long as this lives.
#[derive(Debug)]
pub(super) struct Home {
    root: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the directory where it is missing, and takes it for this process alone.
    pub(super) fn open(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root)
            .with_context(|| format!("cannot make the directory {}", root.display()))?;
        let root =
            root.canonicalize().with_context(|| format!("cannot find the directory {}", root.display()))?;
        let path = root.join("demo.lock");
        let lock = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another demo runs in {}: end it, or give another --data-dir", root.display());
        }
        Ok(Self { root, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the node keeps its chain.
    pub(super) fn chain_state(&self) -> PathBuf {
        self.root.join("chain.json")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.root.join("plimsoll.toml")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.root.join("plimsoll-data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("plimsoll.log")
    }

    fn manifest_path(&self) -> PathBuf {
        self.root.join("demo.json")
    }

    /// What the last run left, where it can be gone on with. Processes that it left running are ended in order first. A chain that
    /// is lost takes its database aside with it: what follows a lost chain cannot follow another.
    pub(super) fn resume(&self) -> Result<Option<Manifest>> {
        let text = match std::fs::read_to_string(self.manifest_path()) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return self.set_aside("it has no demo.json").map(|()| None);
            }
            Err(error) => return Err(error).context("cannot read the demo's notes"),
        };
        let manifest: Manifest = match serde_json::from_str(&text) {
            Ok(manifest) => manifest,
            Err(error) => {
                return self.set_aside(&format!("its demo.json cannot be read ({error})")).map(|()| None);
            }
        };
        if !manifest.under_way {
            return self.with_its_chain(manifest);
        }
        // The last run did not end in order. Its node may still be there, with the chain in its memory.
        if let Some(pid) = manifest.plimsoll_pid {
            self.end_leftover(pid, "plimsoll", Signal::TERM)?;
        }
        match manifest.node_pid {
            Some(pid) if self.end_leftover(pid, "anvil", Signal::INT)? => {
                println!("the last run did not end in order; its node was still there and was ended");
                self.with_its_chain(manifest)
            }
            _ => self.set_aside("the last run did not end in order and its chain is lost").map(|()| None),
        }
    }

    /// The notes, if the chain that they are about is there whole.
    fn with_its_chain(&self, manifest: Manifest) -> Result<Option<Manifest>> {
        match check_state(&self.chain_state()) {
            Ok(()) => Ok(Some(manifest)),
            Err(error) => self.set_aside(&error.to_string()).map(|()| None),
        }
    }

    /// Ends a process of ours that was left behind; false when there is none. A process counts as ours when its command line names
    /// this directory: a process id alone may be somebody else's by now.
    fn end_leftover(&self, pid: i32, name: &str, signal: Signal) -> Result<bool> {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let Some(id) = Pid::from_raw(pid) else { return Ok(false) };
        if !command.contains(name) || !command.contains(&*self.root.to_string_lossy()) {
            return Ok(false);
        }
        println!("ending {name} (process {pid}), which the last run left behind");
        kill_process(id, signal).with_context(|| format!("cannot end process {pid}"))?;
        let deadline = std::time::Instant::now() + LEFTOVER_TIMEOUT;
        while test_kill_process(id).is_ok() {
            if std::time::Instant::now() > deadline {
                bail!(
                    "process {pid} ({name}), left behind by the last run, does not end; end it and try again"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Moves whatever is here into a directory of its own. Nothing is deleted.
    fn set_aside(&self, why: &str) -> Result<()> {
        let kept = ["demo.json", "chain.json", "plimsoll.toml", "plimsoll-data", "plimsoll.log", "abi"];
        let there: Vec<&str> = kept.into_iter().filter(|name| self.root.join(name).exists()).collect();
        if there.is_empty() {
            return Ok(());
        }
        let aside = (1..).map(|n| self.root.join(format!("before-{n}"))).find(|path| !path.exists());
        let aside = aside.context("no free name")?;
        println!("starting anew: {why}; what was there is in {}", aside.display());
        std::fs::create_dir(&aside).with_context(|| format!("cannot make {}", aside.display()))?;
        for name in there {
            std::fs::rename(self.root.join(name), aside.join(name))
                .with_context(|| format!("cannot move {name} aside"))?;
        }
        Ok(())
    }

    /// Notes for the next run. Replaced whole: a reader finds the old or the new.
    pub(super) fn note(&self, manifest: &Manifest) -> Result<()> {
        let (path, new) = (self.manifest_path(), self.root.join("demo.json.new"));
        std::fs::write(&new, serde_json::to_vec_pretty(manifest)?)
            .with_context(|| format!("cannot write {}", new.display()))?;
        std::fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anvil::{Anvil, AnvilOptions, unix_time};

    #[tokio::test]
    async fn a_run_whose_chain_could_not_be_written_whole_is_set_aside_with_its_database_and_not_gone_on_with()
     {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::open(directory.path()).unwrap();
        let genesis_time = unix_time();
        let options = AnvilOptions {
            state: Some(home.chain_state()),
            genesis_time: Some(genesis_time),
            ..AnvilOptions::default()
        };
        let node = Anvil::start(&options).await.unwrap();
        let deployment = Deployment::deploy(&node, true).await.unwrap();
        node.stop().await.unwrap();
        let manifest = Manifest {
            deployment,
            genesis_time,
            head: None,
            runs: 1,
            under_way: false,
            node_pid: None,
            plimsoll_pid: None,
        };
        home.note(&manifest).unwrap();
        std::fs::create_dir(home.database()).unwrap();
        assert!(home.resume().unwrap().is_some());

        // As a full disk leaves it.
        let chain = std::fs::read(home.chain_state()).unwrap();
        std::fs::write(home.chain_state(), &chain[..chain.len() / 2]).unwrap();
        assert!(home.resume().unwrap().is_none());
        let aside = directory.path().join("before-1");
        for name in ["chain.json", "demo.json", "plimsoll-data"] {
            assert!(aside.join(name).exists() && !directory.path().join(name).exists(), "{name}");
        }
        assert!(home.resume().unwrap().is_none(), "there is nothing to go on with");
        assert!(!directory.path().join("before-2").exists());
    }
}
