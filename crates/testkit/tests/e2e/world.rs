//! The chain of a test: a node that can be stopped, copied and started again, with traffic on it.

use std::path::Path;
use std::sync::Arc;

use plimsoll_testkit::anvil::{Anvil, AnvilOptions, Mining, unix_time};
use plimsoll_testkit::deploy::Deployment;
use plimsoll_testkit::traffic::drive::Reorg;
use plimsoll_testkit::traffic::{Scenario, Traffic};
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use tempfile::TempDir;

/// A chain with the contracts on it.
pub(crate) struct World {
    dir: TempDir,
    options: AnvilOptions,
    node: Option<Anvil>,
    /// Who acts on it.
    pub(crate) traffic: Traffic,
}

/// The seed of a test: its own, or for a look at others the one in PLIMSOLL_TEST_SEED. It is told, so that a failure can be seen again.
pub(crate) fn seed(own: u64) -> u64 {
    let given = std::env::var("PLIMSOLL_TEST_SEED").ok().map(|text| text.parse().expect("a number"));
    let seed = given.unwrap_or(own);
    println!("PLIMSOLL_TEST_SEED={seed}");
    seed
}

/// The random numbers of a test.
pub(crate) fn random(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

impl World {
    /// A node with the contracts deployed, and this many blocks of traffic.
    pub(crate) async fn new(seed: u64, blocks: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = AnvilOptions {
            mining: Mining::OnDemand,
            accounts: 8,
            state: Some(dir.path().join("chain.json")),
            genesis_time: Some(unix_time()),
            ..AnvilOptions::default()
        };
        let node = Anvil::start(&options).await.unwrap();
        options.port = node.url().rsplit_once(':').unwrap().1.parse().unwrap();
        let deployment = Arc::new(Deployment::deploy(&node, true).await.unwrap());
        let traffic = Traffic::new(deployment, seed);
        let mut world = Self { dir, options, node: Some(node), traffic };
        world.blocks(blocks).await;
        world
    }

    pub(crate) fn node(&self) -> &Anvil {
        self.node.as_ref().expect("the node is stopped")
    }

    pub(crate) fn deployment(&self) -> Arc<Deployment> {
        self.traffic.deployment().clone()
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.traffic.deployment().chain_id
    }

    pub(crate) async fn head(&self) -> u64 {
        self.node().block_number().await.unwrap()
    }

    /// So many steps of traffic, a block each.
    pub(crate) async fn blocks(&mut self, blocks: u32) {
        let node = self.node().node();
        for _ in 0..blocks {
            self.traffic.mine_next(&node).await.unwrap();
        }
    }

    /// A block with events of several kinds.
    pub(crate) async fn deposit(&mut self) {
        let node = self.node().node();
        for call in self.traffic.step(Scenario::Deposit).calls {
            node.send(&call).await.unwrap();
        }
        node.mine(1).await.unwrap();
    }

    /// Replaces the last blocks.
    pub(crate) async fn reorg(&mut self, depth: u64) -> Reorg {
        let node = self.node().node();
        let reorg = self.traffic.reorg(&node, depth).await.unwrap();
        assert_eq!(reorg.depth, depth, "the chain is too short for it");
        reorg
    }

    /// Ends the node in order, its chain written.
    pub(crate) async fn stop(&mut self) {
        self.node.take().expect("the node is stopped").stop().await.unwrap();
    }

    /// Ends the node at once; its chain is what it was when the node was last stopped in order.
    pub(crate) fn crash(&mut self) {
        self.node = None;
    }

    /// Starts the node again at the same address, with the chain as it was written last.
    pub(crate) async fn start(&mut self) {
        assert!(self.node.is_none(), "the node runs");
        self.node = Some(Anvil::start(&self.options).await.unwrap());
        let node = self.node().node();
        self.traffic.read_book(&node).await.unwrap();
    }

    /// Another chain's node at the stopped one's address, with so many blocks.
    pub(crate) async fn stranger(&self, chain_id: u64, blocks: u64) -> Anvil {
        assert!(self.node.is_none(), "the node runs");
        let options = AnvilOptions { chain_id, state: None, ..self.options.clone() };
        let stranger = Anvil::start(&options).await.unwrap();
        stranger.mine(blocks).await.unwrap();
        stranger
    }

    /// Keeps the chain as the stopped node has written it.
    pub(crate) fn save(&self, name: &str) {
        self.copy(self.written(), &self.dir.path().join(name));
    }

    /// The stopped node is to start with this chain.
    pub(crate) fn restore(&self, name: &str) {
        self.copy(&self.dir.path().join(name), self.written());
    }

    fn written(&self) -> &Path {
        self.options.state.as_deref().unwrap()
    }

    fn copy(&self, from: &Path, to: &Path) {
        assert!(self.node.is_none(), "the node writes its chain when it is stopped");
        std::fs::copy(from, to).unwrap();
    }
}
