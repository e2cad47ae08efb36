-- The relayer's operations: switches that a tenant's own operator throws, signers that hand over to another, and what reconciliation saw.

-- A tenant's operator throws and releases the tenant's own switches; the platform's are nobody's over the app's role.
GRANT INSERT (tenant_id, chain_id, signer, thrown_by, reason), DELETE ON kill_switches TO plimsoll_app;
CREATE POLICY own_release ON kill_switches AS RESTRICTIVE FOR DELETE TO plimsoll_app USING (tenant_id = ANY (current_tenants()));

ALTER TABLE signers
    ADD COLUMN rotated_to   text COLLATE "C",                   -- whoever does what this one was asked for and has not begun; this one gives no nonce any more
    ADD COLUMN rotated_at   timestamptz,
    ADD COLUMN looks_wanted bigint NOT NULL DEFAULT 0,          -- rises when its holder is to read everything again, and to send again what is under way
    ADD FOREIGN KEY (chain_id, rotated_to) REFERENCES signers,
    ADD CHECK (rotated_to <> address),
    ADD CHECK ((rotated_to IS NULL) = (rotated_at IS NULL));
GRANT UPDATE (rotated_to, rotated_at, looks_wanted) ON signers TO plimsoll_worker;
GRANT UPDATE (signer) ON managed_transactions TO plimsoll_worker;

-- What the chain said of a signer when it was compared with the database last, and what did not agree.
CREATE TABLE signer_sightings (
    chain_id    bigint  NOT NULL,
    address     text    COLLATE "C" NOT NULL,
    latest      bigint  CHECK (latest >= 0),                    -- the first nonce that no block has consumed, as most endpoints say; NULL: too few say it
    pending     bigint  CHECK (pending >= 0),                   -- the same, with what waits in their pools
    balance_wei numeric(78,0) CHECK (balance_wei >= 0),         -- NULL: nobody says it
    needed_wei  numeric(78,0) NOT NULL CHECK (needed_wei >= 0), -- what is under way may cost at most
    answered    integer NOT NULL CHECK (answered >= 0),         -- endpoints that told the nonces
    endpoints   integer NOT NULL CHECK (endpoints > 0),
    findings    jsonb   NOT NULL,                               -- what did not agree, each with its kind, nonce, transaction and words
    seen_at     timestamptz NOT NULL,
    PRIMARY KEY (chain_id, address),
    FOREIGN KEY (chain_id, address) REFERENCES signers
);
ALTER TABLE signer_sightings ENABLE ROW LEVEL SECURITY;
ALTER TABLE signer_sightings FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON signer_sightings TO plimsoll_owner USING (true) WITH CHECK (true);
CREATE POLICY public_read ON signer_sightings FOR SELECT TO plimsoll_app USING (true);
-- Findings name transactions of tenants: they are the platform's.
GRANT SELECT (chain_id, address, latest, pending, balance_wei, seen_at) ON signer_sightings TO plimsoll_app;
GRANT SELECT, INSERT, UPDATE ON signer_sightings TO plimsoll_worker;
