//! The signers' keys: Anvil's first accounts, whose keys everybody knows, in keystores that cost nothing to open.

use serde_json::json;

/// The password of each keystore.
pub(super) const PASSWORD: &str = "anvil";

/// A key in a keystore.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Whose, in lower case.
    pub(super) address: &'static str,
    ciphertext: &'static str,
    mac: &'static str,
}

/// Under one round of PBKDF2, and with a salt and an IV of zeros.
pub(super) const KEYS: [Sealed; 4] = [
    Sealed {
        address: "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        ciphertext: "2cd5fa1b9b9d988d79a30856b32a721728e758461a8b572c5fcd1a22379c5943",
        mac: "52e1ee2a118a14acd726553b92cd29caeb2a554f1ce95c1eddb6f945bf640086",
    },
    Sealed {
        address: "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        ciphertext: "d91a17fbc18818cbb203e7849186de0abfd56ae439ea7354e3413762a816cfce",
        mac: "950607d2848567349a3492bc2cddd913e59b4261af188911251cba216488e3fb",
    },
    Sealed {
        address: "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        ciphertext: "dd389fbfa21dc4fa82882df25fa37cf3002c2ed85dce792cce0cff5d0ec59099",
        mac: "c0ae79182ce6adb9ff4da1a10ca5bf7c0dbcbdf28c3efdc974676fba0d18b0c3",
    },
    Sealed {
        address: "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
        ciphertext: "fc59afbd7149de8841768463814a8d777a5ffb6f6f3effd532c4b60882dea165",
        mac: "4ee314f7e6ec2cee699213900fbf18d5f518e7326d8fc6b54b2dc385ee0b5646",
    },
];

impl Sealed {
    /// The keystore (JSON, version 3).
    pub(super) fn keystore(&self) -> String {
        let kdfparams = json!({ "dklen": 32, "c": 1, "prf": "hmac-sha256", "salt": "00".repeat(32) });
        json!({
            "version": 3,
            "address": &self.address[2..],
            "crypto": {
                "cipher": "aes-128-ctr", "cipherparams": { "iv": "00".repeat(16) }, "ciphertext": self.ciphertext,
                "kdf": "pbkdf2", "kdfparams": kdfparams, "mac": self.mac,
            },
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_relayer::keys::keystore;

    use super::*;

    #[test]
    fn each_keystore_holds_the_key_of_its_address() {
        let directory = tempfile::tempdir().unwrap();
        for sealed in &KEYS {
            let path = directory.path().join(sealed.address);
            std::fs::write(&path, sealed.keystore()).unwrap();
            let address = sealed.address.parse().unwrap();
            let secret = keystore::open(&path, &PASSWORD.into(), Some(address));
            assert!(secret.is_ok(), "{}", sealed.address);
        }
    }
}
