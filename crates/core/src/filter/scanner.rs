//! The smallest parts of a filter's text.

use serde_json::Number;

use super::{InvalidFilter, Problem};

pub(super) type Parsed<T> = Result<T, InvalidFilter>;

/// The integers that all JSON programs can tell apart are this far from 0.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Goes through a text.
pub(super) struct Scanner<'t> {
    text: &'t str,
    /// The byte to read next.
    pub(super) at: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// A number as JSON has it.
    pub(super) fn number(&mut self) -> Parsed<Number> {
        let start = self.at;
        let digits = |scanner: &mut Self| !scanner.take_while(|c| c.is_ascii_digit()).is_empty();
        self.take("-");
        if !self.take("0") && !digits(self) {
            return Err(self.expected("a digit"));
        }
        if self.take(".") && !digits(self) {
            return Err(self.expected("a digit"));
        }
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            if !digits(self) {
                return Err(self.expected("a digit"));
            }
        }
        self.since(start).parse().map_err(|_| self.problem(start, Problem::Expected("a number that a double can hold")))
    }

    /// An integer, or `None` if none stands here.
    pub(super) fn integer(&mut self) -> Parsed<Option<i64>> {
        let start = self.at;
        let is_negative = self.take("-");
        let digits = self.take_while(|c| c.is_ascii_digit());
        if digits.is_empty() {
            return if is_negative { Err(self.expected("a digit")) } else { Ok(None) };
        }
        if digits.starts_with('0') && (is_negative || digits.len() > 1) {
            return Err(self.problem(start, Problem::Expected("an integer without leading zeros")));
        }
        let value = self.since(start).parse().ok().filter(|value: &i64| value.abs() <= INTEGER_MAX);
        value.map(Some).ok_or_else(|| self.problem(start, Problem::Expected("an integer between -2^53 and 2^53")))
    }

    /// A text in quotes of this kind.
    pub(super) fn string(&mut self, quote: char) -> Parsed<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            match self.peek() {
                None => return Err(self.expected("the quote that ends this text")),
                Some('\\') => string.push(self.escaped(quote)?),
                Some(c) if c < ' ' => return Err(self.expected("`\\` and a letter, in place of a control character")),
                Some(c) => {
                    self.at += c.len_utf8();
                    if c == quote {
                        return Ok(string);
                    }
                    string.push(c);
                }
            }
        }
    }

    fn escaped(&mut self, quote: char) -> Parsed<char> {
        let start = self.at;
        self.at += 1;
        let c = match self.peek() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c) if c == quote || c == '/' || c == '\\' => c,
            Some('u') => return self.code_point(start),
            _ => return Err(self.problem(start, Problem::Expected("an escape such as `\\n`, `\\\\` or `\\u00e9`"))),
        };
        self.at += 1;
        Ok(c)
    }

    /// `\uXXXX`, or two of them that are a surrogate pair; the first `u` is next.
    fn code_point(&mut self, start: usize) -> Parsed<char> {
        let first = self.code_unit(start)?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) && self.take("\\") {
            units.push(self.code_unit(start)?);
        }
        match char::decode_utf16(units).collect::<Result<Vec<_>, _>>().as_deref() {
            Ok([c]) => Ok(*c),
            _ => Err(self.problem(start, Problem::Expected("a character, not half a surrogate pair"))),
        }
    }

    fn code_unit(&mut self, start: usize) -> Parsed<u16> {
        let digits =
            self.text.get(self.at + 1..self.at + 5).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.filter(|_| self.peek() == Some('u')).and_then(|digits| u16::from_str_radix(digits, 16).ok());
        self.at += 5;
        unit.ok_or_else(|| self.problem(start, Problem::Expected("`\\u` and four hexadecimal digits")))
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn take(&mut self, expected: &str) -> bool {
        let stands_here = self.rest().starts_with(expected);
        if stands_here {
            self.at += expected.len();
        }
        stands_here
    }

    /// Takes what may stand after blanks; leaves these where it does not.
    pub(super) fn take_after_blanks(&mut self, expected: &str) -> bool {
        let start = self.at;
        self.skip_blanks();
        let taken = self.take(expected);
        if !taken {
            self.at = start;
        }
        taken
    }

    pub(super) fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'t str {
        let start = self.at;
        let rest = self.rest();
        self.at += rest.find(|c| !is_wanted(c)).unwrap_or(rest.len());
        self.since(start)
    }

    pub(super) fn skip_blanks(&mut self) {
        self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
    }

    pub(super) fn expected(&self, what: &'static str) -> InvalidFilter {
        self.problem(self.at, Problem::Expected(what))
    }

    pub(super) fn problem(&self, at: usize, problem: Problem) -> InvalidFilter {
        let before = self.text.get(..at).unwrap_or_default();
        InvalidFilter { at: before.chars().count() + 1, problem }
    }
}
