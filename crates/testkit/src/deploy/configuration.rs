//! The configuration of a Plimsoll that follows a deployment.

use plimsoll_types::address_text;
use uuid::Uuid;

use super::Deployment;

/// The tenant whose the contracts are.
const TENANT_ID: Uuid = Uuid::from_u128(0x8c1d_2c8e_5b1f_4a55_9f0a_6d4f_31f0_0001);
/// The tenant's name.
const TENANT_NAME: &str = "demo";

impl Deployment {
    /// The tenant whose the contracts are.
    #[must_use]
    pub fn tenant_id(&self) -> Uuid {
        TENANT_ID
    }

    /// The tables `[[tenant]]` and `[[chain]]` of a configuration that follows this deployment and keeps the tenant's books from it; the ABI files are `abi/<name>.json`.
    #[must_use]
    pub fn chain_toml(
        &self,
        rpc: &str,
        confirmations: u64,
        finality_depth: u64,
        poll_interval_ms: u64,
    ) -> String {
        let mut text = format!(
            "[[tenant]]\nid = \"{TENANT_ID}\"\nname = \"{TENANT_NAME}\"\n\n\
             [[chain]]\nchain_id = {}\nname = \"anvil\"\nrpc = \"{rpc}\"\nconfirmations = {confirmations}\n\
             finality_depth = {finality_depth}\npoll_interval_ms = {poll_interval_ms}\nwatched_senders = [\"{}\"]\nbooks = \"{TENANT_NAME}\"\n",
            self.chain_id,
            address_text(&self.keeper),
        );
        for (name, address, _) in self.manifest() {
            text.push_str(&format!(
                "\n[[chain.contract]]\nname = \"{name}\"\naddress = \"{}\"\nabi = \"abi/{name}.json\"\nstart_block = {}\n\
                 tenant = \"{TENANT_NAME}\"\n",
                address_text(&address),
                self.start_block,
            ));
        }
        text
    }

    /// Writes the ABI files that [`Deployment::chain_toml`] names.
    pub fn write_abis(&self, directory: &std::path::Path) -> std::io::Result<()> {
        let directory = directory.join("abi");
        std::fs::create_dir_all(&directory)?;
        for (name, _, abi) in self.manifest() {
            let text = serde_json::to_string_pretty(&*abi).map_err(std::io::Error::other)?;
            std::fs::write(directory.join(format!("{name}.json")), text)?;
        }
        Ok(())
    }
}
