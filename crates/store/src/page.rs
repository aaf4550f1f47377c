//! Lists, a page at a time.

use std::{fmt, str::FromStr};

/// The place in a list where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) u64);

/// The text is no cursor that a list has answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the `next_cursor` of an earlier answer")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let hex =
            text.strip_prefix('c').filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(InvalidCursor)?;
        u64::from_str_radix(hex, 16).ok().filter(|place| i64::try_from(*place).is_ok()).map(Self).ok_or(InvalidCursor)
    }
}

/// Which part of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// At most so many items.
    pub limit: u32,
    /// Where to begin; `None` for the beginning.
    pub cursor: Option<Cursor>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` items from the items and their places, of which one more than `limit` was read.
    pub(crate) fn from_rows(mut rows: Vec<(u64, T)>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|(place, _)| Cursor(*place)) } else { None };
        Self { items: rows.into_iter().map(|(_, item)| item).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        assert_eq!(Cursor(77).to_string().parse(), Ok(Cursor(77)));
        for bad in ["", "c", "77", "c-1", "c+1", "cffffffffffffffff", "czz"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
