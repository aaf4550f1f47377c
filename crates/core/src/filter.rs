//! Filters: which events a subscription wants by what is in them.
//!
//! A filter is a JSONPath query (RFC 9535) over an event as [`event_value`] shows it. The event is wanted if the query selects
//! at least one node, as `$.payload[?@.RelationshipType.Name == 'References']` does.
//!
//! # Limits
//!
//! Whoever subscribes must not be able to keep the service busy: the cost of a filter is bounded by the size of the event times
//! [`COST_MAX`]. A query is therefore refused unless
//!
//! - it has at most [`FILTER_MAX`] bytes, and at most [`NESTING_MAX`] brackets are open at any place in it;
//! - it has at most one `..`. From nodes none of which is within another, `..` comes upon each node once, and any one selector
//!   after it still does, since a node has one parent. A second `..` would come upon it once for each node that it is in;
//! - its parts cost at most [`COST_MAX`] in all. Each selector, test and function is one part. Where several selectors share
//!   brackets, as in `[*, 0]`, what follows may be done so many times for the same node, and costs as much more;
//! - inside a test, a query from `$` leads to one value, and that is tested for existence or compared with a literal or with
//!   something that begins with `@`. Anything else would look at the whole event for each node that is tested;
//! - no test under `..` compares two values of the event with each other. Values within values would be looked at over and over;
//! - the patterns of `match()` and `search()` are literals, from which automata of a bounded size can be made beforehand. They
//!   take a step for each byte of the text, whatever the pattern.
//!
//! The costliest of filters so takes about half a second for an event of 1 MiB that holds nothing but zeros, and a usual one
//! about 4 ms. Making the event's value takes 30 to 70 ms then, and up to 60 MiB: make it once for all subscriptions, and only if one
//! of them has a filter.

mod evaluation;
mod parser;
mod pattern;
mod query;
mod scanner;

use std::{fmt, str::FromStr, sync::Arc};

use serde_json::{Map, Value};

use self::{evaluation::Evaluation, query::Query};
use crate::event::Event;

/// The most bytes that a filter may have.
pub const FILTER_MAX: usize = 1_024;
/// The most that a filter's parts may cost. See [the limits](self#limits).
pub const COST_MAX: usize = 64;
/// The most brackets of any kind that may be open at a place in a filter.
pub const NESTING_MAX: usize = 8;

/// A query that an event must satisfy.
#[derive(Clone)]
pub struct Filter(Arc<Parsed>);

struct Parsed {
    text: String,
    query: Query,
}

/// The text is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {problem}")]
pub struct InvalidFilter {
    /// Where the problem is, in characters from 1.
    pub at: usize,
    /// What it is.
    pub problem: Problem,
}

/// What is wrong with a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else must stand there.
    #[error("expected {0}")]
    Expected(&'static str),
    /// There is no such function.
    #[error("there is no such function; there are length(), count(), value(), match() and search()")]
    UnknownFunction,
    /// The value of a function that gives true or false is compared.
    #[error("match() and search() are true or false by themselves and cannot be compared")]
    ComparedTest,
    /// A query that may select several nodes stands for a value.
    #[error("only a query that leads to one value, by names and indices alone, can be compared or be an argument here")]
    SeveralValues,
    /// The pattern is malformed.
    #[error(
        "this is no regular expression of RFC 9485, which has classes such as `[0-9]` and `\\p{{L}}` but no `\\d`, `\\w` or `(?i)`"
    )]
    Pattern,
    /// The pattern's automaton would be too large.
    #[error("this regular expression is too complicated")]
    LargePattern,
    /// See [`FILTER_MAX`].
    #[error("a filter may have at most {FILTER_MAX} bytes")]
    Long,
    /// See [`COST_MAX`].
    #[error(
        "the filter is too costly from here: it has more than {COST_MAX} parts, where those after `[…, …]` count repeatedly"
    )]
    Costly,
    /// See [`NESTING_MAX`].
    #[error("at most {NESTING_MAX} brackets may be open at a time")]
    Nested,
    /// There is a second `..`.
    #[error("a filter may have one `..` only")]
    SecondDescent,
    /// A query from `$` inside a test may select several nodes.
    #[error("inside a test, a query from `$` must lead to one value, by names and indices alone")]
    SeveralFromRoot,
    /// A function's argument begins with `$`.
    #[error("a function's argument must be a literal or begin with `@`")]
    ArgumentFromRoot,
    /// Two values from `$` are compared.
    #[error("one side of a comparison must be a literal or begin with `@`")]
    ComparedFromRoot,
    /// Two values of the event are compared under `..`.
    #[error("under `..`, one side of a comparison must be a literal, length() or count()")]
    ComparedBelowDescent,
}

impl Filter {
    /// The filter as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether the event, as [`event_value`] shows it, is wanted.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        self.evaluate(event).0
    }

    /// Whether the event is wanted, and how many nodes were looked at to tell.
    fn evaluate(&self, event: &Value) -> (bool, usize) {
        let evaluation = Evaluation::of(event);
        let wanted = evaluation.selects(&self.0.query, event);
        (wanted, evaluation.steps())
    }
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let query = parser::parse(text)?;
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), query })))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Filter {}

/// The event's payload cannot be looked into.
#[derive(Debug, thiserror::Error)]
#[error("the payload cannot be filtered: {0}")]
pub struct Unfilterable(#[source] serde_json::Error);

/// The event as filters see it: `{"id","event","time","key","payload"}`, where an event without a key has no `key`.
///
/// # Errors
/// The payload holds what events may have and JSON's readers need not take: 128 levels, or a number beyond what a double holds.
/// Nobody can tell whether such an event is wanted. It should be delivered: who gets one event too many can see it, and who
/// misses one cannot.
pub fn event_value(event: &Event) -> Result<Value, Unfilterable> {
    let payload = serde_json::from_str(event.payload.get()).map_err(Unfilterable)?;
    let members = [
        ("id", Some(event.told_id().to_string().into())),
        ("event", Some(event.event_type.as_str().into())),
        ("time", Some(event.told_time().to_string().into())),
        ("key", event.key.as_deref().map(Value::from)),
        ("payload", Some(payload)),
    ];
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(Value::Object(present.collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests;
