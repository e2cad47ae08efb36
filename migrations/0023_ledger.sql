-- The ledger: accounts, postings of two lines or more, balances, and the seal.
--
-- Nobody over the app's or the worker's role changes or removes a posting or a line, and nobody writes a balance: it follows from the lines, by the
-- triggers below, which hold whatever is above them (they look at whole statements, so that hundreds of postings cost about as much as their rows). A posting and
-- its lines come in one statement.

CREATE TYPE account_class AS ENUM ('asset', 'liability', 'equity', 'income', 'expense');
CREATE TYPE account_type AS ENUM ('STRATEGY', 'PROTOCOL', 'GAS', 'USER', 'PLATFORM', 'REWARD', 'SUSPENSE');
CREATE TYPE normal_side AS ENUM ('debit', 'credit');

-- What is counted: a token of a chain, or a code of the tenant's. `decimals` is for showing amounts only.
CREATE TABLE currencies (
    tenant_id     uuid NOT NULL REFERENCES tenants,
    currency      text COLLATE "C" NOT NULL CHECK (currency ~ '^[!-~]{1,128}$'),
    chain_id      bigint CHECK (chain_id > 0),
    token_address text COLLATE "C" CHECK (token_address ~ '^0x[0-9a-f]{40}$'),     -- NULL on a chain: its native coin
    decimals      smallint NOT NULL CHECK (decimals BETWEEN 0 AND 255),
    name          text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, currency),
    CHECK (token_address IS NULL OR chain_id IS NOT NULL)
);
CREATE UNIQUE INDEX currencies_token ON currencies (tenant_id, chain_id, token_address) NULLS NOT DISTINCT WHERE chain_id IS NOT NULL;

-- Where a tenant's books stand. Whoever posts holds the row for sharing; whoever closes a period changes it.
CREATE TABLE ledger_books (
    tenant_id      uuid PRIMARY KEY REFERENCES tenants,
    closed_through timestamptz NOT NULL DEFAULT '-infinity',                         -- nothing is booked at or before it any more
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE accounts (
    account_id   uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES ledger_books,
    name         text COLLATE "C" NOT NULL CHECK (char_length(name) BETWEEN 1 AND 128),
    account_type account_type  NOT NULL,
    class        account_class NOT NULL,
    domain       text COLLATE "C" NOT NULL CHECK (domain ~ '^[a-z][a-z0-9_]{0,31}$'),
    currency     text COLLATE "C" NOT NULL,
    user_id      uuid,
    chain_id     bigint CHECK (chain_id > 0),
    address      text COLLATE "C" CHECK (address ~ '^0x[0-9a-f]{40}$'),
    min_balance  numeric(78,0),                                                      -- on its normal side, for requests; NULL: none
    max_balance  numeric(78,0),
    closed_at    timestamptz,                                                        -- takes no more requests
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant_id, domain, name, currency),
    FOREIGN KEY (tenant_id, currency) REFERENCES currencies,
    CHECK (min_balance <= max_balance),
    CHECK (address IS NULL OR chain_id IS NOT NULL)
);

CREATE FUNCTION normal_side(class account_class) RETURNS normal_side
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN class IN ('asset', 'expense') THEN 'debit' ELSE 'credit' END::normal_side $$;

-- What each account holds: debits less credits. One row an account, which whoever posts to it has locked.
CREATE TABLE asset_balances (
    account_id              uuid PRIMARY KEY REFERENCES accounts,
    tenant_id               uuid   NOT NULL,
    token_address           text   COLLATE "C" NOT NULL,                             -- the account's currency
    raw_balance             numeric(78,0) NOT NULL DEFAULT 0,
    version                 bigint NOT NULL DEFAULT 0 CHECK (version >= 0),          -- how many lines it has
    last_updated_block      bigint CHECK (last_updated_block >= 0),                  -- the highest block that a line of it is of
    last_updated_block_hash bytea CHECK (octet_length(last_updated_block_hash) = 32),
    latest_effective_at     timestamptz NOT NULL DEFAULT '-infinity',                -- the latest of its lines' times
    last_recorded_at        timestamptz NOT NULL DEFAULT '-infinity',
    CHECK ((last_updated_block IS NULL) = (last_updated_block_hash IS NULL))
) WITH (fillfactor = 50);

-- A posting's header.
CREATE TABLE ledger_postings (
    posting_id         uuid  PRIMARY KEY,
    tenant_id          uuid  NOT NULL,
    user_id            uuid,
    request_id         uuid  NOT NULL,
    operation_type     text  COLLATE "C" NOT NULL CHECK (char_length(operation_type) BETWEEN 1 AND 64),
    checksum           bytea NOT NULL CHECK (octet_length(checksum) = 32),           -- of what was asked for, in canonical form
    domain             text  COLLATE "C" NOT NULL,
    internal_tx_id     uuid,                                                         -- the relayer's transaction
    trace_id           uuid,
    effective_at       timestamptz NOT NULL,                                         -- when it happened
    booked_at          timestamptz NOT NULL,                                         -- in which period it counts: the same, unless that period was closed
    recorded_at        timestamptz NOT NULL,                                         -- when it was written, by the database's clock
    chain_id           bigint CHECK (chain_id > 0),
    chain_tx_hash      bytea  CHECK (octet_length(chain_tx_hash) = 32),
    chain_block_number bigint CHECK (chain_block_number >= 0),
    chain_block_hash   bytea  CHECK (octet_length(chain_block_hash) = 32),
    reverses           uuid,
    compensates        uuid,
    reason             text,
    created_by         text NOT NULL,
    correlation_id     text COLLATE "C" NOT NULL,
    causation_id       text COLLATE "C",
    metadata           text NOT NULL,                                                -- JSON in canonical form, which the digest covers
    line_count         smallint NOT NULL CHECK (line_count >= 2),
    digest             bytea NOT NULL CHECK (octet_length(digest) = 32),
    UNIQUE NULLS NOT DISTINCT (request_id, tenant_id, operation_type, user_id),
    CHECK (reverses IS NULL OR compensates IS NULL),
    CHECK ((reverses IS NULL AND compensates IS NULL) = (reason IS NULL)),
    CHECK (chain_id IS NOT NULL OR (chain_tx_hash IS NULL AND chain_block_number IS NULL)),
    CHECK ((chain_block_number IS NULL) = (chain_block_hash IS NULL))
);
-- A posting is reversed once.
CREATE UNIQUE INDEX ledger_postings_reverses ON ledger_postings (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX ledger_postings_compensates ON ledger_postings (compensates) WHERE compensates IS NOT NULL;
CREATE INDEX ledger_postings_chain_tx ON ledger_postings (chain_tx_hash) WHERE chain_tx_hash IS NOT NULL;

-- Its lines. The account's history is its lines by version: what it held after each, and, running along, the latest time and the highest block so far.
CREATE TABLE ledger_entries (
    posting_id         uuid     NOT NULL,
    sequence           smallint NOT NULL CHECK (sequence >= 1),
    tenant_id          uuid     NOT NULL,
    account_id         uuid     NOT NULL,
    debit              numeric(78,0) NOT NULL CHECK (debit >= 0),
    credit             numeric(78,0) NOT NULL CHECK (credit >= 0),
    currency           text     COLLATE "C" NOT NULL,
    entry_type         text     COLLATE "C" NOT NULL CHECK (char_length(entry_type) BETWEEN 1 AND 32),
    account_version    bigint   NOT NULL CHECK (account_version >= 1),
    balance_after      numeric(78,0) NOT NULL,
    effective_at       timestamptz NOT NULL,
    latest_effective_at timestamptz NOT NULL,
    recorded_at        timestamptz NOT NULL,
    chain_block_number bigint,                                                       -- NULL: of no block; it counts from the highest so far
    latest_block       bigint,
    checksum           bytea    NOT NULL CHECK (octet_length(checksum) = 32),
    PRIMARY KEY (posting_id, sequence),
    UNIQUE (account_id, account_version),
    CHECK ((debit = 0) <> (credit = 0)),
    CHECK (effective_at <= latest_effective_at),
    CHECK (chain_block_number <= latest_block)
);
-- Few lines come after one that happened later: what an account held at a time, or at a block, is the last version up to it, and these.
CREATE INDEX ledger_entries_late ON ledger_entries (account_id, account_version) WHERE effective_at < latest_effective_at OR chain_block_number < latest_block;

-- What a request for a posting came to that was not booked, or repaired something (spec 2 §3.4).
CREATE TABLE bf_events (
    event_id       uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenants,
    user_id        uuid,
    request_id     uuid NOT NULL,
    operation_type text COLLATE "C" NOT NULL,
    status         text COLLATE "C" NOT NULL CHECK (status IN ('conflict', 'repair')),
    posting_id     uuid NOT NULL,                                                    -- whose key it is, or what repaired
    checksum       bytea CHECK (octet_length(checksum) = 32),                        -- of what was asked for
    created_by     text NOT NULL,
    correlation_id text COLLATE "C" NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX bf_events_request ON bf_events (tenant_id, request_id);
CREATE INDEX bf_events_time ON bf_events (tenant_id, created_at);

-- What is committed and not sealed yet: one row a transaction and tenant.
CREATE TABLE ledger_staging (
    staging_id  bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    tenant_id   uuid   NOT NULL,
    postings    uuid[] NOT NULL,
    digests     bytea  NOT NULL,                                                     -- 32 bytes a posting
    staged_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (octet_length(digests) = 32 * cardinality(postings) AND cardinality(postings) > 0)
);

-- A tenant's log, as far as it is sealed.
CREATE TABLE ledger_logs (
    tenant_id uuid   PRIMARY KEY REFERENCES ledger_books,
    size      bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
    head_hash bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(head_hash) = 32),
    frontier  bytea  NOT NULL DEFAULT '' CHECK (octet_length(frontier) = 32 * bit_count(int8send(size)))   -- the roots of its perfect subtrees, the largest first
);

-- Its entries: dense, each linked to the one before it.
CREATE TABLE ledger_leaves (
    tenant_id       uuid   NOT NULL,
    leaf_index      bigint NOT NULL CHECK (leaf_index >= 0),
    posting_id      uuid   NOT NULL UNIQUE,
    prev_entry_hash bytea  NOT NULL CHECK (octet_length(prev_entry_hash) = 32),
    entry_hash      bytea  NOT NULL CHECK (octet_length(entry_hash) = 32),
    sealed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, leaf_index)
);

-- Its Merkle tree (RFC 6962), in full tiles of 256 hashes: of entries at level 0, of the roots of tiles below above that.
CREATE TABLE ledger_tiles (
    tenant_id uuid     NOT NULL,
    level     smallint NOT NULL CHECK (level >= 0),
    tile      bigint   NOT NULL CHECK (tile >= 0),
    hashes    bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    root_hash bytea    NOT NULL CHECK (octet_length(root_hash) = 32),                -- its hash in the level above
    PRIMARY KEY (tenant_id, level, tile)
);

-- What was signed: the row is committed before it is, so that there are no two roots of one size.
CREATE TABLE ledger_checkpoints (
    tenant_id  uuid   NOT NULL,
    origin     text   COLLATE "C" NOT NULL,
    tree_size  bigint NOT NULL CHECK (tree_size > 0),
    root_hash  bytea  NOT NULL CHECK (octet_length(root_hash) = 32),
    note       text,                                                                 -- NULL: not signed yet
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, tree_size)
);
CREATE INDEX ledger_checkpoints_unsigned ON ledger_checkpoints (tenant_id, tree_size) WHERE note IS NULL;

-- An account has its balance from the beginning.
CREATE FUNCTION open_balance() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
BEGIN
    INSERT INTO asset_balances (account_id, tenant_id, token_address) VALUES (NEW.account_id, NEW.tenant_id, NEW.currency);
    RETURN NULL;
END
$$;
CREATE TRIGGER open_balance AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION open_balance();

-- Books have their log from the beginning.
CREATE FUNCTION open_log() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
BEGIN
    INSERT INTO ledger_logs (tenant_id) VALUES (NEW.tenant_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER open_log AFTER INSERT ON ledger_books FOR EACH ROW EXECUTE FUNCTION open_log();

-- Both checks look rows up by their keys, whatever was believed of the tables when they were planned: each session keeps its plans.

-- Postings: all their lines are there with them; what they reverse or compensate is the tenant's; their period is open.
CREATE FUNCTION check_postings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    culprit uuid;
BEGIN
    SELECT p.posting_id INTO culprit FROM given p
    WHERE NOT EXISTS (SELECT FROM ledger_entries e WHERE e.posting_id = p.posting_id AND e.sequence = p.line_count) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting % came without its lines', culprit USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_postings_lines';
    END IF;
    -- No period is closed before this is committed.
    PERFORM FROM ledger_books WHERE tenant_id IN (SELECT DISTINCT tenant_id FROM given) ORDER BY tenant_id FOR SHARE;
    SELECT p.tenant_id INTO culprit FROM (SELECT tenant_id, min(booked_at) AS first FROM given GROUP BY tenant_id) p LEFT JOIN ledger_books b USING (tenant_id)
    WHERE COALESCE(p.first <= b.closed_through, true) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a posting of tenant % is booked into a closed period, or without books', culprit USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_postings_period';
    END IF;
    SELECT p.posting_id INTO culprit FROM given p
    WHERE (p.reverses IS NOT NULL OR p.compensates IS NOT NULL)
      AND NOT EXISTS (SELECT FROM ledger_postings o WHERE o.posting_id = COALESCE(p.reverses, p.compensates) AND o.tenant_id = p.tenant_id AND o.reverses IS NULL)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting % reverses or compensates what its tenant does not have, or a reversal', culprit
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_postings_target';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_postings AFTER INSERT ON ledger_postings REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION check_postings();

-- Lines: whole postings that balance in each currency, on accounts of the tenant and the currency, each following on its account's version and
-- balance; which are then moved.
CREATE FUNCTION check_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    culprit uuid;
BEGIN
    SELECT e.posting_id INTO culprit FROM given e GROUP BY e.posting_id, e.currency HAVING sum(e.debit) <> sum(e.credit) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'posting % does not balance', culprit USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balance';
    END IF;
    SELECT e.posting_id INTO culprit
    FROM (SELECT posting_id, tenant_id, effective_at, recorded_at, chain_block_number, count(*) AS lines, max(sequence) AS last
          FROM given GROUP BY posting_id, tenant_id, effective_at, recorded_at, chain_block_number) e
    LEFT JOIN ledger_postings p USING (posting_id)
    WHERE (p.line_count = e.lines AND p.line_count = e.last AND p.tenant_id = e.tenant_id AND p.effective_at = e.effective_at AND p.recorded_at = e.recorded_at
           AND p.chain_block_number IS NOT DISTINCT FROM e.chain_block_number) IS NOT TRUE
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'lines of posting % that are not all of its own', culprit USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_posting';
    END IF;
    SELECT e.account_id INTO culprit
    FROM (SELECT account_id, tenant_id, currency, account_version, balance_after, debit - credit AS change, latest_effective_at, effective_at, recorded_at,
                 chain_block_number, latest_block, lag(account_version) OVER w AS version, lag(balance_after) OVER w AS balance, lag(latest_effective_at) OVER w AS latest,
                 lag(recorded_at) OVER w AS recorded, lag(latest_block) OVER w AS block
          FROM given WINDOW w AS (PARTITION BY account_id ORDER BY account_version)) e
    LEFT JOIN asset_balances b USING (account_id)
    WHERE b.account_id IS NULL OR b.tenant_id <> e.tenant_id OR b.token_address <> e.currency
       OR e.account_version <> COALESCE(e.version, b.version) + 1
       OR e.balance_after <> COALESCE(e.balance, b.raw_balance) + e.change
       OR e.latest_effective_at <> GREATEST(COALESCE(e.latest, b.latest_effective_at), e.effective_at)
       OR e.recorded_at < COALESCE(e.recorded, b.last_recorded_at)
       OR e.latest_block IS DISTINCT FROM GREATEST(CASE WHEN e.version IS NULL THEN b.last_updated_block ELSE e.block END, e.chain_block_number)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a line of account % that does not follow on what the account holds, or is not of its tenant and currency', culprit
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_follow';
    END IF;
    UPDATE asset_balances b
    SET raw_balance = e.balance_after, version = e.account_version, latest_effective_at = e.latest_effective_at, last_recorded_at = e.recorded_at
    FROM (SELECT DISTINCT ON (account_id) account_id, account_version, balance_after, latest_effective_at, recorded_at
          FROM given ORDER BY account_id, account_version DESC) e
    WHERE b.account_id = e.account_id;
    IF EXISTS (SELECT FROM given WHERE chain_block_number IS NOT NULL) THEN
        UPDATE asset_balances b SET last_updated_block = e.chain_block_number, last_updated_block_hash = e.chain_block_hash
        FROM (SELECT DISTINCT ON (g.account_id) g.account_id, p.chain_block_number, p.chain_block_hash
              FROM given g JOIN ledger_postings p USING (posting_id) WHERE g.chain_block_number IS NOT NULL
              ORDER BY g.account_id, g.chain_block_number DESC, g.account_version DESC) e
        WHERE b.account_id = e.account_id AND e.chain_block_number >= COALESCE(b.last_updated_block, 0);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_entries AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION check_entries();

-- Whoever posts must hold rows of balances and books, which wants the right to change them: only the triggers above do, and periods are not opened again.
CREATE FUNCTION guard_balances() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_user <> 'plimsoll_owner' THEN
        RAISE EXCEPTION 'a balance follows from its lines: nobody writes it' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER guard_balances BEFORE UPDATE ON asset_balances FOR EACH STATEMENT EXECUTE FUNCTION guard_balances();

CREATE FUNCTION guard_books() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.closed_through < OLD.closed_through THEN
        RAISE EXCEPTION 'the books of % are closed through %: no period is opened again', OLD.tenant_id, OLD.closed_through
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_books_closed';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_books BEFORE UPDATE ON ledger_books FOR EACH ROW EXECUTE FUNCTION guard_books();

REVOKE ALL ON FUNCTION open_balance(), open_log(), check_postings(), check_entries(), guard_balances(), guard_books() FROM PUBLIC;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['currencies', 'ledger_books', 'accounts', 'asset_balances', 'ledger_postings', 'ledger_entries', 'bf_events', 'ledger_staging',
                                'ledger_logs', 'ledger_leaves', 'ledger_tiles', 'ledger_checkpoints'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        -- As a subquery the setting is read once a statement, and not once a row.
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY ((SELECT current_tenants())::uuid[]))'
                       ' WITH CHECK (tenant_id = ANY ((SELECT current_tenants())::uuid[]))', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app, plimsoll_worker', name);
    END LOOP;
END
$$;
GRANT INSERT ON ledger_postings, ledger_entries TO plimsoll_app, plimsoll_worker;
GRANT INSERT (tenant_id, currency, chain_id, token_address, decimals, name) ON currencies TO plimsoll_app, plimsoll_worker;
GRANT INSERT (tenant_id) ON ledger_books TO plimsoll_app, plimsoll_worker;
GRANT UPDATE (closed_through) ON ledger_books TO plimsoll_app, plimsoll_worker;
GRANT INSERT (account_id, tenant_id, name, account_type, class, domain, currency, user_id, chain_id, address, min_balance, max_balance) ON accounts TO plimsoll_app, plimsoll_worker;
GRANT UPDATE (closed_at, min_balance, max_balance) ON accounts TO plimsoll_app;
GRANT UPDATE (version) ON asset_balances TO plimsoll_app, plimsoll_worker;
GRANT INSERT (event_id, tenant_id, user_id, request_id, operation_type, status, posting_id, checksum, created_by, correlation_id) ON bf_events TO plimsoll_app, plimsoll_worker;
GRANT INSERT (tenant_id, postings, digests) ON ledger_staging TO plimsoll_app, plimsoll_worker;
GRANT DELETE ON ledger_staging TO plimsoll_worker;
GRANT SELECT ON SEQUENCE ledger_staging_staging_id_seq TO plimsoll_worker;
GRANT INSERT ON ledger_leaves, ledger_tiles, ledger_checkpoints TO plimsoll_worker;
GRANT UPDATE (size, head_hash, frontier) ON ledger_logs TO plimsoll_worker;
GRANT UPDATE (note) ON ledger_checkpoints TO plimsoll_worker;
