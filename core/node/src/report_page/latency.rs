//! How long tiles were under way.

use std::fmt::Write as _;

use super::svg::{
    NARROW, Scale, WIDE, counted, image, millis, n, quantile, responsive, round_step, time_tick,
};
use crate::report::Report;

/// One kind of time, of all tiles that came back, in ascending order.
struct Part {
    title: &'static str,
    meaning: &'static str,
    sorted: Vec<f64>,
}

/// Times from dispatch to result, ascending.
pub(super) fn end_to_end(report: &Report) -> Vec<f64> {
    sorted(
        results(report)
            .map(|(attempt, _)| attempt.end_ms - attempt.start_ms)
            .collect(),
    )
}

fn results(
    report: &Report,
) -> impl Iterator<Item = (&crate::report::Attempt, &crate::report::AttemptResult)> {
    report
        .tiles
        .iter()
        .flat_map(|tile| &tile.attempts)
        .filter_map(|attempt| attempt.result.as_ref().map(|result| (attempt, result)))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    values
}

fn parts(report: &Report) -> [Part; 3] {
    [
        Part {
            title: "End to end",
            meaning: "dispatch to result",
            sorted: end_to_end(report),
        },
        Part {
            title: "Sandbox",
            meaning: "the node's own work",
            sorted: sorted(results(report).map(|(_, result)| result.run_ms).collect()),
        },
        Part {
            title: "On the way",
            meaning: "mixnodes with their delays, sockets, waiting for a processor",
            sorted: sorted(
                results(report)
                    .map(|(_, result)| result.network_ms)
                    .collect(),
            ),
        },
    ]
}

pub(super) fn section(report: &Report) -> String {
    let parts = parts(report);
    let mut text = String::from(
        "<section id=\"latency\" aria-labelledby=\"latency-title\">\
         <h2 id=\"latency-title\">Latency</h2>",
    );
    let number = parts[0].sorted.len();
    if number == 0 {
        text.push_str("<p class=\"empty\">No tile came back.</p></section>");
        return text;
    }
    let figure = |part: &Part, share| {
        quantile(&part.sorted, share)
            .map(millis)
            .unwrap_or_default()
    };
    let _ = write!(
        text,
        "<p class=\"lead\">Half of the {} came back within {}, 95 % within {}. What is above the \
         time in the sandbox is the price of privacy and of sharing this machine.</p>",
        counted(number, "tile"),
        figure(&parts[0], 0.5),
        figure(&parts[0], 0.95)
    );
    text.push_str("<figure>");
    text.push_str(&responsive(WIDE, |width| chart(&parts, width)));
    text.push_str(
        "<figcaption>Number of tiles by time, all three on the same axis of time; the figure on \
         the left is the highest bar. Solid line: median; dashed line: 95 % of the tiles.</figcaption>\
         </figure>",
    );
    text.push_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Latency in figures\">\
         <table><caption>The same in figures</caption><thead><tr><th scope=\"col\">Time</th>\
         <th scope=\"col\" class=\"num\">Least</th><th scope=\"col\" class=\"num\">Median</th>\
         <th scope=\"col\" class=\"num\">95 %</th><th scope=\"col\" class=\"num\">Most</th></tr>\
         </thead><tbody>",
    );
    for part in &parts {
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}<small>{}</small></th>",
            part.title, part.meaning
        );
        for share in [0.0, 0.5, 0.95, 1.0] {
            let _ = write!(text, "<td class=\"num\">{}</td>", figure(part, share));
        }
        text.push_str("</tr>");
    }
    text.push_str("</tbody></table></div></section>");
    text
}

fn chart(parts: &[Part; 3], width: f64) -> String {
    const PANEL: f64 = 96.0;
    const HEAD: f64 = 34.0;
    let left = 30.0;
    let right = width - 14.0;
    let top = parts
        .iter()
        .filter_map(|part| part.sorted.last())
        .fold(0.0, |top: f64, value| top.max(*value));
    let bins_wanted = if width > NARROW { 40.0 } else { 20.0 };
    let bin = round_step(top.max(1e-3) / bins_wanted);
    let bins = ((top / bin).floor() as usize + 1).min(200);
    let x = Scale::new(0.0, bins as f64 * bin, left, right);
    let histograms = parts.each_ref().map(|part| {
        let mut counts = vec![0_usize; bins];
        for value in &part.sorted {
            let index = (value.max(0.0) / bin) as usize;
            counts[index.min(bins - 1)] += 1;
        }
        counts
    });
    let mut shapes = String::new();
    let mut y = 0.0;
    let (ticks, step) = x.ticks(if width > NARROW { 10 } else { 5 });
    for (part, counts) in parts.iter().zip(&histograms) {
        let base = y + HEAD + PANEL;
        // Each has a scale of its own: their shapes are compared, not their heights.
        let most = counts.iter().max().copied().unwrap_or(1);
        let up = Scale::new(0.0, most as f64, base, y + HEAD);
        let figure = |share| quantile(&part.sorted, share);
        let _ = write!(
            shapes,
            "<text class=\"name\" x=\"0\" y=\"{}\">{}</text><text class=\"tick\" x=\"0\" \
             y=\"{}\">{most}</text>",
            n(y + 15.0),
            part.title,
            n(y + HEAD + 4.0)
        );
        for tick in &ticks {
            let _ = write!(
                shapes,
                "<path class=\"grid\" d=\"M{} {}V{}\"></path>",
                n(x.at(*tick)),
                n(y + HEAD),
                n(base)
            );
        }
        for (index, tiles) in counts.iter().enumerate().filter(|(_, tiles)| **tiles > 0) {
            let (from, to) = (index as f64 * bin, (index + 1) as f64 * bin);
            let (x1, x2) = (x.at(from), x.at(to));
            let _ = write!(
                shapes,
                "<rect class=\"hist\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">\
                 <title>{} to {}: {}</title></rect>",
                n(x1 + 0.5),
                n(up.at(*tiles as f64)),
                n((x2 - x1 - 1.0).max(1.0)),
                n(base - up.at(*tiles as f64)),
                millis(from),
                millis(to),
                counted(*tiles, "tile")
            );
        }
        let _ = write!(
            shapes,
            "<path class=\"axis\" d=\"M{} {}H{}\"></path>",
            n(left),
            n(base),
            n(right)
        );
        for (share, class) in [(0.5, "median"), (0.95, "tail")] {
            if let Some(value) = figure(share) {
                let _ = write!(
                    shapes,
                    "<path class=\"{class}\" d=\"M{} {}V{}\"><title>{:.0} % within {}</title></path>",
                    n(x.at(value)),
                    n(y + HEAD - 8.0),
                    n(base),
                    share * 100.0,
                    millis(value)
                );
            }
        }
        let _ = write!(
            shapes,
            "<text class=\"note\" x=\"{}\" y=\"{}\" text-anchor=\"end\">median {} · 95 % {}</text>",
            n(right),
            n(y + 15.0),
            figure(0.5).map(millis).unwrap_or_default(),
            figure(0.95).map(millis).unwrap_or_default()
        );
        y = base + 18.0;
    }
    for tick in ticks {
        let at = x.at(tick);
        let _ = write!(
            shapes,
            "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            n(at),
            n(y + 2.0),
            time_tick(tick, step, top)
        );
    }
    let description = format!(
        "Three histograms of the times of {}: end to end, in the sandbox, on the way. The table \
         below has the quantiles.",
        counted(parts[0].sorted.len(), "tile")
    );
    image(width, y + 12.0, &description, &shapes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::fixture;

    #[test]
    fn every_tile_is_counted_once_in_each_histogram() {
        let report = fixture::report(4, 24);
        let page = section(&report);
        let counted: usize = page
            .split("<title>")
            .filter_map(|part| part.split_once(" tile")?.0.rsplit_once(": "))
            .filter_map(|(_, tiles)| tiles.parse::<usize>().ok())
            .sum();
        assert_eq!(counted, 2 * 3 * 24);
    }

    #[test]
    fn nothing_back_one_tile_and_no_time_at_all_are_shown() {
        let mut report = fixture::report(2, 2);
        for tile in &mut report.tiles {
            for attempt in &mut tile.attempts {
                attempt.result = None;
            }
        }
        assert!(section(&report).contains("No tile came back"));
        let mut report = fixture::report(2, 1);
        assert!(section(&report).contains("Half of the 1 tile came back"));
        for attempt in &mut report.tiles[0].attempts {
            attempt.end_ms = attempt.start_ms;
            if let Some(result) = &mut attempt.result {
                (result.run_ms, result.network_ms) = (0.0, 0.0);
            }
        }
        fixture::assert_well_formed(&section(&report));
    }

    #[test]
    fn times_that_are_no_numbers_are_left_out() {
        assert_eq!(sorted(vec![3.0, f64::NAN, 1.0]), [1.0, 3.0]);
    }
}
