//! What happened, told once, in one order, to whoever wants to know.
//!
//! # What it promises
//! - **An event is in the transaction that caused it.** [`publish`] writes into the caller's transaction: what is rolled back was never said, and what is
//!   committed cannot go unsaid.
//! - **Once.** Publishing under an `event_id` that the tenant has had returns the event that is there, and writes nothing, also when two do so at once.
//! - **In one order.** Events are numbered densely by one sequencer ([`plimsoll_store::sequencer`], where the argument is), so a reader's
//!   cursor is one integer: [`outbox`] readers keep theirs in the database, live subscriptions ([`BufferChannel`]) begin at any.
//! - **A slow reader stalls nobody.** Readers read; nothing is pushed into a queue that could fill.
//! - **Why is on record.** Correlation, causation and the three keys travel with the task ([`context`]) into every event and audit entry; a write
//!   without the keys that it [demands](Keys) is refused and counted. [`causality`] gives a story as a graph.
//! - **Who did what is on record, and the record shows where it was touched.** [`audit`] is a hash-linked stream, and [`audit::verify`] names the first
//!   row that does not follow.
//!
//! # Traps
//! - Publish *after* the reads and locks that the event depends on: its place is that of the moment when it was staged.
//! - Two transactions that publish the same two ids in opposite order wait for each other, and Postgres ends one: sort ids that come in lots.
//! - A number is not there when `publish` returns, nor when the transaction commits; it comes a moment later.
//! - [`publish`] wants READ COMMITTED, which is what every [`plimsoll_store::Tx`] has.

pub mod audit;
mod causality;
mod channel;
pub mod context;
mod event;
mod keys;
pub mod outbox;
mod publish;
mod repo;

pub use causality::{Causality, Edge, MAX_NODES, causality};
pub use channel::{BufferChannel, ChannelError, Events, Feed};
pub use event::{EVENTS, Event, StoredEvent};
pub use keys::{Keys, MissingKeys, Sight};
pub use plimsoll_types::{CloudEvent, Context};
pub use publish::{MAX_EVENTS, MAX_PAYLOAD_BYTES, PublishError, Published, publish, publish_all};
