//! A file of operators and their passwords, for development and for a first look: `login:tenant:user:argon2id hash`, a line each.
//!
//! People choose passwords, so these hashes are slow on purpose: argon2id with the parameters that OWASP recommends (19 MiB, two passes).
//! A login that is not there costs as much as one that is, and no more than [`MAX_AT_ONCE`] are tried at once, on threads for
//! such work: a flood of sign-ins takes neither the memory nor the processors of what else runs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// How many passwords are tried at once; others wait for their turn.
pub const MAX_AT_ONCE: usize = 2;
/// The shortest password that is given a hash.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// A longer one is not looked at.
const MAX_PASSWORD_BYTES: usize = 1024;
const MAX_FILE_BYTES: u64 = 1024 * 1024;
const ALGORITHM: &str = "argon2id";

/// Who the operator of a login is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Whose user.
    pub tenant_id: Uuid,
    /// Which.
    pub user_id: Uuid,
}

/// Why a password file is not used, or a password not hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// It cannot be read.
    #[error("the password file {path} cannot be read: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It lies open, or is too long to be one.
    #[error(
        "the password file {0} can be read by everyone on this machine, or is longer than 1 MiB: chmod 600 it"
    )]
    Exposed(String),
    /// A line is not one. The line is not shown: it may hold a password that was meant to be hashed.
    #[error("line {0} of the password file is not `login:tenant:user:$argon2id$…`")]
    Line(usize),
    /// A login stands there twice.
    #[error("line {0} of the password file has a login that an earlier line has")]
    Twice(usize),
    /// Too short or too long.
    #[error("a password has at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes")]
    Length,
    /// The hash could not be computed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// The operators of a file.
pub struct PasswordFile {
    operators: Arc<HashMap<String, (Operator, String)>>,
    /// Tried for a login that is not there.
    decoy: Arc<str>,
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for PasswordFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PasswordFile").field("operators", &self.operators.len()).finish_non_exhaustive()
    }
}

impl PasswordFile {
    /// Reads a file that only its owner and group can read.
    ///
    /// # Errors
    /// [`PasswordError`] names the line.
    pub fn load(path: &Path) -> Result<Self, PasswordError> {
        use std::os::unix::fs::PermissionsExt;
        const OPEN_TO_OTHERS: u32 = 0o006;

        let unread = |source| PasswordError::Read { path: path.display().to_string(), source };
        let metadata = std::fs::metadata(path).map_err(unread)?;
        if metadata.permissions().mode() & OPEN_TO_OTHERS != 0 || metadata.len() > MAX_FILE_BYTES {
            return Err(PasswordError::Exposed(path.display().to_string()));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unread)?)
    }

    /// Reads the text of a file. Empty lines, and those that begin with `#`, are passed over.
    ///
    /// # Errors
    /// [`PasswordError`] names the line.
    pub fn parse(text: &str) -> Result<Self, PasswordError> {
        let mut operators = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (login, operator, hash) = entry(line).ok_or(PasswordError::Line(number))?;
            if operators.insert(login.to_owned(), (operator, hash.to_owned())).is_some() {
                return Err(PasswordError::Twice(number));
            }
        }
        let decoy = hash_of(crate::secret::random::<16>().as_slice())?;
        Ok(Self {
            operators: Arc::new(operators),
            decoy: decoy.into(),
            turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
        })
    }

    /// The operator, if the password is that of the login.
    ///
    /// # Errors
    /// [`PasswordError::Hash`] when it cannot be told, as for want of memory.
    pub async fn verify(
        &self,
        login: &str,
        password: SecretString,
    ) -> Result<Option<Operator>, PasswordError> {
        if password.expose_secret().len() > MAX_PASSWORD_BYTES {
            return Ok(None);
        }
        let known = self.operators.get(login).cloned();
        let decoy = Arc::clone(&self.decoy);
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|error| PasswordError::Hash(error.to_string()))?;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let hash = known.as_ref().map_or(&*decoy, |(_, hash)| hash);
            let is_right = matches(password.expose_secret().as_bytes(), hash)?;
            Ok(known.filter(|_| is_right).map(|(operator, _)| operator))
        })
        .await
        .map_err(|error| PasswordError::Hash(error.to_string()))?
    }
}

/// The hash of a password, for a line of the file. Slow: tens of milliseconds.
///
/// # Errors
/// [`PasswordError::Length`], [`PasswordError::Hash`].
pub fn hash(password: &SecretString) -> Result<String, PasswordError> {
    let text = password.expose_secret();
    if text.chars().count() < MIN_PASSWORD_CHARS || text.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::Length);
    }
    hash_of(text.as_bytes())
}

fn hash_of(password: &[u8]) -> Result<String, PasswordError> {
    let hash =
        Argon2::default().hash_password(password).map_err(|error| PasswordError::Hash(error.to_string()))?;
    Ok(hash.to_string())
}

fn matches(password: &[u8], hash: &str) -> Result<bool, PasswordError> {
    let parsed = PasswordHash::new(hash).map_err(|error| PasswordError::Hash(error.to_string()))?;
    match Argon2::default().verify_password(password, &parsed) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(PasswordError::Hash(error.to_string())),
    }
}

fn entry(line: &str) -> Option<(&str, Operator, &str)> {
    let mut fields = line.trim().splitn(4, ':');
    let (login, tenant, user, hash) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let parsed = PasswordHash::new(hash).ok()?;
    let is_usable = parsed.algorithm.as_str() == ALGORITHM && parsed.hash.is_some();
    let operator = Operator { tenant_id: tenant.parse().ok()?, user_id: user.parse().ok()? };
    (!login.is_empty() && is_usable).then_some((login, operator, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery";

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn line(login: &str) -> String {
        format!(
            "{login}:{}:{}:{}\n",
            Uuid::from_u128(1),
            Uuid::from_u128(2),
            hash(&secret(PASSWORD)).unwrap()
        )
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_login_is_let_in() {
        let file = PasswordFile::parse(&format!("# operators\n\n{}", line("ada"))).unwrap();
        let ada = Operator { tenant_id: Uuid::from_u128(1), user_id: Uuid::from_u128(2) };
        assert_eq!(file.verify("ada", secret(PASSWORD)).await.unwrap(), Some(ada));
        assert_eq!(file.verify("ada", secret("correct horse batterY")).await.unwrap(), None);
        assert_eq!(file.verify("bob", secret(PASSWORD)).await.unwrap(), None);
        assert_eq!(file.verify("ada", secret("")).await.unwrap(), None);
        assert_eq!(file.verify("ada", secret(&"a".repeat(2000))).await.unwrap(), None);
    }

    #[test]
    fn a_line_that_is_none_is_named_and_not_shown() {
        let (tenant, user) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for bad in [
            format!("ada:{tenant}:{user}:{PASSWORD}"),
            format!("ada:{tenant}:{user}"),
            format!("ada:acme:{user}:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"),
            format!("ada:{tenant}:{user}:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"),
            format!("ada:{tenant}:{user}:$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"),
            line(""),
        ] {
            let error = PasswordFile::parse(&format!("# first\n{bad}")).unwrap_err();
            assert!(matches!(error, PasswordError::Line(2)), "{bad}: {error}");
            assert!(!format!("{error} {error:?}").contains(PASSWORD));
        }
        let twice = format!("{}{}", line("ada"), line("ada"));
        assert!(matches!(PasswordFile::parse(&twice), Err(PasswordError::Twice(2))));
    }

    #[test]
    fn a_file_that_lies_open_is_not_read_and_a_short_password_gets_no_hash() {
        use std::os::unix::fs::PermissionsExt;

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), line("ada")).unwrap();
        for (mode, is_read) in [(0o604, false), (0o602, false), (0o640, true), (0o600, true)] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(PasswordFile::load(file.path()).is_ok(), is_read, "{mode:o}");
        }
        assert!(matches!(hash(&secret("short")), Err(PasswordError::Length)));
    }
}
