//! Do the roles hold what the design rests on? Pure: facts in, findings out. [`crate::Db::connect`] asks Postgres and refuses on any.
//!
//! Row-level security is only as good as the roles are weak: a superuser, a `BYPASSRLS` role and the owner of a table without FORCE
//! all walk through it silently. So it is not assumed but looked at, each time a process starts.

use std::fmt;

use crate::repo::catalog::{MIGRATIONS_TABLE, RelationFacts, SessionPowers};
use crate::roles::{APP, OWNER, WORKER};
use crate::urls::SCHEMA;

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, and where.
    pub problem: String,
    /// The SQL that puts it right, for an administrator.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; remedy: {}", self.problem, self.remedy)
    }
}

/// Several findings, one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|finding| write!(f, "\n  - {finding}"))
    }
}

pub(crate) fn judge(app: &SessionPowers, worker: &SessionPowers, relations: &[RelationFacts]) -> Findings {
    let mut findings = Findings(Vec::new());
    judge_app(app, &mut findings);
    judge_worker(worker, &mut findings);
    for relation in relations {
        judge_relation(relation, &mut findings);
    }
    findings
}

impl Findings {
    fn add(&mut self, problem: String, remedy: String) {
        self.0.push(Finding { problem, remedy });
    }
}

fn judge_app(app: &SessionPowers, findings: &mut Findings) {
    let role = quoted(&app.role);
    if app.bypasses_row_security {
        findings.add(
            format!("the app's role {role} bypasses row-level security: it would read every tenant"),
            format!("ALTER ROLE {role} NOBYPASSRLS;"),
        );
    }
    judge_common("app", app, findings);
}

fn judge_worker(worker: &SessionPowers, findings: &mut Findings) {
    let role = quoted(&worker.role);
    if !worker.bypasses_row_security && !worker.is_superuser {
        findings.add(
            format!("the worker's role {role} does not bypass row-level security: folds and COPY would see and write nothing"),
            format!("ALTER ROLE {role} BYPASSRLS;"),
        );
    }
    judge_common("worker", worker, findings);
}

/// What neither may be. A superuser is told once: all else follows from it.
fn judge_common(who: &str, powers: &SessionPowers, findings: &mut Findings) {
    let role = quoted(&powers.role);
    if powers.is_superuser {
        findings.add(
            format!("the {who}'s role {role} is a superuser: nothing in the database binds it"),
            format!("ALTER ROLE {role} NOSUPERUSER; (or give the {who} a role of its own)"),
        );
        return;
    }
    if powers.creates_roles {
        findings.add(
            format!("the {who}'s role {role} may create roles, and so give itself any power"),
            format!("ALTER ROLE {role} NOCREATEROLE;"),
        );
    }
    if powers.replicates {
        findings.add(
            format!("the {who}'s role {role} may replicate, and so read every row"),
            format!("ALTER ROLE {role} NOREPLICATION;"),
        );
    }
    if powers.creates_in_schema {
        findings.add(
            format!("the {who}'s role {role} may create objects in the schema {SCHEMA}"),
            format!("REVOKE CREATE ON SCHEMA {SCHEMA} FROM {role}, PUBLIC;"),
        );
    }
    for other in &powers.powerful_memberships {
        let other = quoted(other);
        findings.add(
            format!("the {who}'s role {role} is a member of {other} and may act as it"),
            format!("REVOKE {other} FROM {role};"),
        );
    }
    // Whoever may act as the owner "owns" everything; the membership above is the cause, and is told.
    if !powers.powerful_memberships.iter().any(|name| name == OWNER) {
        for table in &powers.owned {
            findings.add(
                format!("the {who}'s role {role} owns {SCHEMA}.{table} and could switch its row-level security off"),
                format!("ALTER TABLE {SCHEMA}.{} OWNER TO {OWNER};", quoted(table)),
            );
        }
    }
}

fn judge_relation(relation: &RelationFacts, findings: &mut Findings) {
    let table = format!("{SCHEMA}.{}", quoted(&relation.name));
    let app_touches = relation.app_reads || relation.app_writes;
    if relation.name == MIGRATIONS_TABLE {
        if relation.app_writes || relation.worker_writes {
            findings.add(
                format!(
                    "{table} is writable by the app or the worker: either could forge the schema's version"
                ),
                format!("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {table} FROM {APP}, {WORKER}, PUBLIC;"),
            );
        }
        return;
    }
    match relation.kind.as_str() {
        "r" | "p" => judge_table(relation, &table, app_touches, findings),
        "v" if app_touches && !relation.is_security_invoker => findings.add(
            format!("the view {table} reads with its owner's rights, past the reader's row-level security"),
            format!("ALTER VIEW {table} SET (security_invoker = true);"),
        ),
        "m" | "f" if app_touches => findings.add(
            format!("{table} cannot have row-level security, and the app may read it"),
            format!("REVOKE ALL ON {table} FROM {APP}, PUBLIC;"),
        ),
        _ => {}
    }
}

fn judge_table(relation: &RelationFacts, table: &str, app_touches: bool, findings: &mut Findings) {
    if !relation.is_row_secured || !relation.is_row_security_forced {
        findings.add(
            format!("row-level security is not enabled and forced on {table}"),
            format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"),
        );
    }
    for policy in &relation.open_policies {
        findings.add(
            format!(
                "the policy {} lets the app at every row of {table}, without a look at the tenant",
                quoted(policy)
            ),
            format!("DROP POLICY {} ON {table};", quoted(policy)),
        );
    }
    if app_touches && !relation.is_public && !relation.is_tenant_checked {
        findings.add(
            format!("the app has privileges on {table}, which is neither declared public (policy public_read) nor confined to tenants"),
            format!("REVOKE ALL ON {table} FROM {APP}, PUBLIC;"),
        );
    }
    if relation.app_writes && relation.is_public {
        findings.add(
            format!(
                "the app may write {table}, which is public: what the chain says is the worker's to write"
            ),
            format!(
                "REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON {table} FROM {APP}, PUBLIC;"
            ),
        );
    }
}

fn quoted(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
