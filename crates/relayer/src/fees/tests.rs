use alloy_primitives::U256;
use proptest::prelude::*;

use super::*;

const GWEI: u128 = 1_000_000_000;

fn terms(pricing: Pricing) -> Terms {
    Terms {
        pricing,
        urgency: Urgency::Normal,
        min_priority_fee_per_gas: 1,
        max_fee_per_gas: 1_000 * GWEI,
        max_fee_limit: None,
    }
}

/// Blocks with these tips at each percentile; a block without any is empty.
fn market(next_base_fee: u128, tips: &[Option<u128>]) -> FeeMarket {
    FeeMarket::History(FeeHistory {
        oldest_block: 1,
        base_fees: vec![next_base_fee; tips.len()],
        next_base_fee,
        gas_used_ppm: tips.iter().map(|tip| if tip.is_some() { 500_000 } else { 0 }).collect(),
        rewards: tips.iter().map(|tip| tip.map_or(vec![0; 3], |tip| vec![tip / 2, tip, tip * 2])).collect(),
    })
}

fn dynamic(max_fee_per_gas: u128, tip: u128) -> Fees {
    Fees { max_fee_per_gas, max_priority_fee_per_gas: Some(tip) }
}

fn plain(max_fee_per_gas: u128) -> Fees {
    Fees { max_fee_per_gas, max_priority_fee_per_gas: None }
}

#[test]
fn what_is_offered_follows_the_chain() {
    use Pricing::{BaseFee, BaseFeeWithoutTips, GasPrice};
    let busy = market(30 * GWEI, &[Some(GWEI), None, None, Some(3 * GWEI), Some(2 * GWEI)]);
    let empty = market(7, &[None, None]);
    let price = FeeMarket::GasPrice(10 * GWEI);
    let of = |urgency, pricing| Terms { urgency, ..terms(pricing) };
    let capped = |cap| Terms { max_fee_limit: Some(cap), ..terms(BaseFee) };
    for (name, market, terms, expected) in [
        ("twice the base fee and the middle tip", &busy, terms(BaseFee), dynamic(62 * GWEI, 2 * GWEI)),
        ("urgent", &busy, of(Urgency::High, BaseFee), dynamic(64 * GWEI, 4 * GWEI)),
        ("no hurry", &busy, of(Urgency::Low, BaseFee), dynamic(61 * GWEI, GWEI)),
        ("empty blocks tell no tips", &empty, terms(BaseFee), dynamic(15, 1)),
        ("tips buy nothing", &busy, terms(BaseFeeWithoutTips), dynamic(60 * GWEI, 0)),
        ("one price, of a chain with base fees", &busy, terms(GasPrice), plain(32 * GWEI)),
        ("one price", &price, terms(GasPrice), plain(11 * GWEI)),
        ("one price, urgent", &price, of(Urgency::High, GasPrice), plain(13 * GWEI)),
        ("one price, no hurry", &price, of(Urgency::Low, GasPrice), plain(10 * GWEI)),
        ("only a price is known", &price, terms(BaseFee), dynamic(22 * GWEI + 1, 1)),
        ("the request's limit", &busy, capped(40 * GWEI), dynamic(40 * GWEI, 2 * GWEI)),
        ("a limit that leaves no tip", &busy, capped(30 * GWEI), dynamic(30 * GWEI, 2 * GWEI)),
        ("a request's limit above the chain's", &busy, capped(2_000 * GWEI), dynamic(62 * GWEI, 2 * GWEI)),
        (
            "the chain's limit, whatever the request's",
            &busy,
            Terms { max_fee_per_gas: 40 * GWEI, ..capped(50 * GWEI) },
            dynamic(40 * GWEI, 2 * GWEI),
        ),
    ] {
        let offer = offer(market, &terms).unwrap();
        assert_eq!(offer.fees, expected, "{name}: {}", offer.why);
    }
}

#[test]
fn an_offer_says_why() {
    let busy = market(30 * GWEI, &[Some(1_500_000_000)]);
    let terms = Terms { max_fee_limit: Some(40 * GWEI), ..terms(Pricing::BaseFee) };
    assert_eq!(
        offer(&busy, &terms).unwrap().why,
        "the next base fee is 30 gwei, and tips of 1.5 gwei are paid: 40 gwei at most, 1.5 gwei of it as a tip is offered; more than 40 \
         gwei is not allowed"
    );
    let above = offer(&busy, &Terms { max_fee_limit: Some(30 * GWEI - 1), ..terms }).unwrap_err();
    assert_eq!((above.needed, above.cap), (30 * GWEI, 30 * GWEI - 1));
    assert!(above.to_string().contains("takes 30 gwei, and 29.999999999 gwei is the most"), "{above}");
}

#[test]
fn the_least_replacement_is_exactly_a_tenth_more_rounded_up_and_never_the_same() {
    for (old, least) in
        [(0, 1), (1, 2), (9, 10), (10, 11), (11, 13), (100, 110), (101, 112), (GWEI, 1_100_000_000)]
    {
        assert_eq!(least_replacement(dynamic(old, old)), dynamic(least, least), "{old}");
        assert_eq!(least_replacement(plain(old)), plain(least), "{old}");
    }
}

#[test]
fn more_is_offered_only_where_it_helps() {
    let calm = market(10 * GWEI, &[Some(GWEI)]);
    let base = terms(Pricing::BaseFee);
    for (name, old, terms, expected) in [
        (
            "the base fee rose above it",
            dynamic(9 * GWEI, GWEI),
            base,
            Some(dynamic(21 * GWEI, 1_100_000_000)),
        ),
        ("its tip is below what is paid", dynamic(30 * GWEI, GWEI / 2), base, Some(dynamic(33 * GWEI, GWEI))),
        (
            "the base fee leaves too little of its tip",
            dynamic(10 * GWEI + 1, GWEI),
            base,
            Some(dynamic(21 * GWEI, 1_100_000_000)),
        ),
        ("it offers enough", dynamic(11 * GWEI, GWEI), base, None),
        ("tips are not compared", dynamic(10 * GWEI, 0), terms(Pricing::BaseFeeWithoutTips), None),
        (
            "without tips the base fee counts",
            dynamic(9 * GWEI, 0),
            terms(Pricing::BaseFeeWithoutTips),
            Some(dynamic(20 * GWEI, 0)),
        ),
        ("a price below the price", plain(10 * GWEI), terms(Pricing::GasPrice), Some(plain(11 * GWEI))),
        ("a price that is enough", plain(11 * GWEI), terms(Pricing::GasPrice), None),
        ("a plain price stays one", plain(GWEI), base, Some(plain(21 * GWEI))),
    ] {
        match (bump(old, &calm, &terms, None), expected) {
            (Bump::To(offer), Some(expected)) => assert_eq!(offer.fees, expected, "{name}: {}", offer.why),
            (Bump::NoUse { why }, None) => {
                assert!(why.contains("what keeps it is not its fee"), "{name}: {why}");
            }
            (other, expected) => panic!("{name}: {other:?} instead of {expected:?}"),
        }
    }
    let Bump::NoUse { why } = bump(dynamic(11 * GWEI, GWEI), &calm, &base, Some(41)) else {
        panic!("it offers enough")
    };
    assert!(why.contains("it waits for nonce 41"), "{why}");
}

#[test]
fn at_the_cap_it_says_so() {
    let dear = market(50 * GWEI, &[Some(GWEI)]);
    let capped = |cap| Terms { max_fee_limit: Some(cap), ..terms(Pricing::BaseFee) };
    let old = dynamic(40 * GWEI, GWEI);
    // The tenth more alone is too much.
    assert_eq!(
        bump(old, &dear, &capped(44 * GWEI - 1), None),
        Bump::AtCap(AboveCap { needed: 44 * GWEI, cap: 44 * GWEI - 1 })
    );
    // It could be a tenth more, and would still not be included.
    assert_eq!(
        bump(old, &dear, &capped(49 * GWEI), None),
        Bump::AtCap(AboveCap { needed: 51 * GWEI, cap: 49 * GWEI })
    );
    // Somebody who wants it replaced gets it replaced.
    assert_eq!(replacement(old, &dear, &capped(49 * GWEI)).unwrap().fees, dynamic(49 * GWEI, 1_100_000_000));
    // At the cap, and it helps.
    let Bump::To(offer) = bump(old, &dear, &capped(51 * GWEI), None) else { panic!("it helps") };
    assert_eq!(offer.fees, dynamic(51 * GWEI, 1_100_000_000));
    assert!(offer.why.contains("more than 51 gwei is not allowed"), "{}", offer.why);
}

#[test]
fn gas_is_counted_as_the_chain_counts_it() {
    for (name, creates, data, intrinsic, minimum) in [
        ("a transfer", false, vec![], 21_000, 21_000),
        ("zeros", false, vec![0; 10], 21_040, 21_100),
        ("no zeros", false, vec![1; 10], 21_160, 21_400),
        ("both", false, vec![0, 0, 1], 21_024, 21_060),
        ("an empty creation", true, vec![], 53_000, 53_000),
        ("a word of creation code", true, vec![1; 32], 53_514, 53_514),
        ("a word and a byte", true, vec![1; 33], 53_532, 53_532),
        ("large creation code, where the floor counts", true, vec![1; 2_000], 85_126, 101_000),
    ] {
        assert_eq!(intrinsic_gas(creates, &data), intrinsic, "{name}");
        assert_eq!(minimum_gas(creates, &data), minimum, "{name}");
    }
}

#[test]
fn a_gas_limit_has_a_margin_a_floor_and_a_ceiling() {
    use GasError::{TooLow, TooMuch};
    for (asked, estimate, margin, minimum, most, expected) in [
        (None, 100_000, 20, 21_000, 30_000_000, Ok(120_000)),
        (None, 100_001, 20, 21_000, 30_000_000, Ok(120_002)),
        (None, 100_000, 0, 21_000, 30_000_000, Ok(100_000)),
        (None, 21_000, 20, 21_400, 30_000_000, Ok(25_680)),
        (None, 90, 20, 10, 100, Ok(100)),
        (None, 101, 20, 10, 100, Err(TooMuch { needed: 101, most: 100 })),
        (None, 50, 20, 101, 100, Err(TooMuch { needed: 101, most: 100 })),
        (None, u64::MAX, u64::MAX, 0, u64::MAX, Ok(u64::MAX)),
        (Some(50_000), 100_000, 20, 21_000, 30_000_000, Ok(50_000)),
        (Some(20_999), 0, 20, 21_000, 30_000_000, Err(TooLow { limit: 20_999, minimum: 21_000 })),
        (Some(101), 0, 20, 10, 100, Err(TooMuch { needed: 101, most: 100 })),
    ] {
        assert_eq!(gas_limit(asked, estimate, margin, minimum, most), expected, "{asked:?} {estimate}");
    }
}

#[test]
fn the_most_that_it_costs_is_gas_at_the_highest_price_and_what_it_carries() {
    assert_eq!(max_cost_wei(21_000, dynamic(2, 1), U256::from(5)), U256::from(42_005));
    assert!(max_cost_wei(u64::MAX, plain(u128::MAX), U256::ZERO) > U256::from(u128::MAX));
    assert_eq!(max_cost_wei(1, plain(1), U256::MAX), U256::MAX);
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let pricing =
        prop_oneof![Just(Pricing::BaseFee), Just(Pricing::BaseFeeWithoutTips), Just(Pricing::GasPrice)];
    let urgency = prop_oneof![Just(Urgency::Low), Just(Urgency::Normal), Just(Urgency::High)];
    (pricing, urgency, price(), price(), prop::option::of(price())).prop_map(
        |(pricing, urgency, min_priority_fee_per_gas, max_fee_per_gas, max_fee_limit)| Terms {
            pricing,
            urgency,
            min_priority_fee_per_gas,
            max_fee_per_gas,
            max_fee_limit,
        },
    )
}

/// Small ones, where rounding shows, common ones, and any.
fn price() -> impl Strategy<Value = u128> {
    prop_oneof![4 => 0..300_u128, 4 => 0..1_000 * GWEI, 1 => any::<u128>()]
}

fn any_market() -> impl Strategy<Value = FeeMarket> {
    let history = (price(), prop::collection::vec(prop::option::of(0..50 * GWEI), 0..6))
        .prop_map(|(base, tips)| market(base, &tips));
    prop_oneof![4 => history, 1 => price().prop_map(FeeMarket::GasPrice)]
}

/// The fees of a transaction that a pool may hold: its tip is no more than all of it.
fn any_fees() -> impl Strategy<Value = Fees> {
    (price(), prop::option::of(price())).prop_map(|(max_fee_per_gas, tip)| Fees {
        max_fee_per_gas,
        max_priority_fee_per_gas: tip.map(|tip| tip.min(max_fee_per_gas)),
    })
}

/// geth `core/txpool/legacypool/list.go`, `list.Add`: both must be higher, and reach `old * 110 / 100`.
fn geth_takes(old: Fees, new: Fees) -> bool {
    let reaches = |old: u128, new: u128| {
        let threshold = U256::from(old) * U256::from(110) / U256::from(100);
        new > old && U256::from(new) >= threshold
    };
    reaches(old.max_fee_per_gas, new.max_fee_per_gas) && reaches(old.tip(), new.tip())
}

proptest! {
    #[test]
    fn an_offer_is_below_the_cap_and_can_be_included(market in any_market(), terms in any_terms()) {
        match offer(&market, &terms) {
            Ok(Offer { fees, .. }) => {
                prop_assert!(fees.max_fee_per_gas <= terms.cap());
                prop_assert!(fees.tip() <= fees.max_fee_per_gas);
                if let (FeeMarket::History(history), Pricing::BaseFee | Pricing::BaseFeeWithoutTips) = (&market, terms.pricing) {
                    prop_assert!(fees.tip_over(history.next_base_fee).is_some());
                }
            }
            Err(above) => prop_assert!(above.needed > above.cap && above.cap == terms.cap()),
        }
    }

    #[test]
    fn an_offer_rises_with_base_fee_cap_and_urgency(
        base in price(), more in price(), tip in 0..50 * GWEI, terms in any_terms(), higher in price(),
    ) {
        let of = |base, terms: &Terms| offer(&market(base, &[Some(tip)]), terms).ok().map(|offer| offer.fees);
        let fees = of(base, &terms);
        if let (Some(before), Some(after)) = (fees, of(base.saturating_add(more), &terms)) {
            prop_assert!(after.max_fee_per_gas >= before.max_fee_per_gas);
        }
        let looser = Terms {
            max_fee_per_gas: terms.max_fee_per_gas.max(higher), max_fee_limit: terms.max_fee_limit.map(|limit| limit.max(higher)), ..terms
        };
        if let Some(before) = fees {
            let after = of(base, &looser).expect("what was allowed still is");
            prop_assert!(after.max_fee_per_gas >= before.max_fee_per_gas && after.tip() >= before.tip());
        }
        let of_urgency = |urgency| of(base, &Terms { urgency, ..terms }).map(|fees| fees.tip());
        if let (Some(low), Some(high)) = (of_urgency(Urgency::Low), of_urgency(Urgency::High)) {
            prop_assert!(high >= low);
        }
    }

    #[test]
    fn a_bump_is_taken_by_gethss_rule_helps_and_is_below_the_cap_or_is_not_made(
        old in any_fees(), market in any_market(), terms in any_terms(), behind in prop::option::of(0..9_u64),
    ) {
        match bump(old, &market, &terms, behind) {
            Bump::To(Offer { fees, .. }) => {
                prop_assert!(fees.max_fee_per_gas <= terms.cap());
                prop_assert!(fees.tip() <= fees.max_fee_per_gas);
                prop_assert_eq!(fees.max_priority_fee_per_gas.is_some(), old.max_priority_fee_per_gas.is_some());
                if terms.pricing == Pricing::BaseFeeWithoutTips && old.max_priority_fee_per_gas.is_some() {
                    prop_assert_eq!(fees.tip(), old.tip());
                } else {
                    prop_assert!(geth_takes(old, fees), "{} after {}", fees, old);
                }
                if let FeeMarket::History(history) = &market {
                    prop_assert!(fees.tip_over(history.next_base_fee).is_some());
                }
            }
            Bump::NoUse { why } => {
                prop_assert!(!why.is_empty());
                if let FeeMarket::History(history) = &market {
                    prop_assert!(old.tip_over(history.next_base_fee).is_some(), "it cannot be included, and is let wait");
                }
            }
            Bump::AtCap(above) => prop_assert!(above.needed > above.cap && above.cap == terms.cap(), "{:?}", above),
        }
    }

    #[test]
    fn who_was_bumped_is_not_bumped_again_while_nothing_changes(old in any_fees(), base in 0..1_000 * GWEI, tip in 0..50 * GWEI, pricing in any_terms()) {
        let terms = Terms { max_fee_per_gas: u128::MAX, max_fee_limit: None, min_priority_fee_per_gas: 1, ..pricing };
        let market = market(base, &[Some(tip)]);
        if let Bump::To(offer) = bump(old, &market, &terms, None) {
            let again = bump(offer.fees, &market, &terms, None);
            prop_assert!(matches!(again, Bump::NoUse { .. }), "{:?}", again);
        }
    }

    #[test]
    fn a_gas_limit_is_never_below_what_it_needs_nor_above_what_there_is(
        asked in prop::option::of(any::<u64>()), estimate in any::<u64>(), margin in 0..500_u64, minimum in any::<u64>(), most in any::<u64>(),
    ) {
        if let Ok(limit) = gas_limit(asked, estimate, margin, minimum, most) {
            prop_assert!(limit >= minimum && limit <= most);
            prop_assert!(asked.is_none_or(|asked| asked == limit));
            prop_assert!(asked.is_some() || limit >= estimate);
        }
    }

    #[test]
    fn the_minimum_is_never_below_the_intrinsic_gas(creates in any::<bool>(), data in prop::collection::vec(any::<u8>(), 0..300)) {
        let minimum = minimum_gas(creates, &data);
        prop_assert!(minimum >= intrinsic_gas(creates, &data) && minimum >= 21_000 + 10 * data.len() as u64);
    }
}

#[test]
fn one_transaction_may_not_fill_a_block_of_ethereum() {
    assert_eq!(most_gas(1, 60_000_000), 16_777_216);
    assert_eq!(most_gas(1, 10_000_000), 10_000_000);
    assert_eq!(most_gas(42_161, 1 << 50), 1 << 50);
    let most = most_gas(1, 60_000_000);
    assert_eq!(gas_limit(None, 15_000_000, 20, 21_000, most), Ok(16_777_216));
    assert_eq!(
        gas_limit(Some(16_777_217), 0, 20, 21_000, most),
        Err(GasError::TooMuch { needed: 16_777_217, most })
    );
}
