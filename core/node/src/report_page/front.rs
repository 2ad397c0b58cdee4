//! The placements among which one was chosen.

use std::fmt::Write as _;

use super::svg::{NARROW, Scale, counted, esc, extent, image, millis, n, plain_tick, time_tick};
use crate::report::{Front, Report};

/// Base units of one credit. For the axis only: amounts themselves are never floats.
const CREDIT: f64 = 1e18;

/// What an objective is counted in.
#[derive(Clone, Copy)]
enum Unit {
    Milliseconds,
    Credits,
    None,
}

/// One objective of all placements.
struct Objective {
    label: String,
    meaning: &'static str,
    unit: Unit,
    best: f64,
    worst: f64,
}

impl Objective {
    fn new(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let (label, meaning, unit) = match name {
            "completion_ms" => (
                "Completion",
                "mean time until a tile is done, at the speeds promised",
                Unit::Milliseconds,
            ),
            "imbalance" => (
                "Imbalance",
                "how unevenly the nodes are used, 0 is even",
                Unit::None,
            ),
            "distrust" => (
                "Distrust",
                "how little the nodes used have proven",
                Unit::None,
            ),
            "cost" => ("Cost", "what all tiles together cost", Unit::Credits),
            "price" => (
                "Price",
                "what all tiles together cost on the market",
                Unit::Credits,
            ),
            other => (other, "", Unit::None),
        };
        let (best, worst) = extent(values).unwrap_or((0.0, 0.0));
        Self {
            label: label.to_owned(),
            meaning,
            unit,
            best,
            worst,
        }
    }

    fn varies(&self) -> bool {
        // Sums in another order differ in their last bits.
        self.worst - self.best > 1e-9 * self.worst.abs().max(f64::MIN_POSITIVE)
    }

    /// How much of the way from the best to the worst a value is.
    fn given_up(&self, value: f64) -> f64 {
        ((value - self.best) / (self.worst - self.best)).clamp(0.0, 1.0)
    }

    fn show(&self, value: f64) -> String {
        match self.unit {
            Unit::Milliseconds => millis(value),
            Unit::Credits => format!("{:.2}", value / CREDIT),
            Unit::None => format!("{value:.2}"),
        }
    }

    fn title(&self) -> String {
        match self.unit {
            Unit::Credits => format!("{}, credits", self.label),
            _ => self.label.clone(),
        }
    }

    fn tick(&self, value: f64, step: f64) -> String {
        match self.unit {
            Unit::Milliseconds => time_tick(value, step, self.worst),
            Unit::Credits => plain_tick(value / CREDIT, step / CREDIT),
            Unit::None => plain_tick(value, step),
        }
    }
}

/// The points that can be drawn.
struct Plot<'a> {
    objectives: Vec<Objective>,
    points: Vec<&'a [f64]>,
    /// Index into `points`.
    chosen: Option<usize>,
}

impl<'a> Plot<'a> {
    fn new(front: &'a Front) -> Self {
        let whole = |point: &&Vec<f64>| {
            point.len() == front.objectives.len() && point.iter().all(|value| value.is_finite())
        };
        let chosen = front
            .points
            .get(front.chosen)
            .filter(whole)
            .map(|_| front.points[..front.chosen].iter().filter(whole).count());
        let points: Vec<_> = front
            .points
            .iter()
            .filter(whole)
            .map(Vec::as_slice)
            .collect();
        let objectives = front
            .objectives
            .iter()
            .enumerate()
            .map(|(index, name)| Objective::new(name, points.iter().map(|point| point[index])))
            .collect();
        Self {
            objectives,
            points,
            chosen,
        }
    }

    fn tooltip(&self, point: &[f64]) -> String {
        self.objectives
            .iter()
            .zip(point)
            .map(|(objective, value)| format!("{} {}", objective.title(), objective.show(*value)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Whether no point is nearer to the best of every objective, each measured from its best to
    /// its worst, than the chosen one.
    fn chosen_is_nearest(&self) -> bool {
        let distance = |point: &[f64]| -> f64 {
            self.objectives
                .iter()
                .zip(point)
                .filter(|(objective, _)| objective.varies())
                .map(|(objective, value)| objective.given_up(*value).powi(2))
                .sum()
        };
        self.chosen.is_some_and(|chosen| {
            let least = distance(self.points[chosen]);
            self.points
                .iter()
                .all(|point| distance(point) >= least - 1e-12)
        })
    }

    /// The two objectives of the scatter: those that vary most, the first and the last of them.
    fn pair(&self) -> Option<(usize, usize)> {
        let varying: Vec<_> = (0..self.objectives.len())
            .filter(|index| self.objectives[*index].varies())
            .collect();
        match varying.as_slice() {
            [first, .., last] => Some((*first, *last)),
            _ if self.objectives.len() >= 2 => Some((0, self.objectives.len() - 1)),
            _ => None,
        }
    }
}

pub(super) fn section(report: &Report) -> String {
    let front = &report.front;
    let plot = Plot::new(front);
    let mut text = String::from(
        "<section id=\"placement\" aria-labelledby=\"placement-title\">\
         <h2 id=\"placement-title\">Where the tiles go</h2>",
    );
    if plot.points.is_empty() || plot.objectives.is_empty() {
        text.push_str(
            "<p class=\"empty\">The optimiser was not asked: no placement of the whole job was \
             recorded.</p></section>",
        );
        return text;
    }
    let chosen = if plot.chosen_is_nearest() {
        "The one chosen is nearest to the best of everything."
    } else {
        "The one chosen is marked."
    };
    let (found, among, chosen) = if plot.points.len() == 1 {
        (
            "1 placement that no other".to_owned(),
            "is better in one objective without being worse in another",
            "It was chosen.",
        )
    } else {
        (
            format!("{} of which none", counted(plot.points.len(), "placement")),
            "is better in one objective without being worse in another",
            chosen,
        )
    };
    let _ = write!(
        text,
        "<p class=\"lead\">NSGA-II placed all tiles at once and found {found} {among}: the Pareto \
         front. {chosen}</p>"
    );
    text.push_str("<div class=\"pair\">");
    if let Some((across, up)) = plot.pair() {
        let _ = write!(
            text,
            "<figure><h3>{} against {}</h3>{}<figcaption>Each circle is a placement, lower left \
             is better. One that looks beaten here wins in an objective this chart does not \
             show.</figcaption></figure>",
            esc(&plot.objectives[across].label),
            esc(&plot.objectives[up].label.to_lowercase()),
            pair_responsive(|width| scatter(&plot, across, up, width))
        );
    }
    let _ = write!(
        text,
        "<figure><h3>All {}</h3>{}<figcaption>Each line is a placement, lower is better. The bold \
         one with diamonds is chosen. Distrust is 1 minus what the reputation of the nodes used is \
         above with 95 % confidence: 0.95 if none ever ran a task.</figcaption></figure></div>",
        counted(plot.objectives.len(), "objective"),
        pair_responsive(|width| parallel(&plot, width))
    );
    text.push_str(&trade_offs(&plot));
    text.push_str("</section>");
    text
}

/// Two charts stand side by side on a desk, each half as wide.
fn pair_responsive(draw: impl Fn(f64) -> String) -> String {
    super::svg::responsive(504.0, draw)
}

fn diamond(x: f64, y: f64, size: f64) -> String {
    format!(
        "M{} {}L{} {}L{} {}L{} {}Z",
        n(x),
        n(y - size),
        n(x + size),
        n(y),
        n(x),
        n(y + size),
        n(x - size),
        n(y)
    )
}

fn scatter(plot: &Plot<'_>, across: usize, up: usize, width: f64) -> String {
    const LEFT: f64 = 52.0;
    const TOP: f64 = 34.0;
    let height = if width > NARROW { 330.0 } else { 290.0 };
    let (right, bottom) = (width - 14.0, height - 46.0);
    let (objective_x, objective_y) = (&plot.objectives[across], &plot.objectives[up]);
    let padded = |objective: &Objective| {
        let margin = (objective.worst - objective.best) * 0.06;
        (objective.best - margin, objective.worst + margin)
    };
    let (low_x, high_x) = padded(objective_x);
    let (low_y, high_y) = padded(objective_y);
    let x = Scale::new(low_x, high_x, LEFT, right);
    let y = Scale::new(low_y, high_y, bottom, TOP);
    let mut shapes = String::new();
    let (ticks, step) = x.ticks(if width > NARROW { 6 } else { 4 });
    for tick in ticks {
        let _ = write!(
            shapes,
            "<path class=\"grid\" d=\"M{0} {1}V{2}\"></path><text class=\"tick\" x=\"{0}\" \
             y=\"{3}\" text-anchor=\"middle\">{4}</text>",
            n(x.at(tick)),
            n(TOP),
            n(bottom),
            n(bottom + 18.0),
            objective_x.tick(tick, step)
        );
    }
    let (ticks, step) = y.ticks(5);
    for tick in ticks {
        let _ = write!(
            shapes,
            "<path class=\"grid\" d=\"M{0} {1}H{2}\"></path><text class=\"tick\" x=\"{3}\" \
             y=\"{4}\" text-anchor=\"end\">{5}</text>",
            n(LEFT),
            n(y.at(tick)),
            n(right),
            n(LEFT - 8.0),
            n(y.at(tick) + 4.0),
            objective_y.tick(tick, step)
        );
    }
    let _ = write!(
        shapes,
        "<path class=\"axis\" d=\"M{0} {1}V{2}H{3}\"></path>\
         <text class=\"label\" x=\"{4}\" y=\"16\">{5} ↓</text>\
         <text class=\"label\" x=\"{3}\" y=\"{6}\" text-anchor=\"end\">← {7}</text>",
        n(LEFT),
        n(TOP),
        n(bottom),
        n(right),
        n(4.0),
        esc(&objective_y.title()),
        n(height - 6.0),
        esc(&objective_x.title())
    );
    for (index, point) in plot.points.iter().enumerate() {
        if plot.chosen != Some(index) {
            let _ = write!(
                shapes,
                "<circle class=\"point\" cx=\"{}\" cy=\"{}\" r=\"4.5\"><title>{}</title></circle>",
                n(x.at(point[across])),
                n(y.at(point[up])),
                esc(&plot.tooltip(point))
            );
        }
    }
    if let Some(point) = plot.chosen.map(|index| plot.points[index]) {
        let (cx, cy) = (x.at(point[across]), y.at(point[up]));
        // The label goes to the side with more room.
        let (dx, anchor) = if cx < f64::midpoint(LEFT, right) {
            (13.0, "start")
        } else {
            (-13.0, "end")
        };
        let _ = write!(
            shapes,
            "<path class=\"chosen\" d=\"{}\"><title>Chosen: {}</title></path><text \
             class=\"name over\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">chosen</text>",
            diamond(cx, cy, 9.0),
            esc(&plot.tooltip(point)),
            n(cx + dx),
            n(cy + 4.5)
        );
    }
    let description = format!(
        "Scatter chart of {} by {} and {}, the chosen one marked with a diamond.",
        counted(plot.points.len(), "placement"),
        objective_x.label,
        objective_y.label
    );
    image(width, height, &description, &shapes)
}

fn parallel(plot: &Plot<'_>, width: f64) -> String {
    const TOP: f64 = 52.0;
    let height = if width > NARROW { 330.0 } else { 290.0 };
    let bottom = height - 46.0;
    let spread = plot.objectives.len().saturating_sub(1);
    let (first, last) = if width > NARROW {
        (56.0, width - 56.0)
    } else {
        (44.0, width - 44.0)
    };
    let x = Scale::new(0.0, spread as f64, first, last);
    let y: Vec<_> = plot
        .objectives
        .iter()
        .map(|objective| {
            // What does not vary is in the middle of its axis.
            if objective.varies() {
                Scale::new(objective.best, objective.worst, bottom, TOP)
            } else {
                Scale::new(0.0, 0.0, bottom, TOP)
            }
        })
        .collect();
    // Where all lines meet in one point none can be followed, so such an axis comes last.
    let (mut order, same): (Vec<_>, Vec<_>) =
        (0..plot.objectives.len()).partition(|index| plot.objectives[*index].varies());
    order.extend(same);
    let line = |point: &[f64]| {
        order
            .iter()
            .enumerate()
            .map(|(place, index)| {
                format!(
                    "{},{}",
                    n(x.at(place as f64)),
                    n(y[*index].at(point[*index]))
                )
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut shapes = String::new();
    for (index, point) in plot.points.iter().enumerate() {
        if plot.chosen != Some(index) {
            let _ = write!(
                shapes,
                "<polyline class=\"other\" points=\"{}\"><title>{}</title></polyline>",
                line(point),
                esc(&plot.tooltip(point))
            );
        }
    }
    for (place, objective) in order.iter().map(|i| &plot.objectives[*i]).enumerate() {
        let at = x.at(place as f64);
        let (above, below) = if objective.varies() {
            (
                objective.show(objective.worst),
                objective.show(objective.best),
            )
        } else {
            ("all the same".to_owned(), objective.show(objective.best))
        };
        let _ = write!(
            shapes,
            "<path class=\"axis\" d=\"M{0} {1}V{2}\"></path>\
             <text class=\"label\" x=\"{0}\" y=\"16\" text-anchor=\"middle\">{3}</text>\
             <text class=\"tick\" x=\"{0}\" y=\"{4}\" text-anchor=\"middle\">{5}</text>\
             <text class=\"tick\" x=\"{0}\" y=\"{6}\" text-anchor=\"middle\">{7}</text>",
            n(at),
            n(TOP),
            n(bottom),
            esc(&objective.label),
            n(TOP - 10.0),
            above,
            n(bottom + 20.0),
            below
        );
    }
    let _ = write!(
        shapes,
        "<text class=\"note\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">↓ better</text>",
        n(width / 2.0),
        n(height - 6.0)
    );
    if let Some(point) = plot.chosen.map(|index| plot.points[index]) {
        let _ = write!(
            shapes,
            "<polyline class=\"chosen-line\" points=\"{}\"><title>Chosen: {}</title></polyline>",
            line(point),
            esc(&plot.tooltip(point))
        );
        for (place, index) in order.iter().enumerate() {
            let _ = write!(
                shapes,
                "<path class=\"chosen\" d=\"{}\"></path>",
                diamond(x.at(place as f64), y[*index].at(point[*index]), 6.5)
            );
        }
    }
    let description = format!(
        "Parallel coordinates of {} over {}, the chosen one in bold.",
        counted(plot.points.len(), "placement"),
        plot.objectives
            .iter()
            .map(|objective| objective.label.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    );
    image(width, height, &description, &shapes)
}

fn trade_offs(plot: &Plot<'_>) -> String {
    let Some(point) = plot.chosen.map(|index| plot.points[index]) else {
        return String::new();
    };
    let mut text = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"What was chosen\">\
         <table><caption>What the chosen placement gives up</caption><thead><tr>\
         <th scope=\"col\">Objective</th><th scope=\"col\" class=\"num\">Chosen</th>\
         <th scope=\"col\" class=\"num\">Best</th><th scope=\"col\" class=\"num\">Worst</th>\
         <th scope=\"col\" class=\"num\">From best to worst</th></tr></thead><tbody>",
    );
    for (objective, value) in plot.objectives.iter().zip(point) {
        let given_up = if objective.varies() {
            let share = objective.given_up(*value) * 100.0;
            format!(
                "{share:.0} % <svg class=\"meter\" viewBox=\"0 0 64 8\" aria-hidden=\"true\">\
                 <rect class=\"track\" width=\"64\" height=\"8\" rx=\"2\"></rect>\
                 <rect class=\"fill\" width=\"{}\" height=\"8\" rx=\"2\"></rect></svg>",
                n(share * 0.64)
            )
        } else {
            "same".to_owned()
        };
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}<small>{}</small></th><td class=\"num\">{}</td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{given_up}</td>\
             </tr>",
            esc(&objective.title()),
            objective.meaning,
            objective.show(*value),
            objective.show(objective.best),
            objective.show(objective.worst)
        );
    }
    text.push_str("</tbody></table></div>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::fixture;
    use fogcompute_schedule::OBJECTIVE_NAMES;

    #[test]
    fn every_objective_of_the_optimiser_is_explained() {
        // The price on the market was a number of nineteen digits.
        for name in OBJECTIVE_NAMES {
            let objective = Objective::new(name, [1e18, 2e18].into_iter());
            assert!(!objective.meaning.is_empty(), "{name}");
            assert_ne!(objective.label, name);
        }
    }

    #[test]
    fn every_placement_is_in_both_charts_of_both_sizes_and_one_is_chosen() {
        let report = fixture::report(4, 12);
        let points = report.front.points.len();
        let page = section(&report);
        assert_eq!(
            page.matches("<circle class=\"point\"").count(),
            2 * (points - 1)
        );
        assert_eq!(
            page.matches("<polyline class=\"other\"").count(),
            2 * (points - 1)
        );
        assert_eq!(page.matches("<polyline class=\"chosen-line\"").count(), 2);
        assert!(page.contains(">same</td>"));
    }

    #[test]
    fn no_front_says_so() {
        let mut report = fixture::report(2, 2);
        report.front.points.clear();
        report.front.chosen = 0;
        assert!(section(&report).contains("not asked"));
        report.front.objectives.clear();
        assert!(section(&report).contains("not asked"));
    }

    #[test]
    fn points_that_cannot_be_drawn_are_left_out_and_the_choice_keeps_its_place() {
        let mut report = fixture::report(2, 2);
        report.front.points = vec![
            vec![f64::NAN, 0.0, 0.0, 0.0],
            vec![1.0],
            vec![5.0, 0.1, 0.2, 1e18],
            vec![7.0, 0.1, 0.2, 5e17],
        ];
        report.front.chosen = 3;
        let plot = Plot::new(&report.front);
        assert_eq!((plot.points.len(), plot.chosen), (2, Some(1)));
        for outside in [0, 1, 99] {
            report.front.chosen = outside;
            assert_eq!(Plot::new(&report.front).chosen, None);
            fixture::assert_well_formed(&section(&report));
        }
    }

    #[test]
    fn the_reason_for_the_choice_is_given_only_if_it_is_true() {
        let mut report = fixture::report(2, 2);
        report.front.points = vec![
            vec![1.0, 0.0, 0.5, 9.0],
            vec![2.0, 0.0, 0.5, 2.0],
            vec![9.0, 0.0, 0.5, 1.0],
        ];
        report.front.chosen = 1;
        assert!(section(&report).contains("nearest to the best of everything"));
        report.front.chosen = 0;
        assert!(!section(&report).contains("nearest"));
    }

    #[test]
    fn one_placement_and_one_objective_are_enough() {
        let mut report = fixture::report(2, 2);
        report.front = Front {
            objectives: vec!["<time>".to_owned()],
            points: vec![vec![3.0]],
            chosen: 0,
            explanation: String::new(),
        };
        let page = section(&report);
        fixture::assert_well_formed(&page);
        assert!(page.contains("1 placement that no other") && page.contains("All 1 objective"));
    }
}
