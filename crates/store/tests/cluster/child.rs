//! A process of its own that runs a cluster: this test binary, started again for one ignored test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use plimsoll_store::Cluster;

const DIR: &str = "PLIMSOLL_TEST_CHILD_DIR";

/// Starts the child and returns it with the line that it says first: `ready`, or why not.
pub(crate) fn run(data_dir: &Path, environment: &[(&str, &str)]) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::runs_a_cluster_until_it_is_killed", "--ignored", "--nocapture"])
        .env(DIR, data_dir)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let lines = output.by_ref().lines().map_while(Result::ok);
    let said =
        lines.filter_map(|line| line.split_once("child says: ").map(|(_, said)| said.to_owned())).next();
    // Put back, so that the child does not fail on a closed pipe.
    child.stdout = Some(output.into_inner());
    (child, said.unwrap_or_default())
}

#[tokio::test]
#[ignore = "run by other tests, as a process to kill"]
async fn runs_a_cluster_until_it_is_killed() {
    let dir = std::env::var_os(DIR).expect("a data directory");
    match Cluster::start(Path::new(&dir)).await {
        Ok(_cluster) => {
            println!("child says: ready");
            let mut nothing = String::new();
            std::io::stdin().read_line(&mut nothing).unwrap();
        }
        Err(error) => println!("child says: {}", error.to_string().replace('\n', " ")),
    }
}
