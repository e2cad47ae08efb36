-- The ground: tenants, leases, the chain's raw store and journal, fold cursors.
--
-- Roles (`plimsoll_owner`, `plimsoll_app`, `plimsoll_worker`) are cluster-wide and made before the first migration; migrations run as the owner.
-- Every table has row-level security enabled and forced. A table that holds only what the public chain says carries the
-- policy `public_read`; a tenant's table compares with current_tenants(). Hashes are bytea, addresses lower-case 0x text.

CREATE FUNCTION current_tenants() RETURNS uuid[]
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT string_to_array(NULLIF(current_setting('plimsoll.tenants', true), ''), ',')::uuid[] $$;

CREATE TABLE tenants (
    tenant_id  uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Contract → tenant: how folds attribute what the public chain says.
CREATE TABLE tenant_contracts (
    tenant_id   uuid   NOT NULL REFERENCES tenants,
    chain_id    bigint NOT NULL,
    address     text   COLLATE "C" NOT NULL CHECK (address ~ '^0x[0-9a-f]{40}$'),
    name        text   NOT NULL,
    start_block bigint NOT NULL,
    abi_digest  bytea  NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, address),
    UNIQUE (tenant_id, chain_id, address)
);

-- Authority. A change of token changes a key column, so it waits for every reader that holds FOR KEY SHARE; a renewal does not.
CREATE TABLE leases (
    name          text   PRIMARY KEY,
    fencing_token bigint NOT NULL CHECK (fencing_token > 0),
    holder        text   NOT NULL,
    acquired_at   timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    UNIQUE (name, fencing_token)
);

-- One row a chain: the journal's counters and marks. Written only by the holder of the chain's ingest lease.
CREATE TYPE chain_state AS ENUM ('following', 'halted');
CREATE TABLE chains (
    chain_id         bigint PRIMARY KEY,
    name             text   NOT NULL,
    genesis_hash     bytea  NOT NULL CHECK (octet_length(genesis_hash) = 32),
    start_block      bigint NOT NULL,
    confirmations    bigint NOT NULL,
    finality_depth   bigint NOT NULL,
    next_seq         bigint NOT NULL DEFAULT 1,
    next_id          bigint NOT NULL DEFAULT 1,
    head_number      bigint,           -- the last block that the journal covers
    head_hash        bytea,
    confirmed_number bigint,
    final_number     bigint,
    rpc_head_number  bigint,           -- the node's head when last seen
    rpc_head_at      timestamptz,
    state            chain_state NOT NULL DEFAULT 'following',
    halt             jsonb,            -- why, and how to resume
    updated_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TYPE block_state AS ENUM ('seen', 'confirmed', 'final', 'orphaned');
CREATE TABLE chain_blocks (
    chain_id    bigint NOT NULL,
    number      bigint NOT NULL,
    hash        bytea  NOT NULL,
    id          bigint NOT NULL,
    parent_hash bytea  NOT NULL,
    time        timestamptz NOT NULL,
    state       block_state NOT NULL,
    PRIMARY KEY (chain_id, number, hash)
) PARTITION BY RANGE (chain_id, number);

-- Immutable. The block's number follows from its hash, so (chain_id, block_hash, log_index) is unique outright.
CREATE TABLE chain_events (
    chain_id         bigint NOT NULL,
    block_number     bigint NOT NULL,
    block_hash       bytea  NOT NULL,
    log_index        integer NOT NULL,
    id               bigint NOT NULL,
    tx_hash          bytea  NOT NULL,
    tx_index         integer NOT NULL,
    contract_address text   COLLATE "C" NOT NULL,
    event_name       text   COLLATE "C",       -- NULL: no ABI knows it; the raw columns have it all
    topic0           bytea,
    topics           bytea  NOT NULL,          -- topics after topic0, 32 bytes each
    data             bytea  NOT NULL,
    payload          jsonb,                    -- decoded: integers as decimal strings, bytes as 0x hex
    request_id       text   COLLATE "C",
    seq              numeric(20,0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, block_number, block_hash, log_index)
) PARTITION BY RANGE (chain_id, block_number);
CREATE INDEX chain_events_name ON chain_events (chain_id, event_name, block_number, log_index);
CREATE INDEX chain_events_request ON chain_events (chain_id, request_id) WHERE request_id IS NOT NULL;

-- Transactions of the senders that are watched (`included` records).
CREATE TABLE chain_tx_meta (
    chain_id            bigint NOT NULL,
    block_number        bigint NOT NULL,
    block_hash          bytea  NOT NULL,
    tx_index            integer NOT NULL,
    id                  bigint NOT NULL,
    tx_hash             bytea  NOT NULL,
    sender              text   COLLATE "C" NOT NULL,
    to_address          text   COLLATE "C",
    nonce               numeric(20,0) NOT NULL,
    succeeded           boolean NOT NULL,
    gas_used            numeric(78,0) NOT NULL,
    effective_gas_price numeric(78,0) NOT NULL,
    gas_paid_wei        numeric(78,0) NOT NULL,
    request_id          text   COLLATE "C",
    created_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, block_number, block_hash, tx_index)
) PARTITION BY RANGE (chain_id, block_number);
CREATE INDEX chain_tx_meta_sender ON chain_tx_meta (chain_id, sender, nonce);

-- What is canonical now. Its key is the spec's (chain_id, tx_hash, log_index).
CREATE TABLE chain_live (
    chain_id     bigint  NOT NULL,
    tx_hash      bytea   NOT NULL,
    log_index    integer NOT NULL,
    event_id     bigint  NOT NULL,
    block_number bigint  NOT NULL,
    PRIMARY KEY (chain_id, tx_hash, log_index)
);

CREATE TYPE journal_kind AS ENUM ('append', 'included', 'block', 'retract', 'confirm', 'finalize');
CREATE TABLE journal (
    chain_id     bigint NOT NULL,
    seq          bigint NOT NULL,
    block_number bigint NOT NULL,
    ref          bigint NOT NULL,
    kind         journal_kind NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, seq)
) PARTITION BY RANGE (chain_id, seq);

CREATE TYPE fold_state AS ENUM ('running', 'stopped');
CREATE TABLE fold_cursors (
    fold         text   NOT NULL,
    chain_id     bigint NOT NULL,
    seq          bigint NOT NULL DEFAULT 0,     -- the last journal record that is in the fold's tables
    final_number bigint NOT NULL DEFAULT -1,    -- the last finalize mark seen: at or below it nothing is undone
    block_number bigint,                        -- watermark: the last unretracted `block`
    block_hash   bytea,
    state        fold_state NOT NULL DEFAULT 'running',
    stop         jsonb,                         -- the poisoned record: seq, error, what to do
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (fold, chain_id)
);

-- How to take each record back, last in first out; pruned once its block is final.
CREATE TABLE fold_undo (
    fold         text   NOT NULL,
    chain_id     bigint NOT NULL,
    seq          bigint NOT NULL,
    block_number bigint NOT NULL,
    undo         jsonb,                          -- NULL: the record changed nothing
    PRIMARY KEY (fold, chain_id, seq)
);

-- Records that an operator told a fold to pass over.
CREATE TABLE fold_skips (
    fold       text   NOT NULL,
    chain_id   bigint NOT NULL,
    seq        bigint NOT NULL,
    operator   text   NOT NULL,
    reason     text   NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (fold, chain_id, seq)
);

-- Whatever should not have happened, with its evidence.
CREATE TABLE anomalies (
    anomaly_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id    bigint NOT NULL,
    source      text   NOT NULL,                 -- 'ingest', 'fold:views', 'verify'
    kind        text   NOT NULL,                 -- 'version_back', 'version_jump', 'deep_reorg', 'mirror_mismatch', …
    journal_seq bigint,
    detail      jsonb  NOT NULL,
    noticed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX anomalies_once ON anomalies (chain_id, source, kind, journal_seq) WHERE journal_seq IS NOT NULL;
