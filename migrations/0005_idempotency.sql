-- Idempotency: what was asked under a key, how far it got, and what was answered.

-- in_flight: somebody works on it; recoverable: nobody does, and it goes on from its recovery point; done: there is an answer.
CREATE TYPE idempotency_state AS ENUM ('in_flight', 'recoverable', 'done');

-- No index holds a column that completing an entry changes, so that this stays in the page (fillfactor).
CREATE TABLE idempotency_cache (
    entry_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        uuid,                      -- NULL: an operation of the platform itself
    principal        text   COLLATE "C" NOT NULL CHECK (octet_length(principal) BETWEEN 1 AND 255),
    method           text   COLLATE "C" NOT NULL CHECK (octet_length(method) BETWEEN 1 AND 16),
    route            text   COLLATE "C" NOT NULL CHECK (octet_length(route) BETWEEN 1 AND 255),
    key              text   COLLATE "C" NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    fingerprint      bytea  NOT NULL CHECK (octet_length(fingerprint) = 32),
    state            idempotency_state NOT NULL DEFAULT 'in_flight',
    claim            uuid   NOT NULL,           -- fences: whoever commits shows it, and every taker writes another
    claimed_by       text   NOT NULL,
    claim_expires_at timestamptz NOT NULL,      -- from then on another may take it
    recovery_point   text   COLLATE "C",
    recovery_data    jsonb,
    result_status    smallint CHECK (result_status BETWEEN 200 AND 499),
    result_headers   jsonb,                     -- pairs of name and value
    result           bytea,                     -- the body; NULL when done: it carried a secret and was not kept
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (key, principal, route, method, tenant_id),
    CHECK ((state = 'done') = (result_status IS NOT NULL)),
    CHECK ((result IS NULL) = (result_headers IS NULL)),
    CHECK (state = 'done' OR result IS NULL),
    CHECK ((recovery_point IS NULL) = (recovery_data IS NULL)),
    CHECK (state <> 'recoverable' OR recovery_point IS NOT NULL)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX idempotency_cache_expiry ON idempotency_cache (expires_at);

-- Keys that an operator took out, with what was known of them.
CREATE TABLE idempotency_invalidations (
    invalidation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id       uuid,
    principal       text   COLLATE "C" NOT NULL,
    method          text   COLLATE "C" NOT NULL,
    route           text   COLLATE "C" NOT NULL,
    key             text   COLLATE "C" NOT NULL,
    fingerprint     bytea  NOT NULL,
    state           idempotency_state NOT NULL,
    recovery_point  text   COLLATE "C",
    result_status   smallint,
    created_at      timestamptz NOT NULL,
    operator        text   NOT NULL CHECK (btrim(operator) <> ''),
    reason          text   NOT NULL CHECK (btrim(reason) <> ''),
    invalidated_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idempotency_invalidations_key ON idempotency_invalidations (key);

-- The nil uuid stands for the platform in a transaction's set of tenants: it has to be named to be seen, like any tenant.
ALTER TABLE tenants ADD CONSTRAINT tenants_not_nil CHECK (tenant_id <> '00000000-0000-0000-0000-000000000000');

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['idempotency_cache', 'idempotency_invalidations'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app
                        USING (COALESCE(tenant_id, ''00000000-0000-0000-0000-000000000000'') = ANY (current_tenants()))
                        WITH CHECK (COALESCE(tenant_id, ''00000000-0000-0000-0000-000000000000'') = ANY (current_tenants()))', name);
    END LOOP;
END
$$;

-- Locks an entry that is held under this claim until the transaction ends. Any other is an error, and with it the end of the transaction: this comes
-- in one message with BEGIN, whose rows nobody reads.
CREATE FUNCTION hold_claim(entry bigint, token uuid) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM idempotency_cache WHERE entry_id = entry AND claim = token AND state = 'in_flight' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the claim on idempotency entry % is not held', entry USING ERRCODE = 'PL001';
    END IF;
END
$$;
REVOKE ALL ON FUNCTION hold_claim(bigint, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hold_claim(bigint, uuid) TO plimsoll_app;

-- The worker sweeps, and locks what it sweeps; a record of an invalidation is never changed.
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_cache TO plimsoll_app;
GRANT SELECT, UPDATE (claim_expires_at), DELETE ON idempotency_cache TO plimsoll_worker;
GRANT SELECT, INSERT ON idempotency_invalidations TO plimsoll_app, plimsoll_worker;
