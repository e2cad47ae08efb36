//! Every leaf that there is: what it is for, as its help says, and what it does to the database.

use crate::common::Place;
use crate::house::{House, REASON, REQUEST};

/// The words that lead to every leaf below `admin`, with the leaf's help page, as the program itself tells them.
fn leaves(place: &Place) -> Vec<(Vec<String>, String)> {
    let (mut leaves, mut open) = (vec![], vec![vec!["admin".to_owned()]]);
    while let Some(path) = open.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = place.run(&words);
        assert_eq!(help.code, 0, "{help:#?}");
        let names = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names =
            names.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
        let below: Vec<&str> = names.filter(|name| *name != "help").collect();
        if below.is_empty() {
            leaves.push((path, help.out));
        } else {
            open.extend(below.into_iter().map(|name| [&path[..], &[name.to_owned()]].concat()));
        }
    }
    leaves.sort();
    leaves
}

#[tokio::test(flavor = "multi_thread")]
async fn every_leaf_that_reads_changes_nothing_and_every_other_leaves_one_audit_entry() {
    let place = Place::new();
    let (mut reads, mut writes) = (0, 0);
    for (path, help) in leaves(&place) {
        let house = House::new().await;
        let leaf = path[1..].join(" ");
        let sample = house.sample(&leaf).unwrap_or_else(|| panic!("`{leaf}` has no sample: give it one"));
        let words: Vec<&str> = path.iter().chain(&sample).map(String::as_str).collect();
        let before = house.state().await;
        let is_write = help.contains("--dry-run");
        if !is_write {
            let ended = house.place.run(&words);
            assert_eq!(ended.code, 0, "{leaf}: {ended:#?}");
            assert_eq!(
                house.changed(&before).await,
                Vec::<String>::new(),
                "`{leaf}` has no --dry-run, so it only reads"
            );
            reads += 1;
            house.close().await;
            continue;
        }
        let reason = ["--reason", REASON, "--request-id", REQUEST];
        let yes: &[&str] = if help.contains("--yes") { &["--yes"] } else { &[] };
        let words = [&words[..], &reason, yes].concat();
        let dry = house.place.run(&[&words[..], &["--dry-run"]].concat());
        assert_eq!(dry.code, 0, "{leaf}: {dry:#?}");
        assert!(dry.out.starts_with("would ") && dry.out.contains("nothing was changed"), "{leaf}: {dry:#?}");
        assert!(
            !dry.out.contains("plk_") && !dry.out.contains("plb_"),
            "a secret that is rolled back: {dry:#?}"
        );
        assert_eq!(house.changed(&before).await, Vec::<String>::new(), "{leaf}, dry");

        let ended = house.place.run(&words);
        assert_eq!(ended.code, 0, "{leaf}: {ended:#?}");
        assert!(
            ended.out.starts_with("done: ") && ended.out.contains(&format!("request {REQUEST}")),
            "{leaf}: {ended:#?}"
        );
        let changed = house.changed(&before).await;
        assert!(changed.len() > 1 && changed.contains(&"audit_staging".to_owned()), "{leaf}: {changed:?}");
        let entries = house.entries().await;
        let [entry] = &entries[..] else { panic!("{leaf} left {} audit entries, not one", entries.len()) };
        assert!(entry.actor.starts_with("cli:") && entry.actor != "cli:", "{leaf}: {entry:?}");
        assert_eq!(
            (&*entry.request_id.to_string(), entry.reason.as_deref()),
            (REQUEST, Some(REASON)),
            "{leaf}"
        );
        assert_eq!(
            entry.tenant_id.is_none(),
            leaf.contains("idempotency") && house.is_platform(&sample),
            "{leaf}"
        );
        let secret = ended.out.split_whitespace().find(|word| word.contains("plk_") || word.contains("plb_"));
        if let Some(secret) = secret {
            let secret = secret.rsplit(['_', '=']).next().unwrap();
            assert!(
                secret.len() >= 64 && !house.dump().await.contains(secret),
                "{leaf}: a secret was stored"
            );
        }
        writes += 1;
        house.close().await;
    }
    assert!(reads >= 14 && writes >= 18, "the walk has lost its way: {reads} leaves read, {writes} write");
}

#[test]
fn every_help_page_reads_as_it_was_written() {
    let place = Place::new();
    let mut pages = vec![place.run(&["admin", "--help"]).out];
    pages.extend(
        leaves(&place)
            .into_iter()
            .map(|(path, help)| format!("$ plimsoll {} --help\n{help}", path.join(" "))),
    );
    insta::assert_snapshot!("admin_help", pages.join("\n"));
}
