//! The file that a node keeps its chain in.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::AnvilError;

/// Whether a chain's file was written to its end. Anvil tells neither when it writes nor when it reads: what it cannot read it may take for a chain
/// that begins anew.
pub fn check_state(path: &Path) -> Result<(), AnvilError> {
    let why = match File::open(path) {
        Ok(file) => match serde_json::from_reader::<_, Written>(BufReader::new(file)) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    Err(AnvilError::StateNotWhole { path: path.to_owned(), why })
}

/// What a chain's file has at least, read over without being kept.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "blocks")]
    _blocks: IgnoredAny,
}

#[cfg(test)]
mod tests {
    use super::super::{Anvil, AnvilOptions};
    use super::*;

    #[tokio::test]
    async fn a_chain_that_was_not_written_to_its_end_is_neither_called_written_nor_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state.json");
        let options = AnvilOptions { state: Some(state.clone()), ..AnvilOptions::default() };
        let anvil = Anvil::start(&options).await.unwrap();
        anvil.mine(3).await.unwrap();
        anvil.stop().await.unwrap();
        let whole = std::fs::read(&state).unwrap();
        for kept in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&state, &whole[..kept]).unwrap();
            let refused = Anvil::start(&options).await.unwrap_err();
            assert!(matches!(refused, AnvilError::StateNotWhole { .. }), "{kept} bytes: {refused}");
            let told = refused.to_string();
            assert!(
                told.contains("state.json") && told.contains("full disk") && told.contains("make room"),
                "{told}"
            );
        }

        std::fs::write(&state, &whole).unwrap();
        let anvil = Anvil::start(&options).await.unwrap();
        assert_eq!(anvil.block_number().await.unwrap(), 3);
        // What stands in the way of the file is as good as a full disk.
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        let refused = anvil.stop().await.unwrap_err();
        assert!(matches!(refused, AnvilError::StateNotWhole { .. }), "{refused}");
    }
}
