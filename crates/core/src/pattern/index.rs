//! Finding who wants an event, without looking at every pattern.

use std::collections::{BTreeSet, HashMap};

use super::{EventPattern, EventPatterns};
use crate::event::EventType;

/// Who wants which types of event.
///
/// An event type is looked up as a whole among exact types, and each of its beginnings among what stands before the first `*`. So
/// only patterns that begin as the type does are tried, each once however many have it.
#[derive(Clone, Debug)]
pub struct PatternIndex<Id> {
    exact: Wanted<Id>,
    /// By the text before the first `*`.
    starred: HashMap<Box<str>, Wanted<Id>>,
}

/// Patterns, with those who have them.
type Wanted<Id> = HashMap<EventPattern, BTreeSet<Id>>;

impl<Id> Default for PatternIndex<Id> {
    fn default() -> Self {
        Self { exact: HashMap::new(), starred: HashMap::new() }
    }
}

impl<Id: Copy + Ord> PatternIndex<Id> {
    /// From now on `id` wants what matches `patterns`, besides what it wanted before.
    pub fn insert(&mut self, id: Id, patterns: &EventPatterns) {
        for pattern in patterns.iter() {
            let wanted = match pattern.prefix() {
                None => &mut self.exact,
                Some(prefix) => self.starred.entry(prefix.into()).or_default(),
            };
            wanted.entry(pattern.clone()).or_default().insert(id);
        }
    }

    /// Forgets that `id` wants what matches `patterns`, which are those that it was inserted with.
    pub fn remove(&mut self, id: Id, patterns: &EventPatterns) {
        for pattern in patterns.iter() {
            let Some(prefix) = pattern.prefix() else {
                forget(&mut self.exact, pattern, &id);
                continue;
            };
            if let Some(wanted) = self.starred.get_mut(prefix) {
                forget(wanted, pattern, &id);
                if wanted.is_empty() {
                    self.starred.remove(prefix);
                }
            }
        }
    }

    /// Who wants events of this type: sorted, each once.
    #[must_use]
    pub fn matching(&self, event_type: &EventType) -> Vec<Id> {
        let wanted = self.candidates(event_type).filter(|(pattern, _)| pattern.matches(event_type));
        let mut ids: Vec<Id> = wanted.flat_map(|(_, ids)| ids).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The patterns that may match, with those who have them.
    pub(super) fn candidates(&self, event_type: &EventType) -> impl Iterator<Item = (&EventPattern, &BTreeSet<Id>)> {
        let text = event_type.as_str();
        let beginnings = (0..=text.len()).filter_map(|end| text.get(..end));
        let starred = beginnings.filter_map(|beginning| self.starred.get(beginning)).flatten();
        self.exact.get_key_value(text).into_iter().chain(starred)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.starred.is_empty()
    }
}

fn forget<Id: Ord>(wanted: &mut Wanted<Id>, pattern: &EventPattern, id: &Id) {
    if let Some(ids) = wanted.get_mut(pattern) {
        ids.remove(id);
        if ids.is_empty() {
            wanted.remove(pattern);
        }
    }
}
