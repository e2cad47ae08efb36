//! `/api/v1/ledger`: the books (spec 2 §5.2, §5.4).
//!
//! Postings are handed in ([`post`]; [`import`], by the file), read and exported ([`entries`]); accounts and currencies are kept ([`accounts`]), and balances told; postings are taken back and periods closed ([`corrections`]), and reported ([`reports`]); and what is sealed is shown ([`log`]). What changes the books asks
//! for a second factor (spec 2 §5.5), and is for this system's own services: it is served inside alone (spec 2 §3.7).

mod accounts;
mod balances;
mod corrections;
mod entries;
mod export;
mod import;
mod log;
mod post;
mod reports;

use plimsoll_identity::Permission::{LedgerPost, LedgerRead};

pub(crate) use self::accounts::{
    __path_account, __path_accounts, __path_close_account, __path_currencies, __path_limit_account,
    __path_open_account, __path_put_currency, account, accounts, close_account, currencies, limit_account,
    open_account, put_currency,
};
pub(crate) use self::balances::{__path_balances, balances};
pub(crate) use self::corrections::{
    __path_close_period, __path_closings, __path_reverse, close_period, closings, reverse,
};
pub(crate) use self::entries::{__path_entries, __path_posting, __path_vouchers, entries, posting, vouchers};
pub(crate) use self::export::{__path_export, export};
pub(crate) use self::import::{__path_import, import};
pub(crate) use self::log::{
    __path_checkpoint, __path_consistency, __path_inclusion, __path_keys, __path_latest_checkpoint,
    checkpoint, consistency, inclusion, keys, latest_checkpoint,
};
pub(crate) use self::post::{__path_post, __path_post_batch, post, post_batch};
pub(crate) use self::reports::{
    __path_balance_sheet, __path_statement, __path_trial_balance, balance_sheet, statement, trial_balance,
};
use crate::gateway::Access::Needs;
use crate::gateway::{Declaration, Routes, WriteMethod};
use crate::limits::IMPORT_MAX_BYTES;
use crate::state::ApiState;

pub(super) fn routes() -> Routes<ApiState> {
    const CURRENCIES: &str = "/api/v1/ledger/currencies";
    const CLOSINGS: &str = "/api/v1/ledger/closings";
    const ACCOUNTS: &str = "/api/v1/ledger/accounts";
    let read = |path| Declaration::read(path, Needs(LedgerRead));
    let moving = |path| Declaration::requiring_key(WriteMethod::Post, path, Needs(LedgerPost)).internal();
    let posting_to = |path| moving(path).claiming_with_effects();
    let keeping =
        |path| Declaration::with_optional_key(WriteMethod::Post, path, Needs(LedgerPost)).internal();
    Routes::default()
        .write(posting_to("/api/v1/ledger/post"), post)
        .write(posting_to("/api/v1/ledger/post/batch"), post_batch)
        .write(moving("/api/v1/ledger/import").costly().with_body_of(IMPORT_MAX_BYTES), import)
        .read(read("/api/v1/ledger/entries"), entries)
        .read(read("/api/v1/ledger/vouchers"), vouchers)
        .read(read("/api/v1/ledger/postings/{posting_id}"), posting)
        .read(read("/api/v1/ledger/postings/{posting_id}/proof"), inclusion)
        .read(read("/api/v1/ledger/export").costly().stream(), export)
        .read(read(CURRENCIES), currencies)
        .write(keeping(CURRENCIES), put_currency)
        .read(read(ACCOUNTS), accounts)
        .write(keeping(ACCOUNTS), open_account)
        .read(read("/api/v1/ledger/accounts/{account_id}"), account)
        .write(keeping("/api/v1/ledger/accounts/{account_id}/close"), close_account)
        .write(keeping("/api/v1/ledger/accounts/{account_id}/limits"), limit_account)
        .read(read("/api/v1/ledger/balances"), balances)
        .write(posting_to("/api/v1/ledger/postings/{posting_id}/reverse"), reverse)
        .read(read(CLOSINGS), closings)
        .write(keeping(CLOSINGS), close_period)
        .read(read("/api/v1/ledger/accounts/{account_id}/statement"), statement)
        .read(read("/api/v1/ledger/trial-balance"), trial_balance)
        .read(read("/api/v1/ledger/balance-sheet").costly(), balance_sheet)
        .read(read("/api/v1/ledger/checkpoints/latest"), latest_checkpoint)
        .read(read("/api/v1/ledger/checkpoints/{tree_size}"), checkpoint)
        .read(read("/api/v1/ledger/consistency"), consistency)
        .read(read("/api/v1/ledger/keys"), keys)
}
