//! The regular expressions of `match()` and `search()`.

use regex_automata::{
    Anchored, Input, MatchKind,
    dfa::{Automaton, StartKind, dense, sparse},
    nfa::thompson,
    util::syntax,
};

use super::Problem;

/// The most bytes that an automaton may have, and about as many may be used to make it.
const AUTOMATON_MAX: usize = 256 << 10;

/// Finds a regular expression: one of RFC 9485, or with what Rust's have besides, such as `\d`.
pub(super) struct Pattern {
    automaton: Box<sparse::DFA<Vec<u8>>>,
    /// The whole text must match, not some part of it.
    whole: bool,
}

impl Pattern {
    /// Makes the automaton.
    pub(super) fn new(text: &str, whole: bool) -> Result<Self, Problem> {
        // A dot is any character but the two that end lines. That no alternative is preferred to another makes the longest match
        // be found.
        let syntax = syntax::Config::new().crlf(true);
        syntax::parse_with(text, &syntax).map_err(|_| Problem::Pattern)?;
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(if whole { StartKind::Anchored } else { StartKind::Unanchored })
            .dfa_size_limit(Some(AUTOMATON_MAX))
            .determinize_size_limit(Some(AUTOMATON_MAX));
        let dense = dense::Builder::new()
            .configure(config)
            .syntax(syntax)
            .thompson(thompson::Config::new().nfa_size_limit(Some(AUTOMATON_MAX)))
            .build(text)
            .map_err(|_| Problem::LargePattern)?;
        let automaton = Box::new(dense.to_sparse().map_err(|_| Problem::LargePattern)?);
        Ok(Self { automaton, whole })
    }

    /// Whether the text matches. Takes a step for each of its bytes.
    pub(super) fn matches(&self, text: &str) -> bool {
        let anchored = if self.whole { Anchored::Yes } else { Anchored::No };
        let input = Input::new(text).anchored(anchored).earliest(!self.whole);
        // It can only fail at bytes at which an automaton was told to give up, and this one was told of none.
        let found = self.automaton.try_search_fwd(&input).ok().flatten();
        found.is_some_and(|end| !self.whole || end.offset() == text.len())
    }
}
