//! What each metric means, for the `# HELP` lines. Names: base units, `_total` for counters; those of spec 1 §10.1 as they are there.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

#[rustfmt::skip]
const METRICS: &[(Kind, &str, Unit, &str)] = &[
    // HTTP.
    (Counter, "http_requests_total", Unit::Count, "Requests, by route, method and status"),
    (Histogram, "http_request_seconds", Unit::Seconds, "Time from a request's head to its answer, by route and method"),
    (Counter, "requests_refused_total", Unit::Count, "Requests that were turned away before anything was done, by limit: address, sign-in, user, tenant, costly, concurrency"),
    (Gauge, "event_streams", Unit::Count, "Streams of events that this process serves, by protocol"),
    (Counter, "event_streams_refused_total", Unit::Count, "Streams that were refused because too many were open"),
    (Counter, "connections_stalled_total", Unit::Count, "Connections that were cut off because the client took nothing of what it was sent"),
    (Counter, "tls_reload_failures_total", Unit::Count, "Certificates or keys that changed and could not be used: the former ones are still served"),
    (Counter, "telemetry_spans_exported_total", Unit::Count, "Spans that the collector took"),
    (Counter, "telemetry_spans_lost_total", Unit::Count, "Spans that no collector has, by reason: full, unreachable, refused"),
    // Idempotency.
    (Counter, "idempotency_hits_total", Unit::Count, "Requests that were answered with the first answer to their key, by route"),
    (Counter, "idempotency_conflicts_total", Unit::Count, "Requests that used a key of another request, by route"),
    (Counter, "idempotency_in_flight_rejections_total", Unit::Count, "Requests whose first one was still being worked on after the wait, by route"),
    (Histogram, "idempotency_entry_seconds", Unit::Seconds, "Time to claim a key, or to wait for its answer, by route"),
    (Gauge, "idempotency_waiting", Unit::Count, "Duplicates that wait in this process for an answer that is being worked out"),
    (Counter, "idempotency_takeovers_total", Unit::Count, "Unfinished requests that another attempt went on with"),
    (Counter, "idempotency_fenced_total", Unit::Count, "Commits that were refused because another attempt had taken over"),
    (Counter, "idempotency_swept_total", Unit::Count, "Keys that were deleted because their time was over"),
    (Counter, "idempotency_invalidations_total", Unit::Count, "Keys that an operator took out"),
    // Chain and journal: read at the scrape, as are the folds' lags, the anomalies and the leases' terms.
    (Gauge, "database_up", Unit::Count, "1 when the database answered this scrape; what is read from it is current only then"),
    (Gauge, "chain_head_number", Unit::Count, "The last block that the journal covers"),
    (Gauge, "chain_confirmed_number", Unit::Count, "The last block at the confirmation depth"),
    (Gauge, "chain_final_number", Unit::Count, "The last final block"),
    (Gauge, "chain_rpc_head_number", Unit::Count, "The node's head when last seen"),
    (Gauge, "chain_rpc_head_age_seconds", Unit::Seconds, "Time since the node's head was last seen"),
    (Gauge, "chain_lag_blocks", Unit::Count, "Blocks between the node's head and the journal's"),
    (Gauge, "chain_halted", Unit::Count, "1 when the chain waits for an operator"),
    (Gauge, "journal_seq", Unit::Count, "The journal's last record"),
    (Counter, "ingest_blocks_total", Unit::Count, "Blocks taken in at the head"),
    (Counter, "ingest_events_total", Unit::Count, "Events taken in"),
    (Histogram, "ingest_commit_seconds", Unit::Seconds, "Time to write and commit one step of ingest"),
    (Gauge, "ingest_backfill_remaining_blocks", Unit::Count, "Blocks that the backfill has still to take in"),
    (Gauge, "ingest_backfill_blocks_per_second", Unit::Count, "How many blocks a second the backfill has lately taken in"),
    (Gauge, "ingest_backfill_remaining_seconds", Unit::Seconds, "How much longer the backfill takes at that pace"),
    (Gauge, "ingest_backfill_request_remaining_blocks", Unit::Count, "Blocks that the backfill an operator asked for has still to look at"),
    (Counter, "ingest_backfill_request_found_total", Unit::Count, "Events and transactions that such backfills have found and appended late"),
    (Counter, "ingest_backfill_requests_ended_total", Unit::Count, "Such backfills that ended by themselves, by state: done, limited, failed"),
    (Gauge, "ingest_uncovered_blocks", Unit::Count, "Blocks of the journal that were never asked about a contract or sender that is followed now"),
    (Counter, "reorgs_total", Unit::Count, "Reorgs that were followed"),
    (Histogram, "reorg_depth_blocks", Unit::Count, "Blocks that a reorg took back"),
    (Counter, "deep_reorg_total", Unit::Count, "Reorgs past finality: the chain halts"),
    // Folds.
    (Gauge, "fold_lag_blocks", Unit::Count, "Blocks of the journal that the fold has not covered"),
    (Gauge, "fold_lag_records", Unit::Count, "Journal records that the fold has not applied"),
    (Gauge, "fold_lag_seconds", Unit::Seconds, "Age of the first record that the fold has not applied; 0 when there is none"),
    (Gauge, "fold_stopped", Unit::Count, "1 when the fold waits for an operator"),
    (Counter, "fold_records_total", Unit::Count, "Journal records that the fold has applied"),
    (Counter, "fold_stops_total", Unit::Count, "Times that the fold met a record it cannot apply"),
    // Views (spec 1 §10.1), and how they compare with the chain.
    (Counter, "cache_update_failed_total", Unit::Count, "CacheUpdateFailed events, by view and asset"),
    (Counter, "positionview_idempotent_ignored_total", Unit::Count, "IdempotentRequestIgnored events: requests played again"),
    (Counter, "apply_rejected_total", Unit::Count, "Events that were refused, by reject code"),
    (Counter, "view_applied_total", Unit::Count, "Events that were folded, by view and status"),
    (Counter, "view_anomalies_total", Unit::Count, "Anomalies that the view fold noted in this process, by kind"),
    (Counter, "mirror_verify_checked_total", Unit::Count, "Mirror rows that were compared with the contract"),
    (Counter, "mirror_verify_mismatch_total", Unit::Count, "Mirror rows that differ from the contract"),
    (Counter, "mirror_verify_unverified_total", Unit::Count, "Mirror rows that the node could not answer for"),
    (Counter, "anomalies_total", Unit::Count, "What should not have happened, by chain, source and kind"),
    // The ledger.
    (Histogram, "ledger_batch_postings", Unit::Count, "Postings that were handed in and shared a transaction"),
    (Counter, "ledger_postings_total", Unit::Count, "Postings that were handed in, by outcome: booked, replayed, refused, conflict, failed"),
    (Counter, "ledger_sealed_postings_total", Unit::Count, "Postings that were taken into their tenant's log"),
    (Histogram, "ledger_seal_lag_seconds", Unit::Seconds, "How long the oldest posting of a batch had waited to be taken into its log"),
    (Gauge, "ledger_logs_halted", Unit::Count, "Tenants' logs that are broken, and in which this process's sealer seals nothing more"),
    (Counter, "books_postings_total", Unit::Count, "Postings that were booked from the chain, by chain and rule"),
    (Counter, "books_reversals_total", Unit::Count, "Postings that a reorganisation deeper than the confirmations took back, by chain"),
    (Counter, "balance_verify_checked_total", Unit::Count, "Balances of the books that were compared with the chain, by chain"),
    (Counter, "balance_verify_mismatch_total", Unit::Count, "Balances of the books that differ from the chain at the same block, by chain"),
    (Counter, "balance_verify_unverified_total", Unit::Count, "Balances of the books that the node could not answer for, by chain"),
    (Counter, "balance_verify_suspense_total", Unit::Count, "Differences that were held in suspense, by chain"),
    // The relayer.
    (Histogram, "relayer_accept_batch_requests", Unit::Count, "Requests that were accepted in one transaction"),
    (Histogram, "relayer_window_batch_requests", Unit::Count, "Requests that got their nonces in one transaction"),
    (Counter, "relayer_transactions_total", Unit::Count, "Changes of a transaction's state that the journal made, by chain and new state"),
    (Counter, "relayer_sends_total", Unit::Count, "Signed transactions that were sent, by endpoint and answer"),
    (Counter, "relayer_user_sends_total", Unit::Count, "Transactions that users signed and that were sent for them, by endpoint and answer"),
    (Counter, "relayer_answers_lost_total", Unit::Count, "Answers of endpoints that could not be kept"),
    (Counter, "relayer_troubles_total", Unit::Count, "Times that a signer's work was begun anew, by signer"),
    (Counter, "relayer_foreign_nonces_total", Unit::Count, "Nonces that the chain has consumed and this database does not know, by signer"),
    (Counter, "relayer_reverts_total", Unit::Count, "Transactions that reverted in a block and whose reason was looked for, by chain and who told it (`nobody`: it is unknown)"),
    (Counter, "relayer_displaced_total", Unit::Count, "Requests whose nonce a transaction that is none of ours consumed, by chain"),
    (Counter, "relayer_revised_total", Unit::Count, "Transactions that were told to be confirmed and are not, by chain"),
    (Histogram, "relayer_accept_seconds", Unit::Seconds, "Time to put a request on record, from when it is handed in; the whole answer over HTTP is `http_request_seconds` of the route"),
    (Histogram, "relayer_reached_seconds", Unit::Seconds, "Time from a request's acceptance to a stage, by chain and stage: committed (it has a nonce), sent (a node has it), included, confirmed"),
    (Counter, "relayer_findings_total", Unit::Count, "Disagreements of database and chain that lasted from one look to the next, by signer and kind"),
    // The relayer's signers, read at the scrape; what the chain says of them, as it was when they were compared last.
    (Gauge, "relayer_queue_requests", Unit::Count, "Requests that wait for a nonce, by signer; counted up to 100,000"),
    (Gauge, "relayer_queue_oldest_seconds", Unit::Seconds, "Age of the oldest of these; 0 when there is none"),
    (Gauge, "relayer_in_flight_requests", Unit::Count, "Requests that have a nonce which no block has consumed"),
    (Gauge, "relayer_window_requests", Unit::Count, "How many of these there may be, as told by whoever works the signer"),
    (Gauge, "relayer_front_age_seconds", Unit::Seconds, "Time since the first attempt of the foremost of these was committed; 0 when there is none"),
    (Gauge, "relayer_next_nonce", Unit::Count, "The first nonce that nothing was signed for"),
    (Gauge, "relayer_consumed_nonce", Unit::Count, "The first nonce that no block has consumed, as the journal says"),
    (Gauge, "relayer_chain_nonce", Unit::Count, "The same, as most endpoints say"),
    (Gauge, "relayer_pool_nonce", Unit::Count, "The same, with what waits in the endpoints' pools"),
    (Gauge, "relayer_balance_wei", Unit::Count, "The signer's balance"),
    (Gauge, "relayer_needed_wei", Unit::Count, "What is under way may cost at most"),
    (Gauge, "relayer_seen_age_seconds", Unit::Seconds, "Time since database and chain were compared"),
    (Gauge, "relayer_findings", Unit::Count, "What did not agree then, by signer and kind"),
    (Gauge, "relayer_kill_switches", Unit::Count, "Switches that hold requests back, by what they are for"),
    (Gauge, "relayer_kill_switch_age_seconds", Unit::Seconds, "How long the oldest of these is thrown"),
    // The cache retry.
    (Counter, "cache_retry_failures_total", Unit::Count, "Failures that contracts told of, each of which is of one job, by chain and view"),
    (Counter, "cache_retry_attempts_total", Unit::Count, "Attempts that were handed in, by chain and view"),
    (Counter, "cache_retry_deadletter_total", Unit::Count, "Jobs whose last attempt failed, by chain"),
    // The bus and its sequencers.
    (Counter, "sequencer_rows_total", Unit::Count, "Rows that were numbered, by stream"),
    (Gauge, "sequencer_lag_rows", Unit::Count, "Rows that wait for their number, by stream; counted up to a million"),
    (Gauge, "sequencer_lag_seconds", Unit::Seconds, "Age of the oldest row that waits for its number; 0 when none does"),
    (Counter, "missing_keys_total", Unit::Count, "Writes that were refused because a key was missing, by table and key"),
    (Gauge, "subscriber_lag_records", Unit::Count, "How far the subscriber of this process that is furthest behind is from the end, by stream, in its numbers"),
    (Counter, "bus_catch_up_pages_total", Unit::Count, "Pages that subscriptions read from the database because memory no longer had them"),
    (Gauge, "outbox_lag_events", Unit::Count, "Events that an outbox reader has yet to take, by stream and reader"),
    (Counter, "audit_rows_verified_total", Unit::Count, "Rows of the audit log that were recomputed"),
    (Gauge, "audit_log_broken", Unit::Count, "1 when a row of the audit log does not hold; told once the log was verified to its end, or to a break"),
    // Who acts.
    (Counter, "sign_ins_total", Unit::Count, "Sign-ins, by method and outcome: `accepted`, `failed`, or the problem"),
    (Counter, "refreshes_total", Unit::Count, "Refresh tokens that came, by outcome; `session-over` many times may be a thief"),
    (Counter, "second_factors_total", Unit::Count, "Second factors that were given, by kind and outcome"),
    // Leases, roles and the database.
    (Gauge, "lease_held", Unit::Count, "1 while this process has the lease"),
    (Gauge, "lease_holder", Unit::Count, "1 for the process that has the lease, 0 for those that had it"),
    (Gauge, "lease_fencing_token", Unit::Count, "The lease's token"),
    (Gauge, "lease_remaining_seconds", Unit::Seconds, "How long the lease still runs; below 0: it has run out"),
    (Counter, "lease_fenced_total", Unit::Count, "Writes that were refused for an old token"),
    (Counter, "lease_renewal_failures_total", Unit::Count, "Renewals that failed"),
    (Counter, "role_restarts_total", Unit::Count, "Roles that failed and were started again"),
    (Gauge, "db_pool_connections", Unit::Count, "Connections of a pool, by state"),
    (Counter, "db_connections_discarded_total", Unit::Count, "Connections closed for a transaction dropped in them"),
    (Counter, "cluster_restarts_total", Unit::Count, "Times that the private Postgres was started again"),
    (Counter, "partitions_dropped_total", Unit::Count, "Partitions that were past their retention"),
];

/// Tells the recorder of this process.
pub(super) fn describe() {
    for (kind, name, unit, meaning) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *unit, *meaning),
            Gauge => describe_gauge!(*name, *unit, *meaning),
            Histogram => describe_histogram!(*name, *unit, *meaning),
        }
    }
}
