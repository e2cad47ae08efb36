//! How the demo is run.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;

/// Runs Plimsoll against a chain of its own with realistic traffic, shows what happens, and judges the outcome.
///
/// Without --for it runs until Ctrl-C, and the next start goes on where it ended. With --for it runs unattended, compares everything with
/// the chain itself, and ends with 1 when anything disagrees.
#[derive(Debug, Parser)]
#[command(name = "plimsoll-demo", max_term_width = 100)]
pub struct Options {
    /// The plimsoll program
    #[arg(long, value_name = "FILE")]
    pub plimsoll: PathBuf,
    /// The Anvil program [default: PLIMSOLL_ANVIL, else where `cargo xtask setup` puts it]
    #[arg(long, value_name = "FILE")]
    pub anvil: Option<PathBuf>,
    /// Where the chain and the database are kept between runs
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Run unattended for this long, then verify: `60s`, `5m`
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<Span>,
    /// Write the closing summary here, as JSON
    #[arg(long, value_name = "FILE", requires = "duration")]
    pub json: Option<PathBuf>,
    /// The seed of the traffic
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Time between blocks
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub block_time: Span,
    /// Time between reorganisations
    #[arg(long, value_name = "DURATION", default_value = "20s")]
    pub reorg_every: Span,
    /// Print lines instead of one screen, as when the output is no terminal
    #[arg(long)]
    pub plain: bool,
}

/// A duration on the command line: a whole number and `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let wanted =
            || format!("`{text}` is no duration: write a whole number and a unit, as 250ms, 60s, 5m or 1h");
        let number: u64 = number.parse().map_err(|_| wanted())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wanted()),
        };
        match number.checked_mul(millis) {
            None | Some(0) => Err(wanted()),
            Some(millis) => Ok(Self(Duration::from_millis(millis))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!("250ms".parse(), Ok(Span(Duration::from_millis(250))));
        assert_eq!("60s".parse(), Ok(Span(Duration::from_secs(60))));
        assert_eq!("2h".parse(), Ok(Span(Duration::from_secs(7_200))));
        for text in
            ["", "s", "60", "-1s", "0s", "1.5s", "10 s", "99999999999999999999s", "9999999999999999999h"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
