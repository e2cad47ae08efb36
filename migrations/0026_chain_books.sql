-- Books from the chain: which block they are true at, what the chain is asked about each account, and what was booked from it.

-- How far what is confirmed is booked; no row: nothing yet.
CREATE TABLE chain_books (
    chain_id     bigint PRIMARY KEY REFERENCES chains,
    block_number bigint NOT NULL CHECK (block_number >= 0),
    block_hash   bytea  NOT NULL CHECK (octet_length(block_hash) = 32),
    journal_seq  bigint NOT NULL,                                                    -- the record that says so
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Accounts that the chain can be asked about, each with the question (a declared probe).
CREATE TABLE chain_accounts (
    account_id uuid   PRIMARY KEY REFERENCES accounts,
    tenant_id  uuid   NOT NULL,
    chain_id   bigint NOT NULL REFERENCES chains,
    probe      jsonb  NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX chain_accounts_chain ON chain_accounts (chain_id, account_id);

-- What was booked because of what the chain said, under which rule; never what a reorganisation had reversed: that is another posting.
CREATE TABLE chain_bookings (
    posting_id   uuid    PRIMARY KEY,
    tenant_id    uuid    NOT NULL,
    chain_id     bigint  NOT NULL REFERENCES chains,
    block_number bigint  NOT NULL CHECK (block_number >= 0),
    block_hash   bytea   NOT NULL CHECK (octet_length(block_hash) = 32),
    tx_hash      bytea   CHECK (octet_length(tx_hash) = 32),                         -- NULL: what the chain did silently
    log_index    integer,                                                            -- NULL: a transaction's gas, or what the chain did silently
    journal_seq  bigint  NOT NULL,                                                   -- the record that it was booked for
    rule         text    COLLATE "C" NOT NULL,
    rule_version integer NOT NULL CHECK (rule_version >= 1),
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX chain_bookings_block ON chain_bookings (chain_id, block_number);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['chain_books', 'chain_accounts', 'chain_bookings'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app, plimsoll_worker', name);
        EXECUTE format('GRANT INSERT ON %I TO plimsoll_worker', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['chain_accounts', 'chain_bookings'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()))', name);
    END LOOP;
END
$$;
CREATE POLICY public_read ON chain_books FOR SELECT TO plimsoll_app USING (true);
GRANT UPDATE ON chain_books TO plimsoll_worker;
