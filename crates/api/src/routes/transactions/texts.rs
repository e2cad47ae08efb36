//! What a user is shown before signing (spec 2 §2.4), in both languages of the console.

use plimsoll_types::api::{FeeToken, Notice, SubmittedBy};

/// Chains whose gas is paid in ether.
const ETHER: [u64; 11] =
    [1, 10, 8453, 42_161, 42_170, 59_144, 534_352, 11_155_111, 11_155_420, 84_532, 421_614];
/// Development nodes.
const LOCAL: [u64; 2] = [1337, 31_337];

/// What gas is paid in.
pub(super) fn fee_token(chain_id: u64) -> FeeToken {
    let symbol = match chain_id {
        id if ETHER.contains(&id) || LOCAL.contains(&id) => Some("ETH"),
        137 | 80_002 => Some("POL"),
        56 | 97 => Some("BNB"),
        43_114 | 43_113 => Some("AVAX"),
        100 => Some("xDAI"),
        _ => None,
    };
    FeeToken { symbol: symbol.map(str::to_owned), is_native: true, decimals: 18 }
}

/// What is to be shown.
pub(super) fn notices(submitted_by: SubmittedBy) -> Vec<Notice> {
    let notice = |code: &str, en: &str, zh: &str| Notice { code: code.into(), en: en.into(), zh: zh.into() };
    let submission = match submitted_by {
        SubmittedBy::Platform => notice(
            "platform_submits",
            "The platform submits this for you and pays the gas. You sign an authorisation, not a transaction; nothing is taken from your wallet for gas.",
            "此交易由平台替你提交，gas 费用由平台支付。你签署的是授权而不是交易，不会从你的钱包扣除 gas。",
        ),
        SubmittedBy::Wallet => notice(
            "you_pay",
            "You sign this transaction and pay its gas, at most the amount shown, in the chain's own token. If you hand the signed transaction in here, the platform sends it for you as it is.",
            "此交易由你签名，并由你以链的原生代币支付 gas，最多为所示金额。如果你把签名后的交易交给平台，平台会原样替你发送。",
        ),
    };
    let failure = match submitted_by {
        SubmittedBy::Platform => notice(
            "on_failure",
            "If it fails, everything it did on chain is undone and you pay nothing. The authorisation is good once, for this request alone, and only until its deadline.",
            "如果失败，它在链上所做的一切都会回滚，你无需支付任何费用。该授权仅对本次请求有效一次，且仅在截止时间之前有效。",
        ),
        SubmittedBy::Wallet => notice(
            "on_failure",
            "If it fails, everything it did on chain is undone, but the gas that it used is paid. Until a block has its nonce it can still happen; to give it up, send another transaction with the same nonce.",
            "如果失败，它在链上所做的一切都会回滚，但已消耗的 gas 仍需支付。在其 nonce 被区块占用之前，它仍可能执行；若要放弃，请用相同的 nonce 发送另一笔交易。",
        ),
    };
    let request = notice(
        "request_id",
        "The request's id is part of what you sign: it is how this transaction is found again, and why it counts once.",
        "请求编号（request_id）是签名内容的一部分：凭它可以再次找到这笔交易，也保证它只计一次。",
    );
    vec![submission, failure, request]
}
