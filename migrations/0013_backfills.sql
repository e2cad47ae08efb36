-- What an operator asked for of a chain's blocks a second time. The chain's writer works it off, newest block first: what is wanted of them and is not
-- in the journal is appended late.

CREATE TYPE backfill_state AS ENUM ('queued', 'running', 'limited', 'done', 'cancelled', 'failed');

CREATE TABLE backfills (
    request_id      uuid PRIMARY KEY,              -- as in the audit log
    ordinal         bigint GENERATED ALWAYS AS IDENTITY UNIQUE,   -- the order in which they are worked off
    chain_id        bigint NOT NULL REFERENCES chains,
    from_number     bigint NOT NULL CHECK (from_number >= 0),
    to_number       bigint NOT NULL,
    contracts       text[] COLLATE "C" CHECK (cardinality(contracts) > 0),   -- whose logs; NULL: everything that is followed
    max_events      bigint CHECK (max_events > 0), -- it stops once so many were found since it was queued
    parallel_ranges integer CHECK (parallel_ranges > 0),
    state           backfill_state NOT NULL DEFAULT 'queued',
    next_number     bigint NOT NULL,               -- the highest block that is still to be looked at; below from_number when none is
    found           bigint NOT NULL DEFAULT 0,     -- what was not in the journal and was appended
    found_before    bigint NOT NULL DEFAULT 0,     -- of that, before it was last queued
    trouble         text,                          -- why it failed; while it runs, why it does not come on
    actor           text NOT NULL,
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    ended_at        timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (from_number <= to_number),
    CHECK (next_number BETWEEN from_number - 1 AND to_number),
    CHECK (found_before BETWEEN 0 AND found),
    CHECK ((state = 'done') = (next_number < from_number)),
    CHECK (state <> 'failed' OR trouble IS NOT NULL),
    CHECK ((ended_at IS NULL) = (state IN ('queued', 'running')))
);
CREATE INDEX backfills_open ON backfills (chain_id, ordinal) WHERE state IN ('queued', 'running');

ALTER TABLE backfills ENABLE ROW LEVEL SECURITY;
ALTER TABLE backfills FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_all ON backfills TO plimsoll_owner USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON backfills TO plimsoll_worker;
GRANT UPDATE (state, next_number, found, found_before, trouble, started_at, ended_at, updated_at) ON backfills TO plimsoll_worker;
