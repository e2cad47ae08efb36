-- Retries of what contracts could not push to their views (spec 1 §7): one open job for each position or health that is behind, the failures that it is for, and every step that was taken.

CREATE TYPE cache_retry_status AS ENUM ('queued', 'leased', 'submitted', 'awaiting_event', 'succeeded', 'backoff', 'deadletter', 'ignored', 'superseded');

CREATE TABLE cache_retry_jobs (
    job_id            uuid    PRIMARY KEY,
    tenant_id         uuid    NOT NULL REFERENCES tenants,
    chain_id          bigint  NOT NULL REFERENCES chains,
    "user"            text    COLLATE "C" NOT NULL CHECK ("user" ~ '^0x[0-9a-f]{40}$'),
    asset             text    COLLATE "C" CHECK (asset ~ '^0x[0-9a-f]{40}$'),           -- NULL: it is the user's health
    view_addr         text    COLLATE "C" NOT NULL CHECK (view_addr ~ '^0x[0-9a-f]{40}$'),   -- the view whose retry heals it
    status            cache_retry_status NOT NULL DEFAULT 'queued',
    version           integer NOT NULL DEFAULT 1,                                       -- rises with each step
    attempts          integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_available_at timestamptz NOT NULL,                                             -- not tried before
    is_automatic      boolean NOT NULL DEFAULT false,                                   -- tried unasked, within the budget
    asked_by          text,                                                             -- who wants it tried
    reason_code       text    COLLATE "C" NOT NULL,                                     -- of its newest failure
    reason_text       text    NOT NULL,
    why               text,                                                             -- its newest step, in words
    request_id        uuid    UNIQUE,                                                   -- of its newest attempt, as are the following
    signer            text    COLLATE "C" CHECK (signer ~ '^0x[0-9a-f]{40}$'),
    fencing_token     bigint,
    transaction_id    uuid,
    tx_hash           bytea   CHECK (octet_length(tx_hash) = 32),                       -- where the chain has it, as the journal says
    block_number      bigint,
    block_hash        bytea   CHECK (octet_length(block_hash) = 32),
    tx_index          integer,
    succeeded         boolean,
    healed_seq        bigint,                                                           -- the newest healing since its newest failure
    ended_seq         bigint,                                                           -- the journal record that ended it
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((request_id IS NULL) = (attempts = 0) AND (signer IS NULL) = (attempts = 0) AND (fencing_token IS NULL) = (attempts = 0)),
    CHECK (status NOT IN ('leased', 'submitted', 'awaiting_event', 'succeeded', 'backoff', 'deadletter') OR attempts > 0),
    CHECK (status <> 'awaiting_event' OR transaction_id IS NOT NULL),
    CHECK (num_nulls(tx_hash, block_number, block_hash, tx_index, succeeded) IN (0, 5)),
    CHECK (ended_seq IS NULL OR status IN ('succeeded', 'superseded'))
);
-- A retry that fails emits another failure: it is one more of the open job's, and no second job.
CREATE UNIQUE INDEX cache_retry_jobs_open ON cache_retry_jobs (chain_id, "user", asset, view_addr, tenant_id) NULLS NOT DISTINCT
    WHERE status NOT IN ('succeeded', 'ignored', 'superseded');
-- What may be tried, in the order in which it is.
CREATE INDEX cache_retry_jobs_due ON cache_retry_jobs (chain_id, is_automatic, next_available_at)
    WHERE status IN ('queued', 'backoff') AND (is_automatic OR asked_by IS NOT NULL);
-- What is under way.
CREATE INDEX cache_retry_jobs_under_way ON cache_retry_jobs (chain_id, status, job_id) WHERE status IN ('leased', 'submitted', 'awaiting_event');

-- A failure that a contract told of. Each is of one job, once; what a reorganisation took back stays.
CREATE TABLE cache_retry_occurrences (
    chain_id         bigint  NOT NULL REFERENCES chains,
    journal_seq      bigint  NOT NULL,
    job_id           uuid    NOT NULL REFERENCES cache_retry_jobs,
    tenant_id        uuid    NOT NULL,
    block_number     bigint  NOT NULL,
    block_hash       bytea   NOT NULL CHECK (octet_length(block_hash) = 32),
    tx_hash          bytea   NOT NULL CHECK (octet_length(tx_hash) = 32),
    log_index        integer NOT NULL,
    contract_address text    COLLATE "C" NOT NULL,                                      -- who told
    view_addr        text    COLLATE "C" NOT NULL,                                      -- of which view, as it said
    reason_code      text    COLLATE "C" NOT NULL,
    reason_text      text    NOT NULL,
    reason_raw       bytea   NOT NULL,                                                  -- as the contract gave it: for operators
    is_retracted     boolean NOT NULL DEFAULT false,                                    -- its block left the chain
    recorded_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, journal_seq)
);
CREATE INDEX cache_retry_occurrences_job ON cache_retry_occurrences (job_id, journal_seq);

-- Every step of a job: who, what, why, before and after. Rows are only ever added.
CREATE TABLE cache_retry_audit (
    job_id     uuid    NOT NULL REFERENCES cache_retry_jobs,
    version    integer NOT NULL,                                                        -- the job's after it
    tenant_id  uuid    NOT NULL,
    action     text    COLLATE "C" NOT NULL,
    actor      text    NOT NULL,
    note       text    NOT NULL,
    before     jsonb,                                                                   -- NULL: there was no job
    after      jsonb   NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (job_id, version)
);

-- What was tried unasked within the last hour that was counted.
CREATE TABLE cache_retry_budgets (
    chain_id   bigint  PRIMARY KEY REFERENCES chains,
    began_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts   integer NOT NULL DEFAULT 0 CHECK (attempts >= 0)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['cache_retry_jobs', 'cache_retry_occurrences', 'cache_retry_audit', 'cache_retry_budgets'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO plimsoll_worker', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['cache_retry_jobs', 'cache_retry_occurrences', 'cache_retry_audit'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I FOR SELECT TO plimsoll_app USING (tenant_id = ANY (current_tenants()))', name);
    END LOOP;
END
$$;
GRANT SELECT ON cache_retry_jobs, cache_retry_audit TO plimsoll_app;
-- Not the raw reason.
GRANT SELECT (chain_id, journal_seq, job_id, tenant_id, block_number, block_hash, tx_hash, log_index, contract_address, view_addr, reason_code, reason_text, is_retracted, recorded_at)
    ON cache_retry_occurrences TO plimsoll_app;
GRANT UPDATE (status, version, attempts, next_available_at, is_automatic, asked_by, reason_code, reason_text, why, request_id, signer, fencing_token, transaction_id,
              tx_hash, block_number, block_hash, tx_index, succeeded, healed_seq, ended_seq, updated_at) ON cache_retry_jobs TO plimsoll_worker;
GRANT UPDATE (job_id, is_retracted) ON cache_retry_occurrences TO plimsoll_worker;
GRANT UPDATE (began_at, attempts) ON cache_retry_budgets TO plimsoll_worker;
