//! Plots with lines: throughput by fan-out, the distribution of latencies, cost by backlog.

use std::{ops::Range, path::Path};

use anyhow::Result;
use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use crate::{
    plot::{Area, FONT, WIDTH, drawing, store_colour},
    report::{thousands, value},
    results::{Results, Series},
    scenario::{Pace, Unit},
    store::Store,
};

const HEIGHT: u32 = 420;

/// A plot with two axes that grow by factors or by steps.
struct Plot<'a> {
    title: &'a str,
    x: Axis<'a>,
    y: Axis<'a>,
    lines: Vec<Line>,
}

/// What an axis shows.
struct Axis<'a> {
    name: &'a str,
    label: &'a dyn Fn(&f64) -> String,
    /// Whether it begins at zero; otherwise equal steps are equal factors.
    is_linear: bool,
}

/// A store's points, from left to right.
struct Line {
    store: Store,
    points: Vec<(f64, f64)>,
}

/// Draws how many deliveries a second each store brings at each fan-out, one event in a request.
pub fn throughput(results: &Results, path: &Path) -> Result<()> {
    let is_shown = |series: &&Series| {
        let scenario = &series.scenario;
        (scenario.pace, scenario.batch) == (Pace::Saturating, 1) && scenario.fan_out > 0
    };
    let lines = by_store(results, |store| {
        let of_store = results.series.iter().filter(|series| series.store == store).filter(is_shown);
        let point = |series: &Series| {
            let rate = series.median(|run| Some(run.measured.delivered_per_second))?;
            Some((series.scenario.fan_out as f64, rate))
        };
        of_store.filter_map(point).collect()
    });
    let whole = |number: &f64| thousands(*number);
    let x = Axis { name: "subscriptions for each event", label: &whole, is_linear: false };
    let y = Axis { name: "deliveries per second", label: &whole, is_linear: true };
    draw_all(path, &[Plot { title: "Throughput by fan-out", x, y, lines }])
}

/// Draws how many callbacks took longer than how long, for each of the paced scenarios.
pub fn distributions(results: &Results, path: &Path) -> Result<()> {
    let share = |over: &f64| format!("{}", 100.0 / over);
    let milliseconds = |number: &f64| format!("{number}");
    let paced = results.by_scenario().filter(|stores| stores[0].scenario.pace != Pace::Saturating);
    let plots = paced.map(|stores| Plot {
        title: stores[0].scenario.name,
        x: Axis { name: "milliseconds from trigger to callback", label: &milliseconds, is_linear: false },
        y: Axis { name: "% that took longer", label: &share, is_linear: false },
        lines: stores.iter().filter_map(distribution).collect(),
    });
    draw_all(path, &plots.collect::<Vec<_>>())
}

/// The percentiles of `series`; the rarer what is slower, the higher up.
fn distribution(series: &Series) -> Option<Line> {
    let one_in = [2.0, 10.0, 100.0, 1000.0].into_iter().enumerate();
    let point = |(index, one_in): (usize, f64)| {
        Some((series.median(|run| Some(run.measured.latency.milliseconds()[index]))?, one_in))
    };
    let points: Vec<_> = one_in.filter_map(point).collect();
    (!points.is_empty()).then_some(Line { store: series.store, points })
}

/// Draws what 10,000 deliveries cost by how many wait.
pub fn backlog(results: &Results, path: &Path) -> Result<()> {
    let lines = by_store(results, |store| {
        let found = results.studies.iter().filter(|study| study.store == store);
        found.flat_map(|study| study.cost_by_waiting.iter().copied()).collect()
    });
    let whole = |number: &f64| thousands(*number);
    let seconds = |number: &f64| value(*number, Unit::Seconds);
    let x = Axis { name: "deliveries that wait", label: &whole, is_linear: false };
    let y = Axis { name: "CPU for 10,000 deliveries, the database's too", label: &seconds, is_linear: true };
    draw_all(path, &[Plot { title: "Cost by backlog", x, y, lines }])
}

fn by_store(results: &Results, points: impl Fn(Store) -> Vec<(f64, f64)>) -> Vec<Line> {
    let lines = results.stores.iter().map(|&store| Line { store, points: points(store) });
    lines.filter(|line| !line.points.is_empty()).collect()
}

/// Writes the plots that have any lines below each other; without any there is no file.
fn draw_all(path: &Path, plots: &[Plot<'_>]) -> Result<()> {
    let plots: Vec<_> = plots.iter().filter(|plot| !plot.lines.is_empty()).collect();
    if plots.is_empty() {
        return Ok(());
    }
    let root = SVGBackend::new(path, (WIDTH, HEIGHT * u32::try_from(plots.len())?)).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    for (area, plot) in root.split_evenly((plots.len(), 1)).iter().zip(plots) {
        match (range(plot, |point| point.0, &plot.x), range(plot, |point| point.1, &plot.y)) {
            (x, y) if plot.y.is_linear => draw(area, plot, x.log_scale(), y)?,
            (x, y) => draw(area, plot, x.log_scale(), y.log_scale())?,
        }
    }
    root.present().map_err(drawing)
}

/// From the least to the most, with some room; from zero where steps are equal.
fn range(plot: &Plot<'_>, read: impl Fn(&(f64, f64)) -> f64, axis: &Axis<'_>) -> Range<f64> {
    let numbers = || plot.lines.iter().flat_map(|line| &line.points).map(&read);
    let most = numbers().fold(f64::MIN_POSITIVE, f64::max);
    let least = numbers().fold(most, f64::min).max(most / 1e9);
    if axis.is_linear { 0.0..most * 1.1 } else { least / 1.2..most * 1.2 }
}

fn draw<X, Y>(area: &Area<'_>, plot: &Plot<'_>, x: X, y: Y) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(plot.title, (FONT, 22).into_font().style(FontStyle::Bold))
        .margin(14)
        .x_label_area_size(50)
        .y_label_area_size(90)
        .build_cartesian_2d(x, y)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .x_desc(plot.x.name)
        .y_desc(plot.y.name)
        .x_label_formatter(plot.x.label)
        .y_label_formatter(plot.y.label)
        .x_label_style((FONT, 15))
        .y_label_style((FONT, 15))
        .axis_desc_style((FONT, 16))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(drawing)?;
    for Line { store, points } in &plot.lines {
        let colour = store_colour(*store);
        let drawn = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(4);
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3));
        chart.draw_series(drawn).map_err(drawing)?.label(store.name()).legend(legend);
    }
    let mut labels = chart.configure_series_labels();
    let labels = labels.position(SeriesLabelPosition::LowerRight).label_font((FONT, 16));
    labels.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw().map_err(drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_tells_its_stores_and_its_axes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        let whole = |number: &f64| thousands(*number);
        let line = |store, factor: f64| Line { store, points: vec![(1.0, 10.0 * factor), (1000.0, 20.0 * factor)] };
        let plot = |is_linear, lines| Plot {
            title: "The title",
            x: Axis { name: "to the right", label: &whole, is_linear: false },
            y: Axis { name: "upwards", label: &whole, is_linear },
            lines,
        };
        draw_all(&path, &[plot(true, Vec::new())]).unwrap();
        assert!(!path.exists());
        let lines = || vec![line(Store::Sqlite, 1.0), line(Store::Redis, 2.0)];
        draw_all(&path, &[plot(true, lines()), plot(false, lines())]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["The title", "to the right", "upwards", "SQLite", "Redis", "1,000"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }
}
