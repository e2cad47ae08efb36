//! Sending bytes that are committed, and keeping what was answered.

use plimsoll_chain::{Pool, Rpc};
use time::OffsetDateTime;

use crate::answer::{self, Reading, SendAnswer};
use crate::attempt::Attempt;
use crate::book::{Book, Told};

/// What came of sending one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) nonce: u64,
    pub(crate) number: u32,
    pub(crate) reading: Reading,
}

/// How widely bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the endpoint that is fittest, and to the next where it does not say yes or no.
    Fittest,
    /// To every endpoint: the one that had them may have lost them.
    All,
}

/// Sends these attempts, which are committed, and keeps the answers. Of several answers to one attempt the best counts.
pub(crate) async fn send<B: Book>(
    pool: Pool,
    book: B,
    chain_id: u64,
    attempts: Vec<Attempt>,
    reach: Reach,
) -> Vec<Sent> {
    let mut readings: Vec<Option<Reading>> = vec![None; attempts.len()];
    let mut told = Vec::with_capacity(attempts.len());
    for place in pool.fittest(None) {
        let open: Vec<_> = (0..attempts.len())
            .filter(|&of| reach == Reach::All || readings[of].as_ref().is_none_or(wants_another))
            .collect();
        if open.is_empty() {
            break;
        }
        let endpoint = &pool.endpoints()[place];
        for (of, reading) in open.iter().zip(send_to(endpoint, open.iter().map(|&of| &attempts[of])).await) {
            told.push(Told {
                tx_hash: attempts[*of].tx_hash,
                tenant_id: attempts[*of].tenant_id,
                endpoint: endpoint.endpoint().to_owned(),
                answer: reading.answer.as_str(),
                detail: reading.detail.clone(),
                sent_at: OffsetDateTime::now_utc(),
            });
            let is_better = readings[*of].as_ref().is_none_or(|known| rank(&reading) > rank(known));
            if is_better {
                readings[*of] = Some(reading);
            }
        }
    }
    if let Err(error) = book.record(chain_id, &told).await {
        // The answers are for people; what is true is asked of the chain.
        metrics::counter!("relayer_answers_lost_total").increment(told.len() as u64);
        tracing::warn!(chain_id, %error, answers = told.len(), "what endpoints answered could not be kept");
    }
    let unknown = || Reading { answer: SendAnswer::Unknown, detail: Some("no endpoint".to_owned()) };
    attempts
        .iter()
        .zip(readings)
        .map(|(attempt, reading)| Sent {
            nonce: attempt.nonce,
            number: attempt.number,
            reading: reading.unwrap_or_else(unknown),
        })
        .collect()
}

async fn send_to(endpoint: &Rpc, attempts: impl Iterator<Item = &Attempt>) -> Vec<Reading> {
    let attempts: Vec<_> = attempts.collect();
    let raws: Vec<_> = attempts.iter().map(|attempt| attempt.raw.clone()).collect();
    let answers = endpoint.send_raw(&raws).await;
    let readings: Vec<_> = attempts
        .iter()
        .zip(&answers)
        .map(|(attempt, answer)| answer::read(attempt.tx_hash, answer))
        .collect();
    for reading in &readings {
        metrics::counter!("relayer_sends_total", "endpoint" => endpoint.endpoint().to_owned(), "answer" => reading.answer.as_str())
            .increment(1);
    }
    readings
}

/// Whether this answer is the endpoint's affair, and another may say something else.
fn wants_another(reading: &Reading) -> bool {
    matches!(
        reading.answer,
        SendAnswer::Unknown
            | SendAnswer::RateLimited
            | SendAnswer::Unavailable
            | SendAnswer::Forbidden
            | SendAnswer::PoolFull
            | SendAnswer::FeeAboveNodeLimit
            | SendAnswer::WrongChain
    )
}

/// Which of two answers to the same bytes tells more: that one has them, then that one may, then why none does.
fn rank(reading: &Reading) -> u8 {
    match reading.answer {
        answer if answer.is_taken() => 3,
        SendAnswer::NonceTooLow { .. } => 2,
        _ if wants_another(reading) => 0,
        _ => 1,
    }
}
