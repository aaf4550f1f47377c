//! Looking whether a query selects anything.

use std::{borrow::Cow, cell::Cell, cmp::Ordering, ops::ControlFlow};

use serde_json::{Number, Value};

use super::query::{Comparison, Operand, Query, Segment, Selector, SingularQuery, Slice, Step, Test};

/// One event being looked at.
pub(super) struct Evaluation<'e> {
    event: &'e Value,
    steps: Cell<usize>,
}

/// Takes the nodes that are selected, one by one, until it breaks.
type Found<'f, 'e> = &'f mut dyn FnMut(&'e Value) -> ControlFlow<()>;

impl<'e> Evaluation<'e> {
    /// Begins to look at this event.
    pub(super) fn of(event: &'e Value) -> Self {
        Self { event, steps: Cell::new(0) }
    }

    /// How many nodes were looked at so far, each as often as it was.
    pub(super) fn steps(&self) -> usize {
        self.steps.get()
    }

    /// Whether the query selects anything; `current` is what `@` stands for.
    pub(super) fn selects(&self, query: &'e Query, current: &'e Value) -> bool {
        self.each(query, current, &mut |_| ControlFlow::Break(())).is_break()
    }

    fn each(&self, query: &'e Query, current: &'e Value, found: Found<'_, 'e>) -> ControlFlow<()> {
        let start = if query.from_root { self.event } else { current };
        self.follow(&query.segments, start, found)
    }

    fn follow(&self, segments: &'e [Segment], node: &'e Value, found: Found<'_, 'e>) -> ControlFlow<()> {
        self.step();
        match segments.split_first() {
            None => found(node),
            Some((segment, rest)) if segment.descends => self.descend(segment, rest, node, found),
            Some((segment, rest)) => self.select(segment, rest, node, found),
        }
    }

    fn descend(
        &self,
        segment: &'e Segment,
        rest: &'e [Segment],
        node: &'e Value,
        found: Found<'_, 'e>,
    ) -> ControlFlow<()> {
        self.step();
        self.select(segment, rest, node, found)?;
        children(node).try_for_each(|child| self.descend(segment, rest, child, found))
    }

    fn select(
        &self,
        segment: &'e Segment,
        rest: &'e [Segment],
        node: &'e Value,
        found: Found<'_, 'e>,
    ) -> ControlFlow<()> {
        for selector in &segment.selectors {
            let mut follow = |child| self.follow(rest, child, found);
            match selector {
                Selector::Step(step) => child(node, step).map_or(ControlFlow::Continue(()), follow)?,
                Selector::All => children(node).try_for_each(follow)?,
                Selector::Slice(slice) => slice_of(node, slice).try_for_each(follow)?,
                Selector::Test(test) => {
                    for child in children(node) {
                        if self.holds(test, child) {
                            follow(child)?;
                        }
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn holds(&self, test: &'e Test, current: &'e Value) -> bool {
        self.step();
        match test {
            Test::Any(tests) => tests.iter().any(|test| self.holds(test, current)),
            Test::All(tests) => tests.iter().all(|test| self.holds(test, current)),
            Test::Not(test) => !self.holds(test, current),
            Test::Exists(query) => self.node(query, current).is_some(),
            Test::Selects(query) => self.selects(query, current),
            Test::Compare(left, comparison, right) => {
                self.compare(self.value(left, current).as_deref(), *comparison, self.value(right, current).as_deref())
            }
            Test::Matches(operand, pattern) => self
                .value(operand, current)
                .is_some_and(|value| value.as_str().is_some_and(|text| pattern.matches(text))),
        }
    }

    /// The operand's value; `None` for Nothing, as the RFC calls it.
    fn value(&self, operand: &'e Operand, current: &'e Value) -> Option<Cow<'e, Value>> {
        match operand {
            Operand::Literal(value) => Some(Cow::Borrowed(value)),
            Operand::Node(query) => self.node(query, current).map(Cow::Borrowed),
            Operand::Length(operand) => {
                let length = match &*self.value(operand, current)? {
                    Value::String(text) => text.chars().count(),
                    Value::Array(items) => items.len(),
                    Value::Object(members) => members.len(),
                    _ => return None,
                };
                Some(Cow::Owned(length.into()))
            }
            Operand::Count(query) => {
                let mut count = 0_usize;
                let _ = self.each(query, current, &mut |_| {
                    count += 1;
                    ControlFlow::Continue(())
                });
                Some(Cow::Owned(count.into()))
            }
            Operand::Value(query) => match self.up_to_two(query, current) {
                (Some(only), None) => Some(Cow::Borrowed(only)),
                _ => None,
            },
        }
    }

    fn node(&self, query: &SingularQuery, current: &'e Value) -> Option<&'e Value> {
        let start = if query.from_root { self.event } else { current };
        query.steps.iter().try_fold(start, |node, step| {
            self.step();
            child(node, step)
        })
    }

    /// The first two nodes that the query selects.
    fn up_to_two(&self, query: &'e Query, current: &'e Value) -> (Option<&'e Value>, Option<&'e Value>) {
        let (mut first, mut second) = (None, None);
        let _ = self.each(query, current, &mut |node| {
            if first.is_none() {
                first = Some(node);
                return ControlFlow::Continue(());
            }
            second = Some(node);
            ControlFlow::Break(())
        });
        (first, second)
    }

    fn compare(&self, left: Option<&Value>, comparison: Comparison, right: Option<&Value>) -> bool {
        match comparison {
            Comparison::Equal => self.same(left, right),
            Comparison::NotEqual => !self.same(left, right),
            Comparison::Less => less(left, right),
            Comparison::LessOrEqual => less(left, right) || self.same(left, right),
            Comparison::Greater => less(right, left),
            Comparison::GreaterOrEqual => less(right, left) || self.same(left, right),
        }
    }

    fn same(&self, left: Option<&Value>, right: Option<&Value>) -> bool {
        match (left, right) {
            (Some(left), Some(right)) => self.equal(left, right),
            (None, None) => true,
            _ => false,
        }
    }

    fn equal(&self, left: &Value, right: &Value) -> bool {
        self.step();
        match (left, right) {
            (Value::Number(left), Value::Number(right)) => order(left, right) == Some(Ordering::Equal),
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| self.equal(left, right))
            }
            (Value::Object(left), Value::Object(right)) => {
                let same = |(name, left)| right.get(name).is_some_and(|right| self.equal(left, right));
                left.len() == right.len() && left.iter().all(same)
            }
            _ => left == right,
        }
    }

    fn step(&self) {
        self.steps.set(self.steps.get().saturating_add(1));
    }
}

/// Only numbers, and only texts, are less than each other. Texts are ordered by their characters' code points, which is the order
/// of their bytes too.
fn less(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => order(left, right) == Some(Ordering::Less),
        (Some(Value::String(left)), Some(Value::String(right))) => left < right,
        _ => false,
    }
}

/// Integers are compared as such, anything else as doubles.
fn order(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    let members = node.as_object().into_iter().flat_map(|members| members.values());
    node.as_array().into_iter().flatten().chain(members)
}

fn child<'e>(node: &'e Value, step: &Step) -> Option<&'e Value> {
    match (node, step) {
        (Value::Object(members), Step::Name(name)) => members.get(name),
        (Value::Array(items), Step::Index(index)) => {
            let place = if *index < 0 { signed(items.len()) + index } else { *index };
            items.get(usize::try_from(place).ok()?)
        }
        _ => None,
    }
}

/// The items from `start` to before `end`, in steps. A negative step goes backwards; a step of 0 selects nothing.
fn slice_of<'e>(node: &'e Value, slice: &Slice) -> impl Iterator<Item = &'e Value> {
    let items = node.as_array().map_or(&[][..], Vec::as_slice);
    let len = signed(items.len());
    let from_start = |place: i64| if place < 0 { len + place } else { place };
    let step = slice.step;
    let (first, end) = if step >= 0 {
        let first = slice.start.map_or(0, from_start).clamp(0, len);
        (first, slice.end.map_or(len, from_start).clamp(0, len))
    } else {
        let first = slice.start.map_or(len - 1, from_start).clamp(-1, len - 1);
        (first, slice.end.map_or(-1, from_start).clamp(-1, len - 1))
    };
    let goes_on = move |place: &i64| (step > 0 && *place < end) || (step < 0 && *place > end);
    std::iter::successors(Some(first), move |place| place.checked_add(step))
        .take_while(goes_on)
        .filter_map(|place| items.get(usize::try_from(place).ok()?))
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
