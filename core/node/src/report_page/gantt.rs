//! Which node computed which tile when.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Kill;
use super::svg::{
    NARROW, Scale, WIDE, clip, count, counted, credits, esc, extent, fitting, image, millis, n,
    responsive, time_tick,
};
use crate::report::{Attempt, Report, Tile};

/// One node's attempts, each in a lane of its own while others are under way.
struct Row<'a> {
    node: usize,
    name: &'a str,
    bars: Vec<Bar<'a>>,
    lanes: usize,
}

struct Bar<'a> {
    tile: &'a Tile,
    attempt: &'a Attempt,
    lane: usize,
}

pub(super) fn section(report: &Report, kills: &[Kill<'_>]) -> String {
    let rows = rows(report);
    let attempts: Vec<_> = report
        .tiles
        .iter()
        .flat_map(|tile| &tile.attempts)
        .collect();
    let lost = attempts.iter().filter(|attempt| attempt.lost.is_some());
    let redone = report
        .tiles
        .iter()
        .filter(|tile| tile.attempts.len() > 1)
        .count();
    let mut text = String::from(
        "<section id=\"tiles\" aria-labelledby=\"tiles-title\">\
         <h2 id=\"tiles-title\">Tiles over time</h2>",
    );
    let _ = write!(
        text,
        "<p class=\"lead\">{} in {}",
        counted(report.tiles.len(), "tile"),
        counted(attempts.len(), "attempt")
    );
    match lost.count() {
        0 => text.push_str("; none was lost."),
        lost => {
            let _ = write!(
                text,
                ", {} of them lost; {} computed again elsewhere.",
                count(lost as u64),
                if redone == 1 {
                    "1 tile was".to_owned()
                } else {
                    format!("{} were", counted(redone, "tile"))
                }
            );
        }
    }
    text.push_str(
        " A bar begins when the tile is sent into the mixnet and ends when its pixels are back; \
         the number is the tile's.</p>",
    );
    if attempts.is_empty() {
        text.push_str("<p class=\"empty\">No tile was sent.</p></section>");
        return text;
    }
    text.push_str(LEGEND);
    text.push_str("<figure>");
    text.push_str(&responsive(WIDE, |width| chart(&rows, kills, width)));
    text.push_str("</figure>");
    text.push_str(&table(report));
    text.push_str("</section>");
    text
}

const LEGEND: &str = "<ul class=\"legend\"><li><svg class=\"key\" viewBox=\"0 0 28 14\" \
     aria-hidden=\"true\"><rect class=\"bar\" width=\"28\" height=\"14\" rx=\"3\"></rect></svg>\
     done</li><li><svg class=\"key\" viewBox=\"0 0 28 14\" aria-hidden=\"true\"><rect \
     class=\"bar\" width=\"28\" height=\"14\" rx=\"3\"></rect><circle class=\"again\" cx=\"7\" \
     cy=\"7\" r=\"3\"></circle></svg>done at a later attempt</li><li><svg class=\"key\" \
     viewBox=\"0 0 28 14\" aria-hidden=\"true\"><rect class=\"lost\" x=\"1\" y=\"1\" width=\"26\" \
     height=\"12\" rx=\"3\"></rect></svg>lost</li><li><svg class=\"key\" viewBox=\"0 0 28 14\" \
     aria-hidden=\"true\"><path class=\"kill\" d=\"M14 0V14\"></path></svg>process killed</li></ul>";

fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut by_node: BTreeMap<usize, Vec<(&Tile, &Attempt)>> = report
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.compute)
        .map(|(index, _)| (index, Vec::new()))
        .collect();
    for tile in &report.tiles {
        for attempt in &tile.attempts {
            by_node
                .entry(attempt.node)
                .or_default()
                .push((tile, attempt));
        }
    }
    by_node
        .into_iter()
        .map(|(node, mut attempts)| {
            attempts.sort_by(|(_, a), (_, b)| a.start_ms.total_cmp(&b.start_ms));
            // The first lane that is free again takes the next bar.
            let mut free_at: Vec<f64> = Vec::new();
            let bars = attempts
                .into_iter()
                .map(|(tile, attempt)| {
                    let free = free_at.iter().position(|free| *free <= attempt.start_ms);
                    let lane = free.unwrap_or(free_at.len());
                    let end = attempt.end_ms.max(attempt.start_ms);
                    match free_at.get_mut(lane) {
                        Some(free) => *free = end,
                        None => free_at.push(end),
                    }
                    Bar {
                        tile,
                        attempt,
                        lane,
                    }
                })
                .collect();
            Row {
                node,
                name: report.nodes.get(node).map_or("unknown", |node| &node.name),
                bars,
                lanes: free_at.len().max(1),
            }
        })
        .collect()
}

fn chart(rows: &[Row<'_>], kills: &[Kill<'_>], width: f64) -> String {
    const TOP: f64 = 30.0;
    let wide = width > NARROW;
    let longest = rows
        .iter()
        .map(|row| row.name.chars().count())
        .max()
        .unwrap_or(0);
    // On a phone the names stand above their bars, which need the width.
    let left = if wide {
        (longest as f64 * 7.6 + 20.0).clamp(60.0, 170.0)
    } else {
        1.0
    };
    let above = if wide { 10.0 } else { 24.0 };
    let right = width - if wide { 14.0 } else { 8.0 };
    let times = rows
        .iter()
        .flat_map(|row| &row.bars)
        .flat_map(|bar| [bar.attempt.start_ms, bar.attempt.end_ms])
        .chain(kills.iter().map(|kill| kill.at_ms))
        .chain(kills.iter().filter_map(|kill| kill.back_ms));
    let (low, high) = extent(times).unwrap_or((0.0, 0.0));
    let (low, high) = (low.min(0.0), if high > low { high } else { low + 1.0 });
    let x = Scale::new(low.min(0.0), high, left, right);
    let mut shapes = String::new();
    let mut bars = String::new();
    let mut y = TOP;
    for row in rows {
        let lane = match row.lanes {
            1..=4 => 22.0,
            5..=10 => 14.0,
            _ => 8.0,
        };
        let height = above + row.lanes as f64 * (lane + 3.0) + 8.0;
        let _ = write!(
            shapes,
            "<path class=\"grid\" d=\"M0 {}H{}\"></path>",
            n(y),
            n(width)
        );
        let (name_y, room) = if wide {
            (y + above + lane / 2.0 + 4.5, left - 12.0)
        } else {
            (y + 17.0, width / 2.0)
        };
        let _ = write!(
            bars,
            "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>",
            n(if wide { 0.0 } else { left }),
            n(name_y),
            esc(&clip(row.name, fitting(room)))
        );
        for kill in kills.iter().filter(|kill| kill.node == row.node) {
            let from = x.at(kill.at_ms);
            let gone = kill.back_ms.map_or(right, |back| x.at(back)) - from;
            let _ = write!(
                shapes,
                "<rect class=\"gone\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"></rect>",
                n(from),
                n(y + 1.0),
                n(gone.max(0.0)),
                n(height - 2.0)
            );
            if gone > 24.0 {
                let _ = write!(
                    bars,
                    "<path class=\"cross\" d=\"M{} {}l9 9m0 -9l-9 9\"><title>{} {}</title>\
                     </path>",
                    n(from + 9.0),
                    n(y + above + lane / 2.0 - 4.5),
                    esc(row.name),
                    super::fate(kill.death)
                );
            }
            if gone > 80.0 && kill.back_ms.is_none() {
                let _ = write!(
                    bars,
                    "<text class=\"note over\" x=\"{}\" y=\"{}\" \
                     text-anchor=\"end\">gone</text>",
                    n(right - 8.0),
                    n(name_y)
                );
            }
        }
        for bar in &row.bars {
            let top = y + above + bar.lane as f64 * (lane + 3.0);
            bars.push_str(&draw_bar(bar, &x, top, lane, row.name));
        }
        y += height;
    }
    let _ = write!(
        shapes,
        "<path class=\"grid\" d=\"M0 {}H{}\"></path>",
        n(y),
        n(width)
    );
    let (ticks, step) = x.ticks(if wide { 10 } else { 6 });
    for tick in ticks {
        let at = x.at(tick);
        let anchor = if at - left < 12.0 {
            "start"
        } else if right - at < 16.0 {
            "end"
        } else {
            "middle"
        };
        let _ = write!(
            shapes,
            "<path class=\"grid\" d=\"M{0} {1}V{2}\"></path><text class=\"tick\" x=\"{0}\" \
             y=\"{3}\" text-anchor=\"{anchor}\">{4}</text>",
            n(at),
            n(TOP),
            n(y + 5.0),
            n(y + 20.0),
            time_tick(tick, step, high)
        );
    }
    for kill in kills {
        let at = x.at(kill.at_ms);
        let what = super::fate(kill.death);
        let label = format!("{} {what}, {}", kill.name, millis(kill.at_ms));
        let half = label.chars().count() as f64 * 3.8;
        let label_x = at.clamp(half.min(width / 2.0), (width - half).max(width / 2.0));
        let _ = write!(
            shapes,
            "<path class=\"kill\" d=\"M{} {}V{}\"></path>\
             <text class=\"kill-name\" x=\"{}\" y=\"16\" text-anchor=\"middle\">{}</text>",
            n(at),
            n(TOP - 8.0),
            n(y + 2.0),
            n(label_x),
            esc(&label)
        );
    }
    shapes.push_str(&bars);
    let description = format!(
        "Gantt chart: {} over {}, one row a node. The same figures are in the table below.",
        counted(
            rows.iter().map(|row| row.bars.len()).sum::<usize>(),
            "attempt"
        ),
        millis(high)
    );
    image(width, y + 28.0, &description, &shapes)
}

fn draw_bar(bar: &Bar<'_>, x: &Scale, top: f64, height: f64, name: &str) -> String {
    let Bar { tile, attempt, .. } = bar;
    let from = x.at(attempt.start_ms);
    // A gap of one unit parts bars that follow each other at once.
    let width = (x.at(attempt.end_ms.max(attempt.start_ms)) - from - 1.0).max(1.5);
    let number = (tile.index + 1).to_string();
    let (class, outcome) = match (&attempt.result, &attempt.lost) {
        (Some(result), _) => (
            "bar",
            format!(
                "{} in the sandbox, {} on the way",
                millis(result.run_ms),
                millis(result.network_ms)
            ),
        ),
        (None, Some(reason)) => ("lost", format!("lost: {reason}")),
        (None, None) => ("lost", "unfinished".to_owned()),
    };
    let mut text = format!(
        "<g><title>{}</title><rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" \
         rx=\"3\"></rect>",
        esc(&format!(
            "tile {number} on {name}, attempt {}, {} to {}: {outcome}",
            attempt.number,
            millis(attempt.start_ms),
            millis(attempt.end_ms)
        )),
        n(from),
        n(top),
        n(width),
        n(height)
    );
    let again = attempt.number > 1 && attempt.result.is_some();
    let middle = top + height / 2.0;
    let dot = if again && width > 12.0 {
        let _ = write!(
            text,
            "<circle class=\"again\" cx=\"{}\" cy=\"{}\" r=\"{}\"></circle>",
            n(from + 8.0),
            n(middle),
            n((height / 4.0).min(3.5))
        );
        12.0
    } else {
        0.0
    };
    if height > 12.0 && width - dot > number.len() as f64 * 8.0 + 4.0 {
        let _ = write!(
            text,
            "<text class=\"{class}-name\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{number}</text>",
            n(from + (width + dot) / 2.0),
            n(middle + 4.3)
        );
    }
    text.push_str("</g>");
    text
}

fn table(report: &Report) -> String {
    let mut text = String::from(
        "<details><summary>All attempts as a table</summary><div class=\"scroll tall\" \
         tabindex=\"0\" role=\"region\" aria-label=\"Attempts\"><table><thead><tr>\
         <th scope=\"col\" class=\"num\">Tile</th><th scope=\"col\" class=\"num\">Rows</th>\
         <th scope=\"col\" class=\"num\">Attempt</th><th scope=\"col\">Node</th>\
         <th scope=\"col\" class=\"num\">Sent</th><th scope=\"col\" class=\"num\">Back</th>\
         <th scope=\"col\" class=\"num\">Sandbox</th><th scope=\"col\" class=\"num\">Way</th>\
         <th scope=\"col\" class=\"num\">Fuel</th><th scope=\"col\" class=\"num\">Credits</th>\
         </tr></thead><tbody>",
    );
    for tile in &report.tiles {
        let rows = format!(
            "{}–{}",
            tile.row_start,
            tile.row_start
                .saturating_add(tile.row_count)
                .saturating_sub(1)
        );
        for attempt in &tile.attempts {
            let node = report.nodes.get(attempt.node);
            let _ = write!(
                text,
                "<tr><td class=\"num\">{}</td><td class=\"num\">{rows}</td><td class=\"num\">{}\
                 </td><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>",
                tile.index + 1,
                attempt.number,
                esc(node.map_or("unknown", |node| &node.name)),
                millis(attempt.start_ms),
                millis(attempt.end_ms)
            );
            let _ = match (&attempt.result, &attempt.lost) {
                (Some(result), _) => write!(
                    text,
                    "<td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>\
                     <td class=\"num\">{}</td></tr>",
                    millis(result.run_ms),
                    millis(result.network_ms),
                    count(result.fuel),
                    esc(&credits(&result.paid))
                ),
                (None, reason) => write!(
                    text,
                    "<td colspan=\"4\"><span class=\"tag alert\">lost</span> {}</td></tr>",
                    esc(reason.as_deref().unwrap_or("unfinished"))
                ),
            };
        }
    }
    text.push_str("</tbody></table></div></details>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::{fixture, kills};

    fn attempt(start_ms: f64, end_ms: f64) -> Attempt {
        Attempt {
            node: 0,
            number: 1,
            start_ms,
            end_ms,
            result: None,
            lost: Some("silent".to_owned()),
        }
    }

    #[test]
    fn attempts_under_way_together_get_lanes_of_their_own() {
        let mut report = fixture::report(2, 4);
        report.tiles.truncate(1);
        report.tiles[0].attempts = vec![
            attempt(0.0, 10.0),
            attempt(5.0, 8.0),
            attempt(8.0, 20.0),
            attempt(10.0, 11.0),
        ];
        let rows = rows(&report);
        let lanes: Vec<_> = rows[0].bars.iter().map(|bar| bar.lane).collect();
        assert_eq!((lanes, rows[0].lanes), (vec![0, 1, 1, 0], 2));
    }

    #[test]
    fn every_attempt_is_a_bar_and_a_row_and_lost_ones_are_hatched() {
        let report = fixture::report(4, 24);
        let attempts: usize = report.tiles.iter().map(|tile| tile.attempts.len()).sum();
        let lost = report
            .tiles
            .iter()
            .flat_map(|tile| &tile.attempts)
            .filter(|attempt| attempt.lost.is_some())
            .count();
        assert!(lost > 0);
        let page = section(&report, &kills(&report));
        assert_eq!(page.matches("<g><title>tile").count(), 2 * attempts);
        assert_eq!(page.matches("<rect class=\"lost\"").count(), 2 * lost + 1);
        assert_eq!(page.matches("<tr><td class=\"num\">").count(), attempts);
        assert_eq!(page.matches("class=\"kill-name\"").count(), 2);
    }

    #[test]
    fn a_job_that_took_no_time_or_lost_everything_is_drawn() {
        let mut report = fixture::report(2, 1);
        report.tiles[0].attempts = vec![attempt(0.0, 0.0)];
        fixture::assert_well_formed(&section(&report, &[]));
        report.tiles[0].attempts[0].node = 999;
        assert!(section(&report, &[]).contains("unknown"));
        report.tiles[0].attempts[0].end_ms = f64::NAN;
        fixture::assert_well_formed(&section(&report, &[]));
        report.tiles.clear();
        assert!(section(&report, &[]).contains("No tile was sent"));
    }
}
