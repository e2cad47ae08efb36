-- The ledger's way to its users: postings by their age, and the keys that sign its logs.

CREATE INDEX ledger_postings_age ON ledger_postings (tenant_id, posting_id);

-- Which key signs the logs of which name, since when: public, and nobody's in particular. A row is there before the key has signed anything.
CREATE TABLE ledger_keys (
    log_name   text  COLLATE "C" NOT NULL CHECK (log_name ~ '^[^[:space:][:cntrl:]+]{1,200}$'),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    since      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (log_name, public_key)
);
GRANT SELECT ON ledger_keys TO plimsoll_app, plimsoll_worker;
GRANT INSERT (log_name, public_key) ON ledger_keys TO plimsoll_worker;
ALTER TABLE ledger_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON ledger_keys TO plimsoll_owner USING (true) WITH CHECK (true);
CREATE POLICY public_read ON ledger_keys FOR SELECT TO plimsoll_app USING (true);
