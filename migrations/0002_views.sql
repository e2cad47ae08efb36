-- What the view folds keep: the mirrors, the trails, the links and the apply log.

CREATE TYPE view_kind AS ENUM ('position', 'user', 'risk', 'statistics', 'asset_stats', 'health', 'system', 'permission', 'fee', 'history', 'unknown');
CREATE TYPE apply_status AS ENUM ('applied', 'ignored', 'duplicate', 'rejected', 'error');

-- The apply log, without what its event says already: `view_apply_log` (0003) is the whole of it.
CREATE TABLE view_apply_entries (
    chain_id      bigint NOT NULL,
    journal_seq   bigint NOT NULL,
    block_number  bigint NOT NULL,
    event_id      bigint NOT NULL,               -- with the two above: the row of chain_events
    fold          text   COLLATE "C" NOT NULL,
    view_kind     view_kind NOT NULL,
    apply_status  apply_status NOT NULL,
    key_user      bytea,
    key_asset     bytea,
    request_id    text   COLLATE "C",
    seq           numeric(20,0),                 -- the on-chain seq
    reject_code   text   COLLATE "C",
    reject_detail jsonb,
    observed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, journal_seq, fold)
) PARTITION BY RANGE (chain_id, journal_seq);
-- Blocks come in order: a few bytes for each hundred pages are an index of them.
CREATE INDEX view_apply_entries_block ON view_apply_entries USING brin (block_number) WITH (pages_per_range = 16);

CREATE TABLE position_cache_mirror (
    chain_id              bigint NOT NULL,
    contract              text   COLLATE "C" NOT NULL,
    "user"                text   COLLATE "C" NOT NULL,
    asset                 text   COLLATE "C" NOT NULL,
    tenant_id             uuid,
    collateral            numeric(78,0) NOT NULL CHECK (collateral >= 0),
    debt                  numeric(78,0) NOT NULL CHECK (debt >= 0),
    version               numeric(20,0) NOT NULL CHECK (version >= 0),
    last_request_id       text   COLLATE "C",
    last_seq              numeric(20,0),
    last_chain_block      bigint NOT NULL,
    last_chain_block_hash bytea  NOT NULL,
    last_chain_tx         bytea  NOT NULL,
    last_log_index        integer NOT NULL,
    last_journal_seq      bigint NOT NULL,
    last_updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY ("user", asset, chain_id, contract)
) WITH (fillfactor = 60);  -- room to update rows in place: no index changes
CREATE INDEX position_cache_mirror_asset ON position_cache_mirror (asset, chain_id, contract, "user");

-- Every other mirrored view: the latest value per (contract, view, key).
CREATE TABLE view_mirror (
    chain_id              bigint NOT NULL,
    contract              text   COLLATE "C" NOT NULL,
    view                  text   COLLATE "C" NOT NULL,   -- 'asset_stats', 'health_factor', …: the declaration's name
    key                   text   COLLATE "C" NOT NULL,   -- key parameters joined by '/', '' when there is one row
    tenant_id             uuid,
    value                 jsonb  NOT NULL,
    last_chain_block      bigint NOT NULL,
    last_chain_block_hash bytea  NOT NULL,
    last_chain_tx         bytea  NOT NULL,
    last_log_index        integer NOT NULL,
    last_journal_seq      bigint NOT NULL,
    last_updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, contract, view, key)
) WITH (fillfactor = 60);

-- Views that are a trail: each event is a row of its own.
CREATE TABLE view_trail (
    chain_id         bigint NOT NULL,
    journal_seq      bigint NOT NULL,
    contract         text   COLLATE "C" NOT NULL,
    view             text   COLLATE "C" NOT NULL,
    key              text   COLLATE "C" NOT NULL,
    tenant_id        uuid,
    value            jsonb  NOT NULL,
    block_number     bigint NOT NULL,
    block_hash       bytea  NOT NULL,
    tx_hash          bytea  NOT NULL,
    log_index        integer NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chain_id, journal_seq)
) PARTITION BY RANGE (chain_id, journal_seq);
CREATE INDEX view_trail_key ON view_trail (chain_id, view, key, journal_seq);

-- Router pushes, and the version that each produced (spec 1 §5.2).
CREATE TYPE push_outcome AS ENUM ('applied', 'ignored', 'failed', 'unmatched');
CREATE TABLE position_push_links (
    chain_id         bigint NOT NULL,
    journal_seq      bigint NOT NULL,
    router           text   COLLATE "C" NOT NULL,
    "user"           text   COLLATE "C" NOT NULL,
    asset            text   COLLATE "C" NOT NULL,
    tenant_id        uuid,
    event_name       text   COLLATE "C" NOT NULL,
    request_id       text   COLLATE "C",
    seq              numeric(20,0),
    outcome          push_outcome NOT NULL,
    position_view    text   COLLATE "C",
    version          numeric(20,0),
    reject_code      text   COLLATE "C",
    block_number     bigint NOT NULL,
    tx_hash          bytea  NOT NULL,
    log_index        integer NOT NULL,
    PRIMARY KEY (chain_id, journal_seq)
) PARTITION BY RANGE (chain_id, journal_seq);
CREATE INDEX position_push_links_key ON position_push_links (chain_id, "user", asset, version);
CREATE INDEX position_push_links_request ON position_push_links (chain_id, request_id) WHERE request_id IS NOT NULL;
