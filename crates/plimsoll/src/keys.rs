//! The signers' keys: opened from where the configuration says, and kept out of dumps of this process.

use std::path::Path;
use std::sync::Arc;

use plimsoll_relayer::keys::{
    Key, KeystoreError, LocalKey, Misconfigured, Web3Signer, Web3SignerConfig, keystore,
};
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::config::{Loaded, Origin, RemoteSigner, Signer, SignerKey};
use crate::failure::Failure;

/// A key that cannot be used as it is configured: what, where, remedy.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) what: String,
    pub(crate) origin: Origin,
    pub(crate) remedy: &'static str,
}

impl Unusable {
    pub(crate) fn into_failure(self, loaded: &Loaded) -> Failure {
        Failure::usage(self.what).at(loaded, &self.origin).remedy(self.remedy)
    }
}

/// Opens a signer's key. A keystore takes a second and hundreds of megabytes: not for a thread of the runtime.
pub(crate) fn open(signer: &Signer) -> Result<Arc<dyn Key>, Unusable> {
    let address = signer.policy.address;
    match &signer.key {
        SignerKey::Keystore { path, password, origin } => {
            let key = LocalKey::open(path, &password.expose().to_owned().into(), address);
            Ok(Arc::new(key.map_err(|error| of_keystore(&error, origin))?))
        }
        SignerKey::Remote(remote) => Ok(Arc::new(web3signer(remote, signer)?)),
    }
}

/// What is wrong with a signer's key, as far as it shows without the password's being tried and without asking anybody.
pub(crate) fn check(signer: &Signer) -> Result<(), Unusable> {
    match &signer.key {
        SignerKey::Keystore { path, origin, .. } => {
            keystore::check(path, Some(signer.policy.address)).map_err(|error| of_keystore(&error, origin))
        }
        SignerKey::Remote(remote) => web3signer(remote, signer).map(drop),
    }
}

fn of_keystore(error: &KeystoreError, origin: &Origin) -> Unusable {
    Unusable { what: error.to_string(), origin: origin.clone(), remedy: error.remedy() }
}

fn web3signer(remote: &RemoteSigner, signer: &Signer) -> Result<Web3Signer, Unusable> {
    let unusable = |what: String, remedy| Unusable { what, origin: remote.origin.clone(), remedy };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| {
            unusable(
                format!("the file {path:?} cannot be read: {error}"),
                "name a file that exists and that this user may read",
            )
        })
    };
    let identity = match &remote.identity {
        None => None,
        Some((certificate, key)) => Some([read(certificate)?, b"\n".to_vec(), read(key)?].concat().into()),
    };
    let config = Web3SignerConfig {
        url: remote.url.expose().to_owned(),
        address: signer.policy.address,
        identifier: remote.identifier.clone(),
        token: remote.token.as_ref().map(|token| token.expose().to_owned().into()),
        authorities: remote.ca_file.as_deref().map(read).transpose()?,
        identity,
        request_timeout: remote.request_timeout,
        max_concurrent: remote.max_concurrent_requests,
    };
    Web3Signer::new(config).map_err(|error| {
        let (key, remedy) = match &error {
            Misconfigured::Url(_) => ("web3signer", "write it as `https://signer.example:9000`"),
            Misconfigured::Token(_) => {
                ("token", "reach the remote signer by `https://`, or leave the token out")
            }
            Misconfigured::Authorities => ("ca_file", "give the authorities' certificates in PEM"),
            Misconfigured::Identity => (
                "client_cert_file",
                "give the certificate, with its intermediates after it, and its private key, both in PEM",
            ),
            Misconfigured::Client(_) => ("web3signer", "look whether this machine trusts any authority"),
        };
        unusable(format!("the signer {}'s `{key}`: {error}", signer.policy.name), remedy)
    })
}

/// Keeps this process's memory, keys and all, out of core dumps, and away from other processes of the same user.
///
/// A limit of nothing on core files stops the kernel from writing one, but not from handing one to a program that collects
/// them (`core_pattern` with a pipe): so the process is marked as not dumpable as well. That also closes its `/proc/<pid>/{mem,maps,environ,fd}` and
/// debuggers' `ptrace` to everybody but root; `/proc/<pid>/{stat,status,cmdline}` stay open. A child is dumpable again, once it has
/// become another program, and has the limit.
pub(crate) fn keep_out_of_dumps() -> Result<(), Failure> {
    let refused = |error: rustix::io::Errno| {
        Failure::new(format!("this process cannot be kept out of core dumps: {error}"))
            .remedy("allow setrlimit and prctl, or configure no signer here")
    };
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(refused)?;
    #[cfg(target_os = "linux")]
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::process::getrlimit;

    use super::*;

    #[test]
    fn the_memory_is_in_no_dump() {
        keep_out_of_dumps().unwrap();
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
