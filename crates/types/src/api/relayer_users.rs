//! Transactions that users sign: prepared for their wallets, and handed in; or authorised by a signature of theirs, and sent by a signer of the platform.

use alloy_primitives::B256;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::identity::keyed;
use super::{BlockRef, NewTransaction};
use crate::Amount;

/// What is handed in: a call that a signer of the platform is to make, a transaction that a user signed (`raw`), or a call that a user authorised (`authorization`).
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Submission {
    /// A call.
    Call(NewTransaction),
    /// Signed bytes.
    Signed(NewSignedTransaction),
    /// An authorised call.
    Authorized(NewAuthorizedCall),
}

impl<'de> Deserialize<'de> for Submission {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        // By what it alone has, so that what is wrong is said of the right one.
        let read = if value.get("raw").is_some() {
            serde_path_to_error::deserialize(value).map(Self::Signed)
        } else if value.get("authorization").is_some() {
            serde_path_to_error::deserialize(value).map(Self::Authorized)
        } else {
            serde_path_to_error::deserialize(value).map(Self::Call)
        };
        read.map_err(D::Error::custom)
    }
}

impl super::Keyed for Submission {
    fn request_id(&self) -> Uuid {
        self.keys().request_id()
    }

    fn tenant_id(&self) -> Uuid {
        self.keys().tenant_id()
    }

    fn user_id(&self) -> Uuid {
        self.keys().user_id()
    }

    fn created_by(&self) -> Option<&str> {
        self.keys().created_by()
    }
}

impl Submission {
    fn keys(&self) -> &dyn super::Keyed {
        match self {
            Self::Call(of) => of,
            Self::Signed(of) => of,
            Self::Authorized(of) => of,
        }
    }
}

keyed! {
    /// A transaction that a user signed, to be sent as it is. It carries its `request_id`, as `/chain/tx/prepare` puts it there.
    pub struct NewSignedTransaction {
        /// What it is, as the tenant names it; with `request_id` its natural key.
        #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_.:-]{1,64}$", example = "deposit"))]
        pub operation_type: String,
        /// The chain that it is signed for.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub chain_id: u64,
        /// Who signed it, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"))]
        pub sender: String,
        /// The signed transaction (EIP-2718), as a wallet gives it.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-fA-F]{2})+$", example = "0x02f8"))]
        pub raw: String,
    }
}

keyed! {
    /// A call that a user authorised with a signature (EIP-712), and a signer of the platform is to hand to the contract that takes it.
    pub struct NewAuthorizedCall {
        /// What it is, as the tenant names it; with `request_id` its natural key.
        #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9_.:-]{1,64}$", example = "deposit"))]
        pub operation_type: String,
        /// On which chain.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub chain_id: u64,
        /// Who of the platform sends it: an address of `/api/v1/signers`, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"))]
        pub signer: String,
        /// Gas; estimated where it is left out.
        #[serde(default, deserialize_with = "crate::api::whole::whole_or_none")]
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 200_000))]
        pub gas_limit: Option<u64>,
        /// What the user authorised.
        pub authorization: Authorization,
    }
}

/// What a user authorised: the fields of `ForwardRequest`, and the signature over them. The request's id is the body's `request_id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Authorization {
    /// The contract that takes it, in any letter case.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x5fbdb2315678afecb367f032d93f642f64180aa3")
    )]
    pub forwarder: String,
    /// The user's address.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc")
    )]
    pub from: String,
    /// Who is called for the user.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512")
    )]
    pub to: String,
    /// Calldata.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-fA-F]{2})*$", example = "0xd09de08a"))]
    pub data: String,
    /// Until when it is good: seconds since 1970, by the chain's clock.
    #[serde(deserialize_with = "crate::api::whole::whole")]
    #[cfg_attr(
        feature = "openapi",
        schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 1_900_000_000)
    )]
    pub deadline: u64,
    /// The signature: 65 bytes.
    #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{130}$"))]
    pub signature: String,
}

/// Who sends what is prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SubmittedBy {
    /// The user signs a transaction, and pays for its gas.
    #[default]
    Wallet,
    /// The user signs an authorisation, and a signer of the platform sends it and pays for its gas.
    Platform,
}

keyed! {
    /// A call that a user's wallet is to sign.
    pub struct NewPreparation {
        /// On which chain.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64, example = 31_337))]
        #[serde(deserialize_with = "crate::api::whole::whole")]
        pub chain_id: u64,
        /// Whose wallet signs, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"))]
        pub from: String,
        /// Who is called, in any letter case.
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = "0x5fbdb2315678afecb367f032d93f642f64180aa3"))]
        pub to: String,
        /// Wei that go along; 0 where it is left out. An authorisation carries none.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]{1,78}$", example = "0"))]
        pub value_wei: Option<String>,
        /// Calldata without the request's id, or with zeros in its place; none where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x([0-9a-fA-F]{2})*$", example = "0xd09de08a"))]
        pub data: Option<String>,
        /// Who sends it: the wallet, where it is left out.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<SubmittedBy>, example = "wallet"))]
        pub submitted_by: Option<SubmittedBy>,
        /// The contract that takes the user's authorisation, where the platform is to send it.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(pattern = "^0x[0-9a-fA-F]{40}$", example = json!(null)))]
        pub forwarder: Option<String>,
    }
}

/// Where a call carries its request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RequestIdPlace {
    /// In its function's argument `requestId`.
    Argument,
    /// In 32 bytes behind its arguments.
    Suffix,
}

/// What gas is paid in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeeToken {
    /// What people call it, where that is known of the chain.
    #[cfg_attr(feature = "openapi", schema(required = true, example = "ETH"))]
    pub symbol: Option<String>,
    /// Whether it is the chain's own.
    pub is_native: bool,
    /// Digits behind the point of one of it.
    #[cfg_attr(feature = "openapi", schema(example = 18))]
    pub decimals: u8,
}

/// What the user is to be shown before signing, in each language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Notice {
    /// Which: stable, for programs.
    #[cfg_attr(feature = "openapi", schema(example = "on_failure"))]
    pub code: String,
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// What a user's wallet is to sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PreparedTransaction {
    /// The request: it is in the call.
    pub request_id: Uuid,
    /// Who sends it.
    pub submitted_by: SubmittedBy,
    /// On which chain.
    #[cfg_attr(feature = "openapi", schema(example = 31_337))]
    pub chain_id: u64,
    /// Whose wallet signs.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// Wei that go along.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "0"))]
    pub value_wei: Amount,
    /// Calldata, with the request's id.
    pub data: String,
    /// Where that is.
    pub request_id_in: RequestIdPlace,
    /// The sender's next nonce, behind what waits already; null where a signer of the platform sends it, which gives the nonce then.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub nonce: Option<u64>,
    /// The block at which all this was so.
    pub as_of: BlockRef,
    /// The gas that it needs, as estimated.
    pub gas_estimate: u64,
    /// The gas that it may use.
    pub gas_limit: u64,
    /// The most wei that are offered for a unit of gas.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "30000000000"))]
    pub max_fee_per_gas: Amount,
    /// Of these, for whoever makes the block; null where the chain has one price alone.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<String>, pattern = "^[0-9]{1,78}$"))]
    pub max_priority_fee_per_gas: Option<Amount>,
    /// Why these.
    pub fee_why: String,
    /// The most wei that it may cost whoever pays, gas and value.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "3000000000000000"))]
    pub most_wei: Amount,
    /// What gas is paid in.
    pub fee_token: FeeToken,
    /// What `eth_sendTransaction` or `eth_signTransaction` takes; null where the platform sends it.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>))]
    pub transaction: Option<serde_json::Value>,
    /// The bytes whose Keccak-256 is signed; null where the platform sends it.
    #[cfg_attr(feature = "openapi", schema(required = true, pattern = "^0x([0-9a-f]{2})*$"))]
    pub signing_payload: Option<String>,
    /// What `eth_signTypedData_v4` takes (EIP-712); null where the wallet sends it.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<Object>))]
    pub typed_data: Option<serde_json::Value>,
    /// What the user is to be shown before signing.
    pub notices: Vec<Notice>,
}

/// What an address has in the chain's own token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignerBalance {
    /// Wei.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9]{1,78}$", example = "1000000000000000000"))]
    pub wei: Amount,
    /// The block's number.
    #[cfg_attr(feature = "openapi", schema(example = 19_000_000))]
    pub block_number: u64,
    /// The block's hash.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^0x[0-9a-f]{64}$"))]
    pub block_hash: B256,
}
