//! Reading a filter's text, by the grammar of RFC 9535, and refusing what would cost too much.

use serde_json::Value;

use super::{
    COST_MAX, FILTER_MAX, NESTING_MAX, Problem,
    pattern::Pattern,
    query::{Comparison, Operand, Query, Segment, Selector, SingularQuery, Slice, Step, Test},
    scanner::{Parsed, Scanner},
};

/// Reads a filter.
pub(super) fn parse(text: &str) -> Parsed<Query> {
    let mut parser = Parser {
        scanner: Scanner::new(text),
        nesting: 0,
        cost: 0,
        ways: 1,
        has_descent: false,
        is_below_descent: false,
    };
    if text.len() > FILTER_MAX {
        return Err(parser.scanner.problem(text.floor_char_boundary(FILTER_MAX), Problem::Long));
    }
    if !text.starts_with('$') {
        return Err(parser.scanner.expected("`$`"));
    }
    let query = parser.query()?;
    if parser.scanner.at < text.len() {
        return Err(parser.scanner.expected("`.`, `..`, `[` or the end"));
    }
    Ok(query)
}

struct Parser<'t> {
    scanner: Scanner<'t>,
    /// How many brackets are open.
    nesting: usize,
    /// What was read so far costs this much.
    cost: usize,
    /// What is read next may be done this many times for the same node.
    ways: usize,
    /// There was a `..`.
    has_descent: bool,
    /// What is read next is done for nodes that may be within each other.
    is_below_descent: bool,
}

/// What a test begins with.
enum Term {
    Operand(Operand),
    Nodes(Query),
    Test(Test),
}

impl Parser<'_> {
    fn query(&mut self) -> Parsed<Query> {
        let from_root = self.scanner.peek() == Some('$');
        self.scanner.at += 1;
        let (ways, is_below_descent) = (self.ways, self.is_below_descent);
        let mut segments = Vec::new();
        while let Some(segment) = self.segment()? {
            segments.push(segment);
        }
        (self.ways, self.is_below_descent) = (ways, is_below_descent);
        Ok(Query { from_root, segments })
    }

    /// The next segment, or `None` at the end of the query. Blanks before a segment belong to it.
    fn segment(&mut self) -> Parsed<Option<Segment>> {
        let end_of_last = self.scanner.at;
        self.scanner.skip_blanks();
        let start = self.scanner.at;
        let descends = self.scanner.take("..");
        if descends {
            if self.has_descent {
                return Err(self.scanner.problem(start, Problem::SecondDescent));
            }
            self.has_descent = true;
            self.is_below_descent = true;
            self.spend(start)?;
        }
        let selectors = if self.scanner.peek() == Some('[') {
            self.bracketed()?
        } else if descends || self.scanner.take(".") {
            vec![self.shorthand(descends)?]
        } else {
            self.scanner.at = end_of_last;
            return Ok(None);
        };
        self.ways = self.ways.saturating_mul(selectors.len());
        Ok(Some(Segment { descends, selectors }))
    }

    /// What may stand after a dot: `*` or a name.
    fn shorthand(&mut self, descends: bool) -> Parsed<Selector> {
        self.spend(self.scanner.at)?;
        if self.scanner.take("*") {
            return Ok(Selector::All);
        }
        let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        let name = self.scanner.take_while(|c| begins(c) || c.is_ascii_digit());
        if name.starts_with(begins) {
            return Ok(Selector::Step(Step::Name(name.to_owned())));
        }
        self.scanner.at -= name.len();
        Err(self.scanner.expected(if descends { "a name, `*` or `[`" } else { "a name or `*`" }))
    }

    fn bracketed(&mut self) -> Parsed<Vec<Selector>> {
        self.open("[")?;
        let mut selectors = Vec::new();
        loop {
            self.scanner.skip_blanks();
            selectors.push(self.selector()?);
            self.scanner.skip_blanks();
            if self.scanner.take(",") {
                continue;
            }
            let is_test = matches!(selectors.last(), Some(Selector::Test(_)));
            let missing = if is_test { "a comparison, `&&`, `||`, `,` or `]`" } else { "`,` or `]`" };
            self.close("]", missing)?;
            return Ok(selectors);
        }
    }

    fn selector(&mut self) -> Parsed<Selector> {
        self.spend(self.scanner.at)?;
        match self.scanner.peek() {
            Some(quote @ ('\'' | '"')) => Ok(Selector::Step(Step::Name(self.scanner.string(quote)?))),
            Some('*') => {
                self.scanner.at += 1;
                Ok(Selector::All)
            }
            Some('?') => {
                self.scanner.at += 1;
                Ok(Selector::Test(self.any()?))
            }
            Some('-' | ':' | '0'..='9') => self.index_or_slice(),
            _ => Err(self.scanner.expected("a name in quotes, an index, a slice, `*` or `?`")),
        }
    }

    fn index_or_slice(&mut self) -> Parsed<Selector> {
        let start = self.scanner.integer()?;
        let end_of_start = self.scanner.at;
        self.scanner.skip_blanks();
        if !self.scanner.take(":") {
            self.scanner.at = end_of_start;
            return start
                .map(|index| Selector::Step(Step::Index(index)))
                .ok_or_else(|| self.scanner.expected("an index or a slice"));
        }
        self.scanner.skip_blanks();
        let end = self.scanner.integer()?;
        self.scanner.skip_blanks();
        let mut step = None;
        if self.scanner.take(":") {
            self.scanner.skip_blanks();
            step = self.scanner.integer()?;
        }
        Ok(Selector::Slice(Slice { start, end, step: step.unwrap_or(1) }))
    }

    /// Tests of which one must hold.
    fn any(&mut self) -> Parsed<Test> {
        let mut tests = vec![self.all()?];
        while self.scanner.take_after_blanks("||") {
            tests.push(self.all()?);
        }
        Ok(one_or(tests, Test::Any))
    }

    /// Tests all of which must hold.
    fn all(&mut self) -> Parsed<Test> {
        let mut tests = vec![self.test()?];
        while self.scanner.take_after_blanks("&&") {
            tests.push(self.test()?);
        }
        Ok(one_or(tests, Test::All))
    }

    fn test(&mut self) -> Parsed<Test> {
        self.scanner.skip_blanks();
        let start = self.scanner.at;
        self.spend(start)?;
        let is_negated = self.scanner.take("!");
        self.scanner.skip_blanks();
        if self.scanner.peek() == Some('(') {
            self.open("(")?;
            let test = self.any()?;
            self.scanner.skip_blanks();
            self.close(")", "a comparison, `&&`, `||` or `)`")?;
            return Ok(negate(is_negated, test));
        }
        let left_at = self.scanner.at;
        let left = self.term()?;
        let end_of_left = self.scanner.at;
        self.scanner.skip_blanks();
        let comparison_at = self.scanner.at;
        let Some(comparison) = self.comparison()? else {
            self.scanner.at = end_of_left;
            return match left {
                Term::Operand(Operand::Node(query)) => Ok(negate(is_negated, Test::Exists(query))),
                Term::Nodes(query) => Ok(negate(is_negated, Test::Selects(query))),
                Term::Test(test) => Ok(negate(is_negated, test)),
                Term::Operand(_) => Err(self.scanner.problem(comparison_at, COMPARISON_MISSING)),
            };
        };
        if is_negated {
            return Err(self.scanner.problem(start, Problem::Expected("`(` after `!`, since a comparison follows")));
        }
        let left = self.operand(left, left_at)?;
        self.scanner.skip_blanks();
        let right_at = self.scanner.at;
        let right = self.term()?;
        let right = self.operand(right, right_at)?;
        if left.is_from_root() && right.is_from_root() {
            return Err(self.scanner.problem(right_at, Problem::ComparedFromRoot));
        }
        if self.is_below_descent && left.is_of_the_event() && right.is_of_the_event() {
            return Err(self.scanner.problem(right_at, Problem::ComparedBelowDescent));
        }
        Ok(Test::Compare(left, comparison, right))
    }

    fn comparison(&mut self) -> Parsed<Option<Comparison>> {
        let signs = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let taken = signs.into_iter().find(|(sign, _)| self.scanner.take(sign));
        if taken.is_none() && self.scanner.peek() == Some('=') {
            return Err(self.scanner.problem(self.scanner.at, COMPARISON_MISSING));
        }
        Ok(taken.map(|(_, comparison)| comparison))
    }

    /// A literal, a function or a query.
    fn term(&mut self) -> Parsed<Term> {
        let start = self.scanner.at;
        match self.scanner.peek() {
            Some('@' | '$') => match SingularQuery::try_from(self.query()?) {
                Ok(query) => Ok(Term::Operand(Operand::Node(query))),
                Err(query) if query.from_root => Err(self.scanner.problem(start, Problem::SeveralFromRoot)),
                Err(query) => Ok(Term::Nodes(query)),
            },
            Some(quote @ ('\'' | '"')) => Ok(literal(self.scanner.string(quote)?)),
            Some('-' | '0'..='9') => Ok(literal(self.scanner.number()?)),
            _ => {
                let word = self.scanner.take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
                match word {
                    _ if self.scanner.peek() == Some('(') && !word.is_empty() => self.function(word, start),
                    "true" => Ok(literal(true)),
                    "false" => Ok(literal(false)),
                    "null" => Ok(literal(Value::Null)),
                    _ => Err(self
                        .scanner
                        .problem(start, Problem::Expected("`@`, `$`, a literal, a function, `!` or `(`"))),
                }
            }
        }
    }

    fn function(&mut self, name: &str, start: usize) -> Parsed<Term> {
        self.spend(start)?;
        self.open("(")?;
        self.scanner.skip_blanks();
        let term = match name {
            "length" => Term::Operand(Operand::Length(Box::new(self.value_argument()?))),
            "count" => Term::Operand(Operand::Count(self.query_argument()?)),
            "value" => Term::Operand(Operand::Value(self.query_argument()?)),
            "match" | "search" => {
                let operand = self.value_argument()?;
                self.scanner.skip_blanks();
                if !self.scanner.take(",") {
                    return Err(self.scanner.expected("`,`"));
                }
                self.scanner.skip_blanks();
                Term::Test(Test::Matches(operand, self.pattern_argument(name == "match")?))
            }
            _ => return Err(self.scanner.problem(start, Problem::UnknownFunction)),
        };
        self.scanner.skip_blanks();
        self.close(")", "`)`")?;
        Ok(term)
    }

    fn value_argument(&mut self) -> Parsed<Operand> {
        let start = self.scanner.at;
        let term = self.term()?;
        let operand = self.operand(term, start)?;
        if operand.is_from_root() { Err(self.scanner.problem(start, Problem::ArgumentFromRoot)) } else { Ok(operand) }
    }

    fn query_argument(&mut self) -> Parsed<Query> {
        match self.scanner.peek() {
            Some('@') => self.query(),
            Some('$') => Err(self.scanner.problem(self.scanner.at, Problem::ArgumentFromRoot)),
            _ => Err(self.scanner.expected("a query that begins with `@`")),
        }
    }

    fn pattern_argument(&mut self, whole: bool) -> Parsed<Pattern> {
        let start = self.scanner.at;
        let Some(quote @ ('\'' | '"')) = self.scanner.peek() else {
            return Err(self.scanner.expected("a regular expression in quotes"));
        };
        let text = self.scanner.string(quote)?;
        Pattern::new(&text, whole).map_err(|problem| self.scanner.problem(start, problem))
    }

    /// The term, if it stands for a value.
    fn operand(&self, term: Term, start: usize) -> Parsed<Operand> {
        match term {
            Term::Operand(operand) => Ok(operand),
            Term::Nodes(_) => Err(self.scanner.problem(start, Problem::SeveralValues)),
            Term::Test(_) => Err(self.scanner.problem(start, Problem::ComparedTest)),
        }
    }

    /// Counts a part of the query that begins at `start`.
    fn spend(&mut self, start: usize) -> Parsed<()> {
        self.cost = self.cost.saturating_add(self.ways);
        if self.cost > COST_MAX { Err(self.scanner.problem(start, Problem::Costly)) } else { Ok(()) }
    }

    fn open(&mut self, bracket: &str) -> Parsed<()> {
        if self.nesting == NESTING_MAX {
            return Err(self.scanner.problem(self.scanner.at, Problem::Nested));
        }
        self.nesting += 1;
        self.scanner.at += bracket.len();
        Ok(())
    }

    fn close(&mut self, bracket: &str, missing: &'static str) -> Parsed<()> {
        self.nesting -= 1;
        if self.scanner.take(bracket) { Ok(()) } else { Err(self.scanner.expected(missing)) }
    }
}

const COMPARISON_MISSING: Problem = Problem::Expected("`==`, `!=`, `<`, `<=`, `>` or `>=`");

fn literal(value: impl Into<Value>) -> Term {
    Term::Operand(Operand::Literal(value.into()))
}

fn negate(is_negated: bool, test: Test) -> Test {
    if is_negated { Test::Not(Box::new(test)) } else { test }
}

/// The only test, or what all of them make together.
fn one_or(mut tests: Vec<Test>, together: fn(Vec<Test>) -> Test) -> Test {
    match tests.pop() {
        Some(only) if tests.is_empty() => only,
        last => {
            tests.extend(last);
            together(tests)
        }
    }
}
