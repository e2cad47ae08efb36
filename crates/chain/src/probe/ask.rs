//! Asking: each chunk until every one of its questions has an answer, or a reason why there is none.

use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::{Address, Bytes, U256};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::{
    ProbeOptions,
    multicall::{self, Outcome, Witness},
    plan::{self, Chunk, Way},
    reading::{Probe, ProbeError, Question, Reading},
};
use crate::{
    Header, Pool,
    error::{CallError, ErrorClass, RpcError},
};

/// Chunks in flight at once.
const CHUNKS_IN_FLIGHT: usize = 8;

/// A number, or why it is unknown.
pub(super) type Answer = Result<Reading, ProbeError>;

/// Questions about one block.
pub(super) struct Asking<'a> {
    pool: &'a Pool,
    header: &'a Header,
    probes: &'a [Probe],
    multicall: Option<Address>,
    witness: Witness,
    /// There is no multicall at this block, as an answer showed.
    is_absent: AtomicBool,
}

/// What became of a chunk: what was answered, and what is to be asked in its place.
#[derive(Default)]
struct Progress {
    answers: Vec<(usize, Answer)>,
    instead: Vec<Chunk>,
}

/// What a multicall gave.
enum Aggregate {
    /// There is no contract at its address.
    Absent,
    /// It failed as a whole.
    Failed(CallError),
    Outcomes(Vec<Outcome>),
}

impl<'a> Asking<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        options: &ProbeOptions,
        header: &'a Header,
        probes: &'a [Probe],
    ) -> Self {
        let witness = Witness::new(header, options.has_own_block_number);
        Self {
            pool,
            header,
            probes,
            multicall: options.multicall,
            witness,
            is_absent: AtomicBool::new(false),
        }
    }

    /// The answers, in the order of the questions.
    pub(super) async fn all(&self) -> Result<Vec<Answer>, RpcError> {
        let chunks = plan::chunks(self.probes, self.multicall.is_some());
        // Boxed: else the compiler cannot prove a caller's task to be `Send`.
        let answered: Vec<_> = stream::iter(chunks)
            .map(|chunk| self.resolve(chunk))
            .buffer_unordered(CHUNKS_IN_FLIGHT)
            .try_collect()
            .boxed()
            .await?;
        let mut answers: Vec<Option<Answer>> = self.probes.iter().map(|_| None).collect();
        for (place, answer) in answered.into_iter().flatten() {
            answers[place] = Some(answer);
        }
        Ok(answers.into_iter().map(|answer| answer.expect("each question is in one chunk")).collect())
    }

    /// Ends: a chunk is answered, or replaced by chunks with fewer questions each, or a multicall by plain questions, which none is
    /// made of again; and a single plain question is always answered.
    async fn resolve(&self, chunk: Chunk) -> Result<Vec<(usize, Answer)>, RpcError> {
        let mut answers = Vec::with_capacity(chunk.places.len());
        let mut open = vec![chunk];
        while let Some(chunk) = open.pop() {
            let progress = match self.multicall.filter(|_| chunk.way == Way::Multicall) {
                Some(contract) => self.aggregate(&chunk, contract).await?,
                None => self.settle(&chunk, self.ask(&chunk).await)?,
            };
            answers.extend(progress.answers);
            open.extend(progress.instead);
        }
        Ok(answers)
    }

    async fn aggregate(&self, chunk: &Chunk, contract: Address) -> Result<Progress, RpcError> {
        if chunk.places.len() == 1 || self.is_absent.load(Ordering::Relaxed) {
            return Ok(self.without_multicall(chunk));
        }
        let questions = chunk.places.iter().map(|&place| &self.probes[place].question);
        let call = &[(contract, multicall::encode(contract, questions, &self.witness))];
        let (at, count) = (self.header.hash, chunk.places.len());
        let asked = self.pool.ask(Some(self.header.number), |rpc| async move {
            match rpc.try_calls_at(at, call).await?.pop().expect("one answer for one call") {
                Err(error) => Ok(Aggregate::Failed(error)),
                Ok(returned) if returned.is_empty() => Ok(Aggregate::Absent),
                // An answer that cannot be believed is the endpoint's failure: another may do better.
                Ok(returned) => match multicall::decode(&returned, count, &self.witness) {
                    Ok(outcomes) => Ok(Aggregate::Outcomes(outcomes)),
                    Err(what) => Err(rpc.disbelieved(format!("of the multicall at {contract}: {what}"))),
                },
            }
        });
        match asked.await {
            Ok(Aggregate::Outcomes(outcomes)) => Ok(self.read(chunk, outcomes)),
            Ok(Aggregate::Absent) => {
                self.is_absent.store(true, Ordering::Relaxed);
                Ok(self.without_multicall(chunk))
            }
            // Nothing in it may fail it, so it was too much: gas, most often.
            Ok(Aggregate::Failed(error)) => {
                tracing::debug!(%error, calls = count, "a multicall failed and is halved");
                Ok(Progress {
                    instead: chunk.halves().into_iter().flatten().collect(),
                    ..Progress::default()
                })
            }
            Err(error) => self.give_way(chunk, error),
        }
    }

    fn without_multicall(&self, chunk: &Chunk) -> Progress {
        Progress { instead: chunk.plain(self.probes, |_| true), ..Progress::default() }
    }

    /// A call that failed among others is asked again alone: it may have failed for the gas that the others had used, and the node says why.
    fn read(&self, chunk: &Chunk, outcomes: Vec<Outcome>) -> Progress {
        let mut progress = Progress::default();
        let mut failed = Vec::new();
        for (&place, outcome) in chunk.places.iter().zip(outcomes) {
            match outcome {
                Ok(returned) => progress.answers.push((place, self.probes[place].question.read(&returned))),
                Err(()) => failed.push(place),
            }
        }
        progress.instead = chunk.plain(self.probes, |place| failed.contains(&place));
        progress
    }

    /// Asks without a multicall. A balance comes as the word that a call would return.
    async fn ask(&self, chunk: &Chunk) -> Result<Vec<Result<Bytes, CallError>>, RpcError> {
        let questions = || chunk.places.iter().map(|&place| &self.probes[place].question);
        let (at, height) = (self.header.hash, Some(self.header.number));
        if chunk.way == Way::Balances {
            let accounts = &questions().filter_map(Question::account).collect::<Vec<_>>();
            let asked = self.pool.ask(height, |rpc| async move { rpc.try_balances_at(at, accounts).await });
            let word = |balance: U256| Bytes::from(balance.to_be_bytes::<32>());
            return Ok(asked.await?.into_iter().map(|balance| balance.map(word)).collect());
        }
        let calls = &questions().filter_map(Question::call).collect::<Vec<_>>();
        self.pool.ask(height, |rpc| async move { rpc.try_calls_at(at, calls).await }).await
    }

    fn settle(
        &self,
        chunk: &Chunk,
        asked: Result<Vec<Result<Bytes, CallError>>, RpcError>,
    ) -> Result<Progress, RpcError> {
        let results = match asked {
            Ok(results) => results,
            Err(error) => return self.give_way(chunk, error),
        };
        assert_eq!(results.len(), chunk.places.len(), "a plain chunk holds questions of its way only");
        let read = |(&place, result): (&usize, Result<Bytes, CallError>)| {
            let answer = result
                .map_err(ProbeError::from)
                .and_then(|returned| self.probes[place].question.read(&returned));
            (place, answer)
        };
        Ok(Progress { answers: chunk.places.iter().zip(results).map(read).collect(), instead: Vec::new() })
    }

    /// What was too large or took too long is asked in halves as long as that may help; any other error is everybody's.
    fn give_way(&self, chunk: &Chunk, error: RpcError) -> Result<Progress, RpcError> {
        let (halves, unknown) = if error.class() == ErrorClass::RangeTooLarge {
            (chunk.halves(), ProbeError::TooLarge(error.cause().to_string()))
        } else if error.is_timeout() {
            (chunk.halves_for_time(), ProbeError::TimedOut(error.cause().to_string()))
        } else {
            return Err(error);
        };
        tracing::debug!(%error, questions = chunk.places.len(), is_halved = halves.is_some(), "it was too much to ask at once");
        Ok(match halves {
            Some(halves) => Progress { instead: halves.into(), ..Progress::default() },
            None => {
                let answers = chunk.places.iter().map(|&place| (place, Err(unknown.clone())));
                Progress { answers: answers.collect(), ..Progress::default() }
            }
        })
    }
}
