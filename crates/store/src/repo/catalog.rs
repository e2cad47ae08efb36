//! What Postgres itself says of roles, tables and policies.

use sqlx::PgConnection;

use crate::urls::SCHEMA;

/// The migrations' own table: no policies, and nobody but the owner writes it.
pub(crate) const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// The versions that were applied, empty when there is no such table.
pub(crate) async fn applied_versions(conn: &mut PgConnection) -> Result<Vec<i64>, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('plimsoll._sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM plimsoll._sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(conn)
        .await
}

/// The powers of the session's own user.
#[derive(Debug)]
pub(crate) struct SessionPowers {
    pub(crate) role: String,
    pub(crate) is_superuser: bool,
    pub(crate) bypasses_row_security: bool,
    pub(crate) creates_roles: bool,
    pub(crate) replicates: bool,
    pub(crate) creates_in_schema: bool,
    /// Other roles with a power that this one must not reach, of which it is a member.
    pub(crate) powerful_memberships: Vec<String>,
    /// Relations of the schema that it owns, itself or through a membership.
    pub(crate) owned: Vec<String>,
}

/// Asks for the powers of whoever this connection logged in as. `forbidden` are role names that it may not be a member of.
pub(crate) async fn session_powers(
    conn: &mut PgConnection,
    forbidden: &[&str],
) -> Result<SessionPowers, sqlx::Error> {
    let forbidden: Vec<String> = forbidden.iter().map(|name| (*name).to_owned()).collect();
    sqlx::query_as!(
        SessionPowers,
        r#"
        SELECT me.rolname::text AS "role!",
               me.rolsuper AS "is_superuser!",
               me.rolbypassrls AS "bypasses_row_security!",
               me.rolcreaterole AS "creates_roles!",
               me.rolreplication AS "replicates!",
               COALESCE((SELECT has_schema_privilege(me.oid, n.oid, 'CREATE') FROM pg_namespace n WHERE n.nspname = $2), false) AS "creates_in_schema!",
               ARRAY(SELECT other.rolname::text FROM pg_roles other
                     WHERE other.oid <> me.oid AND pg_has_role(me.oid, other.oid, 'MEMBER')
                       AND (other.rolsuper OR other.rolbypassrls OR other.rolcreaterole OR other.rolreplication OR other.rolname = ANY ($1)
                            OR other.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_execute_server_program',
                                                 'pg_read_server_files', 'pg_write_server_files'))
                     ORDER BY 1) AS "powerful_memberships!",
               ARRAY(SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE n.nspname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_has_role(me.oid, c.relowner, 'MEMBER')
                     ORDER BY 1) AS "owned!"
        FROM pg_roles me WHERE me.rolname = session_user"#,
        &forbidden,
        SCHEMA,
    )
    .fetch_one(conn)
    .await
}

/// One table or view of the schema, as the app role meets it.
#[derive(Debug)]
pub(crate) struct RelationFacts {
    pub(crate) name: String,
    /// `pg_class.relkind`: `r` and `p` are tables, `v` a view, `m` a materialised view, `f` a foreign table.
    pub(crate) kind: String,
    pub(crate) is_row_secured: bool,
    pub(crate) is_row_security_forced: bool,
    pub(crate) is_security_invoker: bool,
    pub(crate) app_reads: bool,
    pub(crate) app_writes: bool,
    pub(crate) worker_writes: bool,
    /// Permissive policies that apply to the app, as `name` for those that let everything through.
    pub(crate) open_policies: Vec<String>,
    /// Of these, whether one is `public_read` (for SELECT alone).
    pub(crate) is_public: bool,
    /// Whether a policy that applies to the app compares with the transaction's tenants.
    pub(crate) is_tenant_checked: bool,
}

/// Every relation of the schema. `app` and `worker` are the names of the roles.
pub(crate) async fn relations(
    conn: &mut PgConnection,
    app: &str,
    worker: &str,
) -> Result<Vec<RelationFacts>, sqlx::Error> {
    sqlx::query_as!(
        RelationFacts,
        r#"
        SELECT c.relname::text AS "name!",
               c.relkind::text AS "kind!",
               c.relrowsecurity AS "is_row_secured!",
               c.relforcerowsecurity AS "is_row_security_forced!",
               COALESCE(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false) AS "is_security_invoker!",
               has_table_privilege($1, c.oid, 'SELECT') OR has_any_column_privilege($1, c.oid, 'SELECT') AS "app_reads!",
               has_table_privilege($1, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
                   OR has_any_column_privilege($1, c.oid, 'INSERT, UPDATE, REFERENCES') AS "app_writes!",
               has_table_privilege($2, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                   OR has_any_column_privilege($2, c.oid, 'INSERT, UPDATE') AS "worker_writes!",
               COALESCE(p.open, '{}') AS "open_policies!",
               COALESCE(p.is_public, false) AS "is_public!",
               COALESCE(p.is_tenant_checked, false) AS "is_tenant_checked!"
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL (
            SELECT array_agg(policy.policyname::text ORDER BY policy.policyname) FILTER (
                       WHERE NOT (policy.policyname = 'public_read' AND policy.cmd = 'SELECT')
                         AND COALESCE(policy.qual, policy.with_check, 'true') NOT LIKE '%current_tenants()%') AS open,
                   bool_or(policy.policyname = 'public_read' AND policy.cmd = 'SELECT') AS is_public,
                   bool_or(COALESCE(policy.qual, policy.with_check) LIKE '%current_tenants()%') AS is_tenant_checked
            FROM pg_policies policy
            WHERE policy.schemaname = n.nspname AND policy.tablename = c.relname AND policy.permissive = 'PERMISSIVE'
              AND EXISTS (SELECT FROM unnest(policy.roles) AS granted(role)
                          WHERE granted.role = 'public'
                             OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = granted.role AND pg_has_role($1, r.oid, 'MEMBER')))
        ) p
        WHERE n.nspname = $3 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        ORDER BY c.relname"#,
        app,
        worker,
        SCHEMA,
    )
    .fetch_all(conn)
    .await
}
