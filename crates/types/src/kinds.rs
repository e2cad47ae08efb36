use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that is none of an enumeration's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not {what}: one of {names}")]
pub struct UnknownName {
    given: String,
    what: &'static str,
    names: String,
}

/// An enumeration that Rust, Postgres (an enum type), JSON and metrics spell the same way.
macro_rules! named {
    (#[doc = $about:literal] $type:ident, $pg:literal, $what:literal { $($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        #[doc = $about]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "postgres", derive(sqlx::Type), sqlx(type_name = $pg))]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $name)] #[cfg_attr(feature = "postgres", sqlx(rename = $name))] $variant,)+
        }

        impl $type {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in Postgres, JSON and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        // Written out: a derivation does not see through the macro, and would show the variants' Rust names.
        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some($about.trim()))
                    .enum_values(Some(Self::ALL.iter().map(|value| value.as_str())))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $type {}

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| UnknownName {
                    given: text.chars().take(100).collect(),
                    what: $what,
                    names: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named!(
    /// What a journal record says (design: the journal).
    JournalKind, "journal_kind", "a journal kind" {
        /// A log is on the canonical chain.
        Append = "append",
        /// A transaction of a watched sender is in a block.
        Included = "included",
        /// Everything wanted up to and including this block is above.
        Block = "block",
        /// The record referred to left the canonical chain.
        Retract = "retract",
        /// The block reached the chain's confirmation depth.
        Confirm = "confirm",
        /// The chain calls the block final.
        Finalize = "finalize",
        /// A log of a final block comes late: what the journal has of later blocks stands before it. Newest block first; never taken back.
        LateAppend = "late_append",
        /// A transaction of a watched sender in a final block comes late.
        LateIncluded = "late_included",
    }
);

impl JournalKind {
    /// Whether it is history that comes late.
    #[must_use]
    pub fn is_late(self) -> bool {
        matches!(self, Self::LateAppend | Self::LateIncluded)
    }
}

named!(
    /// How sure a block is.
    BlockState, "block_state", "a block state" {
        /// On the canonical chain as we see it.
        Seen = "seen",
        /// At the confirmation depth.
        Confirmed = "confirmed",
        /// Final: never undone.
        Final = "final",
        /// No longer on the canonical chain.
        Orphaned = "orphaned",
    }
);

named!(
    /// How it is known that what was asked for of a block is all there and as it was emitted (design: chain, ingest).
    Completeness, "completeness_level", "a completeness level" {
        /// By the endpoint's word. For chains whose headers are not made as Ethereum's.
        Trusted = "trusted",
        /// The header has its hash, the logs are in the header's bloom, and where the bloom may have more, the receipts are asked for as long as
        /// that is seldom. What the bloom cannot show: that one of several logs of a contract is missing from a block.
        Bloom = "bloom",
        /// The receipts of every block whose bloom may have logs of interest give the header's `receiptsRoot`.
        Receipts = "receipts",
    }
);

named!(
    /// Which view an event concerns (spec 1 §4.2 `view_kind`, with the views of §5.4 that it has no word for).
    ViewKind, "view_kind", "a view kind" {
        /// User positions.
        Position = "position",
        /// Other per-user data.
        User = "user",
        /// Risk.
        Risk = "risk",
        /// System statistics.
        Statistics = "statistics",
        /// Per-asset statistics.
        AssetStats = "asset_stats",
        /// Health factors and module health.
        Health = "health",
        /// System snapshots.
        System = "system",
        /// Permissions and levels.
        Permission = "permission",
        /// The fee router's data trail.
        Fee = "fee",
        /// History records.
        History = "history",
        /// No declared view.
        Unknown = "unknown",
    }
);

named!(
    /// What a fold did with an event (spec 1 §4.2 `apply_status`).
    ApplyStatus, "apply_status", "an apply status" {
        /// It changed the mirror.
        Applied = "applied",
        /// It is known and changes nothing.
        Ignored = "ignored",
        /// The mirror had it already.
        Duplicate = "duplicate",
        /// It breaks a rule, or was taken back; `reject_code` says which.
        Rejected = "rejected",
        /// It could not be understood; an operator passed over it.
        Error = "error",
    }
);

named!(
    /// What became of a router's push (spec 1 §5.2).
    PushOutcome, "push_outcome", "a push outcome" {
        /// The position view wrote a version.
        Applied = "applied",
        /// The position view had this request already.
        Ignored = "ignored",
        /// The position view refused it.
        Failed = "failed",
        /// The transaction holds no answer to it.
        Unmatched = "unmatched",
    }
);

named!(
    /// How far a backfill that was asked for has come.
    BackfillState, "backfill_state", "a backfill's state" {
        /// It waits for the chain's writer.
        Queued = "queued",
        /// The chain's writer works it off.
        Running = "running",
        /// It found as much as it was to find at most, and can be resumed.
        Limited = "limited",
        /// Every block of it was looked at.
        Done = "done",
        /// An operator stopped it; it can be resumed.
        Cancelled = "cancelled",
        /// It cannot go on as things are; it can be resumed.
        Failed = "failed",
    }
);

impl BackfillState {
    /// Whether the chain's writer works it off, or will.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

named!(
    /// Where a managed transaction stands (spec 3 tasks 3.1 to 3.3).
    TransactionState, "transaction_state", "a transaction's state" {
        /// Accepted; it has no nonce, and nothing of it can have left the building.
        Pending = "pending",
        /// It has a nonce, and an attempt was committed: it may be with any node.
        Tracking = "tracking",
        /// An attempt of ours is in a block of the canonical chain.
        Mined = "mined",
        /// It succeeded, and its block is as deep as the chain's confirmations ask.
        Confirmed = "confirmed",
        /// It has no effect: it was refused before it had a nonce, or it reverted in a final block.
        Failed = "failed",
        /// Another transaction took its nonce in a final block.
        Replaced = "replaced",
        /// Somebody called it off, and it has no effect.
        Cancelled = "cancelled",
        /// Its time was over before it was sent, or it was called off for that.
        Expired = "expired",
    }
);

impl TransactionState {
    /// Whether nothing is done for it any more. [`Self::Confirmed`] is revised, loudly, should a deeper reorganisation prove it wrong.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed | Self::Replaced | Self::Cancelled | Self::Expired)
    }
}

named!(
    /// What an attempt is for.
    AttemptPurpose, "attempt_purpose", "an attempt's purpose" {
        /// What was asked for, for the first time.
        Send = "send",
        /// The same once more, with a better offer for its gas.
        Bump = "bump",
        /// Nothing, at the same nonce, so that what was asked for cannot happen any more.
        Cancel = "cancel",
        /// Nothing, at a nonce that nothing else has.
        Fill = "fill",
    }
);

named!(
    /// Who says why a transaction reverts, or did.
    RevertSource, "revert_source", "a source of a revert's reason" {
        /// The node that estimated its gas, before it had a nonce.
        Estimate = "estimate",
        /// The node that ran it before it had a nonce.
        Simulation = "simulation",
        /// A node that ran its block's transactions again up to it: that very failure.
        Trace = "trace",
        /// A node that ran the same call on the state before its block: what came before it in that block may have mattered.
        Replay = "replay",
        /// Nobody could tell.
        Nobody = "nobody",
    }
);

named!(
    /// What an account is for (spec 5 §4.4.1, and more).
    AccountType, "account_type", "an account's type" {
        /// What a strategy holds.
        Strategy = "STRATEGY",
        /// What a protocol holds for us.
        Protocol = "PROTOCOL",
        /// What gas is paid from.
        Gas = "GAS",
        /// What a user has with us.
        User = "USER",
        /// The platform's own.
        Platform = "PLATFORM",
        /// Rewards.
        Reward = "REWARD",
        /// What is not explained yet.
        Suspense = "SUSPENSE",
    }
);

named!(
    /// Where an account stands in the balance sheet, and on which side it is.
    AccountClass, "account_class", "an account's class" {
        /// What is had: normally a debit balance.
        Asset = "asset",
        /// What is owed: normally a credit balance, as are equity and income.
        Liability = "liability",
        /// What is one's own.
        Equity = "equity",
        /// What was earned.
        Income = "income",
        /// What was spent: normally a debit balance.
        Expense = "expense",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_an_unknown_one_lists_the_known() {
        for kind in ViewKind::ALL {
            assert_eq!(kind.as_str().parse::<ViewKind>().unwrap(), *kind);
        }
        let error = "nope".parse::<ApplyStatus>().unwrap_err().to_string();
        assert!(error.contains("applied, ignored, duplicate, rejected, error"), "{error}");
    }

    #[cfg(feature = "openapi")]
    #[test]
    fn a_schema_lists_what_json_spells() {
        fn agree<T: utoipa::ToSchema + Serialize>(all: &[T]) {
            let schema = serde_json::to_value(T::schema()).unwrap();
            assert_eq!((&schema["type"], &schema["enum"]), (&"string".into(), &serde_json::json!(all)));
            let about = schema["description"].as_str().unwrap();
            assert!(about.ends_with('.') && about.trim() == about, "{about}");
            assert!(std::any::type_name::<T>().ends_with(&*T::name()), "{}", T::name());
        }
        agree(JournalKind::ALL);
        agree(BlockState::ALL);
        agree(Completeness::ALL);
        agree(ViewKind::ALL);
        agree(ApplyStatus::ALL);
        agree(PushOutcome::ALL);
        agree(BackfillState::ALL);
        agree(TransactionState::ALL);
        agree(AttemptPurpose::ALL);
        agree(RevertSource::ALL);
        agree(AccountType::ALL);
        agree(AccountClass::ALL);
    }
}
