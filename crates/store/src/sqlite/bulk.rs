//! Many rows in one statement, as it is the beginning and the end of each statement that costs, and the way from the root of the table to
//! the page.

use rusqlite::{Connection, Statement};

use crate::error::StoreError;

/// Rows in one statement, where there are so many.
const AT_ONCE: usize = 16;

/// A statement that inserts rows.
pub(super) struct Insert {
    /// What comes before the rows, and what after them.
    pub(super) before: &'static str,
    pub(super) after: &'static str,
    pub(super) columns: usize,
}

impl Insert {
    /// Inserts `rows`, best in the order of the table. `bind` sets the values of one of them, of which the first has the number that it
    /// is given. Answers how many were inserted.
    pub(super) fn all<R>(
        &self,
        connection: &Connection,
        rows: &[R],
        bind: impl Fn(&mut Statement<'_>, usize, &R) -> rusqlite::Result<()>,
    ) -> Result<usize, StoreError> {
        let (many, rest) = rows.as_chunks::<AT_ONCE>();
        let mut inserted = 0;
        let mut insert = |rows: &[R], statement: &mut Statement<'_>| -> rusqlite::Result<()> {
            for (index, row) in rows.iter().enumerate() {
                bind(statement, 1 + index * self.columns, row)?;
            }
            inserted += statement.raw_execute()?;
            Ok(())
        };
        if !many.is_empty() {
            let mut statement = connection.prepare_cached(&self.sql(AT_ONCE))?;
            many.iter().try_for_each(|rows| insert(rows, &mut statement))?;
        }
        if !rest.is_empty() {
            let mut statement = connection.prepare_cached(&self.sql(1))?;
            rest.iter().try_for_each(|row| insert(std::slice::from_ref(row), &mut statement))?;
        }
        Ok(inserted)
    }

    fn sql(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(", "));
        format!("{} VALUES {} {}", self.before, vec![row; rows].join(", "), self.after)
    }
}
