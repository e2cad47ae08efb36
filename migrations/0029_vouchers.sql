-- Vouchers as spec 5 §4.4.2 has them: an amount that goes from one account to another. A posting of two lines is one; a posting of several currencies is one in each of which it has two lines. Postings that are
-- divided among more accounts are in ledger_lines.

CREATE VIEW vouchers WITH (security_invoker = true) AS
    SELECT p.tenant_id, p.posting_id AS entry_id, p.internal_tx_id, p.trace_id, d.account_id AS debit_account_id, c.account_id AS credit_account_id, d.debit AS amount, d.currency,
           d.entry_type, p.user_id, p.request_id, p.operation_type, p.domain, p.effective_at, p.recorded_at AS created_at
    FROM ledger_postings p
    JOIN ledger_entries d ON d.posting_id = p.posting_id AND d.debit > 0
    JOIN ledger_entries c ON c.posting_id = p.posting_id AND c.credit > 0 AND c.currency = d.currency
    WHERE p.line_count = 2
       OR NOT EXISTS (SELECT FROM ledger_entries o WHERE o.posting_id = p.posting_id AND o.currency = d.currency AND o.sequence NOT IN (d.sequence, c.sequence));

GRANT SELECT ON vouchers TO plimsoll_app, plimsoll_worker;
