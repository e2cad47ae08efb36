//! EVM JSON-RPC: heads, blocks, logs, receipts and calls, with error classes and bounded retries.
