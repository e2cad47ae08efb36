-- The sequencer's streams: events and audit, each with its staging table.
--
-- A writer puts its row into the staging table, in its own transaction; the stream's sequencer moves it into the stream and numbers it.
-- Every staging table has `staging_id` and `recorded_at`, and that of a hash-linked stream `digest`. Streams are appended to: nobody but the
-- owner may change or delete a row.

-- Where each stream stands. The row is locked by whoever numbers.
CREATE TABLE sequences (
    stream    text   COLLATE "C" PRIMARY KEY,
    next      bigint NOT NULL DEFAULT 1 CHECK (next > 0),
    head_hash bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(head_hash) = 32)
);

-- Everything that happened, in one order (spec 4 §2). No foreign keys: an event outlives what it speaks of, and a key to a busy
-- tenant's row would be locked by every writer.
CREATE TABLE events (
    sequence       bigint NOT NULL,
    event_id       text   COLLATE "C" NOT NULL,
    tenant_id      uuid,                            -- NULL: the platform's own
    source         text   COLLATE "C" NOT NULL,
    event_type     text   COLLATE "C" NOT NULL,
    subject        text,
    timestamp      timestamptz NOT NULL,            -- when it happened, by the publisher's clock
    actor_id       text   NOT NULL,
    target_id      text,
    target_type    text,
    version        bigint,                          -- the target's, after the event
    payload        jsonb  NOT NULL,
    request_id     uuid   NOT NULL,
    user_id        uuid,
    correlation_id text   COLLATE "C" NOT NULL,
    causation_id   text   COLLATE "C",
    recorded_at    timestamptz NOT NULL,            -- when it was staged, by the database's clock
    PRIMARY KEY (sequence)
) PARTITION BY RANGE (sequence);
CREATE INDEX events_tenant ON events (tenant_id, sequence);
CREATE INDEX events_event_id ON events (event_id);
CREATE INDEX events_correlation ON events (correlation_id);

-- The identity must not be cached by sessions: its order is the order in which rows were staged.
CREATE TABLE events_staging (
    staging_id     bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    event_id       text   COLLATE "C" NOT NULL CHECK (char_length(event_id) BETWEEN 1 AND 255),
    tenant_id      uuid,
    source         text   COLLATE "C" NOT NULL,
    event_type     text   COLLATE "C" NOT NULL,
    subject        text,
    timestamp      timestamptz NOT NULL,
    actor_id       text   NOT NULL,
    target_id      text,
    target_type    text,
    version        bigint,
    payload        jsonb  NOT NULL,
    request_id     uuid   NOT NULL,
    user_id        uuid,
    correlation_id text   COLLATE "C" NOT NULL,
    causation_id   text   COLLATE "C",
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (user_id IS NULL OR tenant_id IS NOT NULL)
);

-- What makes publishing idempotent. Not partitioned, and kept when the event itself is not: an id must hold for ever.
CREATE TABLE event_ids (
    event_id  text COLLATE "C" NOT NULL,
    tenant_id uuid,
    UNIQUE NULLS NOT DISTINCT (event_id, tenant_id)
);

-- How far each reader of a stream is. Moved in the reader's own transaction; retention waits for it.
CREATE TABLE outbox_cursors (
    reader     text   COLLATE "C" NOT NULL,
    stream     text   COLLATE "C" NOT NULL REFERENCES sequences,
    sequence   bigint NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, reader)
);

-- Who did what, hash-linked: `digest` covers the row, `hash` covers the digest, the number and the hash before it.
CREATE TABLE audit_log (
    sequence       bigint NOT NULL,
    tenant_id      uuid,
    request_id     uuid   NOT NULL,
    user_id        uuid,
    actor          text   NOT NULL,
    action         text   COLLATE "C" NOT NULL,
    target_type    text   NOT NULL,
    target_id      text   NOT NULL,
    before         jsonb,
    after          jsonb,
    tx_id          text,
    reason         text,
    correlation_id text   COLLATE "C" NOT NULL,
    recorded_at    timestamptz NOT NULL,            -- by the writer's clock: the digest covers it
    digest         bytea  NOT NULL,
    prev_hash      bytea  NOT NULL,
    hash           bytea  NOT NULL,
    PRIMARY KEY (sequence)
) PARTITION BY RANGE (sequence);
CREATE INDEX audit_log_request ON audit_log (request_id);
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, sequence);
CREATE INDEX audit_log_target ON audit_log (target_type, target_id);

-- The last row that retention removed from a linked stream, each time that it did: what is left is verified from its hash on. Written by the owner alone.
CREATE TABLE stream_checkpoints (
    stream     text   COLLATE "C" NOT NULL REFERENCES sequences,
    sequence   bigint NOT NULL CHECK (sequence > 0),
    hash       bytea  NOT NULL CHECK (octet_length(hash) = 32),
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream, sequence)
);

CREATE TABLE audit_staging (
    staging_id     bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    tenant_id      uuid,
    request_id     uuid   NOT NULL,
    user_id        uuid,
    actor          text   NOT NULL,
    action         text   COLLATE "C" NOT NULL,
    target_type    text   NOT NULL,
    target_id      text   NOT NULL,
    before         jsonb,
    after          jsonb,
    tx_id          text,
    reason         text,
    correlation_id text   COLLATE "C" NOT NULL,
    recorded_at    timestamptz NOT NULL,
    digest         bytea  NOT NULL CHECK (octet_length(digest) = 32),
    CHECK (user_id IS NULL OR tenant_id IS NOT NULL)
);

-- A queue turns over its whole content: vacuum by the number of dead rows, not by a share of the live ones.
ALTER TABLE events_staging SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1,
                                autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);
ALTER TABLE audit_staging SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_threshold = -1,
                               autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000);

INSERT INTO sequences (stream) VALUES ('events'), ('audit_log');

-- Streams are partitioned by their number alone.
ALTER TABLE partition_policies DROP CONSTRAINT partition_policies_unit_check;
ALTER TABLE partition_policies ADD CONSTRAINT partition_policies_unit_check CHECK (unit IN ('blocks', 'records', 'sequence'));
INSERT INTO partition_policies (parent, width, unit, retention) VALUES
    ('events',    5000000, 'sequence', NULL),
    ('audit_log', 1000000, 'sequence', interval '2 years');

-- As before, and for a stream: its partitions are named after their first number, and `chain` is not looked at.
CREATE OR REPLACE FUNCTION ensure_partition(parent_name text, chain bigint, point bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
DECLARE
    policy partition_policies;
    low    bigint;
    child  text;
    bounds text;
BEGIN
    SELECT * INTO policy FROM partition_policies WHERE parent = parent_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no partition policy for table %', parent_name;
    END IF;
    low := point / policy.width * policy.width;
    IF policy.unit = 'sequence' THEN
        child := format('%s_%s', parent_name, low);
        bounds := format('FROM (%s) TO (%s)', low, low + policy.width);
    ELSE
        child := format('%s_%s_%s', parent_name, chain, low);
        bounds := format('FROM (%s, %s) TO (%s, %s)', chain, low, chain, low + policy.width);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'plimsoll'::regnamespace AND relname = child) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('plimsoll.ensure_partition:' || parent_name, 0));
        IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'plimsoll'::regnamespace AND relname = child) THEN
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent_name);
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', child);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', child);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES %s', parent_name, child, bounds);
        END IF;
    END IF;
    RETURN low + policy.width;
END
$$;

-- Whether all of a stream below `upper` is older than `retention`: the first row after it is.
CREATE FUNCTION stream_is_older(stream_table text, upper bigint, retention interval) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = plimsoll, pg_temp
AS $$
DECLARE
    first_after timestamptz;
BEGIN
    EXECUTE format('SELECT recorded_at FROM %I WHERE sequence >= $1 ORDER BY sequence LIMIT 1', stream_table) INTO first_after USING upper;
    RETURN COALESCE(first_after < now() - retention, false);
END
$$;
REVOKE ALL ON FUNCTION stream_is_older(text, bigint, interval) FROM PUBLIC;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sequences', 'events', 'events_staging', 'event_ids', 'outbox_cursors', 'audit_log', 'audit_staging', 'stream_checkpoints'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_worker', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['events', 'events_staging', 'event_ids', 'audit_log', 'audit_staging'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app
                        USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app', name);
    END LOOP;
END
$$;

-- No writer chooses its staging_id.
GRANT INSERT (event_id, tenant_id, source, event_type, subject, timestamp, actor_id, target_id, target_type, version, payload, request_id,
              user_id, correlation_id, causation_id) ON events_staging TO plimsoll_app, plimsoll_worker;
GRANT INSERT (tenant_id, request_id, user_id, actor, action, target_type, target_id, before, after, tx_id, reason, correlation_id, recorded_at,
              digest) ON audit_staging TO plimsoll_app, plimsoll_worker;
GRANT INSERT ON event_ids TO plimsoll_app, plimsoll_worker;
GRANT INSERT, UPDATE ON outbox_cursors TO plimsoll_worker;
GRANT UPDATE (next, head_hash) ON sequences TO plimsoll_worker;
GRANT DELETE ON events_staging, audit_staging TO plimsoll_worker;
GRANT INSERT ON events, audit_log TO plimsoll_worker;
GRANT SELECT ON SEQUENCE events_staging_staging_id_seq, audit_staging_staging_id_seq TO plimsoll_worker;
