//! How often what happened: declared once by each who counts, and added in one way.

/// Counts of several runs.
pub trait Sums: Default {
    /// Adds another run's.
    fn add(&mut self, other: &Self);
}

/// Declares `Counts`: what is summed, of what the most is kept, what has counts of its own, and what is summed by kind.
macro_rules! counts {
    (
        sums { $($(#[$of_sum:meta])* $sum:ident,)* }
        most { $($(#[$of_most:meta])* $most:ident,)* }
        parts { $($(#[$of_part:meta])* $part:ident: $whole:ty,)* }
        kinds { $($(#[$of_kind:meta])* $kind:ident,)* }
    ) => {
        /// How often what happened, in one run or in several.
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Counts {
            $($(#[$of_sum])* pub $sum: u64,)*
            $($(#[$of_most])* pub $most: u64,)*
            $($(#[$of_part])* #[serde(flatten)] pub $part: $whole,)*
            $($(#[$of_kind])* pub $kind: std::collections::BTreeMap<&'static str, u64>,)*
        }

        impl $crate::chaos::counts::Sums for Counts {
            fn add(&mut self, other: &Self) {
                $(self.$sum += other.$sum;)*
                $(self.$most = self.$most.max(other.$most);)*
                $(self.$part.add(&other.$part);)*
                $(
                    for (kind, count) in &other.$kind {
                        *self.$kind.entry(kind).or_default() += count;
                    }
                )*
            }
        }
    };
}

pub(super) use counts;
