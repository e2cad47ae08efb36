//! A TCP proxy whose connections can be frozen or cut.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What happens to the connections that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Pass,
    Freeze,
    Cut,
}

/// Forwards to a port of this host.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    orders: Arc<watch::Sender<Order>>,
    opened: watch::Receiver<u64>,
}

impl Proxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own_port = listener.local_addr().expect("it is bound").port();
        let orders = Arc::new(watch::Sender::new(Order::Pass));
        let (count, opened) = watch::channel(0);
        let sender = orders.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut orders = sender.subscribe();
                // An order is for the connections that exist when it is given.
                orders.mark_unchanged();
                tokio::spawn(forward(client, port, orders));
                count.send_modify(|count| *count += 1);
            }
        });
        Self { port: own_port, orders, opened }
    }

    /// Nothing passes any more, in either direction, on the connections that exist.
    pub(crate) fn freeze(&self) {
        self.orders.send_replace(Order::Freeze);
    }

    /// Closes the connections that exist.
    pub(crate) fn cut(&self) {
        self.orders.send_replace(Order::Cut);
    }

    /// How many connections were opened so far.
    pub(crate) fn opened(&self) -> u64 {
        *self.opened.borrow()
    }
}

async fn forward(mut client: TcpStream, port: u16, mut orders: watch::Receiver<Order>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = orders.changed() => {}
    }
    while *orders.borrow_and_update() == Order::Freeze && orders.changed().await.is_ok() {}
}
