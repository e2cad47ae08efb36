//! What a client sees of an endpoint in each of its troubles, before a real node.

use alloy_primitives::{Address, Bytes};
use serde_json::json;

use super::*;
use crate::anvil::{Anvil, AnvilOptions};
use crate::node::Call;

struct House {
    node: Anvil,
    proxy: Proxy,
    client: reqwest::Client,
}

/// What a client sees.
#[derive(Debug, PartialEq)]
enum Seen {
    Answer(Value),
    Refused(u16),
    Nonsense,
    Nothing,
}

impl House {
    async fn new() -> Self {
        let node = Anvil::start(&AnvilOptions::default()).await.unwrap();
        let proxy = Proxy::start(7, 0, node.url(), Arc::default()).await.unwrap();
        Self { node, proxy, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn ask(&self, question: &Value) -> Seen {
        let sent = self.client.post(self.proxy.url()).body(question.to_string()).send().await;
        let Ok(response) = sent else { return Seen::Nothing };
        let status = response.status();
        if !status.is_success() {
            return Seen::Refused(status.as_u16());
        }
        match response.bytes().await {
            Ok(body) => serde_json::from_slice(&body).map_or(Seen::Nonsense, Seen::Answer),
            Err(_) => Seen::Nothing,
        }
    }

    async fn height(&self) -> Seen {
        self.ask(&request(1, "eth_blockNumber", &json!([]))).await
    }

    /// What is said once it is not the answer any more.
    async fn refusal(&self) -> Seen {
        loop {
            match self.height().await {
                Seen::Answer(_) => {}
                refusal => return refusal,
            }
        }
    }
}

fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn answer(id: u64, result: &Value) -> Seen {
    Seen::Answer(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

#[tokio::test]
async fn an_endpoint_in_trouble_says_what_its_trouble_says_and_all_of_it_when_it_is_calm() {
    let house = House::new().await;
    house.node.mine(3).await.unwrap();
    for trouble in Trouble::ALL {
        house.proxy.trouble(trouble, 1_000);
        for _ in 0..6 {
            let told = match trouble {
                // It would be silent for as long as it is asked.
                Trouble::Mute => continue,
                // Sooner or later too much is asked within a second.
                Trouble::Limited => house.refusal().await,
                _ => house.height().await,
            };
            let is_right = match trouble {
                Trouble::Down => told == Seen::Nothing,
                Trouble::Failing => matches!(told, Seen::Refused(500..=503)),
                Trouble::Garbled => matches!(told, Seen::Nothing | Seen::Nonsense),
                Trouble::Slow | Trouble::Stale => told == answer(1, &json!("0x3")),
                Trouble::Limited => told == Seen::Refused(429),
                Trouble::Flaky | Trouble::Mute => true,
                Trouble::Withholding | Trouble::Shuffling | Trouble::Deceiving => {
                    unreachable!("what is sent has tests of its own")
                }
            };
            assert!(is_right, "{trouble:?}: {told:?}");
        }
        house.proxy.calm();
        assert_eq!(house.height().await, answer(1, &json!("0x3")), "after {trouble:?}");
    }
    let tally = house.proxy.tally();
    assert!(tally.requests > 40 && tally.faults.len() > 5, "{tally:?}");
    assert_eq!(tally.lies, 0);
}

#[tokio::test]
async fn a_mute_endpoint_says_nothing_until_its_trouble_is_over() {
    let house = House::new().await;
    house.proxy.trouble(Trouble::Mute, 1_000);
    let (told, ()) = tokio::join!(house.height(), async {
        while house.proxy.tally().requests == 0 {
            tokio::task::yield_now().await;
        }
        house.proxy.calm();
    });
    assert_eq!(told, Seen::Nothing);
    assert_eq!(house.height().await, answer(1, &json!("0x0")));
}

#[tokio::test]
async fn a_head_that_stands_still_is_told_to_whoever_asks_and_what_was_never_asked_is_not_made_up() {
    let house = House::new().await;
    let batch =
        |id| json!([request(id, "eth_blockNumber", &json!([])), request(id + 1, "eth_chainId", &json!([]))]);
    let told = |id, height: &str| {
        let one = |id: u64, result: &str| json!({ "jsonrpc": "2.0", "id": id, "result": result });
        Seen::Answer(json!([one(id, height), one(id + 1, "0x7a69")]))
    };
    assert_eq!(house.ask(&batch(4)).await, told(4, "0x0"));
    house.node.mine(2).await.unwrap();
    house.proxy.trouble(Trouble::Stale, 1_000);
    assert_eq!(house.ask(&batch(8)).await, told(8, "0x0"), "the same question, with ids of its own");
    assert_eq!(house.height().await, answer(1, &json!("0x2")), "a question that was never asked");
    house.node.mine(1).await.unwrap();
    assert_eq!(house.height().await, answer(1, &json!("0x2")));
    house.proxy.calm();
    assert_eq!(house.height().await, answer(1, &json!("0x3")));
}

#[tokio::test]
async fn a_liar_hides_logs_alike_wherever_they_are_told_and_who_is_reserved_tells_none() {
    let house = House::new().await;
    let accounts = house.node.accounts().await.unwrap();
    // Creation code that emits a log without data and topics, and one with a topic.
    let code = Bytes::from_static(&[0x5f, 0x5f, 0xa0, 0x60, 0x01, 0x5f, 0x5f, 0xa1, 0x00]);
    let call = Call { from: accounts[0], to: None::<Address>, data: code };
    house.node.execute("two logs", &call, true).await.unwrap();
    let logs = request(1, "eth_getLogs", &json!([{ "fromBlock": "0x0", "toBlock": "latest" }]));
    let receipts = request(1, "eth_getBlockReceipts", &json!(["0x1"]));
    let of = |seen: Seen| match seen {
        Seen::Answer(mut answer) => answer["result"].take(),
        other => panic!("{other:?}"),
    };
    let truth = of(house.ask(&logs).await);
    assert_eq!(truth.as_array().unwrap().len(), 2);
    assert_eq!(house.proxy.tally().lies, 0);

    house.proxy.lie(1_000);
    let told = of(house.ask(&logs).await);
    assert_ne!(told, truth);
    assert_eq!(of(house.ask(&receipts).await)[0]["logs"], told);
    assert_eq!(house.proxy.tally().lies, 2);

    house.proxy.reserve();
    assert_eq!(house.ask(&logs).await, Seen::Refused(500));
    assert_eq!(house.ask(&receipts).await, Seen::Refused(500));
    assert_eq!(house.height().await, answer(1, &json!("0x1")));

    house.proxy.calm();
    house.proxy.lie(0);
    assert_eq!(of(house.ask(&logs).await), truth);
}

#[tokio::test]
async fn what_is_sent_is_dropped_or_taken_in_silence_and_what_is_asked_beside_is_answered() {
    let house = House::new().await;
    let raw = "0x02f8";
    let send = |id| request(id, "eth_sendRawTransaction", &json!([raw]));
    let hash = alloy_primitives::keccak256([2, 0xf8]);
    house.proxy.trouble(Trouble::Deceiving, 1_000);
    for _ in 0..20 {
        let Seen::Answer(told) = house.ask(&send(1)).await else { panic!("it answers") };
        let refusal = told["error"]["message"].as_str().unwrap_or_default();
        let is_right = told["result"] == json!(hash) || ["already known", "nonce too low"].contains(&refusal);
        assert!(is_right, "{told}");
    }
    assert_eq!(house.height().await, answer(1, &json!("0x0")));
    house.proxy.trouble(Trouble::Withholding, 1_000);
    let sent = send(2);
    let (told, ()) = tokio::join!(house.ask(&sent), async {
        while !house.proxy.tally().faults.contains_key("withheld") {
            tokio::task::yield_now().await;
        }
        house.proxy.calm();
    });
    assert_eq!(told, Seen::Nothing);
    assert_eq!(house.proxy.broadcasts().into_keys().collect::<Vec<_>>(), [hash]);
}
