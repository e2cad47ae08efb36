//! Requests, as the app's role puts them. Keys are compared with the tenant by IS NOT DISTINCT FROM, which no index serves, so that the index that begins with the request is the only one.

use plimsoll_types::{Amount, AttemptPurpose, RevertSource, TransactionState, address_text};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{keys, read, to_i64};
use crate::request::Request;

/// A request that is there.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: usize,
    pub(crate) id: Uuid,
    /// None: what a user signed, which is another request, whatever it does.
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) state: TransactionState,
}

/// Inserts the requests whose natural key is new, in this table and in that of what users signed; what is there of those.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    node: &str,
    requests: &[(Uuid, &Request)],
) -> Result<Vec<read::Row>, sqlx::Error> {
    fn column<'a, T>(requests: &[(Uuid, &'a Request)], of: impl Fn(&'a Request) -> T) -> Vec<T> {
        requests.iter().map(|(_, request)| of(request)).collect()
    }
    keys::share(conn, requests.iter().map(|(_, request)| request.context.request_id)).await?;
    let ids: Vec<_> = requests.iter().map(|(id, _)| *id).collect();
    told!(
        r#"INSERT INTO managed_transactions AS t (id, tenant_id, request_id, operation_type, fingerprint, user_id, created_by, correlation_id, causation_id,
                                            chain_id, signer, to_address, value_wei, data, gas_limit, max_fee_limit, priority, valid_until, valid_until_block,
                                            as_of_block_hash, simulate, accepted_by)
           SELECT id, tenant_id, request_id, operation_type, fingerprint, user_id, created_by, correlation_id, causation_id, chain_id, signer, to_address,
                  value_wei, data, gas_limit, max_fee_limit, priority, valid_until, valid_until_block, as_of_block_hash, simulate, $1
           FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bytea[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::bigint[], $12::text[],
                       $13::text[], $14::numeric[], $15::bytea[], $16::bigint[], $17::numeric[], $18::smallint[], $19::timestamptz[], $20::bigint[], $21::bytea[], $22::boolean[])
                AS given(id, tenant_id, request_id, operation_type, fingerprint, user_id, created_by, correlation_id, causation_id, chain_id, signer, to_address,
                         value_wei, data, gas_limit, max_fee_limit, priority, valid_until, valid_until_block, as_of_block_hash, simulate)
           WHERE (SELECT true FROM user_transactions u
                  WHERE u.tenant_id IS NOT DISTINCT FROM given.tenant_id AND u.request_id = given.request_id AND u.operation_type = given.operation_type LIMIT 1) IS NULL
           ORDER BY tenant_id, request_id, operation_type COLLATE "C", id
           ON CONFLICT (tenant_id, request_id, operation_type) DO NOTHING RETURNING "#,
        "",
        node,
        &ids,
        &column(requests, |request| request.context.tenant_id) as &[Option<Uuid>],
        &column(requests, |request| request.context.request_id),
        &column(requests, |request| request.operation_type.clone()),
        &column(requests, |request| request.fingerprint().to_vec()),
        &column(requests, |request| request.context.user_id) as &[Option<Uuid>],
        &column(requests, |request| request.context.actor.clone()),
        &column(requests, |request| request.context.correlation_id.clone()),
        &column(requests, |request| request.context.causation_id.clone()) as &[Option<String>],
        &column(requests, |request| to_i64(request.signer.chain_id)),
        &column(requests, |request| address_text(&request.signer.address)),
        &column(requests, |request| request.call.to.as_ref().map(address_text)) as &[Option<String>],
        &column(requests, |request| Amount::from(request.call.value)) as &[Amount],
        &column(requests, |request| request.call.data.to_vec()),
        &column(requests, |request| request.gas_limit.map(to_i64)) as &[Option<i64>],
        &column(requests, |request| request.max_fee_limit.map(Amount::from)) as &[Option<Amount>],
        &column(requests, |request| request.priority),
        &column(requests, |request| request.validity.until) as &[Option<time::OffsetDateTime>],
        &column(requests, |request| request.validity.until_block.map(to_i64)) as &[Option<i64>],
        &column(requests, |request| request.validity.as_of_block_hash.map(|hash| hash.to_vec())) as &[Option<Vec<u8>>],
        &column(requests, |request| request.simulate) as &[Option<bool>],
    )
    .fetch_all(conn)
    .await
}

/// What is there under the natural keys of these requests: of ours, or a user's.
pub(crate) async fn find(conn: &mut PgConnection, requests: &[&Request]) -> Result<Vec<Row>, sqlx::Error> {
    let tenants: Vec<_> = requests.iter().map(|request| request.context.tenant_id).collect();
    let ids: Vec<_> = requests.iter().map(|request| request.context.request_id).collect();
    let operations: Vec<_> = requests.iter().map(|request| request.operation_type.clone()).collect();
    let rows = sqlx::query!(
        r#"SELECT given.place AS "place!", t.id AS "id!", t.fingerprint AS "fingerprint?", t.state AS "state!: TransactionState"
           FROM unnest($1::uuid[], $2::uuid[], $3::text[]) WITH ORDINALITY AS given(tenant_id, request_id, operation_type, place)
           CROSS JOIN LATERAL (
               SELECT m.id, m.fingerprint, m.state FROM managed_transactions m
               WHERE m.tenant_id IS NOT DISTINCT FROM given.tenant_id AND m.request_id = given.request_id AND m.operation_type = given.operation_type
               UNION ALL
               SELECT u.id, NULL, u.state FROM user_transactions u
               WHERE u.tenant_id IS NOT DISTINCT FROM given.tenant_id AND u.request_id = given.request_id AND u.operation_type = given.operation_type LIMIT 1) AS t"#,
        &tenants as &[Option<Uuid>],
        &ids,
        &operations,
    )
    .fetch_all(conn)
    .await?;
    let place = |n: i64| usize::try_from(n - 1).map_err(|_| super::unreadable("an ordinality below 1"));
    rows.into_iter()
        .map(|row| {
            Ok(Row { place: place(row.place)?, id: row.id, fingerprint: row.fingerprint, state: row.state })
        })
        .collect()
}

/// Asks for a transaction's end; whether it could still be asked for. The worker, or the chain, decides what comes of it.
pub(crate) async fn call_off(conn: &mut PgConnection, id: Uuid, why: &str) -> Result<bool, sqlx::Error> {
    let result = sqlx::query!(
        "UPDATE managed_transactions SET end_wanted = 'cancelled', end_why = $2, updated_at = clock_timestamp()
         WHERE id = $1 AND state IN ('pending', 'tracking', 'mined') AND end_wanted IS NULL",
        id,
        why,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() == 1)
}
