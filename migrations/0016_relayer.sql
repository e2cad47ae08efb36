-- The relayer: what it was asked to send, the nonces it gave, and every byte that may have left the building.

CREATE TYPE transaction_state AS ENUM ('pending', 'tracking', 'mined', 'confirmed', 'failed', 'replaced', 'cancelled', 'expired');
CREATE TYPE attempt_purpose AS ENUM ('send', 'bump', 'cancel', 'fill');

-- A signer is (chain, address). This row is what its holder locks before it gives a nonce.
CREATE TABLE signers (
    chain_id     bigint NOT NULL REFERENCES chains,
    address      text   COLLATE "C" NOT NULL CHECK (address ~ '^0x[0-9a-f]{40}$'),
    name         text   COLLATE "C" NOT NULL,
    requeues     boolean NOT NULL DEFAULT true,                      -- a request whose nonce a stranger took is sent at another; or it is replaced
    next_nonce   bigint NOT NULL DEFAULT 0 CHECK (next_nonce >= 0),   -- the first that no attempt was committed for: "db + 1"
    fencing_token bigint,                                            -- under which it last moved
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, address),
    UNIQUE (chain_id, name)
);

-- What the journal says of a signer: kept by the fold alone, so that folding and giving nonces do not wait for each other.
CREATE TABLE signer_progress (
    chain_id       bigint NOT NULL,
    address        text   COLLATE "C" NOT NULL,
    consumed_next  bigint NOT NULL DEFAULT 0 CHECK (consumed_next >= 0),   -- the first nonce that no canonical block has consumed, as far as the journal saw any
    consumed_block bigint,                                                -- the block that consumed the one before it
    PRIMARY KEY (chain_id, address),
    FOREIGN KEY (chain_id, address) REFERENCES signers
);

-- What must not be sent, by an operator's word: everything, a tenant's, or a signer's.
CREATE TABLE kill_switches (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id  uuid REFERENCES tenants,
    chain_id   bigint,
    signer     text COLLATE "C",
    thrown_by  text NOT NULL,
    reason     text NOT NULL,
    thrown_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (chain_id, signer) REFERENCES signers,
    CHECK ((chain_id IS NULL) = (signer IS NULL)),
    UNIQUE NULLS NOT DISTINCT (tenant_id, chain_id, signer)
);

-- One row a request, whatever becomes of it. Not partitioned: its keys hold for ever.
CREATE TABLE managed_transactions (
    id               uuid   PRIMARY KEY,
    tenant_id        uuid   REFERENCES tenants,                     -- NULL: the platform's own, which fills a gap
    request_id       uuid   NOT NULL,
    operation_type   text   COLLATE "C" NOT NULL CHECK (char_length(operation_type) BETWEEN 1 AND 64),
    fingerprint      bytea  NOT NULL CHECK (octet_length(fingerprint) = 32),
    user_id          uuid,
    created_by       text   NOT NULL,
    correlation_id   text   COLLATE "C" NOT NULL,
    causation_id     text   COLLATE "C",
    chain_id         bigint NOT NULL,
    signer           text   COLLATE "C" NOT NULL,
    to_address       text   COLLATE "C" CHECK (to_address ~ '^0x[0-9a-f]{40}$'),   -- NULL: it creates a contract
    value_wei        numeric(78,0) NOT NULL CHECK (value_wei >= 0),
    data             bytea  NOT NULL,
    gas_limit        bigint CHECK (gas_limit > 0),                  -- NULL: estimated at window entry
    max_fee_limit    numeric(78,0) CHECK (max_fee_limit > 0),       -- wei for a unit of gas that must not be exceeded; NULL: the chain's policy
    priority         smallint NOT NULL DEFAULT 0,
    valid_until      timestamptz,                                   -- must not enter the window later
    valid_until_block bigint,
    as_of_block_hash bytea CHECK (octet_length(as_of_block_hash) = 32),
    state            transaction_state NOT NULL DEFAULT 'pending',
    version          integer NOT NULL DEFAULT 1,                    -- rises with each change of state
    nonce            bigint CHECK (nonce >= 0),
    end_wanted       transaction_state CHECK (end_wanted IN ('failed', 'cancelled', 'expired')),   -- the end that is to be brought about
    end_why          text,                                          -- why it is wanted, or came
    block_number     bigint,
    block_hash       bytea CHECK (octet_length(block_hash) = 32),
    tx_hash          bytea CHECK (octet_length(tx_hash) = 32),      -- of the attempt, or of the stranger, that consumed the nonce
    attempt          integer,                                       -- the attempt that did; NULL: none of ours
    purpose          attempt_purpose,                               -- that attempt's
    succeeded        boolean,
    gas_used         numeric(78,0),
    gas_paid_wei     numeric(78,0),
    is_final         boolean NOT NULL DEFAULT false,                -- the inclusion is in a final block
    accepted_by      text   NOT NULL,
    worked_by        text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (tenant_id, request_id, operation_type),
    UNIQUE (chain_id, signer, nonce),                               -- a nonce has one request at a time
    FOREIGN KEY (chain_id, signer) REFERENCES signers,
    CHECK ((tenant_id IS NULL) = (operation_type = 'fill')),
    CHECK (user_id IS NULL OR tenant_id IS NOT NULL),
    CHECK ((block_number IS NULL) = (block_hash IS NULL) AND (block_hash IS NULL) = (tx_hash IS NULL) AND (tx_hash IS NULL) = (succeeded IS NULL)),
    CHECK (state <> 'pending' OR nonce IS NULL),
    CHECK (state NOT IN ('tracking', 'mined', 'confirmed') OR nonce IS NOT NULL),
    CHECK (state NOT IN ('mined', 'confirmed') OR (block_hash IS NOT NULL AND attempt IS NOT NULL)),
    CHECK (state <> 'confirmed' OR (succeeded AND purpose <> 'cancel')),
    CHECK (attempt IS NULL OR block_hash IS NOT NULL),
    CHECK ((attempt IS NULL) = (purpose IS NULL)),
    CHECK (end_wanted IS NULL OR end_why IS NOT NULL),
    CHECK (end_why IS NOT NULL OR state NOT IN ('failed', 'replaced', 'cancelled', 'expired')),
    -- After an attempt every end but success needs finality.
    CHECK (state NOT IN ('failed', 'replaced', 'cancelled', 'expired') OR nonce IS NULL OR is_final)
);
-- What waits for a signer, in the order in which it enters the window.
CREATE INDEX managed_transactions_queue ON managed_transactions (chain_id, signer, priority DESC, id) WHERE state = 'pending';
-- What a verdict may still come for.
CREATE INDEX managed_transactions_open ON managed_transactions (chain_id, block_number) WHERE state = 'mined' OR (state = 'confirmed' AND NOT is_final) OR (state = 'tracking' AND block_number IS NOT NULL);
-- What is under way: neither in a block nor displaced.
CREATE INDEX managed_transactions_flights ON managed_transactions (chain_id, signer, nonce) WHERE state = 'tracking' AND block_hash IS NULL;
CREATE INDEX managed_transactions_wishes ON managed_transactions (chain_id, signer) WHERE state = 'tracking' AND end_wanted IS NOT NULL AND block_hash IS NULL;
CREATE INDEX managed_transactions_tenant ON managed_transactions (tenant_id, id);

-- Committed before it is broadcast; only committed bytes are ever sent. Its existence is "may have left the building".
CREATE TABLE transaction_attempts (
    chain_id       bigint  NOT NULL,
    signer         text    COLLATE "C" NOT NULL,
    nonce          bigint  NOT NULL CHECK (nonce >= 0),
    attempt        integer NOT NULL CHECK (attempt > 0),
    transaction_id uuid    NOT NULL REFERENCES managed_transactions,
    tenant_id      uuid,
    purpose        attempt_purpose NOT NULL,
    tx_hash        bytea   NOT NULL CHECK (octet_length(tx_hash) = 32),
    raw            bytea   NOT NULL,                                -- signed, as it is broadcast
    gas_limit      bigint  NOT NULL CHECK (gas_limit > 0),
    max_fee_per_gas numeric(78,0) NOT NULL,                         -- the gas price, where the chain has only that
    max_priority_fee_per_gas numeric(78,0),
    why            text    NOT NULL,                                -- the decision, in words
    fencing_token  bigint  NOT NULL,
    signed_by      text    NOT NULL,                                -- the node
    committed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (chain_id, signer, nonce, attempt),
    UNIQUE (chain_id, tx_hash)
);
CREATE INDEX transaction_attempts_transaction ON transaction_attempts (transaction_id);

-- What each endpoint answered when these bytes were sent to it.
CREATE TABLE transaction_broadcasts (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id   bigint NOT NULL,
    tx_hash    bytea  NOT NULL,
    tenant_id  uuid,
    endpoint   text   COLLATE "C" NOT NULL,
    answer     text   COLLATE "C" NOT NULL,                         -- its class
    detail     text,                                                -- what it said
    sent_at    timestamptz NOT NULL,
    FOREIGN KEY (chain_id, tx_hash) REFERENCES transaction_attempts (chain_id, tx_hash)
);
CREATE INDEX transaction_broadcasts_attempt ON transaction_broadcasts (chain_id, tx_hash);

-- Each change of a transaction's state, as it was published.
CREATE VIEW transaction_history WITH (security_invoker = true) AS
    SELECT target_id::uuid AS transaction_id, tenant_id, version, event_type, actor_id, request_id, user_id, correlation_id, causation_id,
           payload, timestamp, sequence
    FROM events WHERE target_type = 'transaction';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['signers', 'signer_progress', 'kill_switches', 'managed_transactions', 'transaction_attempts', 'transaction_broadcasts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_worker', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['managed_transactions', 'transaction_attempts', 'transaction_broadcasts'] LOOP
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['signers', 'signer_progress'] LOOP
        EXECUTE format('CREATE POLICY public_read ON %I FOR SELECT TO plimsoll_app USING (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app', name);
    END LOOP;
END
$$;
CREATE POLICY own_tenant ON kill_switches TO plimsoll_app
    USING (tenant_id IS NULL OR tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()));
GRANT SELECT ON kill_switches, transaction_history TO plimsoll_app;
GRANT SELECT ON transaction_history TO plimsoll_worker;
GRANT INSERT, DELETE ON kill_switches TO plimsoll_worker;
-- The app asks, and may wish once for an end that has not come; it gives no state, no nonce and no verdict.
GRANT INSERT (id, tenant_id, request_id, operation_type, fingerprint, user_id, created_by, correlation_id, causation_id, chain_id, signer, to_address, value_wei,
              data, gas_limit, max_fee_limit, priority, valid_until, valid_until_block, as_of_block_hash, accepted_by) ON managed_transactions TO plimsoll_app;
CREATE POLICY one_wish ON managed_transactions AS RESTRICTIVE FOR UPDATE TO plimsoll_app
    USING (end_wanted IS NULL AND state IN ('pending', 'tracking', 'mined')) WITH CHECK (end_wanted = 'cancelled');
GRANT UPDATE (end_wanted, end_why, updated_at) ON managed_transactions TO plimsoll_app;
GRANT INSERT ON signers, signer_progress, managed_transactions, transaction_attempts, transaction_broadcasts TO plimsoll_worker;
GRANT UPDATE (name, requeues, next_nonce, fencing_token) ON signers TO plimsoll_worker;
GRANT UPDATE (consumed_next, consumed_block) ON signer_progress TO plimsoll_worker;
GRANT UPDATE (state, version, nonce, end_wanted, end_why, block_number, block_hash, tx_hash, attempt, purpose, succeeded, gas_used, gas_paid_wei,
              is_final, worked_by, updated_at) ON managed_transactions TO plimsoll_worker;
