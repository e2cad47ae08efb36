//! A posting as a file has it.

use std::collections::HashMap;

use plimsoll_proof::ledger::encoding::Direction;
use plimsoll_types::{Amount, Context};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::fields::{AMOUNT, Fields, HASH, ID, NUMBER, OBJECT, TEXT, TIME};
use super::{Format, Import, OPERATION, Problem};
use crate::correction::REVERSAL;
use crate::posting::{Correction, Draft, Invalid, Line, OnChain, Origin, Posting};

/// What requests are derived under from vouchers' names.
const VOUCHERS: Uuid = Uuid::from_u128(0x0a8f_52c1_96d4_4f0e_8b7d_61a3_c5e0_2901);
const DOMAIN: &str = "cash";
const ENTRY_TYPE: &str = "POSTING";
/// What an export has beside, and the books tell.
const PASSED_OVER: &[&str] = &[
    "checksum",
    "booked_at",
    "recorded_at",
    "created_by",
    "causation_id",
    "leaf_index",
    "prev_entry_hash",
    "entry_hash",
];
const PASSED_OVER_OF_LINE: &[&str] = &["sequence", "account_version", "balance_after", "checksum"];

/// An account as a line names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Named {
    Id(Uuid),
    /// Domain, name and currency.
    Name(String, String, String),
}

/// A line as the file has it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) account: Named,
    direction: Direction,
    amount: Amount,
    currency: String,
    entry_type: String,
}

/// A posting as the file has it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Where it begins.
    pub(super) line: u64,
    /// What it was called where it was exported.
    pub(super) posting_id: Option<Uuid>,
    /// Without lines.
    pub(super) draft: Draft,
    pub(super) rows: Vec<Row>,
}

/// Accounts by their names.
pub(super) type Names = HashMap<Named, Uuid>;

impl Entry {
    /// From the fields of a posting and those of its lines, each with the line of the file that it begins on; or all that is wrong with them.
    pub(super) fn read(
        import: &Import<'_>,
        line: u64,
        posting: Map<String, Value>,
        lines: Vec<(u64, Map<String, Value>)>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut fields = Fields::new(posting, line, String::new(), &mut problems);
        let posting_id = fields.take("posting_id", &ID);
        let draft = draft(import, &mut fields);
        fields.finish(PASSED_OVER);
        let mut rows = Vec::with_capacity(lines.len());
        for (place, (line, given)) in lines.into_iter().enumerate() {
            let place = match import.format {
                Format::JsonLines => format!("lines[{place}]."),
                Format::Csv => String::new(),
            };
            let mut fields = Fields::new(given, line, place, &mut problems);
            rows.extend(row(line, draft.as_ref().map_or(DOMAIN, |draft| &draft.domain), &mut fields));
            fields.finish(PASSED_OVER_OF_LINE);
        }
        match draft {
            Some(draft) if problems.is_empty() => Ok(Self { line, posting_id, draft, rows }),
            _ => Err(problems),
        }
    }

    /// Of the fields of a posting and of a line those that there are not.
    pub(super) fn unknown(
        import: &Import<'_>,
        line: u64,
        of_posting: Map<String, Value>,
        of_line: Map<String, Value>,
    ) -> Vec<Problem> {
        let (mut passing, mut unknown) = (Vec::new(), Vec::new());
        let mut fields = Fields::new(of_posting, line, String::new(), &mut passing);
        fields.take("posting_id", &ID);
        let _ = draft(import, &mut fields);
        unknown.extend(fields.unknown(PASSED_OVER));
        let mut fields = Fields::new(of_line, line, String::new(), &mut passing);
        let _ = row(line, DOMAIN, &mut fields);
        unknown.extend(fields.unknown(PASSED_OVER_OF_LINE));
        unknown
    }

    /// What is to be booked, where its accounts are known; or all that is wrong with it.
    pub(super) fn posting(&self, names: &Names) -> Result<Posting, Vec<Problem>> {
        let mut draft = self.draft.clone();
        let mut problems = Vec::new();
        for row in &self.rows {
            let known = match &row.account {
                Named::Id(id) => Some(id),
                name @ Named::Name(..) => names.get(name),
            };
            match known {
                Some(account_id) => {
                    draft.lines.push(Line::new(
                        *account_id,
                        row.direction,
                        row.amount,
                        &row.currency,
                        &row.entry_type,
                    ));
                }
                None => problems.push(row.unknown()),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Posting::checked(draft).map_err(|invalid| vec![self.invalid(&invalid)])
    }

    /// The posting that it puts right, as the file calls it.
    pub(super) fn corrects(&self) -> Option<Uuid> {
        let correction = self.draft.correction.as_ref();
        correction.map(|(Correction::Reverses(id) | Correction::Compensates(id), _)| *id)
    }

    /// Something that is wrong with it.
    pub(super) fn wrong(&self, field: &str, what: &impl ToString, remedy: &str) -> Problem {
        Problem { line: self.line, field: field.into(), what: what.to_string(), remedy: remedy.into() }
    }

    fn invalid(&self, invalid: &Invalid) -> Problem {
        let (field, remedy) = match invalid {
            Invalid::Nothing { sequence } => {
                let line = self.rows.get(sequence - 1).map_or(self.line, |row| row.line);
                return Problem {
                    line,
                    ..self.wrong("amount", invalid, "leave the line out, or give its amount")
                };
            }
            Invalid::Lines { .. } => (
                "lines",
                "rows of one posting stand one below the other, each under its `voucher` or `request_id`",
            ),
            Invalid::Unbalanced { .. } => (
                "lines",
                "correct an amount, or add the line that is missing; rows of one posting stand one below the other",
            ),
            Invalid::Text { .. } => ("the posting", "write it shorter, or without that"),
            Invalid::Metadata { .. } | Invalid::Unreadable => {
                ("metadata", "keep the rest elsewhere, and its name here")
            }
            Invalid::NoTenant | Invalid::Reversal { .. } => ("the posting", "correct it"),
        };
        self.wrong(field, invalid, remedy)
    }
}

impl Row {
    fn unknown(&self) -> Problem {
        let what = match &self.account {
            Named::Id(id) => format!("account {id} is none of the tenant's"),
            Named::Name(domain, name, currency) => {
                format!("the books of {domain} have no account {name:?} in {currency}")
            }
        };
        let remedy =
            "`plimsoll ledger accounts` lists those that there are; open it first, or correct the name"
                .into();
        Problem { line: self.line, field: "account".into(), what, remedy }
    }
}

/// All but the lines; none: what is wrong was noted.
fn draft(import: &Import<'_>, fields: &mut Fields<'_>) -> Option<Draft> {
    if let Some(tenant_id) = fields.take("tenant_id", &ID).filter(|id| *id != import.tenant_id) {
        fields.wrong(
            "tenant_id",
            format!("it is of tenant {tenant_id}"),
            "import it into that tenant's books, or leave the field out",
        );
    }
    let (request_id, voucher) = (fields.take("request_id", &ID), fields.take("voucher", &TEXT));
    if request_id.is_some() == voucher.is_some() {
        fields.wrong(
            "request_id",
            "a posting has a `request_id` or a `voucher`, which is its name in your papers",
            "give one of them, and only one",
        );
    }
    let mut metadata = fields.take("metadata", &OBJECT).unwrap_or_default();
    for (name, text) in [("voucher", voucher.clone()), ("description", fields.take("description", &TEXT))] {
        metadata.extend(text.map(|text| (name.to_owned(), Value::String(text))));
    }
    let correction = correction(fields);
    let operation_type = fields.take("operation_type", &TEXT);
    let is_reversal = matches!(correction, Some((Correction::Reverses(_), _)));
    if is_reversal && operation_type.as_ref().is_some_and(|name| name != REVERSAL) {
        fields.wrong(
            "operation_type",
            "a reversal has the operation type `reversal`",
            "write that, or leave it empty",
        );
    }
    let default = if is_reversal { REVERSAL } else { OPERATION };
    let request_id = request_id.or_else(|| Some(Uuid::new_v5(&VOUCHERS, voucher?.as_bytes())));
    let context = Context {
        user_id: fields.take("user_id", &ID),
        correlation_id: fields
            .take("correlation_id", &TEXT)
            .unwrap_or_else(|| import.context.request_id.to_string()),
        causation_id: Some(import.context.request_id.to_string()),
        ..import.context.clone()
    };
    let draft = Draft {
        context,
        operation_type: operation_type.unwrap_or_else(|| default.into()),
        domain: fields.take("domain", &TEXT).unwrap_or_else(|| DOMAIN.into()),
        origin: Origin::Request,
        internal_tx_id: fields.take("internal_tx_id", &ID),
        trace_id: fields.take("trace_id", &ID),
        effective_at: fields.take("effective_at", &TIME),
        on_chain: on_chain(fields),
        correction,
        metadata,
        lines: Vec::new(),
    };
    let context =
        Context { request_id: request_id?, tenant_id: Some(import.tenant_id), ..draft.context.clone() };
    Some(Draft { context, ..draft })
}

fn correction(fields: &mut Fields<'_>) -> Option<(Correction, String)> {
    let reverses = fields.take("reverses", &ID);
    let compensates = fields.take("compensates", &ID);
    let reason = fields.take("reason", &TEXT);
    let corrects = match (reverses, compensates) {
        (Some(id), None) => Correction::Reverses(id),
        (None, Some(id)) => Correction::Compensates(id),
        (Some(_), Some(_)) => {
            fields.wrong(
                "compensates",
                "a posting reverses another, or makes one good",
                "give `reverses` or `compensates`",
            );
            return None;
        }
        (None, None) => {
            if reason.is_some() {
                fields.wrong(
                    "reason",
                    "a reason is of a posting that puts another right",
                    "name that under `compensates`, or write the text under `description`",
                );
            }
            return None;
        }
    };
    if reason.is_none() {
        fields.wrong("reason", "what puts another posting right says why", "write the reason");
    }
    Some((corrects, reason?))
}

fn on_chain(fields: &mut Fields<'_>) -> Option<OnChain> {
    let chain_id = fields.take("chain_id", &NUMBER);
    let tx_hash = fields.take("chain_tx_hash", &HASH);
    let number = fields.take("chain_block_number", &NUMBER);
    let hash = fields.take("chain_block_hash", &HASH);
    if number.is_some() != hash.is_some() {
        fields.wrong("chain_block_hash", "a block has its number and its hash", "give both, or neither");
    }
    if chain_id.is_none_or(|id| id == 0) && (chain_id.is_some() || tx_hash.is_some() || number.is_some()) {
        fields.wrong("chain_id", "a transaction and a block are of a chain", "give the chain's id, as 42161");
    }
    Some(OnChain { chain_id: chain_id?, tx_hash, block: number.zip(hash) })
}

/// A line; none: what is wrong was noted.
fn row(line: u64, domain: &str, fields: &mut Fields<'_>) -> Option<Row> {
    let (id, name) = (fields.take("account_id", &ID), fields.take("account", &TEXT));
    let currency = fields.take("currency", &TEXT);
    let entry_type = fields.take("entry_type", &TEXT).unwrap_or_else(|| ENTRY_TYPE.into());
    let (direction, amount) = side(fields).unzip();
    if currency.is_none() {
        fields.wrong("currency", "it is missing", "write the currency that the account is kept in");
    }
    let currency = currency?;
    let account = match (id, name) {
        (Some(id), _) => Some(Named::Id(id)),
        (None, Some(name)) => Some(Named::Name(domain.to_owned(), name, currency.clone())),
        (None, None) => {
            fields.wrong(
                "account",
                "it is missing",
                "give the account's name under `account`, or its id under `account_id`",
            );
            None
        }
    };
    Some(Row { line, account: account?, direction: direction?, amount: amount?, currency, entry_type })
}

/// Which side, and how much: `debit` or `credit`, or `direction` and `amount`.
fn side(fields: &mut Fields<'_>) -> Option<(Direction, Amount)> {
    let told = fields.told();
    let debit = fields.take("debit", &AMOUNT).filter(|amount| *amount != Amount::ZERO);
    let credit = fields.take("credit", &AMOUNT).filter(|amount| *amount != Amount::ZERO);
    let direction = fields.take("direction", &TEXT);
    let amount = fields.take("amount", &AMOUNT);
    match (debit, credit, direction.as_deref(), amount) {
        (Some(debit), None, None, None) => Some((Direction::Debit, debit)),
        (None, Some(credit), None, None) => Some((Direction::Credit, credit)),
        (None, None, Some("debit"), Some(amount)) => Some((Direction::Debit, amount)),
        (None, None, Some("credit"), Some(amount)) => Some((Direction::Credit, amount)),
        // What is no amount was told.
        _ if fields.told() > told => None,
        _ => {
            fields.wrong(
                "debit",
                "a line has one amount, on one side",
                "give `debit` or `credit`; or `amount`, with `direction` as debit or credit",
            );
            None
        }
    }
}
