//! A picture of placements.

use std::collections::BTreeMap;

use fogcompute_base::{NodeId, TaskId};
use fogcompute_schedule::{Job, Node, OBJECTIVE_COUNT, OBJECTIVE_NAMES, Plan, Sharing};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::input::Names;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

const WIDTH: u32 = 960;
const PANEL: u32 = 360;
/// Most nodes that are drawn.
const NODES_DRAWN_MAX: usize = 20;
/// Characters that fit under the axis in one row.
const NAMES_CHARS: usize = 110;
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const CHOSEN: RGBColor = RGBColor(0xd9, 0x48, 0x0f);
const TAKEN: RGBColor = RGBColor(0xcb, 0xd5, 0xe0);
const TITLE: (&str, u32) = ("sans-serif", 18);
const LABEL: (&str, u32) = ("sans-serif", 13);

/// All placements found, each a line over the objectives, and where the chosen one puts work.
///
/// # Panics
/// Never: text takes all that is drawn.
pub(super) fn draw(
    plan: &Plan,
    jobs: &[Job],
    nodes: &[Node],
    names: &Names,
    sharing: Sharing,
) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 2 * PANEL)).into_drawing_area();
        area.fill(&WHITE)
            .and_then(|()| {
                let (above, below) = area.split_vertically(PANEL);
                draw_front(&above, plan)?;
                draw_work(&below, plan, jobs, nodes, names, sharing)?;
                area.present()
            })
            .expect("a text takes all that is written to it");
    }
    svg
}

/// Each placement as a line over the objectives, from the best of each to the worst.
fn draw_front<'a>(area: &Area<'a>, plan: &Plan) -> Drawn<'a> {
    let ranges: [(f64, f64); OBJECTIVE_COUNT] = std::array::from_fn(|objective| {
        let values = plan.front().iter().map(|point| point.objectives[objective]);
        values.fold(
            (f64::INFINITY, f64::NEG_INFINITY),
            |(least, most), value| (least.min(value), most.max(value)),
        )
    });
    let count = plan.front().len();
    let title = match count {
        1 => "One placement".to_owned(),
        _ => format!("{count} placements that no other beats; the chosen one is drawn bold"),
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, TITLE)
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.4..OBJECTIVE_COUNT as f64 - 0.6, -0.05..1.05)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .max_light_lines(0)
        .x_labels(OBJECTIVE_COUNT + 1)
        .x_label_formatter(&|at: &f64| objective_label(*at, &ranges))
        .y_labels(2)
        .y_label_formatter(&|at: &f64| match *at {
            at if at.abs() < 1e-9 => "best".to_owned(),
            at if (at - 1.0).abs() < 1e-9 => "worst".to_owned(),
            _ => String::new(),
        })
        .label_style(LABEL)
        .draw()?;
    let line = |index: usize| {
        let objectives = plan.front()[index].objectives;
        let points = ranges.iter().zip(objectives).enumerate();
        points.map(|(objective, (&(least, most), value))| {
            let share = if most > least {
                (value - least) / (most - least)
            } else {
                0.0
            };
            (objective as f64, share)
        })
    };
    let lines: Vec<Vec<(f64, f64)>> = (0..count).map(|index| line(index).collect()).collect();
    for (index, points) in lines.iter().enumerate() {
        if index != plan.chosen_index() {
            chart.draw_series(LineSeries::new(points.iter().copied(), OTHERS.mix(0.6)))?;
        }
    }
    let chosen = &lines[plan.chosen_index()];
    chart.draw_series(LineSeries::new(
        chosen.iter().copied(),
        CHOSEN.stroke_width(3),
    ))?;
    let dots = chosen.iter().map(|&at| Circle::new(at, 4, CHOSEN.filled()));
    chart.draw_series(dots)?;
    Ok(())
}

/// The name of the objective at a place of the axis, and its range.
fn objective_label(at: f64, ranges: &[(f64, f64); OBJECTIVE_COUNT]) -> String {
    let nearest = at.round();
    if (at - nearest).abs() > 1e-9 || nearest < 0.0 || nearest >= OBJECTIVE_COUNT as f64 {
        return String::new();
    }
    let objective = nearest as usize;
    let (least, most) = ranges[objective];
    if most > least {
        let (least, most) = (brief(least), brief(most));
        format!("{} {least} to {most}", OBJECTIVE_NAMES[objective])
    } else {
        format!("{} {}", OBJECTIVE_NAMES[objective], brief(least))
    }
}

/// A number with as many digits as an axis has room for.
fn brief(value: f64) -> String {
    match value.abs() {
        1e7.. => format!("{value:.2e}"),
        1e3.. => format!("{value:.0}"),
        _ => format!("{value:.3}"),
    }
}

/// How much work the chosen placement gives to each node: of its processors where jobs share them,
/// of the time where they queue.
fn draw_work<'a>(
    area: &Area<'a>,
    plan: &Plan,
    jobs: &[Job],
    nodes: &[Node],
    names: &Names,
    sharing: Sharing,
) -> Drawn<'a> {
    let bars = bars(plan, jobs, nodes, sharing);
    let drawn = &bars[..bars.len().min(NODES_DRAWN_MAX)];
    let of = match sharing {
        Sharing::Concurrent => {
            "Cores of each node: grey in use before, red for these jobs, the rest free"
        }
        Sharing::Queued => "Seconds of all its cores that each node has to work",
    };
    let title = if bars.len() > drawn.len() {
        format!("{of} (the busiest {NODES_DRAWN_MAX} of {})", bars.len())
    } else {
        of.to_owned()
    };
    let most = bars
        .iter()
        .map(|bar| bar.all.max(bar.before + bar.added))
        .fold(0.0, f64::max);
    let most = if most > 0.0 { 1.05 * most } else { 1.0 };
    // An axis of whole numbers would have the labels, but overflows when there are few.
    let mut chart = ChartBuilder::on(area)
        .caption(title, TITLE)
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..drawn.len() as f64, 0.0..most)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .x_labels(0)
        .y_labels(5)
        .label_style(LABEL)
        .draw()?;
    let rectangle = |index: usize, from: f64, to: f64, color: RGBColor| {
        let corners = [(index as f64, from), (index as f64 + 1.0, to)];
        let mut bar = Rectangle::new(corners, color.filled());
        bar.set_margin(0, 0, 3, 3);
        bar
    };
    let before = drawn.iter().enumerate();
    let before = before.map(|(index, bar)| rectangle(index, 0.0, bar.before, TAKEN));
    chart.draw_series(before)?;
    let all = drawn.iter().enumerate();
    chart.draw_series(all.map(|(index, bar)| {
        let corners = [(index as f64, 0.0), (index as f64 + 1.0, bar.all)];
        let mut outline = Rectangle::new(corners, OTHERS.stroke_width(1));
        outline.set_margin(0, 0, 3, 3);
        outline
    }))?;
    let added = drawn.iter().enumerate();
    let added =
        added.map(|(index, bar)| rectangle(index, bar.before, bar.before + bar.added, CHOSEN));
    chart.draw_series(added)?;
    let centred = LABEL
        .into_text_style(area)
        .pos(Pos::new(HPos::Center, VPos::Top));
    // Many names are written in two rows.
    let rows = if drawn.len() > 8 { 2 } else { 1 };
    let chars = rows as usize * NAMES_CHARS / drawn.len().max(1);
    let labels = drawn.iter().enumerate().map(|(index, bar)| {
        let name = short(&names.of(&bar.node), chars);
        let below = 8 + 16 * (index as i32 % rows);
        EmptyElement::at((index as f64 + 0.5, 0.0)) + Text::new(name, (0, below), centred.clone())
    });
    chart.draw_series(labels)?;
    Ok(())
}

struct Bar {
    node: NodeId,
    before: f64,
    added: f64,
    /// All there is, if that is a limit.
    all: f64,
}

/// One for each node, the longest first.
fn bars(plan: &Plan, jobs: &[Job], nodes: &[Node], sharing: Sharing) -> Vec<Bar> {
    let jobs: BTreeMap<TaskId, &Job> = jobs.iter().map(|job| (job.id, job)).collect();
    let mut added: BTreeMap<NodeId, f64> = BTreeMap::new();
    for (job, node) in &plan.chosen().assignment {
        let Some(job) = jobs.get(job) else { continue };
        let cores = job.cpu_millis as f64 / 1e3;
        *added.entry(*node).or_default() += match sharing {
            Sharing::Concurrent => cores,
            Sharing::Queued => cores * job.duration_ms as f64 / 1e3,
        };
    }
    let mut bars: Vec<Bar> = nodes
        .iter()
        .map(|node| {
            let added = added.get(&node.id).copied().unwrap_or(0.0);
            let cores = node.cpu_millis_total as f64 / 1e3;
            let taken = node.cpu_millis_total.saturating_sub(node.cpu_millis_free);
            let (before, added) = match sharing {
                Sharing::Concurrent => (taken as f64 / 1e3, added),
                Sharing::Queued => (0.0, added / (node.speed * cores.max(1e-3))),
            };
            Bar {
                node: node.id,
                before,
                added,
                all: match sharing {
                    Sharing::Concurrent => cores,
                    Sharing::Queued => 0.0,
                },
            }
        })
        .collect();
    bars.sort_by(|a, b| (b.before + b.added).total_cmp(&(a.before + a.added)));
    bars
}

/// A name of at most so many characters: its beginning and its end, by which names differ.
fn short(name: &str, chars: usize) -> String {
    let count = name.chars().count();
    if count <= chars {
        return name.to_owned();
    }
    let half = chars.saturating_sub(1) / 2;
    let start: String = name.chars().take(half).collect();
    let end: String = name.chars().skip(count - half).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use fogcompute_schedule::Instance;
    use fogcompute_schedule::evolution::Nsga2;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn plan(jobs: &[Job], nodes: &[Node], sharing: Sharing) -> Plan {
        let search = Nsga2 {
            population: 8,
            generations: 2,
            ..Nsga2::default()
        };
        Instance::new(jobs.to_vec(), nodes.to_vec(), sharing)
            .unwrap()
            .place(&search, &mut ChaCha20Rng::seed_from_u64(1))
            .unwrap()
    }

    fn job(id: u8, cpu_millis: u64, duration_ms: u64) -> Job {
        Job::new(TaskId::from_bytes([id; 16]), cpu_millis, 1, duration_ms)
    }

    fn node(id: u8, cpu_millis: u64) -> Node {
        Node::new(NodeId::from_bytes([id; 32]), cpu_millis, 1 << 40)
    }

    #[test]
    fn a_picture_has_the_names_and_a_line_for_each_placement() {
        let jobs: Vec<_> = (0..30).map(|id| job(id, 500, 1_000)).collect();
        let nodes: Vec<_> = (0..3)
            .map(|id| Node {
                speed: 1.0 + f64::from(id),
                trust: 1.0 - f64::from(id) / 4.0,
                price_per_cpu_second: 1 + u64::from(id),
                ..node(id, 8_000)
            })
            .collect();
        let plan = plan(&jobs, &nodes, Sharing::Concurrent);
        assert!(plan.front().len() > 1);
        let picture = draw(&plan, &jobs, &nodes, &Names::default(), Sharing::Concurrent);
        // The chosen one is a line of its own; axes are polylines or lines too.
        let lines = picture.matches("<polyline").count();
        assert!(lines >= plan.front().len(), "{lines}");
        for name in OBJECTIVE_NAMES {
            assert!(picture.contains(name), "{name}");
        }
        assert!(picture.contains("010…101"));
    }

    #[test]
    fn extremes_are_drawn() {
        for (jobs, nodes) in [
            (vec![job(0, 0, 0)], vec![node(0, 0)]),
            (vec![job(0, u64::MAX / 4, 1)], vec![node(0, u64::MAX / 2)]),
            (vec![job(0, 1, 1 << 46)], vec![node(0, 1), node(1, 1)]),
            (vec![job(0, 1, 1)], (0..200).map(|id| node(id, 1)).collect()),
        ] {
            for sharing in [Sharing::Concurrent, Sharing::Queued] {
                let plan = plan(&jobs, &nodes, sharing);
                let picture = draw(&plan, &jobs, &nodes, &Names::default(), sharing);
                assert!(picture.contains("</svg>"));
            }
        }
    }
}
