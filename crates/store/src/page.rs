//! Lists, a page at a time.

use std::{fmt, str::FromStr};

/// The place in a list where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) u128);

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
        u128::from_str_radix(hex, 16).map(Self).map_err(|_| InvalidCursor)
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

impl Cursor {
    /// The place, where places are numbers of 63 bits. Whoever makes up a cursor gets a place beyond all others.
    pub(crate) fn key(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` items from the items and their places, of which one more than `limit` was read.
    pub(crate) fn from_rows(mut rows: Vec<(impl Into<u128> + Copy, T)>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|(place, _)| Cursor((*place).into())) } else { None };
        Self { items: rows.into_iter().map(|(_, item)| item).collect(), next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_does() {
        assert_eq!(Cursor(77).to_string().parse(), Ok(Cursor(77)));
        assert_eq!(Cursor(u128::MAX).to_string().parse(), Ok(Cursor(u128::MAX)));
        for bad in ["", "c", "77", "c-1", "c+1", "c1ffffffffffffffffffffffffffffffff", "czz"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }
}
