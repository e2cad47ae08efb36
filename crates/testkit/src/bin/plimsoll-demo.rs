//! Plimsoll at work on a chain of its own; see `plimsoll_testkit::demo`.

use std::process::ExitCode;

use clap::Parser as _;
use plimsoll_testkit::demo::{Options, run};

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(summary)) => {
            println!("{}", summary.text());
            if summary.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("plimsoll-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
