//! A short memory of what the database said. Pure: the caller says what time it is.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Holds at most `capacity` entries, each for `term`.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    term: Duration,
    capacity: usize,
    entries: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    pub(crate) fn new(term: Duration, capacity: usize) -> Self {
        Self { term, capacity, entries: Mutex::default() }
    }

    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q, now: Instant) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let entries = self.lock();
        let (since, value) = entries.get(key)?;
        (now.saturating_duration_since(*since) < self.term).then(|| value.clone())
    }

    /// `asked_at` is when the database was asked, not when it answered: what it said is that old at least. Where there is no room even
    /// without what is too old, it is not remembered.
    pub(crate) fn put(&self, key: K, value: V, asked_at: Instant, now: Instant) {
        let mut entries = self.lock();
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            entries.retain(|_, (since, _)| now.saturating_duration_since(*since) < self.term);
            if entries.len() >= self.capacity {
                return;
            }
        }
        entries.insert(key, (asked_at, value));
    }

    pub(crate) fn forget<Q: Hash + Eq + ?Sized>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        self.lock().remove(key);
    }

    /// Forgets whatever is so. Looks at every entry.
    pub(crate) fn forget_where(&self, is_so: impl Fn(&V) -> bool) {
        self.lock().retain(|_, (_, value)| !is_so(value));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (Instant, V)>> {
        // Nothing panics while it is held; were it so, an entry is whole or not there.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(5);

    #[test]
    fn an_answer_is_remembered_for_its_term_from_the_question_on() {
        let cache = Cache::new(TERM, 10);
        let asked = Instant::now();
        cache.put("a", 1, asked, asked + TERM / 2);
        assert_eq!(cache.get("a", asked + TERM - Duration::from_nanos(1)), Some(1));
        assert_eq!(cache.get("a", asked + TERM), None);
        cache.put("a", 2, asked + TERM, asked + TERM);
        assert_eq!(cache.get("a", asked + TERM), Some(2));
        cache.forget("a");
        assert_eq!(cache.get("a", asked + TERM), None);
        cache.put("a", 2, asked + TERM, asked + TERM);
        cache.put("b", 3, asked + TERM, asked + TERM);
        cache.forget_where(|value| *value == 2);
        assert_eq!(["a", "b"].map(|key| cache.get(key, asked + TERM)), [None, Some(3)]);
    }

    #[test]
    fn a_full_memory_makes_room_of_what_is_old_and_of_nothing_else() {
        let cache = Cache::new(TERM, 2);
        let start = Instant::now();
        cache.put(1, 'a', start, start);
        cache.put(2, 'b', start + TERM / 2, start + TERM / 2);
        cache.put(3, 'c', start + TERM / 2, start + TERM / 2);
        assert_eq!(cache.get(&3, start + TERM / 2), None);
        cache.put(2, 'd', start + TERM / 2, start + TERM / 2);
        cache.put(3, 'c', start + TERM, start + TERM);
        assert_eq!([1, 2, 3].map(|key| cache.get(&key, start + TERM)), [None, Some('d'), Some('c')]);
    }
}
