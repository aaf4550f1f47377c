//! The regular expressions of `match()` and `search()`.

use regex_automata::{
    Anchored, Input, MatchKind,
    dfa::{Automaton, StartKind, dense},
    nfa::thompson,
    util::syntax,
};

use super::Problem;

/// The most bytes that an automaton may have, and about as many may be used to make it.
const AUTOMATON_MAX: usize = 256 << 10;

/// Finds a regular expression of RFC 9485, in which `^` and `$` are the ends of the text, as most programs have them.
pub(super) struct Pattern {
    automaton: Box<dense::DFA<Vec<u32>>>,
    /// The whole text must match, not some part of it.
    whole: bool,
}

impl Pattern {
    /// Makes the automaton.
    pub(super) fn new(text: &str, whole: bool) -> Result<Self, Problem> {
        if has_more_than_the_rfc(text) {
            return Err(Problem::Pattern);
        }
        // A dot is any character but the two that end lines.
        let syntax = syntax::Config::new().crlf(true);
        syntax::parse_with(text, &syntax).map_err(|_| Problem::Pattern)?;
        // That no alternative is preferred to another makes the longest match be found, which tells whether the whole matches.
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(if whole { StartKind::Anchored } else { StartKind::Unanchored })
            .dfa_size_limit(Some(AUTOMATON_MAX))
            .determinize_size_limit(Some(AUTOMATON_MAX));
        let automaton = dense::Builder::new()
            .configure(config)
            .syntax(syntax)
            .thompson(thompson::Config::new().nfa_size_limit(Some(AUTOMATON_MAX)))
            .build(text)
            .map_err(|_| Problem::LargePattern)?;
        Ok(Self { automaton: Box::new(automaton), whole })
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

/// Whether there are escapes or groups that other programs need not know: `\d`, `\w`, `\b`, `(?i)`. In Unicode the first of them
/// are large sets, and make large automata.
fn has_more_than_the_rfc(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    let mut is_in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if !chars.next().is_some_and(|escaped| r"()*+-.?[\]^$nrt{|}pP".contains(escaped)) => return true,
            '[' => is_in_class = true,
            ']' => is_in_class = false,
            '(' if !is_in_class && chars.peek() == Some(&'?') => return true,
            _ => {}
        }
    }
    false
}
