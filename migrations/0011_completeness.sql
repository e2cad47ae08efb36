-- What is proven of the journal's blocks: for each range that everything which was asked for is there, how that is known, and by whose answers.

CREATE TYPE completeness_level AS ENUM ('trusted', 'bloom', 'receipts');
CREATE TYPE certificate_source AS ENUM ('backfill', 'head', 'verify');

-- What was asked for. A row is never changed: another filter has another digest.
CREATE TABLE completeness_filters (
    chain_id      bigint NOT NULL,
    filter_digest bytea  NOT NULL CHECK (octet_length(filter_digest) = 32),
    contracts     jsonb  NOT NULL,   -- address → the block from which on its logs are wanted
    senders       jsonb  NOT NULL,   -- whose transactions are wanted
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, filter_digest)
);

-- Ranges may overlap: a later look may prove more. The blocks within are those of the canonical chain: what a reorganisation takes back is taken
-- out of the range in its transaction.
CREATE TABLE completeness_certificates (
    certificate_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id       bigint NOT NULL,
    filter_digest  bytea  NOT NULL,
    from_number    bigint NOT NULL,
    to_number      bigint NOT NULL,
    to_hash        bytea  NOT NULL,
    blocks_root    bytea,              -- over the hashes of all blocks of the range; NULL where only the last was looked at
    level          completeness_level NOT NULL,
    endpoints      text[] NOT NULL,    -- whose answers were checked
    source         certificate_source NOT NULL,
    certified_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (from_number <= to_number),
    FOREIGN KEY (chain_id, filter_digest) REFERENCES completeness_filters
);
CREATE INDEX completeness_certificates_range ON completeness_certificates (chain_id, to_number);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['completeness_filters', 'completeness_certificates'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_worker', name);
    END LOOP;
END
$$;
GRANT INSERT ON completeness_filters TO plimsoll_worker;
GRANT INSERT, DELETE, UPDATE (to_number, to_hash, blocks_root, endpoints, certified_at) ON completeness_certificates TO plimsoll_worker;
