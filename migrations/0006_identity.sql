-- Identity: who may do what in a tenant, and how they prove who they are.
--
-- The directory (users, addresses, roles, assignments) and the approvals are a tenant's own tables: the app reads and writes them, confined by
-- row-level security. What proves an identity (keys, nonces, sessions, second factors, links) is the worker's alone: it is looked
-- at before anybody knows whose tenant it is, and a fault in a request handler must not read it. No secret is stored: hashes of
-- random ones, and second factors sealed under a key that the database does not have.
--
-- An agent never writes, whatever a program tries: every row that could let it carries the two facts (is an agent, is a write) as parts of
-- its foreign keys, and a CHECK over them.

-- What may be granted. The program has the same list; a test compares them.
CREATE TABLE permissions (
    permission   text    COLLATE "C" PRIMARY KEY CHECK (permission ~ '^[a-z]+:[a-z]+$'),
    is_write     boolean NOT NULL,
    is_sensitive boolean NOT NULL,     -- asks for a second factor (spec 2 §5.5)
    UNIQUE (permission, is_write),
    CHECK (is_write OR NOT is_sensitive)
);
INSERT INTO permissions (permission, is_write, is_sensitive) VALUES
    ('positions:read',    false, false),
    ('events:read',       false, false),
    ('users:read',        false, false),
    ('roles:read',        false, false),
    ('keys:read',         false, false),
    ('approvals:read',    false, false),
    ('retry:read',        false, false),
    ('relayer:read',      false, false),
    ('ledger:read',       false, false),
    ('recon:read',        false, false),
    ('audit:read',        false, false),
    ('tenant:read',       false, false),
    ('users:write',       true,  true),
    ('roles:write',       true,  true),
    ('keys:write',        true,  true),
    ('approvals:request', true,  false),
    ('approvals:decide',  true,  true),
    ('retry:request',     true,  false),
    ('retry:operate',     true,  false),
    ('relayer:submit',    true,  false),
    ('relayer:operate',   true,  true),
    ('ledger:post',       true,  true),
    ('recon:propose',     true,  false),
    ('admin:repair',      true,  true),
    ('ai:authorize',      true,  true),
    ('tenant:configure',  true,  true);

-- A tenant's people, machines and agents.
CREATE TABLE users (
    tenant_id    uuid NOT NULL REFERENCES tenants,
    user_id      uuid NOT NULL,
    kind         text COLLATE "C" NOT NULL CHECK (kind IN ('person', 'machine', 'agent')),
    is_agent     boolean NOT NULL GENERATED ALWAYS AS (kind = 'agent') STORED,
    status       text COLLATE "C" NOT NULL CHECK (status IN ('active', 'suspended', 'pending_review')),
    display_name text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 200),
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id),
    UNIQUE (user_id),
    UNIQUE (tenant_id, user_id, is_agent),
    UNIQUE (tenant_id, user_id, kind)
);

-- An address on a chain belongs to one user of a tenant at a time; who had it before stays readable.
CREATE TABLE user_addresses (
    address_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  uuid   NOT NULL,
    user_id    uuid   NOT NULL,
    chain_id   bigint NOT NULL CHECK (chain_id > 0),
    address    text   COLLATE "C" NOT NULL CHECK (address ~ '^0x[0-9a-f]{40}$'),
    linked_at  timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);
CREATE UNIQUE INDEX user_addresses_owner ON user_addresses (tenant_id, chain_id, address) WHERE removed_at IS NULL;
CREATE INDEX user_addresses_user ON user_addresses (tenant_id, user_id);

-- Who a user is elsewhere: a subject of an OpenID Connect issuer. One user of a tenant at a time, as with addresses.
CREATE TABLE external_identities (
    identity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    user_id     uuid NOT NULL,
    issuer      text COLLATE "C" NOT NULL CHECK (length(issuer) BETWEEN 1 AND 1000),
    subject     text COLLATE "C" NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    linked_at   timestamptz NOT NULL DEFAULT now(),
    removed_at  timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);
CREATE UNIQUE INDEX external_identities_owner ON external_identities (tenant_id, issuer, subject) WHERE removed_at IS NULL;
CREATE INDEX external_identities_user ON external_identities (tenant_id, user_id);

CREATE TABLE roles (
    tenant_id  uuid NOT NULL REFERENCES tenants,
    role       text COLLATE "C" NOT NULL CHECK (role ~ '^[a-z][a-z0-9_-]{0,63}$'),
    is_agent   boolean NOT NULL,
    is_builtin boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, role),
    UNIQUE (tenant_id, role, is_agent)
);

CREATE TABLE role_permissions (
    tenant_id  uuid NOT NULL,
    role       text COLLATE "C" NOT NULL,
    is_agent   boolean NOT NULL,
    permission text COLLATE "C" NOT NULL,
    is_write   boolean NOT NULL,
    PRIMARY KEY (tenant_id, role, permission),
    FOREIGN KEY (tenant_id, role, is_agent) REFERENCES roles (tenant_id, role, is_agent),
    FOREIGN KEY (permission, is_write) REFERENCES permissions (permission, is_write),
    CONSTRAINT agents_never_write CHECK (NOT (is_agent AND is_write))
);

CREATE TABLE role_assignments (
    tenant_id     uuid NOT NULL,
    user_id       uuid NOT NULL,
    role          text COLLATE "C" NOT NULL,
    user_is_agent boolean NOT NULL,
    role_is_agent boolean NOT NULL,
    assigned_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, role),
    FOREIGN KEY (tenant_id, user_id, user_is_agent) REFERENCES users (tenant_id, user_id, is_agent),
    FOREIGN KEY (tenant_id, role, role_is_agent) REFERENCES roles (tenant_id, role, is_agent),
    CONSTRAINT agents_have_agent_roles CHECK (role_is_agent OR NOT user_is_agent)
);
CREATE INDEX role_assignments_role ON role_assignments (tenant_id, role);

-- The roles that every tenant is born with.
CREATE TABLE builtin_roles (
    role     text    COLLATE "C" PRIMARY KEY,
    is_agent boolean NOT NULL
);
CREATE TABLE builtin_role_permissions (
    role       text COLLATE "C" NOT NULL REFERENCES builtin_roles,
    permission text COLLATE "C" NOT NULL REFERENCES permissions,
    PRIMARY KEY (role, permission)
);
INSERT INTO builtin_roles (role, is_agent) VALUES
    ('viewer', false), ('operator', false), ('accountant', false), ('approver', false), ('admin', false), ('agent', true);
INSERT INTO builtin_role_permissions (role, permission)
    SELECT r.role, p.permission
    FROM builtin_roles r
    CROSS JOIN unnest(ARRAY['positions:read', 'events:read', 'approvals:read', 'retry:read', 'relayer:read', 'ledger:read', 'recon:read',
                            'tenant:read']) AS p(permission)
    WHERE r.role <> 'admin'
    UNION ALL SELECT r.role, 'audit:read' FROM builtin_roles r WHERE r.role NOT IN ('admin', 'viewer')
    UNION ALL SELECT 'operator', p.permission
    FROM unnest(ARRAY['retry:request', 'retry:operate', 'relayer:submit', 'relayer:operate', 'recon:propose', 'approvals:request']) AS p(permission)
    UNION ALL SELECT 'accountant', p.permission FROM unnest(ARRAY['ledger:post', 'recon:propose', 'approvals:request']) AS p(permission)
    UNION ALL SELECT 'approver', 'approvals:decide'
    UNION ALL SELECT 'admin', permissions.permission FROM permissions;

-- No tenant without its roles, whoever makes the tenant. A later migration that changes the lists calls it again for all.
CREATE FUNCTION seed_builtin_roles(tenant uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
    INSERT INTO roles (tenant_id, role, is_agent, is_builtin)
        SELECT tenant, role, is_agent, true FROM builtin_roles ON CONFLICT DO NOTHING;
    INSERT INTO role_permissions (tenant_id, role, is_agent, permission, is_write)
        SELECT tenant, r.role, r.is_agent, p.permission, p.is_write
        FROM builtin_role_permissions b JOIN builtin_roles r USING (role) JOIN permissions p USING (permission)
        ON CONFLICT DO NOTHING;
$$;
REVOKE ALL ON FUNCTION seed_builtin_roles(uuid) FROM PUBLIC;
CREATE FUNCTION seed_new_tenant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$ BEGIN PERFORM seed_builtin_roles(NEW.tenant_id); RETURN NULL; END $$;
REVOKE ALL ON FUNCTION seed_new_tenant() FROM PUBLIC;
CREATE TRIGGER tenants_seed_roles AFTER INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION seed_new_tenant();
SELECT seed_builtin_roles(tenant_id) FROM tenants;

-- Keys of machines: `plk_<key_id>_<secret>`. What a key may do is its scopes, within what its user may do at that moment.
CREATE TABLE api_keys (
    key_id               text  COLLATE "C" PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{16}$'),
    tenant_id            uuid  NOT NULL,
    user_id              uuid  NOT NULL,
    label                text  NOT NULL CHECK (length(label) BETWEEN 1 AND 200),
    secret_hash          bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    previous_hash        bytea CHECK (octet_length(previous_hash) = 32),
    previous_valid_until timestamptz,
    scopes               text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 100),
    certificate_hash     bytea CHECK (octet_length(certificate_hash) = 32),   -- SHA-256 of the client's certificate (DER)
    created_at           timestamptz NOT NULL DEFAULT now(),
    rotated_at           timestamptz,
    expires_at           timestamptz NOT NULL,
    last_used_at         timestamptz,
    revoked_at           timestamptz,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users,
    CHECK ((previous_hash IS NULL) = (previous_valid_until IS NULL))
);
CREATE INDEX api_keys_user ON api_keys (tenant_id, user_id);

-- Nonces of sign-in messages (EIP-4361). One that was used stays until it expires, so that a replay is told from a guess.
CREATE TABLE sign_in_nonces (
    nonce      text COLLATE "C" PRIMARY KEY CHECK (nonce ~ '^[0-9a-zA-Z]{8,}$'),
    tenant_id  uuid NOT NULL REFERENCES tenants,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX sign_in_nonces_expiry ON sign_in_nonces (expires_at);

-- Sign-ins that are under way at an OpenID Connect provider. The browser holds the secret that the nonce and the PKCE verifier follow from;
-- here are hashes. One that was used stays until it expires, as a nonce does.
CREATE TABLE oidc_requests (
    state_hash   bytea NOT NULL PRIMARY KEY CHECK (octet_length(state_hash) = 32),
    tenant_id    uuid  NOT NULL REFERENCES tenants,
    issuer       text  COLLATE "C" NOT NULL,
    browser_hash bytea NOT NULL CHECK (octet_length(browser_hash) = 32),
    nonce_hash   bytea NOT NULL CHECK (octet_length(nonce_hash) = 32),
    issued_at    timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);
CREATE INDEX oidc_requests_expiry ON oidc_requests (expires_at);

-- A session is one sign-in, and the family of its refresh tokens.
CREATE TABLE sessions (
    session_id       uuid NOT NULL PRIMARY KEY,
    tenant_id        uuid NOT NULL,
    user_id          uuid NOT NULL,
    method           text COLLATE "C" NOT NULL CHECK (method IN ('wallet', 'oidc', 'password', 'bootstrap')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    second_factor_at timestamptz,
    revoked_at       timestamptz,
    revoke_reason    text COLLATE "C" CHECK (revoke_reason IN ('signed_out', 'refresh_reused', 'administrator', 'suspended')),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users,
    UNIQUE (tenant_id, session_id),
    CHECK ((revoked_at IS NULL) = (revoke_reason IS NULL))
);
CREATE INDEX sessions_user ON sessions (tenant_id, user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    token_hash bytea NOT NULL PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    tenant_id  uuid  NOT NULL,
    session_id uuid  NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, session_id)
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (tenant_id, session_id);

-- Second factors (RFC 6238). `last_step` only rises: a code is good once.
CREATE TABLE totp_secrets (
    tenant_id       uuid   NOT NULL,
    user_id         uuid   NOT NULL,
    sealed          bytea  NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    confirmed_at    timestamptz,
    last_step       bigint NOT NULL DEFAULT -1,
    failures        integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    locked_until    timestamptz,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);

-- Second factors (WebAuthn). What is stored of a key is its public half. A counter that went back marks a copy: the key is not taken again.
CREATE TABLE webauthn_credentials (
    tenant_id     uuid   NOT NULL,
    user_id       uuid   NOT NULL,
    credential_id bytea  NOT NULL CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    algorithm     integer NOT NULL CHECK (algorithm IN (-7, -8)),     -- COSE: ES256, EdDSA
    public_key    bytea  NOT NULL CHECK (octet_length(public_key) BETWEEN 32 AND 65),
    sign_count    bigint NOT NULL CHECK (sign_count BETWEEN 0 AND 4294967295),
    label         text   NOT NULL CHECK (length(label) BETWEEN 1 AND 200),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz,
    cloned_at     timestamptz,
    PRIMARY KEY (tenant_id, credential_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users
);
CREATE INDEX webauthn_credentials_user ON webauthn_credentials (tenant_id, user_id);

-- The challenge that a session has open for each ceremony. Answered once: the answer takes the row away, and a new challenge replaces it.
CREATE TABLE webauthn_challenges (
    tenant_id      uuid  NOT NULL,
    session_id     uuid  NOT NULL,
    ceremony       text  COLLATE "C" NOT NULL CHECK (ceremony IN ('registration', 'assertion')),
    challenge_hash bytea NOT NULL CHECK (octet_length(challenge_hash) = 32),
    issued_at      timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id, ceremony),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, session_id) ON DELETE CASCADE
);
CREATE INDEX webauthn_challenges_expiry ON webauthn_challenges (expires_at);

-- Two-person approval. What is approved is the digest of exactly one action, by one other person, for one use.
CREATE TABLE approvals (
    approval_id    uuid  NOT NULL,
    tenant_id      uuid  NOT NULL,
    action         text  COLLATE "C" NOT NULL REFERENCES permissions,
    action_digest  bytea NOT NULL CHECK (octet_length(action_digest) = 32),
    body           jsonb NOT NULL,
    requested_by   uuid  NOT NULL,
    requested_at   timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    decision       text  COLLATE "C" CHECK (decision IN ('approved', 'rejected')),
    decided_by     uuid,
    decider_kind   text  COLLATE "C",
    decided_at     timestamptz,
    reason         text  CHECK (length(reason) <= 2000),
    used_at        timestamptz,
    PRIMARY KEY (tenant_id, approval_id),
    FOREIGN KEY (tenant_id, requested_by) REFERENCES users,
    FOREIGN KEY (tenant_id, decided_by, decider_kind) REFERENCES users (tenant_id, user_id, kind),
    CONSTRAINT nobody_approves_their_own CHECK (decided_by <> requested_by),
    CONSTRAINT a_person_approves CHECK (decider_kind = 'person'),
    CONSTRAINT decided_whole CHECK (num_nulls(decision, decided_by, decider_kind, decided_at) IN (0, 4)),
    CONSTRAINT used_only_approved CHECK (used_at IS NULL OR (decision = 'approved' AND decision IS NOT NULL))
);
CREATE INDEX approvals_open ON approvals (tenant_id, expires_at) WHERE decision IS NULL;

-- The one-time link that makes a tenant's first administrator.
CREATE TABLE bootstrap_links (
    token_hash bytea NOT NULL PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    tenant_id  uuid  NOT NULL REFERENCES tenants,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    used_by    uuid,
    FOREIGN KEY (tenant_id, used_by) REFERENCES users,
    CHECK ((used_at IS NULL) = (used_by IS NULL))
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['permissions', 'users', 'user_addresses', 'external_identities', 'roles', 'role_permissions', 'role_assignments',
                                'builtin_roles', 'builtin_role_permissions', 'api_keys', 'sign_in_nonces', 'oidc_requests', 'sessions',
                                'refresh_tokens', 'totp_secrets', 'webauthn_credentials', 'webauthn_challenges', 'approvals',
                                'bootstrap_links'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_worker', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['users', 'user_addresses', 'external_identities', 'role_assignments', 'approvals'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants()))'
                       ' WITH CHECK (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app', name);
    END LOOP;
    -- Built-in roles are the same in every tenant: the app adds others beside them.
    FOREACH name IN ARRAY ARRAY['roles', 'role_permissions'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I FOR SELECT TO plimsoll_app USING (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO plimsoll_app', name);
    END LOOP;
END
$$;
CREATE POLICY public_read ON permissions FOR SELECT TO plimsoll_app USING (true);
GRANT SELECT ON permissions TO plimsoll_app;

CREATE POLICY own_roles_insert ON roles FOR INSERT TO plimsoll_app
    WITH CHECK (tenant_id = ANY (current_tenants()) AND NOT is_builtin);
CREATE POLICY own_roles_grant ON role_permissions FOR INSERT TO plimsoll_app
    WITH CHECK (tenant_id = ANY (current_tenants())
                AND EXISTS (SELECT FROM roles r WHERE r.tenant_id = role_permissions.tenant_id AND r.role = role_permissions.role AND NOT r.is_builtin));
CREATE POLICY own_roles_revoke ON role_permissions FOR DELETE TO plimsoll_app
    USING (tenant_id = ANY (current_tenants())
           AND EXISTS (SELECT FROM roles r WHERE r.tenant_id = role_permissions.tenant_id AND r.role = role_permissions.role AND NOT r.is_builtin));
GRANT DELETE ON role_permissions TO plimsoll_app;

GRANT INSERT, UPDATE (status, display_name, updated_at) ON users TO plimsoll_app, plimsoll_worker;
GRANT INSERT, UPDATE (removed_at) ON user_addresses, external_identities TO plimsoll_app, plimsoll_worker;
GRANT INSERT, DELETE ON role_assignments TO plimsoll_app, plimsoll_worker;
GRANT INSERT, UPDATE (decision, decided_by, decider_kind, decided_at, reason, used_at) ON approvals TO plimsoll_app, plimsoll_worker;
GRANT INSERT, UPDATE (secret_hash, previous_hash, previous_valid_until, rotated_at, expires_at, last_used_at, revoked_at) ON api_keys
    TO plimsoll_worker;
GRANT INSERT, UPDATE (used_at), DELETE ON sign_in_nonces, oidc_requests TO plimsoll_worker;
GRANT INSERT, UPDATE (second_factor_at, revoked_at, revoke_reason), DELETE ON sessions TO plimsoll_worker;
GRANT INSERT, UPDATE (used_at), DELETE ON refresh_tokens TO plimsoll_worker;
GRANT INSERT, UPDATE, DELETE ON totp_secrets, webauthn_challenges TO plimsoll_worker;
GRANT INSERT, UPDATE (sign_count, last_used_at, cloned_at), DELETE ON webauthn_credentials TO plimsoll_worker;
GRANT INSERT, UPDATE (used_at, used_by) ON bootstrap_links TO plimsoll_worker;
