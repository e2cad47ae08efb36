//! `POST /api/v1/ledger/import`: a file of postings, as `plimsoll ledger import` takes it.
//!
//! A file's postings share no transaction, so key and answer are not committed with them. What makes a repetition safe is in the file: each posting's own key. Who imports is on record before the first of them,
//! under a recovery point; whoever asks again goes on behind what is booked.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use plimsoll_bus::audit::{self, Entry};
use plimsoll_identity::Denied;
use plimsoll_ledger::Intake;
use plimsoll_ledger::import::{Checked, Format, Import, ImportError, Imported, Problem as InFile};
use plimsoll_types::Context;
use plimsoll_types::api::{FieldProblem, LedgerImport};
use serde_json::json;
use uuid::Uuid;

use super::entries::id;
use crate::gateway::{Caller, lacking};
use crate::idempotency::{Answered, Execution, Reply};
use crate::limits::IMPORT_MAX_BYTES;
use crate::openapi::ImportProblems;
use crate::problem::{Problem, ProblemKind};
use crate::query::{Fields, Parameters, Query, shown, text, yes_or_no};
use crate::state::ApiState;

/// How a file is imported.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// New for each new import: the audit, and each posting, know it by this.
    request_id: Uuid,
    /// The caller's tenant, whose books these are.
    tenant_id: Uuid,
    /// `true`: nothing is booked, and it is told what would be.
    #[param(value_type = Option<bool>, default = false)]
    dry_run: bool,
    /// Why, for the audit.
    #[param(max_length = 255, pattern = "^[^\\u0000]+$")]
    reason: Option<String>,
}

impl Parameters for ImportQuery {
    const KNOWN: &'static [&'static str] = &["request_id", "tenant_id", "dry_run", "reason"];

    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let (request_id, tenant_id) = (fields.take("request_id", id), fields.take("tenant_id", id));
        let dry_run = fields.take("dry_run", yes_or_no).unwrap_or_default();
        let reason = fields.take("reason", text);
        fields.finish()?;
        let keys = [("request_id", request_id), ("tenant_id", tenant_id)];
        lacking("query", keys.into_iter().filter(|(_, id)| id.is_none()).map(|(name, _)| name))?;
        let (request_id, tenant_id) = (request_id.unwrap_or_default(), tenant_id.unwrap_or_default());
        Ok(Self { request_id, tenant_id, dry_run, reason })
    }
}

/// The body: a file, whose media type says how it is written.
pub(crate) struct File {
    format: Format,
    bytes: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for File {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let essence = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let format = match essence.to_ascii_lowercase().as_str() {
            "text/csv" => Format::Csv,
            "application/x-ndjson" | "application/jsonl" => Format::JsonLines,
            _ => {
                let detail = format!("the body's media type is `{}`", shown(essence));
                return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail)
                    .with_remedy("send `Content-Type: text/csv` or `application/x-ndjson`"));
            }
        };
        let bytes = to_bytes(request.into_body(), IMPORT_MAX_BYTES)
            .await
            .map_err(|error| Problem::new(ProblemKind::BodyTooLarge, error.to_string()))?;
        Ok(Self { format, bytes })
    }
}

/// Post what a file has
///
/// CSV (`text/csv`: a line of a posting a row) or JSON Lines (`application/x-ndjson`: a posting a line), of up to 4 MiB; `plimsoll ledger import` takes larger files, and `docs/ledger.md` has the fields. All of
/// it is checked before anything is booked: `parameters` of the problem says what is wrong, by line and field. What is on record is not booked again, so an import that was interrupted, or ran out of its
/// time, is sent once more. What only booking tells (somebody else spent the money meanwhile) ends it at that line: what stands above it stays booked.
#[utoipa::path(post, operation_id = "import_ledger_postings", path = "/api/v1/ledger/import", tag = "ledger", params(ImportQuery),
    request_body(description = "The file", content((String = "text/csv"), (String = "application/x-ndjson"))),
    responses((status = 200, description = "What came of it, or would", body = LedgerImport), ImportProblems))]
pub(crate) async fn import(
    execution: Execution,
    (State(state), caller, Query(asked), file): (State<ApiState>, Caller, Query<ImportQuery>, File),
) -> Result<Answered, Problem> {
    if asked.tenant_id != caller.tenant_id {
        return Err(Denied::OtherTenant.into());
    }
    let context = Context { request_id: asked.request_id, ..execution.caller().clone() };
    let import = Import { db: state.db(), tenant_id: caller.tenant_id, context, format: file.format };
    let checked = import.check(&*file.bytes, |_| {}).await?;
    if checked.problem_count > 0 {
        return Err(unsound(&checked));
    }
    if asked.dry_run || checked.fresh() == 0 {
        let would = Imported { posted: checked.fresh(), repeated: checked.repeated };
        return Ok(execution.answer(told(&asked, &checked, would)?).await?);
    }
    let execution = match execution.recovery_point() {
        Some(_) => execution,
        None => put_on_record(execution, &asked, &import, &checked).await?,
    };
    let intake = Intake::start(state.db().clone());
    match import.book(checked.clone(), &*file.bytes, &intake, |_| {}).await {
        Ok(done) => Ok(execution.answer(told(&asked, &checked, done)?).await?),
        Err(ImportError::Stopped(problem)) => Ok(execution.answer(stopped(&problem)).await?),
        Err(error) => Err(error.into()),
    }
}

/// Who imports what, before any of it is booked.
async fn put_on_record(
    execution: Execution,
    asked: &ImportQuery,
    import: &Import<'_>,
    checked: &Checked,
) -> Result<Execution, Problem> {
    let after = json!({ "postings": checked.postings, "to_be_posted": checked.fresh() });
    let entry = Entry::new("ledger.import", "file", &*checked.sha256)
        .with_change(None, Some(after))
        .in_context(import.context.clone());
    let entry = match &asked.reason {
        Some(reason) => entry.with_reason(reason),
        None => entry,
    };
    let mut effect = execution.begin_effects().await?;
    audit::record(&mut effect, entry).await?;
    Ok(effect.advance("importing", json!({ "sha256": checked.sha256 })).await?)
}

fn told(asked: &ImportQuery, checked: &Checked, done: Imported) -> Result<Reply, Problem> {
    let told = LedgerImport {
        request_id: asked.request_id,
        dry_run: asked.dry_run,
        postings: checked.postings,
        lines: checked.lines,
        posted: done.posted,
        repeated: done.repeated,
        late: checked.late,
        sha256: checked.sha256.clone(),
    };
    Ok(Reply::json(StatusCode::OK, &told)?)
}

fn in_file(problem: &InFile) -> FieldProblem {
    FieldProblem {
        name: format!("line {}, {}", problem.line, problem.field),
        reason: format!("{}: {}", problem.what, problem.remedy),
    }
}

fn unsound(checked: &Checked) -> Problem {
    Problem::new(ProblemKind::PostingRefused, ImportError::Unsound(checked.problem_count).to_string())
        .with_remedy("correct what `parameters` lists, and send the file again")
        .with_parameters(checked.problems.iter().map(in_file).collect())
}

fn stopped(problem: &InFile) -> Problem {
    Problem::new(
        ProblemKind::PostingRefused,
        format!("{problem}; what stands above it is booked, and stays so"),
    )
    .with_remedy(
        "correct that line, and send the file again under another key: what is on record is not booked twice",
    )
    .with_parameters(vec![in_file(problem)])
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        let detail = error.to_string();
        match error {
            ImportError::Stopped(problem) => stopped(&problem),
            ImportError::Unsound(_) => Self::new(ProblemKind::PostingRefused, detail),
            ImportError::Unknown { error, .. } => Self { detail, ..error.into() },
            ImportError::Database(error) => (&error).into(),
            ImportError::File(error) => {
                tracing::error!(%error, "a body that is in memory could not be read");
                Self::new(ProblemKind::Internal, "the file could not be read")
            }
        }
    }
}
