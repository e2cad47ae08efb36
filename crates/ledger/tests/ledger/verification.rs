//! What was tampered with is found, and named where it is; and what was not is sound.

use std::sync::Mutex;

use plimsoll_ledger::verify;
use plimsoll_ledger::verify::{Report, Scope};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use uuid::Uuid;

use crate::sealing::{book_many, seal_all, sealer, signer};
use crate::support::Books;

async fn owner(books: &Books) -> PgConnection {
    books.db.urls().owner.connect().await.unwrap()
}

async fn execute(owner: &mut PgConnection, statement: &str) {
    sqlx::query(AssertSqlSafe(statement))
        .execute(owner)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn all() -> Scope {
    Scope { tenants: None, keys: vec![signer().key().clone()] }
}

async fn found(books: &Books) -> Report {
    verify(&books.db, &all(), &|_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_nobody_tampered_with_are_sound_and_counted() {
    let books = Books::new().await;
    let other = Books::of_another(&books.db).await;
    let (sealer, lease) = sealer(&books).await;
    // Over the end of a page, with checkpoints in the midst of both.
    for count in [300, 2_000, 1] {
        book_many(&books, count).await;
        seal_all(&sealer, &lease).await;
        sealer.checkpoint(&lease).await.unwrap();
    }
    book_many(&other, 3).await;
    seal_all(&sealer, &lease).await;
    book_many(&books, 7).await;

    let told = Mutex::new(Vec::new());
    let report = verify(&books.db, &all(), &|progress| told.lock().unwrap().push(progress)).await.unwrap();
    assert!(report.is_sound(), "{:#?}", report.tenants);
    let of = |tenant: Uuid| report.tenants.iter().find(|report| report.tenant_id == tenant).unwrap();
    let mine = of(books.tenant_id);
    assert_eq!((mine.entries, mine.unsealed, mine.lines, mine.accounts), (2_301, 7, 4_616, 4));
    assert_eq!((mine.checkpoints, mine.signatures, mine.unchecked_signatures), (3, 3, 0));
    assert_eq!((of(other.tenant_id).entries, of(other.tenant_id).checkpoints), (3, 0));
    let mine: Vec<_> = told.into_inner().unwrap();
    let mine: Vec<_> = mine.iter().filter(|progress| progress.tenant_id == books.tenant_id).collect();
    assert!(mine.is_sorted_by_key(|progress| progress.done));
    assert!(mine.last().is_some_and(|last| (last.done, last.entries) == (2_301, 2_301)));

    // One tenant alone, and without its key.
    let scope = Scope { tenants: Some(vec![books.tenant_id]), keys: Vec::new() };
    let report = verify(&books.db, &scope, &|_| ()).await.unwrap();
    assert!(report.is_sound());
    assert_eq!((report.tenants.len(), report.tenants[0].unchecked_signatures), (1, 3));
}

/// A deed, how it is undone, and what must be said of it.
struct Deed {
    done: String,
    undone: String,
    said: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn each_deed_is_found_and_named() {
    let books = Books::new().await;
    let (sealer, lease) = sealer(&books).await;
    book_many(&books, 300).await;
    seal_all(&sealer, &lease).await;
    sealer.checkpoint(&lease).await.unwrap();
    book_many(&books, 5).await;
    let mut owner = owner(&books).await;
    for table in ["postings", "entries", "leaves", "logs", "tiles", "checkpoints", "staging"] {
        execute(&mut owner, &format!("CREATE TABLE kept_{table} AS SELECT * FROM ledger_{table}")).await;
    }
    execute(&mut owner, "CREATE TABLE kept_balances AS SELECT * FROM asset_balances").await;
    execute(&mut owner, "ALTER TABLE asset_balances DISABLE TRIGGER guard_balances").await;
    // What is put back was an event before.
    execute(&mut owner, "ALTER TABLE ledger_postings DISABLE TRIGGER publish_postings").await;
    let at: Uuid = sqlx::query_scalar("SELECT posting_id FROM ledger_leaves WHERE leaf_index = 7")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let waiting: Uuid =
        sqlx::query_scalar("SELECT postings[1] FROM ledger_staging ORDER BY staging_id LIMIT 1")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    let cash = books.cash[0];
    // A column of one row, changed; what it was is put back.
    let change = |table: &str, kept: &str, column: &str, to: &str, row: String, said: String| Deed {
        done: format!("UPDATE {table} SET {column} = {to} WHERE {row}"),
        undone: format!(
            "UPDATE {table} t SET {column} = k.{column} FROM {kept} k WHERE {row_of}",
            row_of = match kept {
                "kept_postings" => "k.posting_id = t.posting_id",
                "kept_entries" => "k.posting_id = t.posting_id AND k.sequence = t.sequence",
                "kept_leaves" => "k.tenant_id = t.tenant_id AND k.leaf_index = t.leaf_index",
                "kept_tiles" => "k.tenant_id = t.tenant_id AND k.level = t.level AND k.tile = t.tile",
                "kept_checkpoints" => "k.tenant_id = t.tenant_id AND k.tree_size = t.tree_size",
                "kept_balances" => "k.account_id = t.account_id",
                _ => "k.tenant_id = t.tenant_id",
            }
        ),
        said,
    };
    let posting = |column: &str, to: &str, id: Uuid, said: String| {
        change("ledger_postings", "kept_postings", column, to, format!("posting_id = '{id}'"), said)
    };
    let line = |column: &str, to: &str, said: String| {
        let row = format!("posting_id = '{at}' AND sequence = 1");
        change("ledger_entries", "kept_entries", column, to, row, said)
    };
    let index = |column: &str, said: String| {
        change("ledger_leaves", "kept_leaves", column, "sha256('x')", "leaf_index = 7".into(), said)
    };
    let one = |table: &str, column: &str, to: &str, said: &str| {
        change(&format!("ledger_{table}"), &format!("kept_{table}"), column, to, "true".into(), said.into())
    };
    let deeds = [
        line("entry_type", "'OTHER'", format!("posting {at} at index 7: line 1 has the checksum")),
        line("balance_after", "balance_after + 1", format!("posting {at} at index 7: line 1 leaves account")),
        line("account_version", "9999", format!("posting {at} at index 7: line 1 is version 9999 of account")),
        line("effective_at", "effective_at - interval '1 s'", format!("posting {at} at index 7: line 1 has another tenant, time")),
        posting("created_by", "'another'", at, format!("posting {at} at index 7: its entry has the hash")),
        posting("digest", "sha256('x')", at, format!("posting {at} at index 7: its stored digest")),
        posting("line_count", "3", at, format!("posting {at} at index 7: it says that it has 3 lines")),
        posting("created_by", "'another'", waiting, format!("posting {waiting}: its entry has the hash")),
        index("prev_entry_hash", format!("posting {at} at index 7: it follows on the entry")),
        index("entry_hash", format!("posting {at} at index 7: its entry has the hash")),
        one("logs", "head_hash", "sha256('x')", "the log is kept with the last entry's hash"),
        one("logs", "frontier", "decode(repeat('11', octet_length(frontier)), 'hex')", "the frontier that the log is kept with is not"),
        one("tiles", "root_hash", "sha256('x')", "tile 0 of level 0"),
        one("tiles", "hashes", "decode(repeat('11', 8192), 'hex')", "tile 0 of level 0"),
        one("checkpoints", "root_hash", "sha256('x')", "the checkpoint of size 300 has the root"),
        one("checkpoints", "note", "replace(note, chr(10) || '300' || chr(10), chr(10) || '301' || chr(10))", "the checkpoint of size 300: "),
        change("asset_balances", "kept_balances", "raw_balance", "raw_balance + 1", format!("account_id = '{cash}'"), format!("account {cash}: it is said to hold")),
        change("asset_balances", "kept_balances", "raw_balance", "raw_balance + 1", format!("account_id = '{cash}'"), "the balances in USDC sum to 1".into()),
        Deed {
            done: "DELETE FROM ledger_leaves WHERE leaf_index = 7".into(),
            undone: "INSERT INTO ledger_leaves SELECT * FROM kept_leaves WHERE leaf_index = 7".into(),
            said: "the postings from index 7 to 7 are missing".into(),
        },
        Deed {
            done: "DELETE FROM ledger_leaves WHERE leaf_index >= 290".into(),
            undone: "INSERT INTO ledger_leaves SELECT * FROM kept_leaves WHERE leaf_index >= 290".into(),
            said: "the log is of 300 entries, and those from index 290 on are not there".into(),
        },
        Deed {
            done: "DELETE FROM ledger_tiles".into(),
            undone: "INSERT INTO ledger_tiles SELECT * FROM kept_tiles".into(),
            said: "tile 0 of level 0 is not there".into(),
        },
        Deed {
            done: "INSERT INTO ledger_checkpoints (tenant_id, origin, tree_size, root_hash) SELECT tenant_id, origin, 999, root_hash FROM ledger_checkpoints".into(),
            undone: "DELETE FROM ledger_checkpoints WHERE tree_size = 999".into(),
            said: "there are 2 checkpoints, and 1 of sizes".into(),
        },
        Deed {
            done: format!("DELETE FROM ledger_postings WHERE posting_id = '{at}'"),
            undone: format!("INSERT INTO ledger_postings SELECT * FROM kept_postings WHERE posting_id = '{at}'"),
            said: format!("posting {at}: line 1 is there, and its posting is not"),
        },
        Deed {
            done: "DELETE FROM ledger_staging".into(),
            undone: "INSERT INTO ledger_staging (tenant_id, postings, digests) SELECT tenant_id, postings, digests FROM kept_staging ORDER BY staging_id".into(),
            said: format!("posting {waiting}: it has no entry in the log, and does not wait for one"),
        },
        Deed {
            done: format!("DELETE FROM ledger_entries WHERE posting_id = '{at}' AND sequence = 2"),
            undone: "SELECT".into(),
            said: format!("posting {at} at index 7: it has 1 lines"),
        },
    ];
    let mut otherwise = Vec::new();
    for Deed { done, undone, said } in deeds {
        let report = found(&books).await;
        assert!(report.is_sound(), "before {done}: {:#?}", report.tenants[0].findings);
        execute(&mut owner, &done).await;
        let findings = found(&books).await.tenants.remove(0).findings;
        if !findings.iter().any(|finding| finding.to_string().contains(&said)) {
            let findings: Vec<_> = findings.iter().take(5).map(ToString::to_string).collect();
            otherwise.push((done, said, findings));
        }
        execute(&mut owner, &undone).await;
    }
    assert!(otherwise.is_empty(), "not found, or said otherwise: {otherwise:#?}");
}
