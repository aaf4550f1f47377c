//! The plots.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    report::value,
    results::{Results, Series},
    scenario::{Pace, Target, Unit},
};

const WIDTH: u32 = 960;
/// The height of a bar and its share of the space between.
const BAR_HEIGHT: usize = 44;
/// The height of the title, the axis and what they are called.
const FRAME_HEIGHT: usize = 130;
const FONT: &str = "sans-serif";
const BAR: RGBColor = RGBColor(66, 133, 190);
const LEAST: RGBColor = RGBColor(214, 120, 30);
const GOAL: RGBColor = RGBColor(40, 140, 70);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A horizontal bar.
struct Bar {
    label: String,
    length: f64,
    /// What is written at its end.
    note: String,
    target: Option<Target>,
}

impl Bar {
    /// Where its farthest mark is.
    fn mark(&self) -> f64 {
        self.target.map_or(0.0, |target| target.least.max(target.goal))
    }
}

/// Draws how near the rates come to the limit.
pub fn ratios(results: &Results, path: &Path) -> Result<()> {
    let rates = results.rows().into_iter().filter_map(|row| {
        let length = row.ratio?;
        let note = format!("{length:.2}  ({})", value(row.value, row.unit));
        Some(Bar { label: row.name.to_owned(), length, note, target: row.target })
    });
    let bars: Vec<Bar> = rates.collect();
    let size = (WIDTH, height(&bars));
    let root = SVGBackend::new(path, size).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    draw(&root, "Throughput compared with the limit of this machine", "rate ÷ rate of a bare HTTP client", &bars)?;
    root.present().map_err(drawing)
}

/// Draws how long callbacks took, for each of the paced scenarios.
pub fn latencies(results: &Results, path: &Path) -> Result<()> {
    let paced = results.series.iter().filter(|series| series.scenario.pace != Pace::Saturating);
    let panels: Vec<(String, Vec<Bar>)> = paced.map(|series| (latency_title(series), latency_bars(series))).collect();
    let total: u32 = panels.iter().map(|(_, bars)| height(bars)).sum();
    let root = SVGBackend::new(path, (WIDTH, total)).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    let mut rest = root.clone();
    for (title, bars) in &panels {
        let (panel, below) = rest.split_vertically(height(bars));
        draw(&panel, title, "milliseconds", bars)?;
        rest = below;
    }
    root.present().map_err(drawing)
}

fn latency_title(series: &Series) -> String {
    let rate = series.median(|run| Some(run.measured.accepted_per_second)).unwrap_or(0.0);
    let half = if series.scenario.pace == Pace::HalfOfSaturation { ", half of saturation" } else { "" };
    format!("From trigger to callback at {}{half}", value(rate, Unit::PerSecond))
}

fn latency_bars(series: &Series) -> Vec<Bar> {
    let bars = ["p50", "p90", "p99", "p99.9"].into_iter().enumerate().filter_map(|(index, label)| {
        let length = series.median(|run| Some(run.measured.latency.milliseconds()[index]))?;
        let note = value(length, Unit::Milliseconds);
        let metric = series.scenario.metrics.iter().find(|metric| metric.name.contains(&format!(" {label} ")));
        Some(Bar { label: label.to_owned(), length, note, target: metric.and_then(|metric| metric.target) })
    });
    bars.collect()
}

fn height(bars: &[Bar]) -> u32 {
    u32::try_from(FRAME_HEIGHT + BAR_HEIGHT * bars.len()).unwrap_or(u32::MAX)
}

/// Draws bars from top to bottom, with marks where their targets are.
fn draw(area: &Area<'_>, title: &str, axis: &str, bars: &[Bar]) -> Result<()> {
    let longest = bars.iter().flat_map(|bar| [bar.length, bar.mark()]).fold(f64::MIN_POSITIVE, f64::max);
    // Room on the right for what is written at the end of the longest bar.
    let span = longest * 1.3;
    let label_width = bars.iter().map(|bar| bar.label.len()).max().unwrap_or(0) * 8 + 20;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 22).into_font().style(FontStyle::Bold))
        .margin(12)
        .x_label_area_size(50)
        .y_label_area_size(u32::try_from(label_width)?)
        .build_cartesian_2d(0.0..span, bars.len() as f64..0.0)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc(format!("{axis}{}", legend(bars)))
        .x_label_style((FONT, 15))
        .axis_desc_style((FONT, 16))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;

    let left = TextStyle::from((FONT, 16)).pos(Pos::new(HPos::Left, VPos::Center));
    let right = TextStyle::from((FONT, 16)).pos(Pos::new(HPos::Right, VPos::Center));
    for (index, bar) in bars.iter().enumerate() {
        let (top, middle, bottom) = (index as f64 + 0.18, index as f64 + 0.5, index as f64 + 0.82);
        // The note steps aside for a mark where it would stand.
        let note_width = (bar.note.chars().count() * 8 + 16) as f64 / f64::from(WIDTH) * span;
        let is_in_the_way = (bar.length..bar.length + note_width).contains(&bar.mark());
        let end = if is_in_the_way { bar.mark() } else { bar.length };
        let body = Rectangle::new([(0.0, top), (bar.length, bottom)], BAR.filled());
        chart.draw_series([body]).map_err(drawing)?;
        for (mark, colour) in bar.target.iter().flat_map(|target| [(target.least, LEAST), (target.goal, GOAL)]) {
            let line = PathElement::new([(mark, top - 0.1), (mark, bottom + 0.1)], colour.stroke_width(3));
            chart.draw_series([line]).map_err(drawing)?;
        }
        let note = EmptyElement::at((end, middle)) + Text::new(bar.note.clone(), (8, 0), left.clone());
        let label = EmptyElement::at((0.0, middle)) + Text::new(bar.label.clone(), (-10, 0), right.clone());
        chart.draw_series([note]).map_err(drawing)?;
        chart.plotting_area().draw(&label).map_err(drawing)?;
    }
    Ok(())
}

fn legend(bars: &[Bar]) -> &'static str {
    let targets = || bars.iter().filter_map(|bar| bar.target);
    if targets().any(|target| target.least != target.goal) {
        " (orange: at least, green: the goal)"
    } else if targets().next().is_some() {
        " (green: the goal)"
    } else {
        ""
    }
}

/// An error of the library's, which borrows what it was drawn on.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_labels_and_notes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        let target = Some(Target { least: 0.25, goal: 0.35 });
        let bars = [
            Bar { label: "above".into(), length: 0.5, note: "0.50".into(), target },
            Bar { label: "below".into(), length: 0.0, note: "0.00".into(), target: None },
        ];
        let root = SVGBackend::new(&path, (WIDTH, height(&bars))).into_drawing_area();
        draw(&root, "The title", "the axis", &bars).unwrap();
        root.present().unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["above", "0.50", "below", "0.00", "The title", "the axis (orange"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }
}
