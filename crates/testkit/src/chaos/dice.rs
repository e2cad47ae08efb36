//! Chance, from a seed.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// A source of chance that gives the same each time.
#[derive(Clone, Debug)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// For one purpose of one seed: what one part of a run throws does not change what another does.
    pub fn new(seed: u64, purpose: u64) -> Self {
        // Any odd constant keeps the purposes of neighbouring seeds apart (Steele et al., SplitMix).
        Self(Xoshiro256PlusPlus::seed_from_u64(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.random()
    }

    /// From 0 to `last`.
    pub fn up_to(&mut self, last: u64) -> u64 {
        self.0.random_range(0..=last)
    }

    /// From `first` to `last`.
    pub fn within(&mut self, first: u64, last: u64) -> u64 {
        self.0.random_range(first..=last)
    }

    /// An index of a list of so many.
    pub fn index(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, chance: u32) -> bool {
        self.0.random_range(0..1000) < chance
    }
}
