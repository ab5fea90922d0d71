//! The plots, as SVG: throughput by callers, CPU a message, latency at a fixed rate.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::contestant::Contestant;
use crate::plan::Workload;
use crate::recorder::Latency;
use crate::results::{Results, Row, millis};
use crate::sample::Sample;
use crate::spec::{Operation, Pace};

/// The file and the title of each plot.
pub const NAMES: [(&str, &str); 3] = [
    ("throughput.svg", "Requests a second by callers"),
    ("cpu.svg", "CPU a message, contestant and broker"),
    ("latency.svg", "Latency at 1,000 requests a second"),
];
const SIZE: (u32, u32) = (860, 420);
const FONT: (&str, u32) = ("sans-serif", 16);
const SMALL: (&str, u32) = ("sans-serif", 13);
const PERCENTILES: [(&str, Percentile); 4] =
    [("p50", |it| it.p50), ("p90", |it| it.p90), ("p99", |it| it.p99), ("p99.9", |it| it.p999)];

type Percentile = fn(&Latency) -> u64;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws the plots whose workloads were run.
///
/// # Errors
/// When a file cannot be written.
pub fn draw(results: &Results, folder: &Path) -> anyhow::Result<()> {
    let [throughput_file, cpu_file, latency_file] = NAMES.map(|(file, _)| folder.join(file));
    throughput(results, &SVGBackend::new(&throughput_file, SIZE).into_drawing_area())?;
    if let Some(base) = results.workload("publish-64") {
        cpu(results, base, &SVGBackend::new(&cpu_file, SIZE).into_drawing_area())?;
    }
    if let Some(rate) = results.workload("rate-1000") {
        latency(results, rate, &SVGBackend::new(&latency_file, SIZE).into_drawing_area())?;
    }
    Ok(())
}

fn colour(row: Row) -> RGBColor {
    match row {
        Row::Limit | Row::Of(Contestant::DirectTasks | Contestant::DirectOneTask) => RGBColor(90, 90, 90),
        Row::Of(Contestant::Gateway) => RGBColor(214, 84, 31),
        Row::Of(Contestant::GatewayWithKeys) => RGBColor(170, 60, 20),
        Row::Of(Contestant::Before) => RGBColor(240, 170, 120),
        Row::Of(Contestant::Floor) => RGBColor(20, 150, 160),
        Row::Of(Contestant::Fastify) => RGBColor(46, 134, 87),
        Row::Of(Contestant::FastApi1) => RGBColor(120, 160, 220),
        Row::Of(Contestant::FastApi2) => RGBColor(38, 96, 180),
        Row::Of(Contestant::Management) => RGBColor(150, 90, 170),
    }
}

/// The base case at every number of callers.
fn sweep(results: &Results) -> Vec<&Workload> {
    let workloads = results.plan.workloads.iter();
    let mut sweep: Vec<_> = workloads.filter(|workload| workload.name.starts_with("publish-")).collect();
    sweep.sort_by_key(|workload| workload.traffic.callers);
    sweep
}

fn throughput(results: &Results, area: &Area) -> anyhow::Result<()> {
    let sweep = sweep(results);
    let lines = lines(&sweep, |workload, row| {
        (float(workload.traffic.callers), results.figure(workload, row, Sample::rate).median)
    });
    let most = lines.iter().flat_map(|(_, points)| points).map(|point| point.1).fold(1.0, f64::max);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(NAMES[0].1, FONT)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((1f64..1100f64).log_scale(), 0f64..most * 1.15)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("callers")
        .y_desc("requests a second")
        .x_label_formatter(&|callers| format!("{callers:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .label_style(SMALL)
        .draw()?;
    for (row, points) in lines {
        let style = ShapeStyle::from(colour(row)).stroke_width(2).filled();
        chart
            .draw_series(LineSeries::new(points, style).point_size(3))?
            .label(row.title())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .label_font(SMALL)
        .draw()?;
    Ok(area.present()?)
}

/// A line for each row that has at least two points.
fn lines(
    workloads: &[&Workload],
    point: impl Fn(&Workload, Row) -> (f64, f64),
) -> Vec<(Row, Vec<(f64, f64)>)> {
    let mut lines: Vec<(Row, Vec<_>)> = Vec::new();
    for workload in workloads {
        for row in Row::all(workload) {
            match lines.iter_mut().find(|(of, _)| *of == row) {
                Some((_, points)) => points.push(point(workload, row)),
                None => lines.push((row, vec![point(workload, row)])),
            }
        }
    }
    lines.retain(|(_, points)| points.len() > 1);
    lines
}

/// A bar for each row: its own CPU, and on top of it RabbitMQ's.
fn cpu(results: &Results, base: &Workload, area: &Area) -> anyhow::Result<()> {
    let median = |row, of: fn(&Sample) -> f64| results.figure(base, row, of).median;
    let bars: Vec<_> = Row::all(base)
        .into_iter()
        .map(|row| {
            (row, median(row, |it| it.each(it.contestant_cpu)), median(row, |it| it.each(it.broker_cpu)))
        })
        .collect();
    let most = bars.iter().map(|(_, own, broker)| own + broker).fold(1.0, f64::max);
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{} (µs; dark: its own, light: RabbitMQ's)", NAMES[1].1), FONT)
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(8)
        .build_cartesian_2d(0f64..most * 1.1, float(bars.len())..0f64)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .disable_y_mesh()
        .disable_y_axis()
        .label_style(SMALL)
        .draw()?;
    for (n, (row, own, broker)) in bars.into_iter().enumerate() {
        let (top, bottom) = (float(n) + 0.42, float(n) + 0.9);
        let bar = |from, to, shade: RGBAColor| Rectangle::new([(from, top), (to, bottom)], shade.filled());
        chart.draw_series([
            bar(0.0, own, colour(row).to_rgba()),
            bar(own, own + broker, colour(row).mix(0.4)),
        ])?;
        let label = format!("{}: {own:.0} + {broker:.0}", row.title());
        chart.draw_series([Text::new(label, (most * 0.005, float(n) + 0.1), SMALL)])?;
    }
    Ok(area.present()?)
}

fn latency(results: &Results, workload: &Workload, area: &Area) -> anyhow::Result<()> {
    debug_assert!(matches!(
        (workload.traffic.operation, workload.traffic.pace),
        (Operation::Publish, Pace::Rate(_))
    ));
    let lines: Vec<_> = Row::all(workload)
        .into_iter()
        .map(|row| {
            (
                row,
                PERCENTILES.map(|(_, of)| results.figure(workload, row, |it| millis(of(&it.latency))).median),
            )
        })
        .collect();
    let most =
        lines.iter().flat_map(|(_, figures)| figures).fold(1.0, |most, figure| f64::max(most, *figure));
    let least =
        lines.iter().flat_map(|(_, figures)| figures).fold(1.0, |least, figure| f64::min(least, *figure));
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{} (ms, logarithmic)", NAMES[2].1), FONT)
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.2f64..3.2, (least * 0.8..most * 1.3).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .disable_x_mesh()
        .disable_x_axis()
        .label_style(SMALL)
        .draw()?;
    for (x, (name, _)) in (0..).zip(PERCENTILES) {
        chart.draw_series([Text::new(name, (f64::from(x), least * 0.88), SMALL)])?;
    }
    for (row, figures) in lines {
        let style = ShapeStyle::from(colour(row)).stroke_width(2).filled();
        let points = (0..).map(f64::from).zip(figures);
        chart
            .draw_series(LineSeries::new(points, style).point_size(3))?
            .label(row.title())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .label_font(SMALL)
        .draw()?;
    Ok(area.present()?)
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand at the most")]
fn float(number: usize) -> f64 {
    number as f64
}
