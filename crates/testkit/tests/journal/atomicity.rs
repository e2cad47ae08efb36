//! A fold's effects, its undo stack and its cursor move together or not at all.

use plimsoll_journal::{FoldError, step};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::options;
use crate::support::hand::{CHAIN_ID, Desk, Probe, branch, genesis};

/// Where a step is made to fail: at a write of this table, at once or when it commits.
const BREACHES: [(&str, &str); 6] = [
    ("probe", "BEFORE INSERT OR DELETE"),
    ("probe", "AFTER INSERT OR DELETE"),
    ("fold_undo", "BEFORE INSERT OR DELETE"),
    ("fold_undo", "AFTER INSERT OR DELETE"),
    ("fold_cursors", "BEFORE UPDATE"),
    ("fold_cursors", "AFTER UPDATE"),
];

async fn breach(owner: &mut PgConnection, table: &str, when: &str) {
    // A constraint trigger that is deferred fires in the COMMIT.
    let trigger = if when.starts_with("AFTER") {
        format!(
            "CREATE CONSTRAINT TRIGGER breach {when} ON {table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION breach()"
        )
    } else {
        format!("CREATE TRIGGER breach {when} ON {table} FOR EACH ROW EXECUTE FUNCTION breach()")
    };
    sqlx::raw_sql(AssertSqlSafe(trigger)).execute(owner).await.unwrap();
}

async fn mend(owner: &mut PgConnection, table: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TRIGGER breach ON {table}"))).execute(owner).await.unwrap();
}

/// All that the fold has in the database.
async fn state(desk: &Desk) -> (Vec<String>, Vec<String>, String) {
    (desk.probe("fold").await, desk.undo_stack("fold").await, desk.cursor("fold").await)
}

#[tokio::test]
async fn wherever_a_step_fails_nothing_of_it_is_there_and_the_next_one_does_all_of_it() {
    let mut desk = Desk::new().await;
    let mut owner = desk.owner().await;
    let function = "CREATE FUNCTION breach() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$";
    sqlx::raw_sql(function).execute(&mut owner).await.unwrap();
    let mut probe = Probe::new("fold");
    let (a, b) = (branch('a', &genesis(), &[1, 1]), branch('b', &genesis(), &[2]));
    // Records to apply, then records to take back and to apply.
    for blocks in [&a, &b] {
        desk.put(&genesis(), blocks, None, None).await.unwrap();
        loop {
            let before = state(&desk).await;
            for (table, when) in BREACHES {
                breach(&mut owner, table, when).await;
                let failed = step(&mut probe, &desk.db, CHAIN_ID, options(1_000)).await;
                mend(&mut owner, table).await;
                let told = format!("{table} {when}: {failed:?}");
                match failed {
                    Err(FoldError::Database(error)) => {
                        assert!(error.to_string().contains("refused by the test"), "{told}");
                    }
                    // There was nothing to do, so nothing to fail.
                    Ok(step) => assert_eq!(step.records, 0, "{told}"),
                    Err(_) => panic!("{told}"),
                }
                assert_eq!(state(&desk).await, before, "{told}");
            }
            if step(&mut probe, &desk.db, CHAIN_ID, options(1_000)).await.unwrap().records == 0 {
                break;
            }
            let after = state(&desk).await;
            assert!(after.0 != before.0 && after.1 != before.1 && after.2 != before.2);
        }
        assert_eq!(desk.cursor("fold").await.split(' ').next().unwrap(), desk.writer.end().to_string());
    }
}
