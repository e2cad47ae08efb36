-- Corrections, periods that are closed, and what reports read.

-- A reversal is the mirror of its original, at the same time and block: whoever looks at any of these finds both, or neither. By row, since few postings are one: the
-- condition costs the others nothing. Whether there is such an original, and none that is a reversal, is for `check_postings`.
CREATE FUNCTION check_reversal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off
AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger_postings o WHERE o.posting_id = NEW.reverses
               AND ((o.domain, o.line_count, o.effective_at, o.chain_id, o.chain_tx_hash, o.chain_block_number, o.chain_block_hash)
                        IS DISTINCT FROM
                    (NEW.domain, NEW.line_count, NEW.effective_at, NEW.chain_id, NEW.chain_tx_hash, NEW.chain_block_number, NEW.chain_block_hash)
                    OR EXISTS (SELECT FROM ledger_entries l LEFT JOIN ledger_entries m ON m.posting_id = NEW.posting_id AND m.sequence = l.sequence
                               WHERE l.posting_id = NEW.reverses
                                 AND (l.account_id, l.credit, l.debit, l.currency, l.entry_type) IS DISTINCT FROM (m.account_id, m.debit, m.credit, m.currency, m.entry_type))))
    THEN
        RAISE EXCEPTION 'posting % reverses % and is not its mirror', NEW.posting_id, NEW.reverses
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_postings_mirror';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_reversal AFTER INSERT ON ledger_postings FOR EACH ROW WHEN (NEW.reverses IS NOT NULL) EXECUTE FUNCTION check_reversal();

-- A posting counts in the period that it happened in; if that is closed, at the very beginning of the open one. So the version that an account had when a period was
-- closed says which of its lines count in it, and reports need not look at headers.
CREATE FUNCTION check_late() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
DECLARE
    closed timestamptz;
BEGIN
    SELECT closed_through INTO closed FROM ledger_books WHERE tenant_id = NEW.tenant_id FOR SHARE;
    IF NOT COALESCE(NEW.effective_at <= closed AND NEW.booked_at = closed + interval '1 microsecond', false) THEN
        RAISE EXCEPTION 'posting % is booked at another time than it happened at, which no closed period is the reason of', NEW.posting_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_postings_late';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER check_late AFTER INSERT ON ledger_postings FOR EACH ROW WHEN (NEW.booked_at <> NEW.effective_at) EXECUTE FUNCTION check_late();

-- The closing of a period: who, when and why. The row itself closes it.
CREATE TABLE ledger_closings (
    tenant_id      uuid   NOT NULL REFERENCES ledger_books,
    closed_through timestamptz NOT NULL CHECK (isfinite(closed_through)),
    log_size       bigint NOT NULL CHECK (log_size >= 0),                             -- a log of so many entries has all that was booked by then
    reason         text   NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 1000),
    request_id     uuid   NOT NULL,
    user_id        uuid,
    created_by     text   NOT NULL,
    correlation_id text   COLLATE "C" NOT NULL,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, closed_through),
    UNIQUE (tenant_id, request_id)
);

-- The trial balance as it was closed, by account; an account without a line is not in it.
CREATE TABLE ledger_closing_balances (
    tenant_id       uuid   NOT NULL,
    closed_through  timestamptz NOT NULL,
    account_id      uuid   NOT NULL,
    account_version bigint NOT NULL CHECK (account_version >= 1),                     -- the account's last line at that moment: a later one does not count in the period
    balance         numeric(78,0) NOT NULL,                                           -- of what is booked in the period and before it
    PRIMARY KEY (tenant_id, closed_through, account_id)
);

-- The last of an account's first `through` lines up to which all lie within what is given: along an account's versions none of these goes back, so halving finds it.
CREATE FUNCTION last_version(of_account uuid, through bigint, effective timestamptz, recorded timestamptz, block bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH RECURSIVE search(low, high) AS (
        SELECT 0::bigint, through
        UNION ALL
        SELECT CASE WHEN found.counts THEN middle ELSE low END, CASE WHEN found.counts THEN high ELSE middle - 1 END
        FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) AS halved
        CROSS JOIN LATERAL (SELECT (e.latest_effective_at <= effective) IS NOT FALSE AND (e.recorded_at <= recorded) IS NOT FALSE
                                   AND (e.latest_block <= block) IS NOT FALSE AS counts
                            FROM ledger_entries e WHERE e.account_id = of_account AND e.account_version = halved.middle) AS found)
    SELECT low FROM search WHERE low = high
$$;

-- What an account held by those of its first `through` lines that lie within what is given: the balance after that version, and the late lines that come after it.
CREATE FUNCTION balance_at(of_account uuid, through bigint, effective timestamptz, recorded timestamptz, block bigint) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH last AS MATERIALIZED (SELECT last_version(of_account, through, effective, recorded, block) AS version)
    SELECT COALESCE((SELECT e.balance_after FROM ledger_entries e WHERE e.account_id = of_account AND e.account_version = last.version), 0)
         + COALESCE((SELECT sum(e.debit - e.credit) FROM ledger_entries e
                     WHERE e.account_id = of_account AND e.account_version > last.version AND e.account_version <= through
                       AND (e.effective_at < e.latest_effective_at OR e.chain_block_number < e.latest_block)
                       AND (e.effective_at <= effective) IS NOT FALSE AND (e.recorded_at <= recorded) IS NOT FALSE
                       AND (COALESCE(e.chain_block_number, e.latest_block) <= block) IS NOT FALSE), 0)
    FROM last
$$;

-- How many of an account's lines can be booked at or before a time: those that it had when the first period was closed that has that time; all of them, if none is.
-- Of these, the ones that happened by then are.
CREATE FUNCTION booked_version(of_account uuid, booked timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN closing.closed_through IS NULL THEN b.version
                ELSE COALESCE((SELECT c.account_version FROM ledger_closing_balances c
                               WHERE c.tenant_id = b.tenant_id AND c.closed_through = closing.closed_through AND c.account_id = of_account), 0) END
    FROM asset_balances b
    CROSS JOIN LATERAL (SELECT min(l.closed_through) AS closed_through FROM ledger_closings l WHERE l.tenant_id = b.tenant_id AND l.closed_through >= booked) AS closing
    WHERE b.account_id = of_account
$$;

-- Each account of a tenant with what it held, as far as all that is given allows.
CREATE FUNCTION account_balances(of_tenant uuid, effective timestamptz, booked timestamptz, recorded timestamptz)
RETURNS TABLE (account_id uuid, name text, account_type account_type, class account_class, domain text, currency text, balance numeric)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT a.account_id, a.name, a.account_type, a.class, a.domain, a.currency,
           CASE WHEN c.account_version IS NOT NULL AND c.closed_through = booked AND effective IS NULL AND recorded IS NULL THEN c.balance
                WHEN closing.closed_through IS NOT NULL AND c.account_version IS NULL THEN 0
                WHEN COALESCE(c.account_version, b.version) = b.version AND (b.latest_effective_at <= LEAST(effective, booked)) IS NOT FALSE
                     AND (b.last_recorded_at <= recorded) IS NOT FALSE THEN b.raw_balance
                ELSE balance_at(a.account_id, COALESCE(c.account_version, b.version), LEAST(effective, booked), recorded, NULL) END
    FROM accounts a
    JOIN asset_balances b ON b.account_id = a.account_id
    CROSS JOIN (SELECT (SELECT min(l.closed_through) FROM ledger_closings l WHERE l.tenant_id = of_tenant AND l.closed_through >= booked) AS closed_through) AS closing
    LEFT JOIN ledger_closing_balances c ON c.tenant_id = of_tenant AND c.closed_through = closing.closed_through AND c.account_id = a.account_id
    WHERE a.tenant_id = of_tenant
$$;

-- Closes a period. Whoever posts holds the books for sharing until that is committed: once this has them, all of it is there, and what comes after counts in the next one.
CREATE FUNCTION close_period() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
DECLARE
    closed timestamptz;
BEGIN
    SELECT closed_through INTO closed FROM ledger_books WHERE tenant_id = NEW.tenant_id FOR NO KEY UPDATE;
    IF NEW.closed_through > clock_timestamp() THEN
        RAISE EXCEPTION 'a period that has not passed cannot be closed: % is in the future', NEW.closed_through
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_closings_past';
    END IF;
    IF NEW.closed_through <= closed THEN
        RAISE EXCEPTION 'the books of % are closed through % already', NEW.tenant_id, closed USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_closings_order';
    END IF;
    UPDATE ledger_books SET closed_through = NEW.closed_through WHERE tenant_id = NEW.tenant_id;
    -- The sealer takes from the one and puts into the other in one transaction.
    SELECT l.size + COALESCE((SELECT sum(cardinality(s.postings)) FROM ledger_staging s WHERE s.tenant_id = NEW.tenant_id), 0)
    INTO NEW.log_size FROM ledger_logs l WHERE l.tenant_id = NEW.tenant_id;
    NEW.created_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER close_period BEFORE INSERT ON ledger_closings FOR EACH ROW EXECUTE FUNCTION close_period();

CREATE FUNCTION keep_closing_balances() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp
AS $$
BEGIN
    INSERT INTO ledger_closing_balances (tenant_id, closed_through, account_id, account_version, balance)
    SELECT NEW.tenant_id, NEW.closed_through, a.account_id, b.version,
           CASE WHEN b.latest_effective_at <= NEW.closed_through THEN b.raw_balance ELSE balance_at(a.account_id, b.version, NEW.closed_through, NULL, NULL) END
    FROM accounts a JOIN asset_balances b ON b.account_id = a.account_id WHERE a.tenant_id = NEW.tenant_id AND b.version > 0;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_closing_balances AFTER INSERT ON ledger_closings FOR EACH ROW EXECUTE FUNCTION keep_closing_balances();

-- Whoever posts must hold the books' row, which wants the right to change it.
CREATE FUNCTION guard_closing() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF current_user <> 'plimsoll_owner' THEN
        RAISE EXCEPTION 'a period is closed by its row in ledger_closings: nobody writes the books themselves' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER guard_closing BEFORE UPDATE ON ledger_books FOR EACH STATEMENT EXECUTE FUNCTION guard_closing();

REVOKE ALL ON FUNCTION check_reversal(), check_late(), close_period(), keep_closing_balances(), guard_closing() FROM PUBLIC;

-- Which chart of accounts a tenant's books have, and since when.
CREATE TABLE ledger_charts (
    tenant_id uuid    NOT NULL REFERENCES ledger_books,
    chart     text    COLLATE "C" NOT NULL CHECK (chart ~ '^[a-z][a-z0-9_]{0,31}$'),
    version   integer NOT NULL CHECK (version >= 1),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant_id, chart, version)
);

-- Lines with what their posting says, as spec 2 §7 names them; and the books of two domains.
CREATE VIEW ledger_lines WITH (security_invoker = true) AS
    SELECT e.tenant_id, p.user_id, p.request_id, p.operation_type, p.posting_id, e.sequence, e.account_id, e.debit, e.credit, e.currency, e.entry_type, p.domain,
           p.metadata, e.checksum, l.leaf_index, l.prev_entry_hash, e.account_version, e.balance_after, p.chain_id, p.chain_tx_hash, p.chain_block_number,
           (SELECT GREATEST(c.head_number - p.chain_block_number + 1, 0) FROM chains c WHERE c.chain_id = p.chain_id) AS chain_confirmations,
           p.internal_tx_id, p.trace_id, p.effective_at, p.booked_at, p.recorded_at, p.reverses, p.compensates, p.reason, p.created_by
    FROM ledger_postings p
    JOIN ledger_entries e ON e.posting_id = p.posting_id
    LEFT JOIN ledger_leaves l ON l.posting_id = p.posting_id;
CREATE VIEW platform_ledger WITH (security_invoker = true) AS SELECT * FROM ledger_lines WHERE domain = 'platform';
CREATE VIEW reward_ledger WITH (security_invoker = true) AS SELECT * FROM ledger_lines WHERE domain = 'reward';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['ledger_closings', 'ledger_closing_balances', 'ledger_charts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY owner_all ON %I TO plimsoll_owner USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO plimsoll_app USING (tenant_id = ANY (current_tenants())) WITH CHECK (tenant_id = ANY (current_tenants()))', name);
        EXECUTE format('GRANT SELECT ON %I TO plimsoll_app, plimsoll_worker', name);
    END LOOP;
END
$$;
GRANT INSERT (tenant_id, closed_through, reason, request_id, user_id, created_by, correlation_id) ON ledger_closings TO plimsoll_app, plimsoll_worker;
GRANT INSERT (tenant_id, chart, version) ON ledger_charts TO plimsoll_app, plimsoll_worker;
GRANT SELECT ON ledger_lines, platform_ledger, reward_ledger TO plimsoll_app, plimsoll_worker;
