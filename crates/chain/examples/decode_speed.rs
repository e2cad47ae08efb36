//! How fast logs are decoded, in megabytes of JSON a second on one core.
//!
//! `cargo run --release -p plimsoll-chain --example decode_speed [logs]`

use std::{fmt::Write, hint::black_box, time::Instant};

use plimsoll_chain::Log;

fn main() {
    let logs: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let mut json = String::from("[");
    for i in 0..logs {
        let separator = if i == 0 { "" } else { "," };
        write!(
            json,
            "{separator}{{\"address\":\"0x{:040x}\",\"topics\":[\"0x{:064x}\",\"0x{:064x}\",\"0x{:064x}\"],\
             \"data\":\"0x{:0256x}\",\"blockHash\":\"0x{:064x}\",\"blockNumber\":\"{:#x}\",\
             \"blockTimestamp\":\"0x6b00a99e\",\"transactionHash\":\"0x{:064x}\",\"transactionIndex\":\"{:#x}\",\
             \"logIndex\":\"{i:#x}\",\"removed\":false}}",
            i % 7,
            0x2a,
            i,
            i / 3,
            i,
            i / 200,
            i / 200,
            i / 2,
            i % 200,
        )
        .expect("writing to a string succeeds");
    }
    json.push(']');

    let megabytes = f64::from(u32::try_from(json.len()).expect("below 4 GB")) / 1e6;
    println!("{logs} logs, {megabytes:.1} MB, {} bytes each", json.len() / logs as usize);
    for _ in 0..5 {
        let started = Instant::now();
        let decoded: Vec<Log> = serde_json::from_str(black_box(&json)).expect("the logs are well formed");
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(black_box(decoded).len(), logs as usize);
        println!("{:.0} MB/s, {:.0} logs/s", megabytes / seconds, f64::from(logs) / seconds);
    }
}
