//! `plimsoll signers`: keys are made, and looked at; signers are looked at, and hand over.

mod rotate;
mod view;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use plimsoll_relayer::keys::Secret;
use plimsoll_relayer::keys::keystore;
use plimsoll_store::Db;
use secrecy::SecretString;

pub(crate) use self::view::{all, named};
use super::print;
use crate::cli::{NewSigner, Signers};
use crate::config::{Config, Loaded};
use crate::failure::{FAILED, Failure};
use crate::keys::{self, keep_out_of_dumps};

/// What is signed to see whether a key signs. It is no transaction, nor the beginning of one: none begins with a letter.
const TEST_PAYLOAD: &[u8] = b"plimsoll signers check: this is no transaction";

/// What needs the database.
pub(crate) async fn ask(loaded: &Loaded, config: &Config, db: &Db, asked: &Signers) -> Result<(), Failure> {
    match asked {
        Signers::List { json } => view::list(config, db, *json).await,
        Signers::Show { signer, chain, json } => {
            view::show((loaded, config), db, (signer, *chain), *json).await
        }
        Signers::Rotate { old, new, chain, change } => {
            rotate::rotate(config, db, (old, new, *chain), change).await
        }
        Signers::New(asked) => new(asked),
        Signers::Check => check(loaded, config).await,
    }
}

/// Makes a key and writes it, encrypted, to a file that must not exist.
pub(crate) fn new(asked: &NewSigner) -> Result<(), Failure> {
    keep_out_of_dumps()?;
    let password = password(&asked.password_file)?;
    let secret = Secret::random();
    let text = keystore::encrypt(&secret, &password);
    let path = asked.keystore.display();
    let unwritable = |error: std::io::Error| {
        Failure::new(format!("the keystore {path} cannot be written: {error}"))
            .remedy("name a file that does not exist, in a directory that this user may write to")
    };
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&asked.keystore).map_err(unwritable)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
    print(&format!("{}\n", secret.address()))
}

fn password(path: &Path) -> Result<SecretString, Failure> {
    let remedy = "write the password into it, and nothing else";
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("the password file {} cannot be read: {error}", path.display())).remedy(remedy)
    })?;
    let text = SecretString::from(text);
    // As the configuration's files of secrets are read.
    let password = secrecy::ExposeSecret::expose_secret(&text).trim();
    if password.is_empty() {
        return Err(Failure::usage(format!("the password file {} is empty", path.display())).remedy(remedy));
    }
    Ok(password.to_owned().into())
}

/// Opens each configured key and has it sign what is no transaction.
pub(crate) async fn check(loaded: &Loaded, config: &Config) -> Result<(), Failure> {
    keep_out_of_dumps()?;
    if config.signers.is_empty() {
        return print("no signer is configured\n");
    }
    let mut failed = 0;
    for signer in &config.signers {
        let policy = &signer.policy;
        let signed = match tokio::task::block_in_place(|| keys::open(signer)) {
            Ok(key) => key
                .sign(TEST_PAYLOAD)
                .await
                .map(drop)
                .map_err(|error| Failure::new(error.to_string()).at(loaded, &signer.origin)),
            Err(unusable) => Err(unusable.into_failure(loaded)),
        };
        let told = format!("{} ({} on chain {})", policy.name, policy.address, policy.chain_id);
        match signed {
            Ok(()) => print(&format!("{told} signs\n"))?,
            Err(failure) => {
                failed += 1;
                eprintln!("{told} does not sign\n{failure}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::found(format!("{failed} of {} signers do not sign", config.signers.len()), FAILED)),
    }
}
