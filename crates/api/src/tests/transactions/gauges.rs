//! What the metrics tell of signers.

use super::super::Api;

const OF: &str = "signer=\"79/0x9999999999999999999999999999999999999999\",name=\"gauged\"";

#[tokio::test]
async fn each_signers_queue_window_nonces_balance_and_findings_are_told() {
    let api = Api::start().await;
    let tenant_id = api.tenant_named("acme").await;
    let seed = api.seed(79);
    seed.chain(100, 95, 90).await;
    let address = format!("0x{}", "9".repeat(40));
    let worker = api.db.worker();
    for statement in [
        "INSERT INTO signers (chain_id, address, name, next_nonce) SELECT 79, $1, 'gauged', 8 WHERE $2::uuid IS NOT NULL",
        "INSERT INTO signer_progress (chain_id, address, consumed_next) SELECT 79, $1, 7 WHERE $2::uuid IS NOT NULL",
        "INSERT INTO signer_sightings (chain_id, address, latest, pending, balance_wei, needed_wei, answered, endpoints, findings, seen_at)
         SELECT 79, $1, 6, 8, 5000, 3000, 1, 1, '[{\"kind\": \"behind\", \"nonce\": 6, \"until\": 7, \"transaction_id\": null}]', clock_timestamp() WHERE $2::uuid IS NOT NULL",
        "INSERT INTO managed_transactions (id, tenant_id, request_id, operation_type, fingerprint, created_by, correlation_id, chain_id, signer, value_wei, data, accepted_by, state, nonce, created_at)
         SELECT gen_random_uuid(), $2, gen_random_uuid(), 'push', decode(repeat('00', 32), 'hex'), 'me', 'story', 79, $1, 0, '', 'here',
                CASE n WHEN 1 THEN 'tracking' ELSE 'pending' END::transaction_state, CASE n WHEN 1 THEN 7 END, now() - interval '1 hour' * n
         FROM generate_series(1, 3) n",
        "INSERT INTO transaction_attempts (chain_id, signer, nonce, attempt, transaction_id, purpose, tx_hash, raw, gas_limit, max_fee_per_gas, why, fencing_token, signed_by, committed_at)
         SELECT 79, $1, 7, 1, id, 'send', decode(repeat('07', 32), 'hex'), '', 1, 1, '', 1, 'here', now() - interval '10 minutes'
         FROM managed_transactions WHERE nonce = 7 AND tenant_id = $2",
    ] {
        sqlx::query(statement).bind(&address).bind(tenant_id).execute(worker).await.unwrap();
    }
    let told = api.get("/metrics").await.body;
    for line in [
        format!("relayer_queue_requests{{{OF}}} 2"),
        format!("relayer_in_flight_requests{{{OF}}} 1"),
        format!("relayer_next_nonce{{{OF}}} 8"),
        format!("relayer_consumed_nonce{{{OF}}} 7"),
        format!("relayer_chain_nonce{{{OF}}} 6"),
        format!("relayer_pool_nonce{{{OF}}} 8"),
        format!("relayer_balance_wei{{{OF}}} 5000"),
        format!("relayer_needed_wei{{{OF}}} 3000"),
        "relayer_findings{signer=\"79/0x9999999999999999999999999999999999999999\",kind=\"behind\"} 1"
            .to_owned(),
        "relayer_findings{signer=\"79/0x9999999999999999999999999999999999999999\",kind=\"gap\"} 0"
            .to_owned(),
        "relayer_kill_switches{scope=\"everything\"}".to_owned(),
    ] {
        assert!(told.contains(&line), "no `{line}` in:\n{told}");
    }
    let of = |metric: &str| -> f64 {
        let start = format!("{metric}{{{OF}}} ");
        told.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    };
    assert!(of("relayer_queue_oldest_seconds") >= 3.0 * 3_600.0, "the oldest that waits");
    assert!(
        (600.0..3_600.0).contains(&of("relayer_front_age_seconds")),
        "the front, since its first attempt"
    );
    assert!(of("relayer_seen_age_seconds") < 600.0);
}
