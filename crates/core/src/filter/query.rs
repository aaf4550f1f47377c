//! What a filter's text says.

use serde_json::Value;

use super::pattern::Pattern;

/// Selects nodes, beginning with one.
pub(super) struct Query {
    /// Begins with the event (`$`), not with the node that is tested (`@`).
    pub(super) from_root: bool,
    pub(super) segments: Vec<Segment>,
}

/// Selects one node at most, whatever the event.
pub(super) struct SingularQuery {
    pub(super) from_root: bool,
    pub(super) steps: Vec<Step>,
}

/// Goes on from a node to a child.
pub(super) enum Step {
    Name(String),
    /// From the end, if it is negative.
    Index(i64),
}

impl TryFrom<Query> for SingularQuery {
    /// The query, which may select several nodes.
    type Error = Query;

    fn try_from(query: Query) -> Result<Self, Query> {
        let goes_on = |segment: &Segment| !segment.descends && matches!(segment.selectors[..], [Selector::Step(_)]);
        if !query.segments.iter().all(goes_on) {
            return Err(query);
        }
        let selectors = query.segments.into_iter().flat_map(|segment| segment.selectors);
        let step = |selector| if let Selector::Step(step) = selector { Some(step) } else { None };
        Ok(Self { from_root: query.from_root, steps: selectors.filter_map(step).collect() })
    }
}

/// Goes on from each node: to children, or to children of it and of all below it (`..`).
pub(super) struct Segment {
    pub(super) descends: bool,
    pub(super) selectors: Vec<Selector>,
}

/// Chooses among the children of a node.
pub(super) enum Selector {
    Step(Step),
    All,
    Slice(Slice),
    Test(Test),
}

/// `start:end:step`.
pub(super) struct Slice {
    pub(super) start: Option<i64>,
    pub(super) end: Option<i64>,
    pub(super) step: i64,
}

/// What is true or false of a node.
pub(super) enum Test {
    Any(Vec<Test>),
    All(Vec<Test>),
    Not(Box<Test>),
    Exists(SingularQuery),
    Selects(Query),
    Compare(Operand, Comparison, Operand),
    Matches(Operand, Pattern),
}

/// What has a value, or none.
pub(super) enum Operand {
    Literal(Value),
    /// The node that a singular query selects.
    Node(SingularQuery),
    /// The length of a text, in characters, or of a list or an object.
    Length(Box<Operand>),
    /// How many nodes there are.
    Count(Query),
    /// The node, if it is the only one.
    Value(Query),
}

impl Operand {
    /// Whether it is found from `$`.
    pub(super) fn is_from_root(&self) -> bool {
        matches!(self, Self::Node(query) if query.from_root)
    }

    /// Whether its value is one of the event's own, and may so be a large one.
    pub(super) fn is_of_the_event(&self) -> bool {
        matches!(self, Self::Node(_) | Self::Value(_))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}
