-- What users sign themselves: kept before it is sent, and followed as what our signers send. And the wish that more is offered for a transaction now.

CREATE TABLE user_transactions (
    id               uuid   PRIMARY KEY,
    tenant_id        uuid   NOT NULL REFERENCES tenants,
    request_id       uuid   NOT NULL,
    operation_type   text   COLLATE "C" NOT NULL CHECK (char_length(operation_type) BETWEEN 1 AND 64),
    user_id          uuid,
    created_by       text   NOT NULL,
    correlation_id   text   COLLATE "C" NOT NULL,
    causation_id     text   COLLATE "C",
    chain_id         bigint NOT NULL REFERENCES chains,
    sender           text   COLLATE "C" NOT NULL CHECK (sender ~ '^0x[0-9a-f]{40}$'),   -- who signed it
    nonce            bigint NOT NULL CHECK (nonce >= 0),
    signed_hash      bytea  NOT NULL CHECK (octet_length(signed_hash) = 32),            -- of what was handed in
    raw              bytea  NOT NULL,
    to_address       text   COLLATE "C" CHECK (to_address ~ '^0x[0-9a-f]{40}$'),        -- NULL: it creates a contract
    value_wei        numeric(78,0) NOT NULL CHECK (value_wei >= 0),
    data             bytea  NOT NULL,
    gas_limit        bigint NOT NULL CHECK (gas_limit > 0),
    max_fee_per_gas  numeric(78,0) NOT NULL,                       -- the gas price, where it has only that
    max_priority_fee_per_gas numeric(78,0),
    checked_block    bigint NOT NULL CHECK (checked_block >= 0),   -- the block after which the chain said that its nonce was not used
    state            transaction_state NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'tracking', 'mined', 'confirmed', 'failed', 'replaced')),
    version          integer NOT NULL DEFAULT 1,
    end_why          text,
    block_number     bigint,
    block_hash       bytea CHECK (octet_length(block_hash) = 32),
    tx_hash          bytea CHECK (octet_length(tx_hash) = 32),     -- of what consumed the nonce: this, or another of its sender's
    succeeded        boolean,
    gas_used         numeric(78,0),
    gas_paid_wei     numeric(78,0),
    is_final         boolean NOT NULL DEFAULT false,               -- nothing is to be learned of it any more
    sends            integer NOT NULL DEFAULT 0,                   -- how often it was given to the endpoints
    not_before       timestamptz NOT NULL DEFAULT clock_timestamp(),   -- it is not given to them again earlier
    accepted_by      text   NOT NULL,
    worked_by        text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, request_id, operation_type),
    UNIQUE (tenant_id, chain_id, signed_hash),
    CHECK ((block_number IS NULL) = (block_hash IS NULL) AND (block_hash IS NULL) = (tx_hash IS NULL) AND (tx_hash IS NULL) = (succeeded IS NULL)),
    CHECK (state NOT IN ('mined', 'confirmed') OR tx_hash = signed_hash),
    CHECK (state <> 'confirmed' OR succeeded),
    CHECK (end_why IS NOT NULL OR state NOT IN ('failed', 'replaced')),
    CHECK (state NOT IN ('failed', 'replaced') OR is_final)
);
CREATE INDEX user_transactions_tenant ON user_transactions (tenant_id, id);
CREATE INDEX user_transactions_hash ON user_transactions (chain_id, signed_hash);
-- What there may be something to learn of, and what there is to send.
CREATE INDEX user_transactions_open ON user_transactions (chain_id, sender, nonce) WHERE NOT is_final;
CREATE INDEX user_transactions_due ON user_transactions (chain_id, not_before) WHERE state IN ('pending', 'tracking') AND block_hash IS NULL;

-- What each endpoint answered last when it was sent there.
CREATE TABLE user_transaction_answers (
    transaction_id uuid NOT NULL REFERENCES user_transactions,
    tenant_id      uuid NOT NULL,
    endpoint       text COLLATE "C" NOT NULL,
    answer         text COLLATE "C" NOT NULL,
    detail         text,
    sent_at        timestamptz NOT NULL,
    PRIMARY KEY (transaction_id, endpoint)
);

-- Why, and by whose wish, the next attempt offers more. NULL: nobody asks for it.
ALTER TABLE managed_transactions
    ADD COLUMN speed_up_wanted text,
    ADD COLUMN speed_up_by     text,
    ADD CHECK ((speed_up_wanted IS NULL) = (speed_up_by IS NULL));
DROP INDEX managed_transactions_wishes;
CREATE INDEX managed_transactions_wishes ON managed_transactions (chain_id, signer)
    WHERE state = 'tracking' AND (end_wanted IS NOT NULL OR speed_up_wanted IS NOT NULL) AND block_hash IS NULL;
-- The app may wish for an end, or for a better offer, where neither is wished for; and take nothing back.
DROP POLICY one_wish ON managed_transactions;
CREATE POLICY one_wish ON managed_transactions AS RESTRICTIVE FOR UPDATE TO plimsoll_app
    USING (end_wanted IS NULL AND state IN ('pending', 'tracking', 'mined'))
    WITH CHECK (end_wanted = 'cancelled' OR (end_wanted IS NULL AND speed_up_wanted IS NOT NULL));
GRANT UPDATE (speed_up_wanted, speed_up_by) ON managed_transactions TO plimsoll_app, plimsoll_worker;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['user_transactions', 'user_transaction_answers'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_worker', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app', name);
    END LOOP;
END
$$;
-- The app keeps what was handed in; it gives no state and no verdict.
GRANT INSERT (id, tenant_id, request_id, operation_type, user_id, created_by, correlation_id, causation_id, chain_id, sender, nonce, signed_hash, raw, to_address,
              value_wei, data, gas_limit, max_fee_per_gas, max_priority_fee_per_gas, checked_block, accepted_by) ON user_transactions TO plimsoll_app;
GRANT UPDATE (state, version, end_why, block_number, block_hash, tx_hash, succeeded, gas_used, gas_paid_wei, is_final, sends, not_before, worked_by, updated_at)
    ON user_transactions TO plimsoll_worker;
GRANT INSERT, UPDATE (answer, detail, sent_at) ON user_transaction_answers TO plimsoll_worker;
