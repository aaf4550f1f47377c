//! Plots with bars: rates compared with the limit, latencies compared with their targets.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    report::value,
    results::{Results, Row, Series},
    scenario::{Pace, Target, Unit},
    store::Store,
};

/// The width of all plots.
pub const WIDTH: u32 = 960;
/// The height of a line: a title, or a bar and its share of the space between.
const LINE_HEIGHT: usize = 28;
/// The height of the title, the axis and what they are called.
const FRAME_HEIGHT: usize = 130;
/// The font of all plots.
pub const FONT: &str = "sans-serif";
const LEAST: RGBColor = RGBColor(214, 120, 30);
const GOAL: RGBColor = RGBColor(40, 140, 70);

/// What is drawn on.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The colour of a store in all plots.
pub fn store_colour(store: Store) -> RGBColor {
    match store {
        Store::Sqlite => RGBColor(66, 133, 190),
        Store::Postgres => RGBColor(120, 106, 176),
        Store::Redis => RGBColor(196, 78, 82),
    }
}

/// Bars that are to be compared, below what they have in common.
struct Group {
    title: String,
    bars: Vec<Bar>,
}

/// A horizontal bar.
struct Bar {
    /// None for what concerns the machine.
    store: Option<Store>,
    length: f64,
    /// What is written at its end.
    note: String,
    target: Option<Target>,
}

impl Bar {
    fn label(&self) -> &'static str {
        self.store.map(Store::name).unwrap_or_default()
    }

    fn colour(&self) -> RGBColor {
        self.store.map_or(RGBColor(150, 150, 150), store_colour)
    }

    /// Where its marks are, the nearest to the left first.
    fn marks(&self) -> Vec<(f64, RGBColor)> {
        let Some(Target { least, goal }) = self.target else { return Vec::new() };
        let mut marks = vec![(least, LEAST), (goal, GOAL)];
        marks.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        marks
    }

    /// Where its note begins when the axis has the length `span`: at its end, or beside a mark that would be in the way.
    fn note_at(&self, span: f64) -> f64 {
        let width = (self.note.chars().count() * 8 + 16) as f64 / f64::from(WIDTH) * span;
        let step_aside = |at: f64, (mark, _)| if (at..at + width).contains(&mark) { mark } else { at };
        self.marks().into_iter().fold(self.length, step_aside)
    }
}

/// Draws how near the rates come to the limit.
pub fn ratios(results: &Results, path: &Path) -> Result<()> {
    let rows: Vec<Row> =
        results.rows().into_iter().filter(|row| row.ratio.is_some() && row.unit == Unit::PerSecond).collect();
    let groups: Vec<Group> = rows.chunk_by(|one, next| one.name == next.name).map(ratio_group).collect();
    let root = SVGBackend::new(path, (WIDTH, height(&groups))).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    draw(&root, "Throughput compared with the limit of this machine", "rate ÷ rate of a bare HTTP client", &groups)?;
    root.present().map_err(drawing)
}

fn ratio_group(rows: &[Row]) -> Group {
    let bars = rows.iter().filter_map(|row| {
        let length = row.ratio?;
        let note = format!("{length:.2}  ({})", value(row.value, row.unit));
        Some(Bar { store: row.store, length, note, target: row.target })
    });
    Group { title: rows[0].name.clone(), bars: bars.collect() }
}

/// Draws how long callbacks took, for each of the paced scenarios.
pub fn latencies(results: &Results, path: &Path) -> Result<()> {
    let paced = results.by_scenario().filter(|stores| stores[0].scenario.pace != Pace::Saturating);
    let panels: Vec<_> = paced.map(|stores| (stores, latency_groups(stores))).collect();
    let total: u32 = panels.iter().map(|(_, groups)| height(groups)).sum();
    let root = SVGBackend::new(path, (WIDTH, total)).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    let mut rest = root.clone();
    for (stores, groups) in &panels {
        let (panel, below) = rest.split_vertically(height(groups));
        draw(&panel, &latency_title(stores), &latency_axis(stores), groups)?;
        rest = below;
    }
    root.present().map_err(drawing)
}

fn latency_title(stores: &[Series]) -> String {
    match stores[0].scenario.pace {
        Pace::Rate(rate) => format!("From trigger to callback at {}", value(rate, Unit::PerSecond)),
        _ => "From trigger to callback at half of saturation".to_owned(),
    }
}

fn latency_axis(stores: &[Series]) -> String {
    if stores[0].scenario.pace != Pace::HalfOfSaturation {
        return "milliseconds".to_owned();
    }
    let rates = stores.iter().filter_map(|series| {
        let rate = series.median(|run| Some(run.measured.accepted_per_second))?;
        Some(format!("{} on {}", value(rate, Unit::PerSecond), series.store.name()))
    });
    format!("milliseconds; {}", rates.collect::<Vec<_>>().join(", "))
}

fn latency_groups(stores: &[Series]) -> Vec<Group> {
    let percentiles = ["p50", "p90", "p99", "p99.9"].into_iter().enumerate();
    let groups = percentiles.map(|(index, percentile)| Group {
        title: percentile.to_owned(),
        bars: stores.iter().filter_map(|series| latency_bar(series, index, percentile)).collect(),
    });
    groups.collect()
}

fn latency_bar(series: &Series, index: usize, percentile: &str) -> Option<Bar> {
    let length = series.median(|run| Some(run.measured.latency.milliseconds()[index]))?;
    let note = value(length, Unit::Milliseconds);
    let metric = series.scenario.metrics.iter().find(|metric| metric.name.contains(&format!(" {percentile} ")));
    let target = metric.and_then(|metric| metric.targets.of(series.store));
    Some(Bar { store: Some(series.store), length, note, target })
}

fn lines(groups: &[Group]) -> usize {
    groups.iter().map(|group| group.bars.len() + 1).sum()
}

fn height(groups: &[Group]) -> u32 {
    u32::try_from(FRAME_HEIGHT + LINE_HEIGHT * lines(groups)).unwrap_or(u32::MAX)
}

/// Draws groups of bars from top to bottom, with marks where their targets are.
fn draw(area: &Area<'_>, title: &str, axis: &str, groups: &[Group]) -> Result<()> {
    let bars = || groups.iter().flat_map(|group| &group.bars);
    let ends = bars().flat_map(|bar| [bar.length].into_iter().chain(bar.marks().into_iter().map(|(mark, _)| mark)));
    let longest = ends.fold(f64::MIN_POSITIVE, f64::max);
    // Room on the right for what is written at the end of the longest bar.
    let span = longest * 1.3;
    let label_width = bars().map(|bar| bar.label().len()).max().unwrap_or(0) * 8 + 20;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 22).into_font().style(FontStyle::Bold))
        .margin(12)
        .x_label_area_size(50)
        .y_label_area_size(u32::try_from(label_width)?)
        .build_cartesian_2d(0.0..span, lines(groups) as f64..0.0)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc(format!("{axis}{}", legend(groups)))
        .x_label_style((FONT, 15))
        .axis_desc_style((FONT, 16))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;

    let left = TextStyle::from((FONT, 16)).pos(Pos::new(HPos::Left, VPos::Center));
    let right = TextStyle::from((FONT, 16)).pos(Pos::new(HPos::Right, VPos::Center));
    let mut line = 0.0;
    for group in groups {
        let heading = TextStyle::from((FONT, 16).into_font().style(FontStyle::Bold));
        let heading = heading.pos(Pos::new(HPos::Left, VPos::Center));
        let heading = EmptyElement::at((0.0, line + 0.6)) + Text::new(group.title.clone(), (8, 0), heading);
        chart.draw_series([heading]).map_err(drawing)?;
        line += 1.0;
        for bar in &group.bars {
            let (top, middle, bottom) = (line + 0.12, line + 0.5, line + 0.88);
            let body = Rectangle::new([(0.0, top), (bar.length, bottom)], bar.colour().filled());
            chart.draw_series([body]).map_err(drawing)?;
            for (mark, colour) in bar.marks() {
                let mark = PathElement::new([(mark, top - 0.08), (mark, bottom + 0.08)], colour.stroke_width(3));
                chart.draw_series([mark]).map_err(drawing)?;
            }
            let note =
                EmptyElement::at((bar.note_at(span), middle)) + Text::new(bar.note.clone(), (8, 0), left.clone());
            let label = EmptyElement::at((0.0, middle)) + Text::new(bar.label(), (-10, 0), right.clone());
            chart.draw_series([note]).map_err(drawing)?;
            chart.plotting_area().draw(&label).map_err(drawing)?;
            line += 1.0;
        }
    }
    Ok(())
}

fn legend(groups: &[Group]) -> &'static str {
    let targets = || groups.iter().flat_map(|group| &group.bars).filter_map(|bar| bar.target);
    if targets().any(|target| target.least != target.goal) {
        " (orange: at least, green: the goal)"
    } else if targets().next().is_some() {
        " (green: the goal)"
    } else {
        ""
    }
}

/// An error of the library's, which borrows what it was drawn on.
pub fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_labels_and_notes_below_a_common_title() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        let target = Some(Target { least: 0.25, goal: 0.35 });
        let bar = |store, length, target| Bar { store: Some(store), length, note: format!("{length:.2}"), target };
        let bars = vec![bar(Store::Sqlite, 0.5, target), bar(Store::Redis, 0.0, None)];
        let groups = [Group { title: "what is compared".into(), bars }];
        let root = SVGBackend::new(&path, (WIDTH, height(&groups))).into_drawing_area();
        draw(&root, "The title", "the axis", &groups).unwrap();
        root.present().unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["what is compared", "SQLite", "0.50", "Redis", "0.00", "The title", "the axis (orange"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn a_note_steps_aside_for_the_marks_where_it_would_stand() {
        let bar = |length| {
            let target = Some(Target { least: 0.25, goal: 0.35 });
            Bar { store: None, length, note: "0.20  (1,000/s)".into(), target }
        };
        assert_eq!(bar(0.20).note_at(1.3), 0.35);
        assert_eq!(bar(0.02).note_at(1.3), 0.02);
        assert_eq!(bar(0.50).note_at(1.3), 0.50);
    }
}
