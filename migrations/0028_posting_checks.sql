-- What a posting costs: its event is staged where the posting is, and its lines are checked by running sums.

-- Each posting is an event on the bus, named after it, in the statement that writes it, whoever does: so there is one exactly if there is the posting. `event_ids` has no such name yet, since it is
-- new; who took it all the same makes the statement fail, as who took a key does.
CREATE FUNCTION publish_postings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = plimsoll, pg_temp SET jit = off
AS $$
BEGIN
    INSERT INTO event_ids (event_id, tenant_id) SELECT p.posting_id::text, p.tenant_id FROM given p;
    INSERT INTO events_staging (event_id, tenant_id, source, event_type, timestamp, actor_id, target_id, target_type, payload, request_id, user_id, correlation_id, causation_id)
    SELECT p.posting_id::text, p.tenant_id, '/plimsoll/ledger', CASE WHEN p.reverses IS NULL THEN 'ledger.posting.posted' ELSE 'ledger.posting.reversed' END, p.recorded_at,
           p.created_by, p.posting_id::text, 'posting',
           jsonb_build_object('operation_type', p.operation_type, 'domain', p.domain, 'checksum', '0x' || encode(p.checksum, 'hex'), 'lines', p.line_count,
                              'chain_id', p.chain_id, 'chain_tx_hash', '0x' || encode(p.chain_tx_hash, 'hex'), 'chain_block_number', p.chain_block_number,
                              'reverses', p.reverses, 'compensates', p.compensates),
           p.request_id, p.user_id, p.correlation_id, p.causation_id
    FROM given p;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION publish_postings() FROM PUBLIC;
CREATE TRIGGER publish_postings AFTER INSERT ON ledger_postings REFERENCING NEW TABLE AS given FOR EACH STATEMENT EXECUTE FUNCTION publish_postings();

-- Lines, as before: whole postings that balance in each currency, on accounts of the tenant and the currency, each following on its account's version and balance; which are then moved.
-- Each line is held against its account and the sum of all up to it, which costs less than to fetch the line before.
CREATE OR REPLACE FUNCTION check_entries() RETURNS trigger
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
    FROM (SELECT account_id, tenant_id, currency, account_version, balance_after, latest_effective_at, recorded_at, latest_block, row_number() OVER w AS place,
                 sum(debit - credit) OVER w AS change, max(effective_at) OVER w AS latest, max(recorded_at) OVER w AS recorded, max(chain_block_number) OVER w AS block
          FROM given WINDOW w AS (PARTITION BY account_id ORDER BY account_version ROWS UNBOUNDED PRECEDING)) e
    LEFT JOIN asset_balances b USING (account_id)
    WHERE b.account_id IS NULL OR b.tenant_id <> e.tenant_id OR b.token_address <> e.currency
       OR e.account_version <> b.version + e.place
       OR e.balance_after <> b.raw_balance + e.change
       OR e.latest_effective_at <> GREATEST(b.latest_effective_at, e.latest)
       OR e.recorded_at < b.last_recorded_at OR e.recorded_at < e.recorded
       OR e.latest_block IS DISTINCT FROM GREATEST(b.last_updated_block, e.block)
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
