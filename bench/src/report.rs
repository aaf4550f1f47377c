//! The table for people and the file for programs.

use std::{fs, io::Write as _, path::Path};

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::json;

use crate::{
    results::{Results, Row},
    scenario::{Unit, Verdict},
    store::Store,
};

const HEADER: [&str; 10] = [
    "scenario",
    "store",
    "value",
    "ratio",
    "least",
    "goal",
    "CPU / 10,000",
    "its database's",
    "peak memory",
    "verdict",
];

/// Prints the table.
pub fn print(results: &Results, out: &Path) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", table(&results.rows()))?;
    let length = if results.quick { "a quick look: " } else { "" };
    let runs = results.series.iter().map(|series| series.runs.len()).max();
    let medians = runs.map(|runs| format!("rates and latencies are the median of {runs}, ")).unwrap_or_default();
    writeln!(stdout, "{length}{medians}on {} cores", results.cores)?;
    writeln!(
        stdout,
        "CPU and memory are Hookcast's; its database's is the CPU of all processes of PostgreSQL or Redis"
    )?;
    writeln!(stdout, "a rate's ratio is to the limit, and every other to what its line says")?;
    if results.refused() > 0 {
        writeln!(stdout, "{} requests were refused with 503 and sent again", results.refused())?;
    }
    writeln!(stdout, "{}", out.display())?;
    Ok(())
}

/// Writes everything down, single runs included.
pub fn write_json(results: &Results, path: &Path) -> Result<()> {
    let faults = results.faults();
    let document = json!({"valid": faults.is_empty(), "faults": faults, "rows": results.rows(), "results": results});
    fs::write(path, serde_json::to_string_pretty(&document)?)?;
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(HEADER);
    for (index, row) in rows.iter().enumerate() {
        // A name stands once for all stores.
        let is_first = index == 0 || rows[index - 1].name != row.name;
        table.add_row(cells(row, if is_first { &row.name } else { "" }));
    }
    for column in table.column_iter_mut().skip(2).take(HEADER.len() - 3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn cells(row: &Row, name: &str) -> [String; HEADER.len()] {
    let maybe = |number: Option<f64>, show: &dyn Fn(f64) -> String| number.map(show).unwrap_or_default();
    let mark = |mark: Option<f64>| {
        maybe(mark, &|mark| if row.judged == Unit::PerSecond { format!("{mark:.2}") } else { bound(mark, row.judged) })
    };
    let verdict = match row.verdict {
        Some(Verdict::Goal) => "goal",
        Some(Verdict::Least) => "least",
        Some(Verdict::Below) => "below",
        None => "",
    };
    [
        name.to_owned(),
        row.store.map(Store::name).unwrap_or_default().to_owned(),
        value(row.value, row.unit),
        maybe(row.ratio, &|ratio| format!("{ratio:.3}")),
        mark(row.target.map(|target| target.least)),
        mark(row.target.map(|target| target.goal)),
        maybe(row.cpu_seconds, &|seconds| format!("{seconds:.2} s")),
        maybe(row.database_cpu_seconds, &|seconds| format!("{seconds:.2} s")),
        maybe(row.peak_mib, &|mib| format!("{mib:.0} MiB")),
        verdict.to_owned(),
    ]
}

/// A number with its unit.
pub fn value(number: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", thousands(number)),
        Unit::Milliseconds => format!("{number:.2} ms"),
        Unit::Seconds => format!("{number:.2} s"),
        Unit::Times => format!("{number:.2}×"),
        Unit::Mebibytes => format!("{number:.0} MiB"),
        Unit::Kibibytes => format!("{number:.1} KiB"),
    }
}

/// The most that a number of `unit` should be.
fn bound(most: f64, unit: Unit) -> String {
    let name = match unit {
        Unit::PerSecond => "/s",
        Unit::Milliseconds => " ms",
        Unit::Seconds => " s",
        Unit::Times => "×",
        Unit::Mebibytes => " MiB",
        Unit::Kibibytes => " KiB",
    };
    format!("≤ {most}{name}")
}

/// A number without a fraction, with a comma after each thousand.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(value(999.4, Unit::PerSecond), "999/s");
        assert_eq!(value(62_136.3, Unit::PerSecond), "62,136/s");
        assert_eq!(value(1_234_567.0, Unit::PerSecond), "1,234,567/s");
        assert_eq!(value(0.456, Unit::Milliseconds), "0.46 ms");
    }
}
