-- What stands before a send, and what a failure is called.

CREATE TYPE revert_source AS ENUM ('estimate', 'simulation', 'trace', 'replay', 'nobody');

ALTER TABLE managed_transactions
    ADD COLUMN simulate boolean,                                     -- whether it is run before it enters; NULL: as its signer's setting says
    ADD COLUMN revert_code text COLLATE "C" CHECK (char_length(revert_code) BETWEEN 1 AND 64),
    ADD COLUMN revert_text text,                                     -- for people
    ADD COLUMN revert_source revert_source,                          -- who says so: before a nonce, or of its inclusion
    ADD COLUMN held_why text,                                        -- why it could not enter the window, when it was looked at last
    ADD COLUMN held_at timestamptz,
    ADD CHECK ((revert_code IS NULL) = (revert_text IS NULL) AND (revert_text IS NULL) = (revert_source IS NULL)),
    ADD CHECK ((held_why IS NULL) = (held_at IS NULL));
-- What reverted on the chain and has no reason yet.
CREATE INDEX managed_transactions_unexplained ON managed_transactions (chain_id, id)
    WHERE succeeded = false AND purpose IN ('send', 'bump') AND revert_code IS NULL;

-- The bytes that a reason was read from: for operators alone, since a contract may put anything into them. Never changed, never deleted.
CREATE TABLE transaction_reverts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid  NOT NULL REFERENCES managed_transactions,
    tenant_id      uuid,
    source         revert_source NOT NULL,
    tx_hash        bytea CHECK (octet_length(tx_hash) = 32),        -- of the inclusion that reverted; NULL: it had no nonce yet
    block_hash     bytea CHECK (octet_length(block_hash) = 32),
    data           bytea NOT NULL,
    message        text  NOT NULL,                                   -- how the node called the failure, or why it could not tell
    told_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((tx_hash IS NULL) = (block_hash IS NULL))
);
CREATE INDEX transaction_reverts_transaction ON transaction_reverts (transaction_id);
ALTER TABLE transaction_reverts ENABLE ROW LEVEL SECURITY;
ALTER TABLE transaction_reverts FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON transaction_reverts TO plimsoll_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON transaction_reverts TO plimsoll_worker;

GRANT INSERT (simulate) ON managed_transactions TO plimsoll_app;
GRANT UPDATE (revert_code, revert_text, revert_source, held_why, held_at) ON managed_transactions TO plimsoll_worker;
