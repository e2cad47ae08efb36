-- Whose transactions are journaled beside those of the configuration: senders that were added while the chain is followed.

CREATE TABLE watched_senders (
    chain_id     bigint NOT NULL REFERENCES chains,
    address      text   COLLATE "C" NOT NULL CHECK (address ~ '^0x[0-9a-f]{40}$'),
    from_number  bigint NOT NULL CHECK (from_number >= 0),   -- from this block on
    -- Every block from here on that any writer appends to the journal has been asked for it; NULL: no writer knows of it yet.
    watched_from bigint,
    added_by     text   NOT NULL,
    added_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, address)
);
ALTER TABLE watched_senders ENABLE ROW LEVEL SECURITY;
ALTER TABLE watched_senders FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON watched_senders TO plimsoll_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (from_number, watched_from) ON watched_senders TO plimsoll_worker;

-- A filter's senders are wanted from a block on, as its contracts are.
UPDATE completeness_filters
SET senders = (SELECT coalesce(jsonb_object_agg(sender, 0), '{}') FROM jsonb_array_elements_text(senders) AS sender)
WHERE jsonb_typeof(senders) = 'array';
