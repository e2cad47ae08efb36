//! The first reading: everything that can be told before anything is booked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::BufRead;

use plimsoll_proof::ledger::encoding::Encoder;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::entry::{Entry, Named, Names};
use super::lines::Broken;
use super::reader::Reader;
use super::{Checked, Import, ImportError, POSTINGS_MAX, Problem, WINDOW};
use crate::book::{Desk, Refusal};
use crate::error::PostError;
use crate::posting::Posting;
use crate::read;
use crate::repo::postings::Found;
use crate::repo::{corrections, import as repo, postings};

/// What is kept of a key that the file has: the beginning of its posting's checksum, and its line.
type Kept = ([u8; 8], u64);

impl Import<'_> {
    /// Looks at the whole file, and books nothing. `progress` is told after each part.
    ///
    /// # Errors
    /// [`ImportError::File`] and [`ImportError::Database`]; what is wrong with the file is in what it returns.
    pub async fn check<R: BufRead>(
        &self,
        input: R,
        mut progress: impl FnMut(&Checked),
    ) -> Result<Checked, ImportError> {
        let mut tx = self.db.tenant_tx(&[self.tenant_id]).await?;
        let books = repo::books(&mut tx, self.tenant_id).await?;
        drop(tx);
        let mut checked = Checked::default();
        let Some((closed_through, now)) = books else {
            let what = PostError::NoBooks { tenant_id: self.tenant_id }.to_string();
            let remedy = "`plimsoll ledger chart open` opens them".into();
            checked.note(Problem { line: 0, field: "the books".into(), what, remedy });
            return Ok(checked);
        };
        let desk = Desk {
            accounts: HashMap::new(),
            closed_through: HashMap::from([(self.tenant_id, closed_through)]),
            now,
            encoder: Encoder::new(),
        };
        let (names, keys, ids) = (Names::new(), HashMap::new(), HashSet::new());
        let mut rehearsal = Rehearsal { import: self, checked, desk, names, keys, ids };
        let mut reader = Reader::new(self, input);
        let mut window = Vec::with_capacity(WINDOW);
        // Ends: each turn takes a posting, and the file ends.
        loop {
            let read = match reader.next() {
                Ok(read) => read,
                Err(Broken::File(error)) => return Err(error.into()),
                Err(Broken::Form(problems)) => {
                    for problem in problems {
                        let remedy = format!("{}; what follows it was not looked at", problem.remedy);
                        rehearsal.checked.note(Problem { remedy, ..problem });
                    }
                    break;
                }
            };
            match read {
                None => break,
                Some(Err(problems)) => rehearsal.note_posting(0, problems),
                Some(Ok(entry)) => window.push(entry),
            }
            if window.len() == WINDOW {
                rehearsal.look(std::mem::take(&mut window)).await?;
                progress(&rehearsal.checked);
            }
            if rehearsal.checked.postings > POSTINGS_MAX {
                let what = format!("the file has more than {POSTINGS_MAX} postings");
                let remedy = "split it into parts, and import one after the other".into();
                rehearsal.checked.note(Problem { line: 0, field: "the file".into(), what, remedy });
                break;
            }
        }
        rehearsal.look(window).await?;
        rehearsal.checked.problems.sort_by_key(|problem| problem.line);
        rehearsal.checked.sha256 = reader.sha256();
        progress(&rehearsal.checked);
        Ok(rehearsal.checked)
    }
}

/// The tenant's accounts that these postings name and that are not known yet.
pub(super) async fn learn(
    conn: &mut PgConnection,
    tenant_id: Uuid,
    names: &mut Names,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    let mut unknown = BTreeSet::new();
    for row in entries.iter().flat_map(|entry| &entry.rows) {
        if let Named::Name(domain, name, currency) = &row.account
            && !names.contains_key(&row.account)
        {
            unknown.insert((domain.clone(), name.clone(), currency.clone()));
        }
    }
    let (mut domains, mut of_name, mut currencies) = (Vec::new(), Vec::new(), Vec::new());
    for (domain, name, currency) in unknown {
        domains.push(domain);
        of_name.push(name);
        currencies.push(currency);
    }
    if !domains.is_empty() {
        let found = repo::named(conn, tenant_id, (&domains, &of_name, &currencies)).await?;
        let found = found.into_iter();
        names.extend(found.map(|((domain, name, currency), id)| (Named::Name(domain, name, currency), id)));
    }
    Ok(())
}

/// Whether what is on record under a posting's key is what the file says. An export has the time at which a posting was booked, also where whoever asked for it gave none.
pub(super) async fn is_same(
    conn: &mut PgConnection,
    posting: &Posting,
    found: Found,
) -> Result<bool, sqlx::Error> {
    if found.checksum == posting.checksum() {
        return Ok(true);
    }
    let mut draft = posting.draft().clone();
    let Some(effective_at) = draft.effective_at.take() else { return Ok(false) };
    let without = Posting::checked(draft);
    if without.is_err() || without.is_ok_and(|without| without.checksum() != found.checksum) {
        return Ok(false);
    }
    let on_record = read::by_id(conn, posting.tenant_id(), found.posting_id).await?;
    Ok(on_record.is_some_and(|on_record| on_record.effective_at == effective_at))
}

/// What is told of a posting whose key is another's.
pub(super) fn conflict(entry: &Entry, posting_id: Uuid) -> Problem {
    let what = format!("posting {posting_id} is on record under it, and says something else");
    entry.wrong(
        "request_id",
        &what,
        "give what is new another `voucher` or `request_id`, or write what was booked",
    )
}

/// What is told of a posting that the accounts do not allow.
pub(super) fn refused(entry: &Entry, posting: &Posting, refusal: &Refusal) -> Problem {
    let (account, field, remedy) = match refusal {
        Refusal::UnknownAccount { account_id } => {
            (Some(account_id), "account", "`plimsoll ledger accounts` lists those that there are")
        }
        Refusal::Currency { account_id, .. } => {
            (Some(account_id), "currency", "name an account that is kept in that currency")
        }
        Refusal::Domain { account_id, .. } => {
            (Some(account_id), "domain", "name that domain, or an account of this one")
        }
        Refusal::Closed { account_id } => (Some(account_id), "account", "book it on an account that is open"),
        Refusal::Limit { account_id, .. } => {
            (Some(account_id), "amount", "correct the amount, or move the account's limit first")
        }
        Refusal::Overflow { account_id } => (Some(account_id), "amount", "correct the amount"),
        Refusal::UnknownPosting { .. } => {
            (None, "reverses", "name a posting of these books, or one that stands above in the file")
        }
        Refusal::IsReversal { .. } | Refusal::Reversed { .. } => (None, "reverses", "leave it out"),
        Refusal::NoOpeningBalances { .. } | Refusal::Seal(_) => (None, "the posting", "correct it"),
    };
    let mut lines = posting.draft().lines.iter().zip(&entry.rows);
    let row = lines.find(|(line, _)| account == Some(&line.account_id)).map(|(_, row)| row.line);
    Problem { line: row.unwrap_or(entry.line), ..entry.wrong(field, refusal, remedy) }
}

struct Rehearsal<'a> {
    import: &'a Import<'a>,
    checked: Checked,
    /// The accounts as they are, and as the file would leave them.
    desk: Desk,
    names: Names,
    keys: HashMap<[u8; 16], Kept>,
    /// Postings as the file calls them.
    ids: HashSet<Uuid>,
}

impl Rehearsal<'_> {
    fn note_posting(&mut self, lines: usize, problems: Vec<Problem>) {
        self.checked.postings += 1;
        self.checked.lines += lines as u64;
        problems.into_iter().for_each(|problem| self.checked.note(problem));
    }

    /// Looks at these postings in their order.
    async fn look(&mut self, entries: Vec<Entry>) -> Result<(), ImportError> {
        let tenant_id = self.import.tenant_id;
        let mut tx = self.import.db.tenant_tx(&[tenant_id]).await?;
        learn(&mut tx, tenant_id, &mut self.names, &entries).await?;
        let mut built = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.posting(&self.names) {
                Ok(posting) => {
                    self.note_posting(entry.rows.len(), Vec::new());
                    built.push((entry, posting));
                }
                Err(problems) => self.note_posting(entry.rows.len(), problems),
            }
        }
        let all: Vec<_> = built.iter().map(|(_, posting)| posting).collect();
        let found = postings::find(&mut tx, &all).await?;
        let mut found: HashMap<_, _> = found.into_iter().map(|found| (found.place, found)).collect();
        self.stand(&mut tx, &all).await?;
        let targets: Vec<_> = built.iter().filter_map(|(entry, _)| entry.corrects()).collect();
        let targets = corrections::targets(&mut tx, &targets).await?;
        for (place, (entry, posting)) in built.iter().enumerate() {
            self.ids.extend(entry.posting_id);
            let on_record = found.remove(&place);
            if self.is_repeated(entry, posting) {
                continue;
            }
            if let Some(target) = entry.corrects() {
                self.checked.corrected.insert(target, None);
                let is_known = self.ids.contains(&target)
                    || targets.get(&target).is_some_and(|found| found.tenant_id == tenant_id);
                if !is_known {
                    let unknown = Refusal::UnknownPosting { posting_id: target };
                    self.checked.note(refused(entry, posting, &unknown));
                }
            }
            match on_record {
                // Which posting it puts right is known when that is booked: its own booking compares.
                Some(_) if entry.corrects().is_some() => self.checked.repeated += 1,
                Some(found) if is_same(&mut tx, posting, found).await? => self.checked.repeated += 1,
                Some(found) => self.checked.note(conflict(entry, found.posting_id)),
                None => match self.desk.book(Uuid::nil(), posting) {
                    Ok(booked) => self.checked.late += u64::from(booked.booked_at != booked.effective_at),
                    Err(refusal) => self.checked.note(refused(entry, posting, &refusal)),
                },
            }
        }
        Ok(())
    }

    /// Reads what those accounts hold that were not named before.
    async fn stand(&mut self, conn: &mut PgConnection, all: &[&Posting]) -> Result<(), sqlx::Error> {
        let accounts = all.iter().flat_map(|posting| &posting.draft().lines).map(|line| line.account_id);
        let unknown: BTreeSet<_> = accounts.filter(|id| !self.desk.accounts.contains_key(id)).collect();
        if !unknown.is_empty() {
            let unknown: Vec<_> = unknown.into_iter().collect();
            self.desk.accounts.extend(repo::standings(conn, self.import.tenant_id, &unknown).await?);
        }
        Ok(())
    }

    /// Whether the file has its key above. Another posting there is a problem.
    fn is_repeated(&mut self, entry: &Entry, posting: &Posting) -> bool {
        let context = &posting.draft().context;
        let mut hash = Sha256::new();
        hash.update(context.request_id);
        hash.update(context.user_id.unwrap_or_default());
        hash.update([u8::from(context.user_id.is_some())]);
        hash.update(&posting.draft().operation_type);
        let hash: [u8; 32] = hash.finalize().into();
        let (mut key, mut content) = ([0; 16], [0; 8]);
        key.copy_from_slice(&hash[..16]);
        content.copy_from_slice(&posting.checksum()[..8]);
        let (first, line) = *self.keys.entry(key).or_insert((content, entry.line));
        if line == entry.line {
            return false;
        }
        if first == content {
            self.checked.repeated += 1;
        } else {
            let what = format!("the posting on line {line} has the same, and says something else");
            let remedy = "give one of them another `voucher` or `request_id`; rows of one posting stand one below the other";
            self.checked.note(entry.wrong("request_id", &what, remedy));
        }
        true
    }
}
