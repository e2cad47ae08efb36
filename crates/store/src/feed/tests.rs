use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use super::*;

/// The whole numbers from 1, as far as they go, and how often a page of them was read.
#[derive(Clone, Debug)]
struct Numbers {
    end: watch::Sender<i64>,
    pages: Arc<AtomicUsize>,
}

impl Source for Numbers {
    type Item = i64;
    type Sight = ();
    type Error = Infallible;
    type Moved = i64;

    const POLL_PERIOD: Duration = Duration::from_millis(1);

    fn name(&self) -> String {
        "numbers".into()
    }

    fn number(item: &i64) -> i64 {
        *item
    }

    fn shows((): &(), _: &i64) -> bool {
        true
    }

    fn moved(&self) -> watch::Receiver<i64> {
        self.end.subscribe()
    }

    async fn end(&self) -> Result<i64, Infallible> {
        Ok(*self.end.borrow())
    }

    async fn first(&self) -> Result<i64, Infallible> {
        Ok(1)
    }

    async fn page(&self, after: i64, through: i64, _: Option<&()>) -> Result<Page<i64>, Infallible> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let through = through.min(*self.end.borrow());
        Ok(Page { items: (after + 1..=through).collect(), through, has_more: false })
    }
}

#[tokio::test]
async fn nothing_is_read_while_nobody_listens_and_whoever_begins_to_misses_nothing() {
    let source = Numbers { end: watch::Sender::new(3), pages: Arc::default() };
    let feed = Feed::new(source.clone());
    let cancel = CancellationToken::new();
    let (runs, until) = (feed.clone(), cancel.clone());
    let running = tokio::spawn(async move { runs.run(&until).await });
    let mut end = feed.end.subscribe();
    for at in 4..40 {
        source.end.send_replace(at);
        end.wait_for(|end| *end == End::At(at)).await.unwrap();
    }
    assert_eq!(source.pages.load(Ordering::Relaxed), 0);

    let mut channel = feed.subscribe((), Some(30)).await.unwrap();
    for number in 31..40 {
        assert_eq!(*channel.next().await.unwrap(), number);
    }
    for number in 40..60 {
        source.end.send_replace(number);
        assert_eq!(*channel.next().await.unwrap(), number);
    }
    drop(channel);
    cancel.cancel();
    running.await.unwrap().unwrap();
}
