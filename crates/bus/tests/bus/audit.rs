use plimsoll_bus::audit::{self, AUDIT_LOG, AuditReport, Entry, Filter, VerifyError, record, verify};
use plimsoll_store::{drop_expired, set_retention};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::*;

/// As the cluster's superuser, whom no policy binds.
async fn tamper(db: &Db, sql: &str) {
    let mut conn = db.urls().owner.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

async fn with_entries(count: usize) -> House {
    fill(House::new(&AUDIT_LOG).await, count).await
}

async fn fill(mut house: House, count: usize) -> House {
    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    for number in 0..count {
        let before = json!({ "status": "active", "limit": 1.5, "large": u64::MAX, "small": 5e-324, "whole": 1e16, "zero": -0.0 });
        let after = json!({ "text": "a\u{e9}\"\\\n\u{1}\u{1f600}", "list": [1, [], {}, null], "third": 1.0 / 3.0, "number": number });
        let entry = Entry::new("user.suspend", "user", number.to_string())
            .with_change((number % 2 == 0).then_some(before), Some(after))
            .with_reason("ticket 42")
            .in_context(of(ONE));
        record(&mut tx, entry).await.unwrap();
    }
    tx.commit().await.unwrap();
    house.number_all().await;
    house
}

fn broken(report: &AuditReport) -> (i64, &str) {
    let broken = report.broken.as_ref().unwrap_or_else(|| panic!("nothing is broken: {report}"));
    assert_eq!(report.rows, broken.sequence - report.from, "{report}");
    (broken.sequence, &broken.what)
}

#[tokio::test]
async fn an_untouched_log_holds_whatever_was_recorded() {
    let house = with_entries(0).await;
    let report = verify(&house.db, None, None).await.unwrap();
    assert_eq!((report.rows, report.head_hash, report.broken), (0, None, None));
    let house = with_entries(50).await;
    let report = verify(&house.db, None, None).await.unwrap();
    assert_eq!((report.from, report.to, report.rows, &report.broken), (1, 50, 50, &None));
    let part = verify(&house.db, Some(20), Some(30)).await.unwrap();
    assert_eq!((part.rows, part.broken), (11, None));
    assert_eq!(verify(&house.db, Some(20), None).await.unwrap().head_hash, report.head_hash);
    for (from, to) in [(Some(0), None), (None, Some(51)), (Some(30), Some(20))] {
        let error = verify(&house.db, from, to).await.unwrap_err();
        assert!(matches!(error, VerifyError::Range { .. }), "{error}");
        assert!(error.to_string().contains("has the rows 1 to 50, and "), "{error}");
    }
}

#[tokio::test]
async fn whatever_is_touched_is_found_at_its_row() {
    let house = with_entries(9).await;
    // Each with what takes it back, so that the next is found on its own.
    for (touch, undo, row, word) in [
        (
            "UPDATE plimsoll.audit_log SET reason = 'none' WHERE sequence = 4",
            "UPDATE plimsoll.audit_log SET reason = 'ticket 42' WHERE sequence = 4",
            4,
            "not what its digest",
        ),
        (
            "UPDATE plimsoll.audit_log SET after = after || '{\"number\": 99}' WHERE sequence = 5",
            "UPDATE plimsoll.audit_log SET after = after || '{\"number\": 4}' WHERE sequence = 5",
            5,
            "not what its digest",
        ),
        (
            "CREATE TABLE public.kept AS SELECT * FROM plimsoll.audit_log WHERE sequence = 6; DELETE FROM plimsoll.audit_log WHERE sequence = 6",
            "INSERT INTO plimsoll.audit_log SELECT * FROM public.kept; DROP TABLE public.kept",
            6,
            "missing",
        ),
        (
            "UPDATE plimsoll.audit_log SET sequence = sequence + 100 WHERE sequence = 1",
            "UPDATE plimsoll.audit_log SET sequence = 1 WHERE sequence = 101",
            1,
            "missing",
        ),
        (
            "CREATE TABLE public.kept AS SELECT * FROM plimsoll.audit_log WHERE sequence = 9; DELETE FROM plimsoll.audit_log WHERE sequence = 9",
            "INSERT INTO plimsoll.audit_log SELECT * FROM public.kept; DROP TABLE public.kept",
            9,
            "missing",
        ),
        (
            "UPDATE plimsoll.audit_log SET hash = sha256(hash) WHERE sequence = 7; CREATE TABLE public.kept AS SELECT hash FROM plimsoll.audit_log WHERE sequence = 8;",
            "UPDATE plimsoll.audit_log l SET hash = n.prev_hash FROM plimsoll.audit_log n WHERE l.sequence = 7 AND n.sequence = 8; DROP TABLE public.kept",
            7,
            "hash of row 7",
        ),
    ] {
        tamper(&house.db, touch).await;
        let report = verify(&house.db, None, None).await.unwrap();
        let (sequence, what) = broken(&report);
        assert!(sequence == row && what.contains(word), "{touch}: {report}");
        tamper(&house.db, undo).await;
        assert_eq!(verify(&house.db, None, None).await.unwrap().broken, None, "{undo}");
    }
}

#[tokio::test]
async fn a_last_row_that_is_not_the_one_that_the_sequencer_noted_is_found() {
    let house = with_entries(3).await;
    // As after a rewriting of every row, each link right in itself: the noted head knows better.
    tamper(
        &house.db,
        "UPDATE plimsoll.sequences SET head_hash = sha256(head_hash) WHERE stream = 'audit_log'",
    )
    .await;
    let report = verify(&house.db, None, None).await.unwrap();
    assert_eq!(report.broken.as_ref().map(|broken| broken.sequence), Some(3), "{report}");
}

#[tokio::test]
async fn what_retention_left_is_verified_from_the_checkpoint_that_it_put_on_record() {
    let house = House::new(&AUDIT_LOG).await;
    // Small partitions, and numbers that are about to reach the second one.
    tamper(
        &house.db,
        "UPDATE plimsoll.partition_policies SET width = 20000 WHERE parent = 'audit_log';
         UPDATE plimsoll.sequences SET next = 19981 WHERE stream = 'audit_log'",
    )
    .await;
    let house = fill(house, 25).await;
    let whole = verify(&house.db, Some(19_981), None).await.unwrap();
    assert_eq!((whole.to, whole.checkpoint, &whole.broken), (20_005, None, &None));
    let owner = &house.db.urls().owner;
    set_retention(owner, "audit_log", 1).await.unwrap();
    assert_eq!(drop_expired(owner).await.unwrap(), [""; 0], "nothing is that old");
    // The entries' own time is covered by their digests; how long they are to be kept is not.
    tamper(
        &house.db,
        "UPDATE plimsoll.partition_policies SET retention = interval '-1 hour' WHERE parent = 'audit_log'",
    )
    .await;
    assert_eq!(drop_expired(owner).await.unwrap(), ["audit_log_0"]);
    let left = verify(&house.db, None, None).await.unwrap();
    assert_eq!((left.from, left.rows, left.checkpoint, &left.broken), (20_000, 6, Some(19_999), &None));
    assert_eq!(left.head_hash, whole.head_hash);
    tamper(&house.db, "UPDATE plimsoll.stream_checkpoints SET hash = sha256(hash) WHERE sequence = 19999")
        .await;
    let relinked = verify(&house.db, None, None).await.unwrap();
    assert_eq!(broken(&relinked), (20_000, "row 20000 does not link to the row before it"));
    tamper(&house.db, "DELETE FROM plimsoll.stream_checkpoints").await;
    let (row, what) = (20_000, "the rows before it are gone, and no checkpoint of retention tells of it");
    assert_eq!(broken(&verify(&house.db, None, None).await.unwrap()), (row, what));
    let error = sqlx::raw_sql("DELETE FROM stream_checkpoints").execute(house.db.worker()).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    let unknown = set_retention(owner, "tenants", 1).await.unwrap_err().to_string();
    assert!(unknown.contains("no row in `partition_policies`"), "{unknown}");
}

#[tokio::test]
async fn a_tenant_reads_its_own_entries_and_nobody_changes_any() {
    let house = with_entries(2).await;
    let visible = async |tenants: &[Uuid]| {
        let mut tx = house.db.tenant_tx(tenants).await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM audit_log").fetch_one(&mut *tx).await.unwrap()
    };
    assert_eq!((visible(&[ONE]).await, visible(&[TWO]).await, visible(&[]).await), (2, 0, 0));
    for pool in [house.db.app(), house.db.worker()] {
        for sql in [
            "UPDATE audit_log SET reason = ''",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
            "UPDATE events SET payload = 'null'",
        ] {
            let error = sqlx::raw_sql(sql).execute(pool).await.unwrap_err().to_string();
            assert!(error.contains("permission denied"), "{sql}: {error}");
        }
    }
}

#[tokio::test]
async fn a_watch_follows_the_log_a_few_rows_at_a_time_and_finds_what_does_not_follow() {
    let house = with_entries(5).await;
    let mut watch = audit::Watch::new(house.db.clone()).with_look_rows(2);
    for _ in 0..4 {
        assert_eq!(watch.look().await.unwrap(), None);
    }
    let house = fill(house, 5).await;
    // What comes next must link to what was seen.
    tamper(&house.db, "UPDATE plimsoll.audit_log SET prev_hash = sha256(prev_hash) WHERE sequence = 6").await;
    let broken = watch.look().await.unwrap().unwrap();
    assert_eq!((broken.sequence, &*broken.what), (6, "row 6 does not link to the row before it"));
    tamper(&house.db, "UPDATE plimsoll.audit_log n SET prev_hash = p.hash FROM plimsoll.audit_log p WHERE n.sequence = 6 AND p.sequence = 5").await;
    // After a break it begins anew, and comes to the end.
    for _ in 0..6 {
        assert_eq!(watch.look().await.unwrap(), None);
    }
    tamper(
        &house.db,
        "UPDATE plimsoll.sequences SET head_hash = sha256(head_hash) WHERE stream = 'audit_log'",
    )
    .await;
    assert_eq!(watch.look().await.unwrap().unwrap().sequence, 10);
}

/// Three entries of each of two tenants in turn, numbered, and one more that waits.
async fn with_two_tenants() -> House {
    let mut house = House::new(&AUDIT_LOG).await;
    let mut tx = house.db.tenant_tx(&[ONE, TWO]).await.unwrap();
    for number in 0..6_u128 {
        let tenant = if number % 2 == 0 { ONE } else { TWO };
        let action = if number < 4 { "user.suspend" } else { "users.import" };
        // A number that a float would round.
        let after = serde_json::from_str(&format!("{{\"balance\": {}}}", u64::MAX)).unwrap();
        let entry = Entry::new(action, "user", number.to_string()).with_change(None, Some(after));
        let context = Context::new(Uuid::from_u128(1_000 + number / 2), format!("cli:{}", number % 3));
        record(&mut tx, entry.in_context(context.on_behalf_of(tenant, Some(USER)))).await.unwrap();
    }
    tx.commit().await.unwrap();
    house.number_all().await;
    let mut tx = house.db.tenant_tx(&[ONE]).await.unwrap();
    let late = Entry::new("user.activate", "user", "late");
    let context = Context::new(Uuid::from_u128(1_000), "cli:0").on_behalf_of(ONE, Some(USER));
    record(&mut tx, late.in_context(context)).await.unwrap();
    tx.commit().await.unwrap();
    house
}

#[tokio::test]
async fn a_request_is_found_with_what_waits_and_another_tenants_part_is_not_seen() {
    let house = with_two_tenants().await;
    let request = Uuid::from_u128(1_000);
    let mut worker = house.db.begin_worker().await.unwrap();
    let all = audit::by_request(&mut worker, None, request).await.unwrap();
    let numbers: Vec<_> = all.iter().map(|entry| (entry.sequence, &*entry.target_id)).collect();
    assert_eq!(numbers, [(Some(1), "0"), (Some(2), "1"), (None, "late")]);
    assert_eq!(all[0].after.as_ref().unwrap().get(), format!("{{\"balance\": {}}}", u64::MAX));
    assert_eq!(all[1].prev_hash, all[0].hash);
    assert!(all[2].hash.is_none() && all[2].digest.len() == 64);
    assert_eq!(audit::waiting(&mut worker).await.unwrap(), 1);
    let narrowed = audit::by_request(&mut worker, Some(TWO), request).await.unwrap();
    assert_eq!(narrowed.len(), 1);
    let mut confined = house.db.tenant_tx(&[TWO]).await.unwrap();
    let own = audit::by_request(&mut confined, None, request).await.unwrap();
    assert_eq!(own.iter().map(|entry| entry.tenant_id).collect::<Vec<_>>(), [Some(TWO)]);
    assert!(audit::by_request(&mut confined, Some(ONE), request).await.unwrap().is_empty());
}

#[tokio::test]
async fn pages_in_either_direction_hold_what_passes_the_filter_and_end() {
    let house = with_two_tenants().await;
    let mut conn = house.db.begin_worker().await.unwrap();
    let first = audit::page(&mut conn, &Filter::default(), 0, 1).await.unwrap().entries.remove(0);
    let at = |sequence: i64| Filter { from: Some(sequence), to: Some(sequence), ..Filter::default() };
    let last_time = audit::page(&mut conn, &at(6), 0, 1).await.unwrap().entries.remove(0).recorded_at;
    for (filter, numbers) in [
        (Filter::default(), vec![1, 2, 3, 4, 5, 6]),
        (Filter { tenant_id: Some(TWO), ..Filter::default() }, vec![2, 4, 6]),
        (Filter { tenant_id: Some(Uuid::from_u128(9)), ..Filter::default() }, vec![]),
        (Filter { user_id: Some(USER), to: Some(2), ..Filter::default() }, vec![1, 2]),
        (Filter { actor: Some("cli:1".into()), ..Filter::default() }, vec![2, 5]),
        (Filter { action: Some("user.suspend".into()), ..Filter::default() }, vec![1, 2, 3, 4]),
        (Filter { action: Some("user.".into()), ..Filter::default() }, vec![1, 2, 3, 4]),
        (Filter { action: Some("user".into()), ..Filter::default() }, vec![]),
        (
            Filter { target_type: Some("user".into()), target_id: Some("4".into()), ..Filter::default() },
            vec![5],
        ),
        (Filter { target_type: Some("key".into()), ..Filter::default() }, vec![]),
        (Filter { from: Some(3), to: Some(4), ..Filter::default() }, vec![3, 4]),
        (Filter { from: Some(7), ..Filter::default() }, vec![]),
        (Filter { since: Some(last_time), ..Filter::default() }, vec![6]),
        (Filter { until: Some(first.recorded_at), ..Filter::default() }, vec![]),
    ] {
        for limit in [1, 2, 1_000] {
            let (mut forward, mut next) = (vec![], Some(0));
            while let Some(after) = next {
                let page = audit::page(&mut conn, &filter, after, limit).await.unwrap();
                forward.extend(page.entries.iter().filter_map(|entry| entry.sequence));
                next = page.next;
                assert!(next.is_none_or(|next| next > after), "{filter:?}");
            }
            let (mut back, mut before, mut is_end) = (vec![], None, false);
            while !is_end {
                let page = audit::page_back(&mut conn, &filter, before, limit).await.unwrap();
                back.extend(page.entries.iter().filter_map(|entry| entry.sequence));
                (before, is_end) = (page.next, page.next.is_none());
            }
            back.reverse();
            assert_eq!((&forward, &back), (&numbers, &numbers), "{filter:?}, {limit} a page");
        }
    }
}

#[tokio::test]
async fn a_rare_entry_far_away_costs_more_pages_and_is_found() {
    let house = with_two_tenants().await;
    let far = 2 * audit::SCAN_ROWS + 10;
    // As if all between had been others.
    tamper(
        &house.db,
        &format!(
            "INSERT INTO plimsoll.audit_log SELECT {far}, tenant_id, request_id, user_id, actor, action, target_type, target_id, before, after,
                    tx_id, reason, correlation_id, recorded_at, digest, prev_hash, hash FROM plimsoll.audit_log WHERE sequence = 1"
        ),
    )
    .await;
    let mut conn = house.db.begin_worker().await.unwrap();
    let filter = Filter { target_id: Some("0".into()), ..Filter::default() };
    let (mut pages, mut next) = (vec![], Some(0));
    while let Some(after) = next {
        let page = audit::page(&mut conn, &filter, after, 10).await.unwrap();
        pages.push(page.entries.iter().filter_map(|entry| entry.sequence).collect::<Vec<_>>());
        next = page.next;
    }
    assert_eq!(pages, [vec![1], vec![], vec![far]]);
    let (mut pages, mut before) = (vec![], None);
    loop {
        let page = audit::page_back(&mut conn, &filter, before, 10).await.unwrap();
        pages.push(page.entries.iter().filter_map(|entry| entry.sequence).collect::<Vec<_>>());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![far], vec![], vec![1]]);
}
