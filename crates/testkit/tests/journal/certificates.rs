//! What is on record of how complete a journal is.

use plimsoll_journal::{Content, Evidence, Filter, Tail, Writer};
use plimsoll_proof::BlocksRoot;
use plimsoll_types::Completeness;

use crate::support::hand::{CHAIN_ID, Desk, branch, genesis, id, identity};
use crate::support::laws;
use crate::{last, range};

/// Every range on record: its source, its blocks, its level, whose answers were checked.
async fn ranges(desk: &Desk) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT source || ' ' || from_number || '-' || to_number || ' ' || level || ' ' || array_to_string(endpoints, '+')
         FROM completeness_certificates ORDER BY certificate_id",
    )
    .fetch_all(desk.db.worker())
    .await
    .unwrap()
}

/// The blocks, as `endpoint` showed them at this level.
fn shown(blocks: &[Content], level: Completeness, endpoint: &str) -> Vec<Content> {
    let evidence = Evidence { level, endpoint: endpoint.into() };
    blocks.iter().cloned().map(|content| Content { evidence: evidence.clone(), ..content }).collect()
}

#[tokio::test]
async fn a_range_grows_while_it_is_continued_in_kind() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[1, 0, 2, 1, 0, 1]);
    let first = shown(&blocks[..2], Completeness::Receipts, "one");
    desk.put(&genesis(), &first, None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-2 receipts hand+one"]);

    // Another endpoint in the same kind; then, in one commit, another kind too.
    let mut mixed = shown(&blocks[2..4], Completeness::Receipts, "two");
    mixed.extend(shown(&blocks[4..5], Completeness::Bloom, "two"));
    desk.put(last(&first), &mixed, None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-4 receipts hand+one+two", "head 5-5 bloom two"]);

    // A writer that is opened anew goes on with what it finds.
    desk.writer = desk.opened_again().await;
    let rest = shown(&blocks[5..], Completeness::Bloom, "two");
    desk.put(last(&mixed), &rest, None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-4 receipts hand+one+two", "head 5-6 bloom two"]);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn what_leaves_the_chain_leaves_its_range() {
    let mut desk = Desk::new().await;
    let a = branch('a', &genesis(), &[1, 1, 1]);
    desk.put(&genesis(), &a, None, None).await.unwrap();
    let top = shown(&branch('a', last(&a), &[1, 1]), Completeness::Bloom, "two");
    desk.put(last(&a), &top, None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-3 receipts hand", "head 4-5 bloom two"]);

    // Two blocks of the older range go, and the newer one as a whole. What comes instead continues what is left, where it is of its kind.
    let b = shown(&branch('b', &a[0].block, &[2]), Completeness::Bloom, "three");
    desk.put(&a[0].block, &b, None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-1 receipts hand", "head 2-2 bloom three"]);
    let c = shown(&branch('c', &a[0].block, &[1, 1]), Completeness::Receipts, "four");
    desk.put(&a[0].block, &c, None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-3 receipts hand+four"]);
    desk.put(last(&c), &shown(&branch('c', last(&c), &[1]), Completeness::Receipts, "four"), None, None)
        .await
        .unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-4 receipts hand+four"]);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();

    // The chain ends lower than before, and goes on from there.
    desk.put(&genesis(), &[], None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-0 receipts hand+four"]);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
    desk.writer = desk.opened_again().await;
    desk.put(&genesis(), &a[..1], None, None).await.unwrap();
    desk.put(&a[0].block, &a[1..], None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-3 receipts hand+four"]);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn a_backfill_is_a_range_of_its_own_with_the_sum_of_its_blocks() {
    let mut desk = Desk::new().await;
    let far = branch('e', &genesis(), &[0, 2, 0, 1, 0, 0]);
    desk.writer.finalize(last(&far)).await.unwrap();
    desk.writer.append_range(range(&far[..2])).await.unwrap();
    desk.writer.append_range(range(&far[2..4])).await.unwrap();
    desk.writer = desk.opened_again().await;
    let mut unseen = range(&far[4..]);
    unseen.hashes.clear();
    unseen.evidence.level = Completeness::Trusted;
    desk.writer.append_range(unseen).await.unwrap();
    let next = branch('f', last(&far), &[1]);
    desk.put(last(&far), &next, None, None).await.unwrap();
    assert_eq!(
        ranges(&desk).await,
        [
            "head 0-0 receipts hand",
            "backfill 1-4 receipts hand",
            "backfill 5-6 trusted hand",
            "head 7-7 receipts hand"
        ]
    );
    let roots: Vec<Option<Vec<u8>>> = sqlx::query_scalar(
        "SELECT blocks_root FROM completeness_certificates WHERE source = 'backfill' ORDER BY from_number",
    )
    .fetch_all(desk.db.worker())
    .await
    .unwrap();
    let sum: BlocksRoot = far[..4].iter().map(|content| &content.block.hash).collect();
    assert_eq!(roots, [Some(sum.root().to_vec()), None]);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}

#[tokio::test]
async fn another_filter_begins_a_range_and_what_was_wanted_is_kept() {
    let mut desk = Desk::new().await;
    let blocks = branch('a', &genesis(), &[1, 1]);
    desk.put(&genesis(), &blocks[..1], None, None).await.unwrap();
    let contract = blocks[0].events[0].event.contract;
    let filter = Filter { contracts: [(contract, 1)].into(), senders: [(contract, 2)].into() };
    let wider = plimsoll_journal::ChainIdentity { filter: filter.clone(), ..identity() };
    desk.writer = Writer::open(&desk.db, desk.lease.clone(), Tail::default(), &wider).await.unwrap();
    desk.writer.replace_above(id(&blocks[0].block), blocks[1..].to_vec(), None, None).await.unwrap();
    assert_eq!(ranges(&desk).await, ["head 0-1 receipts hand", "head 2-2 receipts hand"]);
    let kept: Vec<String> = sqlx::query_scalar(
        "SELECT concat_ws(' ', f.contracts, f.senders) FROM completeness_certificates JOIN completeness_filters f USING (chain_id, filter_digest)
         WHERE filter_digest = $1",
    )
    .bind(filter.digest().as_slice())
    .fetch_all(desk.db.worker())
    .await
    .unwrap();
    assert_eq!(kept, [format!("{{\"{contract:#x}\": 1}} {{\"{contract:#x}\": 2}}")]);
    laws::check(desk.db.worker(), CHAIN_ID).await.unwrap();
}
