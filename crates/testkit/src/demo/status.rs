//! What the API and the metrics say, and how it is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_types::api::{Chain, FoldState};

/// An API that does not answer for so long is shown as not answering.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The API, read as a user reads it.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    address: SocketAddr,
    chain_id: u64,
}

/// One reading.
#[derive(Clone, Debug)]
pub struct Status {
    /// The chain and the folds over its journal.
    pub chain: Chain,
    /// Counters and gauges without their labels, summed.
    pub metrics: BTreeMap<String, f64>,
}

impl Api {
    /// For the chain, at this address.
    pub fn new(address: SocketAddr, chain_id: u64) -> Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).build().context("no HTTP client")?;
        Ok(Self { http, address, chain_id })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn get(&self, path: &str) -> Result<bytes::Bytes> {
        let url = format!("{}{path}", self.url());
        let response = self.http.get(&url).send().await.with_context(|| format!("{url} does not answer"))?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            bail!(
                "{url} answers {status}: {}",
                String::from_utf8_lossy(&body).chars().take(300).collect::<String>()
            );
        }
        Ok(body)
    }

    /// The chain alone.
    pub async fn chain(&self) -> Result<Chain> {
        let body = self.get(&format!("/api/v1/chains/{}", self.chain_id)).await?;
        serde_json::from_slice(&body)
            .context("the API's answer about the chain is not what its documentation says")
    }

    /// The chain and the metrics.
    pub async fn status(&self) -> Result<Status> {
        let text = self.get("/metrics").await?;
        Ok(Status { chain: self.chain().await?, metrics: sums(&String::from_utf8_lossy(&text)) })
    }
}

/// The samples of a Prometheus exposition, summed over their labels.
fn sums(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name: String = line.chars().take_while(|c| !matches!(c, '{' | ' ')).collect();
        let value = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        if let Some(value) = value.filter(|_| !name.is_empty()) {
            *sums.entry(name).or_default() += value;
        }
    }
    sums
}

impl Status {
    /// A metric, summed over its labels; 0 while it has not been counted yet.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        self.metrics.get(name).copied().unwrap_or(0.0)
    }

    /// Whether the journal and every fold cover the chain up to this block.
    #[must_use]
    pub fn covers(&self, block_hash: alloy_primitives::B256) -> bool {
        covers(&self.chain, block_hash)
    }
}

/// Whether the journal and every fold cover the chain up to this block.
#[must_use]
pub fn covers(chain: &Chain, block_hash: alloy_primitives::B256) -> bool {
    chain.head.as_ref().is_some_and(|head| head.hash == block_hash)
        && !chain.folds.is_empty()
        && chain.folds.iter().all(|fold| {
            fold.lag_records == 0
                && fold.watermark.as_ref().is_some_and(|watermark| watermark.hash == block_hash)
        })
}

/// What the demo itself knows at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) elapsed: Duration,
    pub(super) remaining: Option<Duration>,
    pub(super) node_head: u64,
    pub(super) transactions: u64,
    pub(super) reorgs: u64,
    pub(super) last_reorg: Option<String>,
    pub(super) last_scenario: String,
    pub(super) mirror_rows: i64,
    pub(super) events_per_s: f64,
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// The one screen.
pub(super) fn screen(
    api: &Api,
    scene: &Scene,
    status: Result<&Status, &anyhow::Error>,
    data_dir: &str,
) -> String {
    let mut text = String::new();
    let time = match scene.remaining {
        Some(remaining) => format!("{} s, {} s to go", scene.elapsed.as_secs(), remaining.as_secs()),
        None => format!("{} s, until Ctrl-C", scene.elapsed.as_secs()),
    };
    _ = writeln!(text, "Plimsoll demo   {time}");
    _ = writeln!(text, "API             {}  (docs: {}/docs)", api.url(), api.url());
    _ = writeln!(text, "Data            {data_dir}\n");
    _ = writeln!(
        text,
        "Node            head {:<8} transactions {:<8} reorganisations {}",
        scene.node_head, scene.transactions, scene.reorgs
    );
    _ = writeln!(text, "                now: {}", scene.last_scenario);
    _ = writeln!(
        text,
        "                last reorganisation: {}\n",
        scene.last_reorg.as_deref().unwrap_or("none yet")
    );
    match status {
        Ok(status) => {
            let chain = &status.chain;
            _ = writeln!(
                text,
                "Chain           head {:<8} confirmed {:<8} final {:<8} {:?}",
                number(chain.head.as_ref().map(|head| head.number)),
                number(chain.confirmed_number),
                number(chain.final_number),
                chain.state
            );
            _ = writeln!(
                text,
                "Journal         seq {:<9} events/s {:.0}",
                chain.journal_seq, scene.events_per_s
            );
            for fold in &chain.folds {
                _ = writeln!(
                    text,
                    "Fold {:<10} block {:<7} lag {} blocks, {} records, {:.1} s{}",
                    fold.fold,
                    number(fold.watermark.as_ref().map(|watermark| watermark.number)),
                    fold.lag_blocks,
                    fold.lag_records,
                    fold.lag_seconds.unwrap_or(0.0),
                    if fold.state == FoldState::Stopped { "  STOPPED" } else { "" }
                );
            }
            _ = writeln!(text, "Mirrors         rows {}", scene.mirror_rows);
            _ = writeln!(
                text,
                "Seen            CacheUpdateFailed {:.0}   ignored replays {:.0}   refused {:.0}   anomalies {:.0}   reorganisations {:.0}",
                status.metric("cache_update_failed_total"),
                status.metric("positionview_idempotent_ignored_total"),
                status.metric("apply_rejected_total"),
                status.metric("anomalies_total"),
                status.metric("reorgs_total"),
            );
            _ = writeln!(
                text,
                "Verified        rows {:.0}   mismatches {:.0}   unverified {:.0}   (running check)",
                status.metric("mirror_verify_checked_total"),
                status.metric("mirror_verify_mismatch_total"),
                status.metric("mirror_verify_unverified_total"),
            );
        }
        Err(error) => _ = writeln!(text, "Plimsoll        no answer: {error:#}"),
    }
    text
}

/// The same in one line.
pub(super) fn line(scene: &Scene, status: Result<&Status, &anyhow::Error>) -> String {
    match status {
        Ok(status) => {
            let chain = &status.chain;
            format!(
                "{:>4} s  node {}  head {}  confirmed {}  final {}  seq {}  lag {} records  mirrors {}  failed pushes {:.0}  anomalies {:.0}  reorgs {}/{:.0}  events/s {:.0}",
                scene.elapsed.as_secs(),
                scene.node_head,
                number(chain.head.as_ref().map(|head| head.number)),
                number(chain.confirmed_number),
                number(chain.final_number),
                chain.journal_seq,
                chain.folds.iter().map(|fold| fold.lag_records).max().unwrap_or(0),
                scene.mirror_rows,
                status.metric("cache_update_failed_total"),
                status.metric("anomalies_total"),
                scene.reorgs,
                status.metric("reorgs_total"),
                scene.events_per_s,
            )
        }
        Err(error) => format!(
            "{:>4} s  node {}  plimsoll does not answer: {error:#}",
            scene.elapsed.as_secs(),
            scene.node_head
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_their_labels() {
        let text = "# HELP a b\n# TYPE a counter\na{x=\"1\"} 2\na{x=\"2 3\"} 3\n\nb 1.5\n";
        assert_eq!(sums(text), BTreeMap::from([("a".into(), 5.0), ("b".into(), 1.5)]));
    }
}
