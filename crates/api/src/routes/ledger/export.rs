//! `GET /api/v1/ledger/export`: postings as a file, to be checked without us or read into a sheet.

use std::fmt::Write as _;
use std::io;
use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream::unfold;
use plimsoll_bus::context;
use plimsoll_identity::Permission::LedgerRead;
use plimsoll_ledger::{Direction, read};
use plimsoll_proof::ledger::encoding::SealedPosting;
use plimsoll_proof::ledger::export::ExportedPosting;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::streams::Slot;
use super::entries::EntryFilter;
use crate::gateway::{Caller, Listener, Presented};
use crate::openapi::DataProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, bigint, shown};
use crate::repo::RepoError;
use crate::state::ApiState;

/// Entries of the log that are looked at at a time.
const WINDOW: u64 = 500;
/// Windows on their way to a client.
const PAGES: usize = 1;
const CSV_HEADER: &str = "leaf_index,posting_id,request_id,user_id,operation_type,domain,effective_at,booked_at,recorded_at,internal_tx_id,trace_id,chain_id,chain_tx_hash,chain_block_number,chain_block_hash,reverses,compensates,reason,created_by,correlation_id,causation_id,metadata,sequence,account_id,debit,credit,currency,entry_type,account_version,balance_after,checksum\r\n";

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    /// A posting a line, as `docs/ledger.md` has it.
    #[default]
    JsonLines,
    /// A line of a posting a row.
    Csv,
}

/// Which postings, and how.
#[derive(Debug)]
pub(crate) struct ExportQuery {
    filter: EntryFilter,
    format: Format,
    tree_size: Option<i64>,
}

/// How it is written.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the document of what `ExportQuery` reads")]
pub(crate) struct ExportFormat {
    /// `jsonl`: a posting a line, which verifies. `csv`: a line of a posting a row.
    #[param(value_type = Option<String>, pattern = "^(jsonl|csv)$", default = "jsonl")]
    format: Option<String>,
    /// So many entries of the log: a checkpoint's size, for what is to be checked against it. All that are sealed where it is left out.
    #[param(value_type = Option<u64>, maximum = 9_223_372_036_854_775_807_u64)]
    tree_size: Option<i64>,
}

impl Parameters for ExportQuery {
    const KNOWN: &'static [&'static str] = &[
        "request_id",
        "user_id",
        "domain",
        "operation_type",
        "account_id",
        "chain_tx_hash",
        "since",
        "until",
        "format",
        "tree_size",
    ];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let format = |text: &str| match text {
            "jsonl" => Ok(Format::JsonLines),
            "csv" => Ok(Format::Csv),
            _ => Err(format!("`{}` is not `jsonl` or `csv`", shown(text))),
        };
        let query = Self {
            filter: EntryFilter::take(&mut fields),
            format: fields.take("format", format).unwrap_or_default(),
            tree_size: fields.take("tree_size", bigint),
        };
        fields.finish()?;
        Ok(query)
    }
}

/// The books as a file
///
/// The postings of `/api/v1/ledger/entries` under the same filter, in the order of the log, up to where it stood when you asked; what was booked within the last second or so is not sealed yet, and not in
/// it. Without a filter the JSON Lines are the whole log: keep them with a checkpoint, and check them with `plimsoll verify export` or a program of your own (`docs/ledger.md`). An answer that breaks off is
/// not whole, and your client says so.
#[utoipa::path(get, operation_id = "export_ledger", path = "/api/v1/ledger/export", tag = "ledger", params(EntryFilter, ExportFormat),
    responses((status = 200, description = "Postings, one a line, or their lines, one a row", content((String = "application/jsonl"), (String = "text/csv"))), DataProblems))]
pub(crate) async fn export(
    State(state): State<ApiState>,
    caller: Caller,
    presented: Presented,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let slot = state.streams().enter(Some(caller.tenant_id))?;
    let listener = presented.admit(&state, LedgerRead).await?;
    let mut tx = state.db().tenant_tx(&[caller.tenant_id]).await.map_err(RepoError::from)?;
    // The end stays where it is: an export ends, also while more is sealed.
    let end = read::sealed(&mut tx, caller.tenant_id).await.map_err(RepoError::from)?;
    drop(tx);
    let end = query.tree_size.map_or(end, |size| end.min(size.unsigned_abs()));
    let (sender, receiver) = mpsc::channel(PAGES);
    let work = Export {
        state,
        listener,
        _slot: slot,
        tenant_id: caller.tenant_id,
        filter: query.filter.of_ledger(),
        format: query.format,
    };
    context::spawn(work.write(end, sender));
    let pages = unfold(receiver, async |mut receiver: mpsc::Receiver<io::Result<Bytes>>| {
        receiver.recv().await.map(|page| (page, receiver))
    });
    let mut response = Response::new(Body::from_stream(pages));
    let (media_type, disposition) = match query.format {
        Format::JsonLines => ("application/jsonl", "attachment; filename=\"ledger.jsonl\""),
        Format::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"ledger.csv\""),
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    Ok(response)
}

struct Export {
    state: ApiState,
    listener: Listener,
    _slot: Slot,
    tenant_id: Uuid,
    filter: read::Filter,
    format: Format,
}

impl Export {
    /// Window by window, in transactions of their own: what is sealed does not change. What goes wrong breaks the answer off, so that nobody takes a part for the whole.
    async fn write(self, end: u64, sender: mpsc::Sender<io::Result<Bytes>>) {
        if self.format == Format::Csv
            && sender.send(Ok(Bytes::from_static(CSV_HEADER.as_bytes()))).await.is_err()
        {
            return;
        }
        let mut from = 0;
        while from < end {
            let to = end.min(from + WINDOW);
            let (page, goes_on) = match self.page(from..to).await {
                Ok(page) => (Ok(page), true),
                Err(problem) => {
                    tracing::warn!(from, detail = problem.detail, "an export of the ledger is broken off");
                    (Err(io::Error::other(problem.detail)), false)
                }
            };
            from = to;
            if page.as_ref().is_ok_and(Bytes::is_empty) {
                continue;
            }
            if sender.send(page).await.is_err() || !goes_on {
                tracing::debug!(from, "an export of the ledger ended before its time");
                return;
            }
        }
    }

    async fn page(&self, entries: Range<u64>) -> Result<Bytes, Problem> {
        self.listener.check(&self.state).await?;
        let mut tx = self.state.db().tenant_tx(&[self.tenant_id]).await.map_err(RepoError::from)?;
        let found = read::export(&mut tx, self.tenant_id, &self.filter, entries).await;
        let mut out = Vec::new();
        for posting in found.map_err(RepoError::from)? {
            match self.format {
                Format::JsonLines => posting.write_json(&mut out).map_err(unwritable)?,
                Format::Csv => rows(&posting, &mut out).map_err(unwritable)?,
            }
        }
        Ok(out.into())
    }
}

fn unwritable(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a posting could not be exported");
    Problem::new(ProblemKind::Internal, "a posting could not be written")
}

/// The lines of a posting, each with what is its posting's.
fn rows(exported: &ExportedPosting, out: &mut Vec<u8>) -> Result<(), time::error::Error> {
    fn or_nothing<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(String::new, |value| value.to_string())
    }
    let SealedPosting { posting_id, request_id, .. } = exported.posting;
    let posting = &exported.posting;
    let header = [
        exported.leaf_index.to_string(),
        posting_id.to_string(),
        request_id.to_string(),
        or_nothing(posting.user_id),
        posting.operation_type.clone(),
        posting.domain.clone(),
        instant_text(posting.effective_at_us)?,
        instant_text(posting.booked_at_us)?,
        instant_text(posting.recorded_at_us)?,
        or_nothing(posting.internal_tx_id),
        or_nothing(posting.trace_id),
        or_nothing(posting.chain_id),
        or_nothing(posting.chain_tx_hash),
        or_nothing(posting.chain_block_number),
        or_nothing(posting.chain_block_hash),
        or_nothing(posting.reverses),
        or_nothing(posting.compensates),
        posting.reason.clone().unwrap_or_default(),
        posting.created_by.clone(),
        posting.correlation_id.clone(),
        posting.causation_id.clone().unwrap_or_default(),
        posting.metadata.clone(),
    ];
    for exported in &exported.lines {
        let line = &exported.line;
        let amount = line.amount.to_string();
        let (debit, credit) = match line.direction {
            Direction::Debit => (amount, "0".to_owned()),
            Direction::Credit => ("0".to_owned(), amount),
        };
        let own = [
            line.sequence.to_string(),
            line.account_id.to_string(),
            debit,
            credit,
            line.currency.clone(),
            line.entry_type.clone(),
            line.account_version.to_string(),
            line.balance_after.to_string(),
            exported.checksum.to_string(),
        ];
        let fields: Vec<_> = header.iter().chain(&own).map(|field| quoted(field)).collect();
        out.extend_from_slice(fields.join(",").as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn instant_text(at_us: i64) -> Result<String, time::error::Error> {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_us) * 1_000)?;
    Ok(at.format(&Rfc3339)?)
}

/// A field of RFC 4180: in quotes where it has to be.
fn quoted(field: &str) -> String {
    if !field.contains(['"', ',', '\r', '\n']) {
        return field.to_owned();
    }
    let mut text = String::with_capacity(field.len() + 2);
    let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_one_field() {
        for (field, written) in [("a", "a"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\"")]
        {
            assert_eq!(quoted(field), written);
        }
    }
}
