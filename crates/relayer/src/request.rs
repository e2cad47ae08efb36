//! What the relayer is asked for.

use alloy_primitives::{Address, B256, Bytes, U256};
use plimsoll_types::Context;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

/// The longest name of an operation.
pub const OPERATION_MAX_CHARS: usize = 64;
/// The largest calldata: what the public pools of nodes take (128 KiB), less the rest of the transaction.
pub const DATA_MAX_BYTES: usize = 120 * 1024;
/// Under this name the platform fills a nonce that nothing else has.
pub const FILL: &str = "fill";

/// A call that a signer of ours is to make, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The tenant, the user, the request's id, who acts, and of which story it is part.
    pub context: Context,
    /// What it is, as the tenant names it; together with tenant and request id its natural key.
    pub operation_type: String,
    /// Who signs.
    pub signer: SignerId,
    /// What is called.
    pub call: Call,
    /// Gas; estimated when it enters the window where nothing is said.
    pub gas_limit: Option<u64>,
    /// Wei that must not be exceeded for a unit of gas, beside the signer's own limit.
    pub max_fee_limit: Option<u128>,
    /// Those with a higher one enter the window first.
    pub priority: i16,
    /// Until when it may enter the window.
    pub validity: Validity,
    /// Whether it is run before it enters, and ends if it reverts; none: as its signer's setting says by then. Where nothing is said of gas, its estimate is such a run in any case.
    pub simulate: Option<bool>,
}

/// Who signs: an address on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SignerId {
    /// The chain.
    pub chain_id: u64,
    /// The address.
    pub address: Address,
}

impl std::fmt::Display for SignerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.chain_id, plimsoll_types::address_text(&self.address))
    }
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Who is called; none when it creates a contract.
    pub to: Option<Address>,
    /// Wei.
    pub value: U256,
    /// Calldata, or the creation's code.
    pub data: Bytes,
}

/// Until when a request may enter the window. What has entered stays until a block decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// A time.
    pub until: Option<OffsetDateTime>,
    /// A block's number.
    pub until_block: Option<u64>,
    /// The block that it was decided on: no longer canonical, no longer valid.
    pub as_of_block_hash: Option<B256>,
}

/// Why a request is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A field that cannot be kept or sent.
    #[error("{field} {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it, and what it may be.
        problem: String,
    },
}

impl Request {
    /// What tells two requests under one key apart (SHA-256): everything that is asked for, and nothing of who asks, or in which words.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(bytes);
        };
        let Self {
            context: _,
            operation_type,
            signer,
            call,
            gas_limit,
            max_fee_limit,
            priority,
            validity,
            simulate,
        } = self;
        put(b"plimsoll.relayer.request.1");
        put(operation_type.as_bytes());
        put(&signer.chain_id.to_be_bytes());
        put(signer.address.as_slice());
        put(call.to.as_ref().map_or(&[][..], |to| to.as_slice()));
        put(&call.value.to_be_bytes::<32>());
        put(&call.data);
        put(&gas_limit.map_or_else(Vec::new, |gas| gas.to_be_bytes().to_vec()));
        put(&max_fee_limit.map_or_else(Vec::new, |fee| fee.to_be_bytes().to_vec()));
        put(&priority.to_be_bytes());
        put(&validity
            .until
            .map_or_else(Vec::new, |until| until.unix_timestamp_nanos().to_be_bytes().to_vec()));
        put(&validity.until_block.map_or_else(Vec::new, |number| number.to_be_bytes().to_vec()));
        put(validity.as_of_block_hash.as_ref().map_or(&[][..], |hash| hash.as_slice()));
        // What says nothing of it has the fingerprint that it had before it could.
        if let Some(simulate) = simulate {
            put(&[u8::from(*simulate)]);
        }
        hash.finalize().into()
    }

    /// Whether it can be kept and sent at all.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        let wrong = |field, problem: String| Err(Invalid::Field { field, problem });
        let chars = self.operation_type.chars().count();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if !(1..=OPERATION_MAX_CHARS).contains(&chars) || !self.operation_type.chars().all(is_name) {
            return wrong(
                "operation_type",
                format!("must have 1 to {OPERATION_MAX_CHARS} letters, digits, '-', '_', '.' or ':'"),
            );
        }
        if self.operation_type == FILL {
            return wrong(
                "operation_type",
                format!("may not be `{FILL}`: the platform fills gaps under that name"),
            );
        }
        if self.context.tenant_id.is_none() {
            return wrong("tenant_id", "is missing".into());
        }
        if self.call.data.len() > DATA_MAX_BYTES {
            return wrong(
                "data",
                format!("has {} bytes, {DATA_MAX_BYTES} may be: nodes take no more", self.call.data.len()),
            );
        }
        if self.call.to.is_none() && self.call.data.is_empty() {
            return wrong(
                "data",
                "is empty, and without `to` it would be a contract's code: give `to`, or the code".into(),
            );
        }
        for (field, number) in
            [("gas_limit", self.gas_limit), ("valid_until_block", self.validity.until_block)]
        {
            if number
                .is_some_and(|number| i64::try_from(number).is_err() || (field == "gas_limit" && number == 0))
            {
                return wrong(field, format!("must be from 1 to {}", i64::MAX));
            }
        }
        if self.max_fee_limit == Some(0) {
            return wrong("max_fee_limit", "is 0, for which nothing is included".into());
        }
        Ok(())
    }

    /// The tenant. A request that was [checked](Self::check) has one.
    #[must_use]
    pub fn tenant_id(&self) -> Option<Uuid> {
        self.context.tenant_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let mut context = Context::new(Uuid::from_u128(1), "user:1");
        context.tenant_id = Some(Uuid::from_u128(2));
        Request {
            context,
            operation_type: "retry".into(),
            signer: SignerId { chain_id: 1, address: Address::repeat_byte(1) },
            call: Call {
                to: Some(Address::repeat_byte(2)),
                value: U256::from(1),
                data: Bytes::from_static(&[1, 2]),
            },
            gas_limit: None,
            max_fee_limit: None,
            priority: 0,
            validity: Validity::default(),
            simulate: None,
        }
    }

    #[test]
    fn whatever_is_asked_for_counts_and_who_asks_does_not() {
        let base = request();
        let mut other = request();
        other.context.actor = "key:2".into();
        other.context.correlation_id = "another story".into();
        assert_eq!(base.fingerprint(), other.fingerprint());

        let changes: &[fn(&mut Request)] = &[
            |r| r.operation_type = "retry2".into(),
            |r| r.signer.chain_id = 2,
            |r| r.signer.address = Address::repeat_byte(9),
            |r| r.call.to = None,
            |r| r.call.value = U256::from(2),
            |r| r.call.data = Bytes::from_static(&[1, 2, 0]),
            |r| r.gas_limit = Some(0),
            |r| r.max_fee_limit = Some(0),
            |r| r.priority = 1,
            |r| r.validity.until = Some(OffsetDateTime::UNIX_EPOCH),
            |r| r.validity.until_block = Some(0),
            |r| r.validity.as_of_block_hash = Some(B256::ZERO),
            |r| r.simulate = Some(false),
            |r| r.simulate = Some(true),
        ];
        let mut seen = std::collections::HashSet::from([base.fingerprint()]);
        for (index, change) in changes.iter().enumerate() {
            let mut changed = request();
            change(&mut changed);
            assert!(seen.insert(changed.fingerprint()), "change {index} does not show");
        }
    }

    /// Fingerprints are kept: what was accepted by an earlier version has to be known again.
    #[test]
    fn a_fingerprint_is_what_it_was() {
        let known = "45c072d123a71ba3dd4cbdd8a69900f6a19f11089827cbf02d7fda188659c97e";
        assert_eq!(alloy_primitives::hex::encode(request().fingerprint()), known);
    }

    #[test]
    fn what_cannot_be_sent_is_refused_by_its_field() {
        type Change = fn(&mut Request);
        let cases: &[(Change, &str)] = &[
            (|r| r.operation_type = String::new(), "operation_type"),
            (|r| r.operation_type = "a b".into(), "operation_type"),
            (|r| r.operation_type = "x".repeat(65), "operation_type"),
            (|r| r.operation_type = FILL.into(), "operation_type"),
            (|r| r.context.tenant_id = None, "tenant_id"),
            (|r| r.call.data = vec![0; DATA_MAX_BYTES + 1].into(), "data"),
            (|r| (r.call.to, r.call.data) = (None, Bytes::new()), "data"),
            (|r| r.gas_limit = Some(0), "gas_limit"),
            (|r| r.gas_limit = Some(u64::MAX), "gas_limit"),
            (|r| r.validity.until_block = Some(u64::MAX), "valid_until_block"),
            (|r| r.max_fee_limit = Some(0), "max_fee_limit"),
        ];
        assert_eq!(request().check(), Ok(()));
        for (change, named) in cases {
            let mut changed = request();
            change(&mut changed);
            let Err(Invalid::Field { field, .. }) = changed.check() else { panic!("{named} was taken") };
            assert_eq!(field, *named);
        }
    }
}
