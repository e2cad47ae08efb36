//! The client against a real Anvil node, over HTTP and WebSocket.

mod failures;
mod proxy;
mod questions;
mod recording;
mod sends;
mod sockets;
mod support;
