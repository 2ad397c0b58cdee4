//! A picture of what was found.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Contest, Findings};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

const WIDTH: u32 = 960;
const PANEL: u32 = 360;
const GREY: RGBColor = RGBColor(0x6b, 0x77, 0x85);
const BLUE: RGBColor = RGBColor(0x1c, 0x5d, 0x99);
const RED: RGBColor = RGBColor(0xd9, 0x48, 0x0f);
const GREEN: RGBColor = RGBColor(0x2b, 0x8a, 0x3e);
const TITLE: (&str, u32) = ("sans-serif", 18);
const LABEL: (&str, u32) = ("sans-serif", 13);

/// Turnout, who has how much, and what an attack takes.
///
/// # Panics
/// Never: text takes all that is drawn.
pub(super) fn draw(found: &Findings) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 3 * PANEL)).into_drawing_area();
        area.fill(&WHITE)
            .and_then(|()| {
                let (turnout, rest) = area.split_vertically(PANEL);
                let (largest, contest) = rest.split_vertically(PANEL);
                draw_turnout(&turnout, found)?;
                draw_largest(&largest, found)?;
                draw_contest(&contest, found)?;
                area.present()
            })
            .expect("a text takes all that is written to it");
    }
    svg
}

fn percent(part: &f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

/// What a line is called, where it is drawn and how.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    color: RGBColor,
}

/// Axes from nothing to all, lines on them, and their names beside.
fn draw_lines<'a>(
    area: &Area<'a>,
    title: &str,
    axes: [&str; 2],
    band: &[(f64, f64)],
    lines: Vec<Line>,
    names: SeriesLabelPosition,
) -> Drawn<'a> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, TITLE)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..1.0, 0.0..1.02)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .x_labels(11)
        .y_labels(6)
        .x_label_formatter(&percent)
        .y_label_formatter(&percent)
        .x_desc(axes[0])
        .y_desc(axes[1])
        .label_style(LABEL)
        .draw()?;
    if !band.is_empty() {
        chart.draw_series(std::iter::once(Polygon::new(
            band.to_vec(),
            GREY.mix(0.25).filled(),
        )))?;
    }
    for Line {
        name,
        points,
        color,
    } in lines
    {
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2))
            });
    }
    chart
        .configure_series_labels()
        .position(names)
        .margin(8)
        .background_style(WHITE.mix(0.85))
        .border_style(GREY.mix(0.4))
        .label_font(LABEL)
        .draw()
}

fn draw_turnout<'a>(area: &Area<'a>, found: &Findings) -> Drawn<'a> {
    let turnouts = &found.turnouts;
    let least = turnouts.iter().map(|it| (it.likely, it.part.0));
    let most = turnouts.iter().rev().map(|it| (it.likely, it.part.2));
    let band: Vec<_> = least.chain(most).collect();
    let quorum = f64::from(found.rules.quorum.get()) / 1e6;
    let line = |name: &str, points: Vec<(f64, f64)>, color| Line {
        name: name.to_owned(),
        points,
        color,
    };
    let of = |value: fn(&super::Turnout) -> f64| {
        turnouts.iter().map(|it| (it.likely, value(it))).collect()
    };
    draw_lines(
        area,
        "Turnout: what takes part, and what becomes of proposals",
        ["how likely each voter is to vote", "part"],
        &band,
        vec![
            line(
                "weight that takes part, mean and range",
                of(|it| it.part.1),
                GREY,
            ),
            line("quorum", vec![(0.0, quorum), (1.0, quorum)], BLACK),
            line("proposals that reach it", of(|it| it.quorum), BLUE),
            line("proposals that pass", of(|it| it.passed), GREEN),
        ],
        // Between the quorum and what takes part.
        SeriesLabelPosition::Coordinate(580, 150),
    )
}

/// How much the largest have together, and how many of them decide.
fn draw_largest<'a>(area: &Area<'a>, found: &Findings) -> Drawn<'a> {
    let count = found.shares.len();
    let mut sum = 0.0;
    let mut points = vec![(0.0, 0.0)];
    for (index, share) in found.shares.iter().enumerate() {
        sum += share;
        points.push(((index + 1) as f64 / count as f64, sum));
    }
    let mut lines = vec![Line {
        name: format!("weight of the largest of {count} voters together"),
        points,
        color: GREY,
    }];
    for (what, number, color) in [
        ("if nobody else votes", found.largest_unopposed, BLUE),
        ("against all others", found.largest_opposed, RED),
    ] {
        let Some(number) = number else { continue };
        let at = number as f64 / count as f64;
        lines.push(Line {
            name: match number {
                1 => format!("the largest passes a proposal {what}"),
                _ => format!("the {number} largest pass a proposal {what}"),
            },
            points: vec![(at, 0.0), (at, 1.02)],
            color,
        });
    }
    draw_lines(
        area,
        "The largest voters, and how many of them decide",
        [
            "part of the voters, the largest first",
            "part of all weight",
        ],
        &[],
        lines,
        SeriesLabelPosition::LowerRight,
    )
}

/// What an attacker must have of all that circulates. Where nothing is enough, there is no line.
fn draw_contest<'a>(area: &Area<'a>, found: &Findings) -> Drawn<'a> {
    let of = |value: fn(&Contest) -> Option<f64>| {
        let contests = found.contests.iter();
        contests
            .filter_map(|it| Some((it.turnout, value(it)?)))
            .collect::<Vec<_>>()
    };
    let line = |name: String, points, color| Line {
        name,
        points,
        color,
    };
    draw_lines(
        area,
        "What one attacker needs to pass a proposal",
        [
            "part of the others who vote against it",
            "part of what circulates",
        ],
        &[],
        vec![
            line("in one account".to_owned(), of(|it| it.alone), RED),
            line(
                format!("split into {} accounts", found.split),
                of(|it| it.split),
                BLUE,
            ),
        ],
        SeriesLabelPosition::LowerRight,
    )
}
