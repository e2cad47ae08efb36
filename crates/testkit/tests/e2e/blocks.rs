//! Confirmed blocks as a program hears them that wants nothing but stable ones: over HTTP, through reorganisations and kills.

use alloy_primitives::B256;
use plimsoll_testkit::node::Node;
use serde_json::Value;

use crate::house::{House, Settings, admin};
use crate::world::{World, seed};

/// Who listens, and what it knows: nothing but what it was told.
struct Listener {
    token: String,
    url: String,
    stream: Option<reqwest::Response>,
    text: String,
    last: u64,
    /// What is confirmed and not taken back, oldest first.
    confirmed: Vec<(u64, B256)>,
    retracted: usize,
    last_final: u64,
}

impl Listener {
    async fn new(house: &House, chain_id: u64) -> Self {
        let user =
            admin(house, &["users", "create", "--name", "reader", "--kind", "machine", "--role", "viewer"])
                .await;
        let user_id = user["target_id"].as_str().unwrap();
        let issued = admin(
            house,
            &["keys", "issue", "--user", user_id, "--label", "reader", "--scopes", "events:read"],
        )
        .await;
        Self {
            token: issued["key"].as_str().unwrap().to_owned(),
            url: house.url(&format!("/api/v1/chains/{chain_id}/blocks/stream")),
            stream: None,
            text: String::new(),
            last: 0,
            confirmed: Vec::new(),
            retracted: 0,
            last_final: 0,
        }
    }

    /// Where it was, as an `EventSource` does it.
    async fn connect(&mut self) {
        self.text.clear();
        let request = reqwest::Client::new().get(&self.url).bearer_auth(&self.token);
        let response = request.header("last-event-id", self.last).send().await.unwrap();
        assert_eq!(response.status(), 200);
        self.stream = Some(response);
    }

    /// The next thing that is said; `None` when the connection broke.
    async fn next(&mut self) -> Option<Value> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let data = block.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
                let ends = block.starts_with("event: end");
                self.text = rest.to_owned();
                if let Some(data) = data.filter(|_| !ends) {
                    return Some(serde_json::from_str(&data).unwrap());
                }
            }
            let chunk = self.stream.as_mut()?.chunk().await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    fn heed(&mut self, said: &Value) {
        let hash = |name: &str| said[name].as_str().unwrap().parse::<B256>().unwrap();
        let (number, seq) = (said["number"].as_u64().unwrap(), said["journal_seq"].as_u64().unwrap());
        assert!(seq > self.last, "{said} after {}", self.last);
        self.last = seq;
        match said["kind"].as_str().unwrap() {
            "confirmed" => {
                if let Some((below, parent)) = self.confirmed.last() {
                    assert!(number > *below, "{said} on {below}");
                    let is_child = number == below + 1 && hash("parent_hash") == *parent;
                    assert!(is_child || number <= self.last_final, "{said} is no child of {below} {parent}");
                }
                self.confirmed.push((number, hash("hash")));
            }
            "retracted" => {
                assert!(number > self.last_final, "{said} below {}", self.last_final);
                assert_eq!(self.confirmed.pop(), Some((number, hash("hash"))));
                self.retracted += 1;
            }
            "final" => self.last_final = number,
            other => panic!("{other}"),
        }
    }

    /// Listens until this block is the last confirmed one.
    async fn until(&mut self, block: (u64, B256)) {
        while self.confirmed.last() != Some(&block) {
            let said = self.next().await.expect("the stream lasts");
            self.heed(&said);
        }
    }

    /// What is held for confirmed is the node's chain.
    async fn agrees(&self, node: &Node) {
        for (number, hash) in &self.confirmed {
            assert_eq!(node.block_hash(*number).await.unwrap(), Some(*hash), "block {number}");
        }
    }
}

/// The block that has its confirmations.
async fn stable(world: &World, confirmations: u64) -> (u64, B256) {
    let number = world.head().await - confirmations;
    (number, world.node().block_hash(number).await.unwrap().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_cut_off_at_any_time_holds_the_chain_and_hears_what_a_deep_reorg_took_back() {
    const CONFIRMATIONS: u64 = 2;
    let mut world = World::new(seed(301), 40).await;
    let mut house = House::new(&world, Settings::default()).await;
    house.start();
    house.catches_up(&world).await;
    let mut listener = Listener::new(&house, world.chain_id()).await;
    listener.connect().await;
    for round in 0..3 {
        world.blocks(4).await;
        house.catches_up(&world).await;
        listener.until(stable(&world, CONFIRMATIONS).await).await;
        listener.agrees(world.node()).await;
        // Deeper than the confirmations, and what comes of it heard from the next process.
        let known = listener.retracted;
        world.reorg(CONFIRMATIONS + 3).await;
        house.catches_up(&world).await;
        house.kill();
        while let Some(said) = listener.next().await {
            listener.heed(&said);
        }
        house.start();
        house.catches_up(&world).await;
        listener.connect().await;
        world.blocks(1).await;
        house.catches_up(&world).await;
        listener.until(stable(&world, CONFIRMATIONS).await).await;
        listener.agrees(world.node()).await;
        assert!(listener.retracted > known, "round {round}: nothing was taken back");
    }
    world.blocks(20).await;
    house.catches_up(&world).await;
    listener.until(stable(&world, CONFIRMATIONS).await).await;
    listener.agrees(world.node()).await;
    assert!(listener.last_final > 40, "{}", listener.last_final);
    house.stop().await;
}
