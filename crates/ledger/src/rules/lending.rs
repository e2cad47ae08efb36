//! The lending protocol: what users put in, borrow, pay back, lose, and are given.
//!
//! What the collateral manager and the lending engine hold is ours to keep: assets. What users have put in is owed to them, and what they have borrowed is owed to us.

use super::{Rule, RuleLine, Selector};
use crate::account::{AccountClass, AccountType};
use crate::posting::Direction::{Credit, Debit};

const COLLATERAL: &str = "getCollateral(address,address)(uint256)";
const DEBT: &str = "getDebt(address,address)(uint256)";

const CUSTODY: Selector = Selector::Holding { keeper: COLLATERAL };
const LIQUIDITY: Selector = Selector::Holding { keeper: DEBT };
const COLLATERAL_OF_USER: Selector = Selector::Position {
    name: "collateral",
    class: AccountClass::Liability,
    keeper: COLLATERAL,
    user: "user",
};
const DEBT_OF_USER: Selector =
    Selector::Position { name: "debt", class: AccountClass::Asset, keeper: DEBT, user: "user" };
const REWARDS: Selector =
    Selector::Own { name: "rewards paid", account_type: AccountType::Reward, class: AccountClass::Expense };

/// So much of `asset` on one account and off another.
const fn pair(debit: Selector, credit: Selector, entry_type: &'static str) -> [RuleLine; 2] {
    [
        RuleLine { direction: Debit, account: debit, amount: "amount", token: "asset", entry_type },
        RuleLine { direction: Credit, account: credit, amount: "amount", token: "asset", entry_type },
    ]
}

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "lending.deposit",
        version: 1,
        event: "event Deposited(address indexed user, address indexed asset, uint256 amount, bytes32 requestId)",
        operation_type: "deposit",
        lines: &pair(CUSTODY, COLLATERAL_OF_USER, "DEPOSIT"),
    },
    Rule {
        name: "lending.withdraw",
        version: 1,
        event: "event Withdrawn(address indexed user, address indexed asset, uint256 amount, bytes32 requestId)",
        operation_type: "withdraw",
        lines: &pair(COLLATERAL_OF_USER, CUSTODY, "WITHDRAWAL"),
    },
    Rule {
        name: "lending.borrow",
        version: 1,
        event: "event Borrowed(address indexed user, address indexed asset, uint256 amount, bytes32 requestId)",
        operation_type: "borrow",
        lines: &pair(DEBT_OF_USER, LIQUIDITY, "BORROW"),
    },
    Rule {
        name: "lending.repay",
        version: 1,
        event: "event Repaid(address indexed user, address indexed asset, uint256 amount, bytes32 requestId)",
        operation_type: "repay",
        lines: &pair(LIQUIDITY, DEBT_OF_USER, "REPAYMENT"),
    },
    Rule {
        name: "lending.reward",
        version: 1,
        event: "event RewardPaid(address indexed user, address indexed asset, uint256 amount, bytes32 requestId)",
        operation_type: "reward",
        lines: &pair(REWARDS, LIQUIDITY, "REWARD"),
    },
    // The liquidator pays the user's debt and takes the user's collateral for it.
    Rule {
        name: "lending.liquidate",
        version: 1,
        event: "event Liquidated(address indexed user, address indexed debtAsset, address indexed collateralAsset, address liquidator, uint256 repaid, uint256 seized, bytes32 requestId)",
        operation_type: "liquidate",
        lines: &[
            RuleLine {
                direction: Debit,
                account: LIQUIDITY,
                amount: "repaid",
                token: "debtAsset",
                entry_type: "REPAYMENT",
            },
            RuleLine {
                direction: Credit,
                account: DEBT_OF_USER,
                amount: "repaid",
                token: "debtAsset",
                entry_type: "REPAYMENT",
            },
            RuleLine {
                direction: Debit,
                account: COLLATERAL_OF_USER,
                amount: "seized",
                token: "collateralAsset",
                entry_type: "SEIZURE",
            },
            RuleLine {
                direction: Credit,
                account: CUSTODY,
                amount: "seized",
                token: "collateralAsset",
                entry_type: "SEIZURE",
            },
        ],
    },
];
