//! What a node means by its answer to `eth_sendRawTransaction`.
