//! What the endpoints are to one another: of the same chain, of one mind about a branch, or excused.

use std::time::Duration;

use alloy_primitives::B256;
use futures::FutureExt;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use plimsoll_chain::{Header, Pool, Reason, Rpc};
use plimsoll_journal::WriteError;

use crate::backfill::note_contradiction;
use crate::book::Book;
use crate::error::IngestError;
use crate::follow::Follower;
use crate::metrics;
use crate::plan::{BlockId, Patience, Verdict, Vote};

/// How long endpoints that do not answer are waited for when a vote is not settled without them.
pub(crate) const VOTE_PATIENCE: Duration = Duration::from_secs(3);

/// What one endpoint showed that would be drastic to believe at once.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// A branch that takes blocks back.
    pub(crate) branch: Patience,
    /// A branch past finality. Of its own: a lower head on such a branch is sighted as both, in turn, and each would make the other begin
    /// again.
    pub(crate) deep: Patience,
}

impl Sightings {
    /// It shows the journal's own chain.
    pub(crate) fn reset(&mut self) {
        self.branch.reset();
        self.deep.reset();
    }
}

/// Block 0's hash, the same from all endpoints that answer. One that does not answer now is checked when it does: nothing is taken from an endpoint
/// whose head is not linked to the journal before that.
pub(crate) async fn genesis_of_all(pool: &Pool, chain_id: u64) -> Result<B256, IngestError> {
    let answers = join_all(pool.endpoints().iter().map(|rpc| genesis_of(rpc, chain_id))).await;
    let mut genesis: Option<B256> = None;
    let mut silent = None;
    for (rpc, answer) in pool.endpoints().iter().zip(answers) {
        match (answer, genesis) {
            (Ok(given), Some(known)) if given != known => {
                let known = format!("{known} (of {})", pool.endpoints()[0].endpoint());
                return Err(WriteError::DifferentGenesis { chain_id, given, known }.into());
            }
            (Ok(given), _) => genesis = Some(given),
            (Err(error @ IngestError::Rpc(_)), _) => {
                if pool.endpoints().len() > 1 {
                    tracing::warn!(chain_id, endpoint = rpc.endpoint(), %error, "an endpoint does not answer");
                }
                silent.get_or_insert(error);
            }
            (Err(error), _) => return Err(error),
        }
    }
    match (genesis, silent) {
        (Some(genesis), _) => Ok(genesis),
        (None, Some(error)) => Err(error),
        (None, None) => unreachable!("a pool has an endpoint"),
    }
}

/// Block 0's hash, from an endpoint that serves this chain.
async fn genesis_of(rpc: &Rpc, chain_id: u64) -> Result<B256, IngestError> {
    let (found, genesis) = match rpc.identity().await {
        Ok(identity) => identity,
        // A node of another chain is told apart whatever else it cannot answer.
        Err(error) => match rpc.chain_id().await {
            Ok(found) if found != chain_id => (found, None),
            _ => return Err(error.into()),
        },
    };
    let endpoint = || rpc.endpoint().to_owned();
    if found != chain_id {
        return Err(IngestError::WrongChain { endpoint: endpoint(), expected: chain_id, found });
    }
    genesis
        .map(|genesis| genesis.hash)
        .ok_or_else(|| IngestError::NoGenesis { endpoint: endpoint(), chain_id })
}

impl<B: Book> Follower<'_, B> {
    /// From here on the round is with this endpoint.
    pub(crate) fn turn_to(&mut self, place: usize) {
        self.place = place;
        self.rpc = &self.pool.endpoints()[place];
    }

    /// What the endpoint of this round showed.
    pub(crate) fn sightings(&mut self) -> &mut Sightings {
        &mut self.sightings[self.place]
    }

    /// The endpoint still serves the chain that it served at first: what is behind its address may have been replaced.
    pub(crate) async fn check_chain(&self) -> Result<(), IngestError> {
        let chain_id = self.config.chain_id;
        let given = genesis_of(self.rpc, chain_id).await?;
        if given != self.genesis_hash {
            let known = self.genesis_hash.to_string();
            return Err(WriteError::DifferentGenesis { chain_id, given, known }.into());
        }
        Ok(())
    }

    /// The answers of this round's endpoint do not fit together.
    pub(crate) fn inconsistent(&self, what: String) -> IngestError {
        let endpoint = self.rpc.endpoint().to_owned();
        IngestError::Inconsistent { endpoint, chain_id: self.config.chain_id, what }
    }

    /// Whether the chain is what this block says, by all endpoints. It is asked of each now, of the one that showed it too.
    pub(crate) async fn judge(&self, block: BlockId) -> Result<Verdict, IngestError> {
        let votes = votes_on(self.pool, block).await;
        self.verdict(&votes, block)
    }

    /// Whether the chain has ended below this block of the journal, by all endpoints. That there is none so high is believed of the one that
    /// showed it; any other may be behind.
    pub(crate) async fn judge_gone(&self, (number, hash): BlockId) -> Result<Verdict, IngestError> {
        let ours = self.place;
        let votes = gather(self.pool, |place, rpc| async move {
            match rpc.header_by_number(number).await {
                Ok(Some(header)) if header.hash == hash => Vote::Against,
                Ok(Some(_)) => Vote::For,
                Ok(None) if place == ours => Vote::For,
                Ok(None) | Err(_) => Vote::Abstains,
            }
        });
        self.verdict(&votes.await, (number, hash))
    }

    fn verdict(&self, votes: &[Vote], (number, hash): BlockId) -> Result<Verdict, IngestError> {
        let chain_id = self.config.chain_id;
        if votes[self.place] == Vote::Against {
            let what = format!("it was on another branch at block {number} ({hash}) a moment ago");
            return Err(self.inconsistent(what));
        }
        let verdict = Verdict::of(votes);
        for (place, (rpc, vote)) in self.pool.endpoints().iter().zip(votes).enumerate() {
            let is_alone = match (verdict, vote) {
                (Verdict::Believed, Vote::Against) | (Verdict::Refused, Vote::For) => true,
                // It has shown the block, whether or not it was heard again in time.
                (Verdict::Refused, Vote::Abstains) if place == self.place => votes.contains(&Vote::Against),
                (_, Vote::Abstains) => continue,
                _ => false,
            };
            metrics::on_other_fork(chain_id, rpc.endpoint(), is_alone);
        }
        if verdict == Verdict::Refused {
            tracing::warn!(chain_id, endpoint = self.rpc.endpoint(), number, %hash, ?votes, "the endpoint is on another fork; nothing is taken back");
        }
        Ok(verdict)
    }

    /// What went wrong in a round is this endpoint's affair, as long as another can be asked.
    pub(crate) async fn excuse(&self, error: IngestError) -> Result<(), IngestError> {
        name_contradiction(self.rpc, &error);
        note_contradiction(&self.book, &error).await?;
        let is_other_chain = matches!(
            error,
            IngestError::WrongChain { .. } | IngestError::Journal(WriteError::DifferentGenesis { .. })
        );
        if is_other_chain && self.pool.endpoints().len() > 1 {
            self.rpc.bench(Reason::WrongChain);
        }
        if error.is_of_endpoint() && self.pool.has_another_than(self.place) {
            tracing::warn!(chain_id = self.config.chain_id, endpoint = self.rpc.endpoint(), %error, "going on with another endpoint");
            return Ok(());
        }
        Err(error)
    }

    /// This endpoint is on the journal's chain, and this far behind its end.
    pub(crate) fn note_behind(&self, head: &Header) {
        let tip = self.book.head().map_or(0, |(number, _)| number);
        metrics::behind(self.config.chain_id, self.rpc.endpoint(), tip.saturating_sub(head.number));
        metrics::on_other_fork(self.config.chain_id, self.rpc.endpoint(), false);
    }
}

/// Names an endpoint that contradicts itself, and passes it over from now on. An error that is another endpoint's was noted where it was met.
pub(crate) fn name_contradiction(rpc: &Rpc, error: &IngestError) {
    if let IngestError::Contradiction { endpoint, chain_id, .. } = error
        && endpoint == rpc.endpoint()
    {
        metrics::contradiction(*chain_id, endpoint);
        tracing::error!(chain_id, endpoint, %error, "the endpoint contradicts itself");
        rpc.bench(Reason::Contradiction);
    }
}

/// What the endpoints say of a block.
pub(crate) async fn votes_on(pool: &Pool, (number, hash): BlockId) -> Vec<Vote> {
    gather(pool, |_, rpc| async move {
        match rpc.header_by_number(number).await {
            Ok(Some(header)) if header.hash == hash => Vote::For,
            Ok(Some(_)) => Vote::Against,
            Ok(None) | Err(_) => Vote::Abstains,
        }
    })
    .await
}

/// Gathers votes until they are settled. Who has not answered by then, or after a while, abstains: one that is mute keeps nobody waiting.
async fn gather<F>(pool: &Pool, vote: impl Fn(usize, Rpc) -> F) -> Vec<Vote>
where
    F: Future<Output = Vote>,
{
    let voters = pool.endpoints().iter().cloned().enumerate();
    let mut open: FuturesUnordered<_> =
        voters.map(|(place, rpc)| vote(place, rpc).map(move |vote| (place, vote))).collect();
    let mut votes = vec![Vote::Abstains; open.len()];
    let hear = async {
        // Ends: each turn takes one of the open votes.
        while !Verdict::is_settled(&votes, open.len())
            && let Some((place, vote)) = open.next().await
        {
            votes[place] = vote;
        }
    };
    // Whether or not all were heard in time, what was heard counts.
    _ = tokio::time::timeout(VOTE_PATIENCE, hear).await;
    votes
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_chain::{EndpointConfig, transport};
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn a_vote_ends_when_it_is_settled_and_otherwise_waits_a_while_for_those_who_are_mute() {
        use Vote::{Abstains, Against, For};
        // What each says, unless it is mute; and for how long they are listened to.
        let patience = VOTE_PATIENCE.as_secs();
        let cases = [
            ([Some(For), Some(For), None], 0),
            ([None, Some(For), Some(For)], 0),
            ([Some(Against), None, Some(Against)], 0),
            ([Some(For), Some(Against), Some(Abstains)], 0),
            ([Some(For), None, None], patience),
            ([Some(For), Some(Against), None], patience),
            ([Some(Abstains), None, Some(For)], patience),
        ];
        // Nothing is asked in earnest.
        let rpc = |_| Rpc::over(transport::answering(|_| pending()), &EndpointConfig::new("http://voter"));
        let pool = Pool::new((0..3).map(rpc).collect()).unwrap();
        for (said, seconds) in cases {
            let began = tokio::time::Instant::now();
            let votes = gather(&pool, |place, _| async move {
                match said[place] {
                    Some(vote) => vote,
                    None => pending().await,
                }
            });
            let votes = tokio::time::timeout(Duration::from_secs(60), votes).await.expect("it ends");
            assert_eq!(votes, said.map(|vote| vote.unwrap_or(Abstains)), "{said:?}");
            assert_eq!(began.elapsed().as_secs(), seconds, "{said:?}");
        }
    }
}
