//! A log as consensus knows it.

use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::{Decodable, Encodable, Error};

use crate::rlp;

/// The EVM has LOG0 to LOG4.
pub const MAX_TOPICS: usize = 4;

/// What a contract emitted. Where it stands in its block follows from the receipts around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The contract.
    pub address: Address,
    /// Signature hash and indexed arguments; at most [`MAX_TOPICS`].
    pub topics: Vec<B256>,
    /// The other arguments, ABI encoded.
    pub data: Bytes,
}

impl Log {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        rlp::list(out, |out| {
            self.address.encode(out);
            rlp::list(out, |out| self.topics.iter().for_each(|topic| topic.encode(out)));
            self.data.encode(out);
        });
    }

    pub(crate) fn decode(rest: &mut &[u8]) -> Result<Self, Error> {
        let mut fields = rlp::take_list(rest)?;
        let address = Address::decode(&mut fields)?;
        let mut words = rlp::take_list(&mut fields)?;
        let mut topics = Vec::new();
        while !words.is_empty() {
            if topics.len() == MAX_TOPICS {
                return Err(Error::Custom("a log with more than four topics"));
            }
            topics.push(B256::decode(&mut words)?);
        }
        let data = Bytes::decode(&mut fields)?;
        rlp::end(fields)?;
        Ok(Self { address, topics, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_back_up_to_four_topics() {
        for topics in 0..=6 {
            let log = Log {
                address: Address::repeat_byte(1),
                topics: vec![B256::repeat_byte(2); topics],
                data: Bytes::from_static(&[3]),
            };
            let mut bytes = Vec::new();
            log.encode(&mut bytes);
            let read = Log::decode(&mut bytes.as_slice());
            assert_eq!(read.ok(), (topics <= MAX_TOPICS).then_some(log), "{topics} topics");
        }
    }
}
