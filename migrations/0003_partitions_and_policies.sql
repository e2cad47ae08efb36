-- Partitions, row-level security and grants.

-- How wide a partition of each table is, in blocks or in journal records, and how long it is kept (NULL: for ever).
CREATE TABLE partition_policies (
    parent    text   PRIMARY KEY,
    width     bigint NOT NULL CHECK (width > 0),
    unit      text   NOT NULL CHECK (unit IN ('blocks', 'records')),
    retention interval
);
INSERT INTO partition_policies (parent, width, unit, retention) VALUES
    ('chain_blocks',        10000000, 'blocks',  NULL),
    ('chain_events',        10000000, 'blocks',  NULL),
    ('chain_tx_meta',       10000000, 'blocks',  NULL),
    ('journal',             20000000, 'records', NULL),
    ('view_apply_entries',  20000000, 'records', NULL),
    ('view_trail',          20000000, 'records', NULL),
    ('position_push_links', 20000000, 'records', NULL);

-- Makes the partition of `parent` that holds (chain, point), if it is missing, and returns its exclusive upper bound.
-- Attached, not created in place: that lock lets readers and writers of the other partitions go on.
CREATE FUNCTION ensure_partition(parent_name text, chain bigint, point bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
DECLARE
    policy partition_policies;
    low    bigint;
    child  text;
BEGIN
    SELECT * INTO policy FROM partition_policies WHERE parent = parent_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no partition policy for table %', parent_name;
    END IF;
    low := point / policy.width * policy.width;
    child := format('%s_%s_%s', parent_name, chain, low);
    IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'plimsoll'::regnamespace AND relname = child) THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('plimsoll.ensure_partition:' || parent_name, 0));
        IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'plimsoll'::regnamespace AND relname = child) THEN
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent_name);
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', child);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', child);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s, %s) TO (%s, %s)',
                           parent_name, child, chain, low, chain, low + policy.width);
        END IF;
    END IF;
    RETURN low + policy.width;
END
$$;
REVOKE ALL ON FUNCTION ensure_partition(text, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partition(text, bigint, bigint) TO plimsoll_worker;

-- Row-level security on every table, forced; `public_read` where the row says only what the public chain says.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = 'plimsoll'::regnamespace AND relkind IN ('r', 'p')
                AND relname NOT LIKE '\_sqlx%' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['chains', 'chain_blocks', 'chain_events', 'chain_tx_meta', 'chain_live', 'journal', 'fold_cursors',
                                'view_apply_entries', 'position_cache_mirror', 'view_mirror', 'view_trail', 'position_push_links'] LOOP
        EXECUTE format('CREATE POLICY public_read ON %I FOR SELECT TO plimsoll_app USING (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app', name);
    END LOOP;
END
$$;

CREATE POLICY own_tenant ON tenants TO plimsoll_app
    USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()));
CREATE POLICY own_tenant ON tenant_contracts TO plimsoll_app
    USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()));
GRANT SELECT ON tenants, tenant_contracts TO plimsoll_app;

GRANT USAGE ON SCHEMA plimsoll TO plimsoll_app, plimsoll_worker;
GRANT SELECT ON ALL TABLES IN SCHEMA plimsoll TO plimsoll_worker;
GRANT INSERT, UPDATE ON tenants, chains, leases, fold_cursors TO plimsoll_worker;
GRANT INSERT, UPDATE, DELETE ON tenant_contracts, position_cache_mirror, view_mirror TO plimsoll_worker;
GRANT INSERT, DELETE ON chain_live, fold_undo, view_trail, position_push_links TO plimsoll_worker;
GRANT INSERT ON chain_events, chain_tx_meta, journal, fold_skips, anomalies, view_apply_entries TO plimsoll_worker;
GRANT INSERT, UPDATE (state) ON chain_blocks TO plimsoll_worker;

-- Readiness compares the schema's version with the binary's. The migrator makes that table before the first migration.
DO $$
BEGIN
    IF to_regclass('plimsoll._sqlx_migrations') IS NOT NULL THEN
        GRANT SELECT ON _sqlx_migrations TO plimsoll_app, plimsoll_worker;
    END IF;
END
$$;

-- Typed faces of the generic mirror, for people and reports.
CREATE VIEW view_apply_log WITH (security_invoker = true) AS
    SELECT a.chain_id, a.journal_seq, a.fold, a.block_number, e.tx_hash, e.log_index, e.contract_address, e.event_name, a.view_kind,
           '0x' || encode(a.key_user, 'hex') AS key_user, '0x' || encode(a.key_asset, 'hex') AS key_asset, a.request_id, a.seq,
           a.apply_status, a.reject_code, a.reject_detail, a.observed_at
    FROM view_apply_entries a
    LEFT JOIN chain_events e ON e.chain_id = a.chain_id AND e.block_number = a.block_number AND e.id = a.event_id;
CREATE VIEW asset_stats_mirror WITH (security_invoker = true) AS
    SELECT chain_id, contract, key AS asset, (value ->> 'totalCollateral')::numeric(78,0) AS total_collateral,
           (value ->> 'totalDebt')::numeric(78,0) AS total_debt, (value ->> 'price')::numeric(78,0) AS price, last_chain_block, last_chain_tx
    FROM view_mirror WHERE view = 'asset_stats';
CREATE VIEW health_factor_mirror WITH (security_invoker = true) AS
    SELECT chain_id, contract, key AS "user", (value ->> 'healthFactor')::numeric(78,0) AS health_factor, last_chain_block, last_chain_tx
    FROM view_mirror WHERE view = 'health_factor';
GRANT SELECT ON view_apply_log, asset_stats_mirror, health_factor_mirror TO plimsoll_app, plimsoll_worker;
