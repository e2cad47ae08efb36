//! The words by which nodes refuse a transaction.
//!
//! Sources: geth `core/txpool/errors.go`, `core/txpool/validation.go`, `core/txpool/legacypool`, `core/error.go`, `internal/ethapi`; reth
//! `rpc-eth-types/src/error` and `transaction-pool/src/error.rs`; Erigon `txnprovider/txpool/txpoolcfg`; Nethermind `AcceptTxResult.cs` (its
//! names, up to 2025) and `TxPoolErrorMessages.cs` (its phrases since); Besu `RpcErrorType.java`; Nitro `execution/gethexec/sequencer.go`;
//! Anvil `anvil/src/eth/error.rs`; Hardhat and ethereumjs; for `OpenEthereum`, Arbitrum Classic, zkSync and others what Chainlink collected
//! (`core/chains/evm/client/errors_test.go`) and `CoW` Protocol (`solver/src/settlement_submission`).

use super::SendAnswer::{
    self, AlreadyKnown, ExceedsBlockGasLimit, FeeAboveNodeLimit, FeeBelowBase, Forbidden, InsufficientFunds,
    IntrinsicGasTooLow, Malformed, NonceTooHigh, NonceTooLow, PoolFull, ReplacementUnderpriced, Reverted,
    SenderLimit, TooLarge, Unavailable, Underpriced, UnsupportedType, WrongChain,
};

const LOW: SendAnswer = NonceTooLow { next: None };
const HIGH: SendAnswer = NonceTooHigh { next: None };

/// In lower case, looked for anywhere in the text where a word begins; the first that is found counts.
pub(super) const SPELLINGS: &[(&str, SendAnswer)] = &[
    // First, because a contract's reason may say anything at all.
    ("execution reverted", Reverted),
    ("vm exception while processing transaction", Reverted),
    ("vm execution error", Reverted),
    // Before "known" and "too low" alone could be meant.
    ("authority nonce too low", Malformed),
    ("already known", AlreadyKnown),
    ("alreadyknown", AlreadyKnown),
    ("known transaction", AlreadyKnown),
    ("already imported", AlreadyKnown),
    ("alreadyimported", AlreadyKnown),
    ("already in mempool", AlreadyKnown),
    ("already in the mempool", AlreadyKnown),
    ("already in the pool", AlreadyKnown),
    ("already exists in the pool", AlreadyKnown),
    ("existing tx with same hash", AlreadyKnown),
    ("existing txn with same hash", AlreadyKnown),
    // What has used the nonce is for the chain to say.
    ("nonce too low", LOW),
    ("nonce is too low", LOW),
    ("oldnonce", LOW),
    ("pool(stale)", LOW),
    ("invalid transaction nonce", LOW),
    ("nonce has already been used", LOW),
    ("nonce already used", LOW),
    ("already mined", LOW),
    ("already finalized", LOW),
    ("nonce has max value", Malformed),
    ("nonce too high", HIGH),
    ("nonce is too high", HIGH),
    ("noncegap", HIGH),
    ("nonce gap", HIGH),
    ("gapped-nonce", HIGH),
    ("gapped nonce", HIGH),
    ("nonce too far in future", HIGH),
    ("noncetoofarinfuture", HIGH),
    ("too distant from current sender nonce", HIGH),
    ("too far in future for sender", HIGH),
    ("transaction with a lower nonce exists", HIGH),
    // Of a transaction with the same nonce, before what is said of prices in general.
    ("replacement transaction underpriced", ReplacementUnderpriced),
    ("replacementnotallowed", ReplacementUnderpriced),
    ("replacement not allowed", ReplacementUnderpriced),
    ("to replace existing transaction", ReplacementUnderpriced),
    ("could not replace existing", ReplacementUnderpriced),
    ("replaced by transaction with higher tip", ReplacementUnderpriced),
    ("another tx which has the same nonce", ReplacementUnderpriced),
    ("another transaction with same nonce", ReplacementUnderpriced),
    // Before "too low" and "cap" could be meant otherwise.
    ("less than block base fee", FeeBelowBase),
    ("below current base fee", FeeBelowBase),
    ("maxfeepergas too low", FeeBelowBase),
    ("is lower than the current base fee", FeeBelowBase),
    ("too low for the next block, which has a basefeepergas", FeeBelowBase),
    ("exceeds the configured cap", FeeAboveNodeLimit),
    ("transaction fee cap exceeded", FeeAboveNodeLimit),
    ("dropped due to limit", PoolFull),
    ("txpool is full", PoolFull),
    ("tx pool is full", PoolFull),
    ("sub-pool is full", PoolFull),
    ("tx pool full", PoolFull),
    ("queue full", PoolFull),
    ("pool size constraints", PoolFull),
    ("future transaction tries to replace pending", PoolFull),
    ("l2 congestion", PoolFull),
    ("account limit exceeded", SenderLimit),
    ("in-flight transaction limit", SenderLimit),
    ("address already reserved", SenderLimit),
    ("authority already reserved", SenderLimit),
    ("conflicts with existing transaction", SenderLimit),
    ("pending transaction type conflict", SenderLimit),
    ("pendingtxsofconflictingtype", SenderLimit),
    ("delegation authority has pending transaction", SenderLimit),
    ("spammer", SenderLimit),
    ("insufficient funds", InsufficientFunds),
    ("insufficientfunds", InsufficientFunds),
    ("insufficient balance", InsufficientFunds),
    ("enough funds", InsufficientFunds),
    ("upfront cost exceeds account balance", InsufficientFunds),
    ("cause overdraft", InsufficientFunds),
    ("overdraws from account", InsufficientFunds),
    ("intrinsic gas too low", IntrinsicGasTooLow),
    ("intrinsic gas exceeds gas limit", IntrinsicGasTooLow),
    ("intrinsicgas", IntrinsicGasTooLow),
    ("floor data gas", IntrinsicGasTooLow),
    ("gas floor", IntrinsicGasTooLow),
    ("not enough gas to cover minimal cost", IntrinsicGasTooLow),
    ("base fee exceeds gas limit", IntrinsicGasTooLow),
    ("transaction requires at least", IntrinsicGasTooLow),
    ("exceeds block gas limit", ExceedsBlockGasLimit),
    ("exceeds block's gas limit", ExceedsBlockGasLimit),
    ("exceeds the block gas limit", ExceedsBlockGasLimit),
    ("greater than the block gas limit", ExceedsBlockGasLimit),
    ("exceeds max transaction gas limit", ExceedsBlockGasLimit),
    ("exceeds transaction gas cap", ExceedsBlockGasLimit),
    ("intrinsic gas too high", ExceedsBlockGasLimit),
    ("gas limit too high", ExceedsBlockGasLimit),
    ("gas limit is too high", ExceedsBlockGasLimit),
    ("gaslimitexceeded", ExceedsBlockGasLimit),
    // With "gas limit reached", by which geth means a block that is full.
    ("gas limit of rejected tx", ExceedsBlockGasLimit),
    ("supplied gas is beyond limit", ExceedsBlockGasLimit),
    ("exceeds current gas limit", ExceedsBlockGasLimit),
    ("oversized data", TooLarge),
    ("rlptoolong", TooLarge),
    ("transaction too large", TooLarge),
    ("transaction is too big", TooLarge),
    ("maxtxsizeexceeded", TooLarge),
    ("input data too large", TooLarge),
    ("initcode size exceeded", TooLarge),
    ("initcode too large", TooLarge),
    ("exceeds max_init_code_size", TooLarge),
    // Before "invalid sender", with which geth begins this.
    ("invalid chain id", WrongChain),
    ("invalid chainid", WrongChain),
    ("wrong chainid", WrongChain),
    ("wrong chain id", WrongChain),
    ("chainid not supported", WrongChain),
    ("chainid is required", WrongChain),
    ("chain id mismatch", WrongChain),
    ("signed for another chain", WrongChain),
    ("(eip-155) transactions allowed", WrongChain),
    ("transaction type not supported", UnsupportedType),
    ("unsupported transaction type", UnsupportedType),
    ("invalid transaction type", UnsupportedType),
    ("notsupportedtxtype", UnsupportedType),
    ("unknown transaction type", UnsupportedType),
    ("is not activated yet", UnsupportedType),
    ("not supported by the current hardfork", UnsupportedType),
    ("pool not yet in", UnsupportedType),
    // What is left of prices.
    ("underpriced", Underpriced),
    ("fee too low", Underpriced),
    ("feetoolow", Underpriced),
    ("gas price too low", Underpriced),
    ("gas price is too low", Underpriced),
    ("gas price supplied is too low", Underpriced),
    ("gas price below", Underpriced),
    ("below minimum required priority fee", Underpriced),
    ("below chain minimum", Underpriced),
    ("unacceptable gas price", Underpriced),
    ("not an eoa", Forbidden),
    ("sender is a contract", Forbidden),
    ("senderiscontract", Forbidden),
    ("can't start a transaction from a non-account", Forbidden),
    ("not authorized to send", Forbidden),
    ("not on the whitelist", Forbidden),
    ("is not permitted", Forbidden),
    ("is banned in", Forbidden),
    ("forbidden sender", Forbidden),
    ("in blacklist", Forbidden),
    ("plugin has marked the transaction as invalid", Forbidden),
    ("node is syncing", Unavailable),
    ("sync is still in progress", Unavailable),
    ("transaction pool not enabled", Unavailable),
    ("sequencer temporarily not available", Unavailable),
    ("please retry transaction", Unavailable),
    ("invalid sender", Malformed),
    ("invalid signature", Malformed),
    ("invalid transaction signature", Malformed),
    ("invalid transaction v, r, s", Malformed),
    ("failed to recover", Malformed),
    ("failedtoresolvesender", Malformed),
    ("failed to decode", Malformed),
    ("rlp:", Malformed),
    ("invalid rlp", Malformed),
    ("rlp data", Malformed),
    ("typed transaction too short", Malformed),
    ("transaction data is empty", Malformed),
    ("empty transaction data", Malformed),
    ("empty raw transaction", Malformed),
    ("invalid message format", Malformed),
    ("cannot unmarshal", Malformed),
    ("negative value", Malformed),
    ("uint64 overflow", Malformed),
    ("gasuintoverflow", Malformed),
    ("int256overflow", Malformed),
    ("transaction cost overflow", Malformed),
    ("higher than max fee per gas", Malformed),
    ("exceeds max fee per gas", Malformed),
    ("greater than `max_fee_per_gas`", Malformed),
    ("higher than 2^", Malformed),
    ("transaction invalid", Malformed),
    ("invalid transaction params", Malformed),
];

/// Words that count only where they are all that is said.
const WHOLE: &[(&str, SendAnswer)] = &[("mined", LOW), ("invalid", Malformed)];

/// What comes before the sender's next nonce.
const NEXT_NONCE: &[&str] =
    &["next nonce ", "state: ", "current nonce: ", "current nonce (", "expected nonce: "];

/// What the text means; none if nobody knows.
pub(super) fn read(text: &str) -> Option<SendAnswer> {
    let text = text.to_ascii_lowercase();
    let part = || SPELLINGS.iter().find(|(words, _)| says(&text, words));
    let whole = || WHOLE.iter().find(|(words, _)| text.trim_matches(['"', ' ', '.']) == *words);
    let (_, answer) = part().or_else(whole)?;
    Some(match answer {
        NonceTooLow { .. } => NonceTooLow { next: next_nonce(&text) },
        NonceTooHigh { .. } => NonceTooHigh { next: next_nonce(&text) },
        other => *other,
    })
}

/// Whether the words are there, as words: an "unknown transaction" is no known transaction.
pub(super) fn says(text: &str, words: &str) -> bool {
    let begins = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
    text.match_indices(words).any(|(at, _)| begins(at))
}

fn next_nonce(text: &str) -> Option<u64> {
    let after = NEXT_NONCE.iter().find_map(|label| Some(text.split_once(label)?.1))?;
    let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().ok()
}
