//! Lists in pages: of so many rows, after the last key of the page before; and ids in paths.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use uuid::Uuid;

use crate::cursor::{Fingerprint, Key, Page, decode, encode};
use crate::limits::{IDENTITY_PAGE_DEFAULT, IDENTITY_PAGE_MAX};
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, whole_number};

/// What of a list is wanted, beside how much of it.
pub(crate) trait Filter: Sized {
    /// Every parameter's name, `limit` and `cursor` among them.
    const KNOWN: &'static [&'static str];

    /// Reads them, but for those two.
    fn read(fields: &mut Fields) -> Self;

    /// A cursor is good under the filters that it was made under alone.
    fn fingerprint(&self) -> Fingerprint;
}

/// Everything.
pub(crate) struct All;

impl Filter for All {
    const KNOWN: &'static [&'static str] = &["limit", "cursor"];

    fn read(_: &mut Fields) -> Self {
        Self
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[])
    }
}

/// How much of a list.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the document of what `Listing` reads")]
pub(crate) struct Paging {
    /// Rows on a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: u32,
    /// The `next_cursor` of the page before, under the same filters.
    cursor: Option<String>,
}

/// A page of a list.
pub(crate) struct Listing<F> {
    pub(crate) filter: F,
    limit: u32,
    cursor: Option<String>,
}

impl<F: Filter> Parameters for Listing<F> {
    const KNOWN: &'static [&'static str] = F::KNOWN;

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let limit = |text: &str| {
            whole_number(text, 1, IDENTITY_PAGE_MAX.into())
                .map(|limit| u32::try_from(limit).unwrap_or(IDENTITY_PAGE_MAX))
        };
        let listing = Self {
            filter: F::read(&mut fields),
            limit: fields.take("limit", limit).unwrap_or(IDENTITY_PAGE_DEFAULT),
            cursor: fields.take("cursor", |text| Ok::<_, String>(text.to_owned())),
        };
        fields.finish()?;
        Ok(listing)
    }
}

impl<F: Filter> Listing<F> {
    /// After which key.
    pub(crate) fn after<K: Key>(&self) -> Result<Option<K>, Problem> {
        self.cursor.as_deref().map(|cursor| decode(self.filter.fingerprint(), cursor)).transpose()
    }

    /// As many rows as have to be read: one more than the page has, which says whether there is another.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page's rows, and the cursor for what comes after them.
    pub(crate) fn page<T, K: Key>(
        &self,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> (Vec<T>, Option<String>) {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let is_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| is_more).map(|last| encode(self.filter.fingerprint(), &key(last)));
        (rows, next)
    }
}

/// A key that is an id.
macro_rules! id_keys {
    ($($(#[$doc:meta])* $name:ident = $page:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Uuid);

        impl Key for $name {
            const PAGE: Page = Page::$page;

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.0.as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }
        }
    )*};
}

/// A key that is a name.
macro_rules! name_keys {
    ($($(#[$doc:meta])* $name:ident = $page:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) String);

        impl Key for $name {
            const PAGE: Page = Page::$page;

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(self.0.as_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                String::from_utf8(bytes.to_vec()).ok().filter(|name| !name.contains('\0')).map(Self)
            }
        }
    )*};
}

id_keys! {
    /// Of a user.
    UserKey = Users;
    /// Of a session.
    SessionKey = Sessions;
    /// Of an approval.
    ApprovalKey = Approvals;
    /// Of a transaction.
    TransactionKey = Transactions;
    /// Of a posting.
    PostingKey = LedgerPostings;
    /// Of an account.
    AccountKey = LedgerAccounts;
}
name_keys! {
    /// Of a role.
    RoleKey = Roles;
    /// Of an API key.
    ApiKeyKey = ApiKeys;
    /// Of a currency.
    CurrencyKey = LedgerCurrencies;
}

/// The one parameter of a path. What cannot be one is the name of nothing.
pub(crate) struct Segment(pub(crate) String);

impl Segment {
    /// As an id.
    pub(crate) fn id(&self) -> Result<Uuid, Problem> {
        self.0.parse().map_err(|_| nothing())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(|_| nothing())?;
        if text.contains('\0') { Err(nothing()) } else { Ok(Self(text)) }
    }
}

fn nothing() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such thing here")
}
