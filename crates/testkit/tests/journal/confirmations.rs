//! What a fold that waits for confirmations is given.

use plimsoll_journal::{Body, Fold, FoldError, Record, Unconfirmed, Undone, confirmed, step};
use plimsoll_types::JournalKind;
use serde_json::Value;
use sqlx::PgConnection;

use crate::support::hand::{CHAIN_ID, Desk, branch, genesis};
use crate::{last, options, range};

/// A fold that notes what is confirmed, and what is not any more.
struct Waits {
    notes: Vec<String>,
}

impl Fold for Waits {
    fn name(&self) -> &'static str {
        "waits"
    }

    async fn apply(
        &mut self,
        conn: &mut PgConnection,
        _: Option<u64>,
        records: &[Record],
    ) -> Result<Vec<Option<Value>>, FoldError> {
        for (at, record) in records.iter().enumerate() {
            if record.kind == JournalKind::Confirm {
                let certain = confirmed(conn, "waits", CHAIN_ID, record, &records[..at]).await?;
                let content = certain.iter().map(|it| match &it.body {
                    Body::Event(event) => format!("{}.{}", event.block_number, event.log_index),
                    other => format!(
                        "{}.{}",
                        it.block_number,
                        if matches!(other, Body::Transaction(_)) { "tx" } else { "?" }
                    ),
                });
                let content: Vec<_> = content.collect();
                self.notes.push(format!("{} has {}", record.block_number, content.join(" ")));
            }
        }
        Ok(vec![None; records.len()])
    }

    async fn undo(&mut self, _: &mut PgConnection, _: Vec<Undone>) -> Result<(), FoldError> {
        Ok(())
    }

    async fn unconfirm(&mut self, _: &mut PgConnection, blocks: Vec<Unconfirmed>) -> Result<(), FoldError> {
        assert!(blocks.is_sorted_by(|newer, older| newer.confirm_seq > older.confirm_seq));
        self.notes.extend(blocks.iter().map(|it| format!("{} is not confirmed", it.block.number)));
        Ok(())
    }

    async fn skip(&mut self, _: &mut PgConnection, _: &Record, _: &str) -> Result<(), FoldError> {
        Ok(())
    }
}

/// What the fold notes of the whole journal in steps of this size, beginning anew at each step if it is told to.
async fn notes(desk: &Desk, max_records: usize) -> Vec<String> {
    for statement in [
        "DELETE FROM fold_undo WHERE fold = 'waits'",
        "UPDATE fold_cursors SET seq = 0, final_number = -1 WHERE fold = 'waits'",
    ] {
        sqlx::query(statement).execute(&mut desk.owner().await).await.unwrap();
    }
    let mut notes = Vec::new();
    loop {
        // It has no memory from one step to the next.
        let mut fold = Waits { notes: Vec::new() };
        let taken = step(&mut fold, &desk.db, CHAIN_ID, options(max_records)).await.unwrap();
        notes.append(&mut fold.notes);
        if taken.records == 0 {
            return notes;
        }
    }
}

#[tokio::test]
async fn whatever_the_step_each_confirmation_has_its_blocks_records_and_a_deeper_reorganisation_names_what_it_takes_back()
 {
    let mut desk = Desk::new().await;
    let a = branch('a', &genesis(), &[2, 0, 3, 1]);
    desk.put(&genesis(), &a, Some(2), None).await.unwrap();
    let b = branch('b', &a[0].block, &[1, 5, 1]);
    desk.put(&a[0].block, &b, Some(3), None).await.unwrap();
    // Back to the first branch, and on: block 2 of it is confirmed a second time.
    desk.put(&a[0].block, &a[1..], Some(3), None).await.unwrap();
    let expected = [
        "0 has ",
        "1 has 1.0 1.1 1.tx",
        "2 has 2.tx",
        "2 is not confirmed",
        "2 has 2.0 2.tx",
        "3 has 3.0 3.1 3.2 3.3 3.4 3.tx",
        "3 is not confirmed",
        "2 is not confirmed",
        "2 has 2.tx",
        "3 has 3.0 3.1 3.2 3.tx",
    ];
    for max_records in [1, 2, 3, 5, 8, 1_000] {
        assert_eq!(notes(&desk, max_records).await, expected, "in steps of {max_records}");
    }
}

#[tokio::test]
async fn the_confirmation_of_a_backfilled_range_has_all_of_the_range() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[2, 0, 600, 1]);
    desk.writer.finalize(&genesis()).await.unwrap();
    desk.writer.finalize(last(&blocks)).await.unwrap();
    desk.writer.append_range(range(&blocks[..3])).await.unwrap();
    desk.writer.append_range(range(&blocks[3..])).await.unwrap();
    let whole = notes(&desk, 10_000).await;
    assert_eq!(whole.len(), 3, "{whole:?}");
    assert!(
        whole[1].starts_with("3 has 1.0 1.1 1.tx 2.tx 3.0 ") && whole[1].ends_with(" 3.599 3.tx"),
        "{whole:?}"
    );
    assert_eq!(whole[2], "4 has 4.0 4.tx");
    for max_records in [1, 100, 602] {
        assert_eq!(notes(&desk, max_records).await, whole, "in steps of {max_records}");
    }
}
