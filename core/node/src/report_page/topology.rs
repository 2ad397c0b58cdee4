//! Who sends to whom.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::svg::{NARROW, WIDE, clip, count, counted, esc, fitting, image, n, responsive};
use crate::report::{NodeReport, Report};

/// Nodes side by side in the order packets pass them.
struct Stage<'a> {
    title: String,
    nodes: Vec<&'a NodeReport>,
    box_width: f64,
}

/// Where a node is drawn.
struct Spot<'a> {
    node: &'a NodeReport,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl Spot<'_> {
    fn middle_x(&self) -> f64 {
        self.x + self.width / 2.0
    }

    fn middle_y(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

pub(super) fn section(report: &Report) -> String {
    let stages = stages(report);
    let mixnodes = report.nodes.iter().filter(|node| node.layer.is_some());
    let layers = stages.iter().filter(|stage| is_mix(stage)).count();
    let mut text = String::from(
        "<section id=\"fog\" aria-labelledby=\"fog-title\"><h2 id=\"fog-title\">The fog</h2>",
    );
    let _ = write!(
        text,
        "<p class=\"lead\">Every packet has the same size and passes one mixnode of each of {}, \
         which delays it and hands it on. The way back is as long: a task carries reply blocks, so \
         the node that answers does not learn whom. The figures are packets each mixnode has \
         received{}.</p>",
        counted(layers, "layer"),
        if mixnodes.clone().any(|node| !node.deaths.is_empty()) {
            ", of one that was started again those since then"
        } else {
            ""
        }
    );
    if mixnodes.count() == 0 {
        text.push_str("<p class=\"empty\">No mixnode took part.</p>");
    }
    let description = describe(report, layers);
    text.push_str("<figure>");
    text.push_str(&responsive(WIDE, |width| {
        if width > NARROW {
            draw_across(&stages, &description)
        } else {
            draw_down(&stages, &description)
        }
    }));
    text.push_str(
        "<figcaption><ul class=\"legend\"><li><svg class=\"key\" viewBox=\"0 0 28 14\" \
         aria-hidden=\"true\"><path class=\"link\" d=\"M0 7H28\"></path></svg>task</li>\
         <li><svg class=\"key\" viewBox=\"0 0 28 14\" aria-hidden=\"true\"><path class=\"reply\" \
         d=\"M0 7H28\"></path></svg>reply</li><li><svg class=\"key\" viewBox=\"0 0 28 14\" \
         aria-hidden=\"true\"><rect class=\"killed\" x=\"1\" y=\"1\" width=\"26\" height=\"12\" \
         rx=\"3\"></rect></svg>killed</li></ul></figcaption></figure>",
    );
    text.push_str(&processes(report));
    text.push_str("</section>");
    text
}

fn is_mix(stage: &Stage<'_>) -> bool {
    stage.nodes.iter().any(|node| node.layer.is_some())
}

fn stages(report: &Report) -> Vec<Stage<'_>> {
    let mut layers: BTreeMap<u8, Vec<&NodeReport>> = BTreeMap::new();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for node in &report.nodes {
        match node.layer {
            Some(layer) => layers.entry(layer).or_default().push(node),
            None if node.compute => last.push(node),
            None => first.push(node),
        }
    }
    let stage = |title: String, nodes, box_width| Stage {
        title,
        nodes,
        box_width,
    };
    let mut stages = vec![stage("Coordinator".to_owned(), first, 150.0)];
    for (layer, nodes) in layers {
        let number = u16::from(layer) + 1;
        stages.push(stage(format!("Mix layer {number}"), nodes, 138.0));
    }
    stages.push(stage("Compute".to_owned(), last, 190.0));
    stages.retain(|stage| !stage.nodes.is_empty());
    stages
}

fn describe(report: &Report, layers: usize) -> String {
    let killed: Vec<_> = report
        .nodes
        .iter()
        .filter(|node| !node.deaths.is_empty())
        .map(|node| match node.gone() {
            Some(_) => node.name.clone(),
            None => format!("{}, which is back", node.name),
        })
        .collect();
    let mut text = format!(
        "Diagram: tasks go from the coordinator through {} to {}; replies go through the mixnodes \
         again.",
        counted(layers, "mix layer"),
        counted(
            report.nodes.iter().filter(|node| node.compute).count(),
            "compute node"
        ),
    );
    if !killed.is_empty() {
        let _ = write!(text, " Killed: {}.", killed.join("; "));
    }
    text
}

/// The desk's drawing: stages from left to right.
fn draw_across(stages: &[Stage<'_>], description: &str) -> String {
    const TOP: f64 = 70.0;
    const BOTTOM: f64 = 52.0;
    let pitch = |stage: &Stage<'_>| if stage.nodes.len() > 8 { 40.0 } else { 66.0 };
    let boxes: f64 = stages.iter().map(|stage| stage.box_width).sum();
    let gaps = stages.len().saturating_sub(1).max(1) as f64;
    let width = WIDE.max(boxes + 40.0 * gaps + 4.0);
    let gap = (width - 4.0 - boxes) / gaps;
    let inner = stages
        .iter()
        .map(|stage| stage.nodes.len() as f64 * pitch(stage))
        .fold(66.0, f64::max);
    let mut x = 2.0;
    let mut columns = Vec::new();
    let mut titles = String::new();
    for stage in stages {
        let pitch = pitch(stage);
        let top = TOP + (inner - stage.nodes.len() as f64 * pitch) / 2.0;
        let height = if pitch < 60.0 { 32.0 } else { 50.0 };
        let spots: Vec<_> = stage
            .nodes
            .iter()
            .enumerate()
            .map(|(row, node)| Spot {
                node,
                x,
                y: top + row as f64 * pitch + (pitch - height) / 2.0,
                width: stage.box_width,
                height,
            })
            .collect();
        let _ = write!(
            titles,
            "<text class=\"head\" x=\"{}\" y=\"58\">{}</text>",
            n(x),
            esc(&stage.title)
        );
        x += stage.box_width + gap;
        columns.push(spots);
    }
    let mut shapes = String::new();
    for pair in columns.windows(2) {
        for from in &pair[0] {
            for to in &pair[1] {
                let (x1, y1) = (from.x + from.width, from.middle_y());
                let (x2, y2) = (to.x, to.middle_y());
                let bend = (x2 - x1) / 2.0;
                let _ = write!(
                    shapes,
                    "<path class=\"{}\" d=\"M{} {}C{} {} {} {} {} {}\"></path>",
                    link_class(to.node),
                    n(x1),
                    n(y1),
                    n(x1 + bend),
                    n(y1),
                    n(x2 - bend),
                    n(y2),
                    n(x2),
                    n(y2)
                );
            }
        }
    }
    let height = TOP + inner + BOTTOM;
    // Replies enter the first layer from below, and leave the last one above.
    if let [first, layers @ .., last] = columns.as_slice()
        && let (Some(near), Some(far)) = (layers.first(), layers.last())
    {
        let foot = height - 30.0;
        let end = |spots: &[Spot<'_>]| spots.last().map_or(foot, |s| s.y + s.height);
        let middle = |spots: &[Spot<'_>]| spots.first().map_or(0.0, Spot::middle_x);
        let top = |spots: &[Spot<'_>]| spots.first().map_or(TOP, |spot| spot.y);
        let edge = |spots: &[Spot<'_>]| spots.first().map_or(0.0, |s| s.x + s.width - 24.0);
        let _ = write!(
            shapes,
            "<path class=\"reply\" d=\"M{} {}V{}H{}V{}\"></path>",
            n(middle(last)),
            n(end(last)),
            n(foot),
            n(middle(near)),
            n(end(near) + 9.0)
        );
        shapes.push_str(&arrow_head(middle(near), end(near) + 2.0, -1.0));
        let _ = write!(
            shapes,
            "<path class=\"reply\" d=\"M{} {}V26H{}V{}\"></path>",
            n(edge(far)),
            n(top(far)),
            n(edge(first)),
            n(top(first) - 9.0)
        );
        shapes.push_str(&arrow_head(edge(first), top(first) - 2.0, 1.0));
        let _ = write!(
            shapes,
            "<text class=\"note\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">replies enter the \
                 first layer</text><text class=\"note\" x=\"{}\" y=\"16\" \
                 text-anchor=\"middle\">replies leave the last layer</text>",
            n(f64::midpoint(middle(last), middle(near))),
            n(foot + 20.0),
            n(f64::midpoint(edge(far), edge(first))),
        );
    }
    shapes.push_str(&titles);
    for spot in columns.iter().flatten() {
        shapes.push_str(&draw_spot(spot));
    }
    image(width, height, description, &shapes)
}

/// The phone's drawing: stages from top to bottom, two boxes side by side.
fn draw_down(stages: &[Stage<'_>], description: &str) -> String {
    const MARGIN: f64 = 26.0;
    const SPACE: f64 = 12.0;
    const BOX: f64 = 48.0;
    let inner = NARROW - 2.0 * MARGIN;
    let mut y = 0.0;
    let mut rows = Vec::new();
    let mut titles = String::new();
    for stage in stages {
        let columns = stage.nodes.len().min(2);
        let width = (inner - SPACE) / 2.0;
        let left = MARGIN + (inner - columns as f64 * (width + SPACE) + SPACE) / 2.0;
        let _ = write!(
            titles,
            "<text class=\"head\" x=\"{}\" y=\"{}\">{}</text>",
            n(MARGIN),
            n(y + 15.0),
            esc(&stage.title)
        );
        y += 24.0;
        let spots: Vec<_> = stage
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| Spot {
                node,
                x: left + (index % 2) as f64 * (width + SPACE),
                y: y + (index / 2) as f64 * (BOX + SPACE),
                width,
                height: BOX,
            })
            .collect();
        y = spots.last().map_or(y, |spot| spot.y + BOX) + 30.0;
        rows.push(spots);
    }
    let mut shapes = String::new();
    for spots in rows.iter().filter(|spots| spots.len() > APART_MAX) {
        if let Some((top, bottom)) = frame(spots) {
            let _ = write!(
                shapes,
                "<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"10\">\
                 </rect>",
                n(MARGIN - 7.0),
                n(top),
                n(inner + 14.0),
                n(bottom - top)
            );
        }
    }
    for pair in rows.windows(2) {
        for (x1, y1, _) in ports(&pair[0], false) {
            for (x2, y2, class) in ports(&pair[1], true) {
                let _ = write!(
                    shapes,
                    "<path class=\"{class}\" d=\"M{} {}L{} {}\"></path>",
                    n(x1),
                    n(y1),
                    n(x2),
                    n(y2)
                );
            }
        }
    }
    if let [first, layers @ .., last] = rows.as_slice() {
        let ends = (
            first.first(),
            layers.first().and_then(|spots| spots.last()),
            layers.last().and_then(|spots| spots.first()),
            last.last(),
        );
        if let (Some(coordinator), Some(near), Some(far), Some(compute)) = ends {
            let (left, right) = (8.0, NARROW - 8.0);
            let _ = write!(
                shapes,
                "<path class=\"reply\" d=\"M{} {}H{}V{}H{}\"></path>\
                 <path class=\"reply\" d=\"M{} {}H{}V{}H{}\"></path>",
                n(compute.x + compute.width),
                n(compute.middle_y()),
                n(right),
                n(near.middle_y()),
                n(near.x + near.width + 9.0),
                n(far.x),
                n(far.middle_y()),
                n(left),
                n(coordinator.middle_y()),
                n(coordinator.x - 9.0)
            );
            shapes.push_str(&arrow_side(
                near.x + near.width + 2.0,
                near.middle_y(),
                -1.0,
            ));
            shapes.push_str(&arrow_side(
                coordinator.x - 2.0,
                coordinator.middle_y(),
                1.0,
            ));
        }
    }
    // Links cross the titles' place, so the titles lie on them with a border of the page's colour.
    shapes.push_str(&titles.replace("class=\"head\"", "class=\"head over\""));
    for spot in rows.iter().flatten() {
        shapes.push_str(&draw_spot(spot));
    }
    image(NARROW, (y - 28.0).max(40.0), description, &shapes)
}

/// Nodes of a stage up to which the phone's drawing links each of them. Lines to more would run
/// behind other boxes, so those are framed and the frame is linked.
const APART_MAX: usize = 2;

/// Top and bottom of a frame around some boxes.
fn frame(spots: &[Spot<'_>]) -> Option<(f64, f64)> {
    let (first, last) = (spots.first()?, spots.last()?);
    Some((first.y - 7.0, last.y + last.height + 7.0))
}

/// Where links meet a stage at its top or bottom, and how they look.
fn ports(spots: &[Spot<'_>], at_top: bool) -> Vec<(f64, f64, &'static str)> {
    match frame(spots) {
        Some((top, bottom)) if spots.len() > APART_MAX => {
            vec![(NARROW / 2.0, if at_top { top } else { bottom }, "link")]
        }
        _ => spots
            .iter()
            .map(|spot| {
                let y = if at_top { spot.y } else { spot.y + spot.height };
                (spot.middle_x(), y, link_class(spot.node))
            })
            .collect(),
    }
}

fn link_class(to: &NodeReport) -> &'static str {
    if to.gone().is_some() {
        "link cut"
    } else {
        "link"
    }
}

/// A small triangle whose tip is at a point, pointing down (`1`) or up (`-1`).
fn arrow_head(x: f64, y: f64, direction: f64) -> String {
    let back = y - 9.0 * direction;
    format!(
        "<path class=\"tip\" d=\"M{} {}L{} {}L{} {}Z\"></path>",
        n(x),
        n(y),
        n(x - 4.5),
        n(back),
        n(x + 4.5),
        n(back)
    )
}

/// The same, pointing right (`1`) or left (`-1`).
fn arrow_side(x: f64, y: f64, direction: f64) -> String {
    let back = x - 9.0 * direction;
    format!(
        "<path class=\"tip\" d=\"M{} {}L{} {}L{} {}Z\"></path>",
        n(x),
        n(y),
        n(back),
        n(y - 4.5),
        n(back),
        n(y + 4.5)
    )
}

fn draw_spot(spot: &Spot<'_>) -> String {
    let node = spot.node;
    let gone = node.gone().is_some();
    let class = match (gone, node.compute, node.layer) {
        (true, _, _) => "killed",
        (_, true, _) => "worker",
        (_, _, Some(_)) => "mix",
        _ => "coordinator",
    };
    let compact = spot.height < 40.0;
    let mut text = format!(
        "<g><title>{}</title><rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" \
         height=\"{}\" rx=\"7\"></rect>",
        esc(&tooltip(node)),
        n(spot.x),
        n(spot.y),
        n(spot.width),
        n(spot.height)
    );
    let left = spot.x + 12.0;
    // The killed node is told apart by outline, cross and word, not by its colour alone.
    let cross = if gone { 18.0 } else { 0.0 };
    if gone {
        let _ = write!(
            text,
            "<path class=\"cross\" d=\"M{} {}l9 9m0 -9l-9 9\"></path>",
            n(spot.x + spot.width - 21.5),
            n(spot.y + 11.5)
        );
    }
    let inner = spot.width - 22.0;
    // A low box has its detail at the right of its name, a high one below.
    let (name_room, name_y, detail_room, detail_x, detail_y, anchor) = if compact {
        let half = (inner - cross) / 2.0;
        let right = spot.x + spot.width - 12.0 - cross;
        (half, 20.5, half, right, 20.5, "end")
    } else {
        (inner - cross, 21.0, inner, left, 39.0, "start")
    };
    let _ = write!(
        text,
        "<text class=\"name\" x=\"{}\" y=\"{}\">{}</text><text class=\"note\" x=\"{}\" y=\"{}\" \
         text-anchor=\"{anchor}\">{}</text></g>",
        n(left),
        n(spot.y + name_y),
        esc(&clip(&node.name, fitting(name_room))),
        n(detail_x),
        n(spot.y + detail_y),
        esc(&clip(&detail(node, compact), fitting(detail_room)))
    );
    text
}

/// What a box says of its node, in a word or two where there is little room.
fn detail(node: &NodeReport, compact: bool) -> String {
    let what = what_it_did(node, compact);
    match super::fate_of(node) {
        Some(fate) if !compact && node.compute => format!("{fate} · {what}"),
        // The other boxes have no room for both.
        Some(fate) if !compact => fate,
        _ => what,
    }
}

fn what_it_did(node: &NodeReport, compact: bool) -> String {
    if node.compute {
        return node.tiles_done.map_or_else(
            || "tiles unknown".to_owned(),
            |tiles| counted(tiles, "tile"),
        );
    }
    if node.layer.is_none() {
        return "sends and pays".to_owned();
    }
    let Some(received) = node.packets_received.map(count) else {
        return if compact { "–" } else { "packets unknown" }.to_owned();
    };
    match node.packets_dropped {
        _ if compact => received,
        None | Some(0) => format!("{received} packets"),
        Some(dropped) => format!("{received} packets, {} lost", count(dropped)),
    }
}

fn tooltip(node: &NodeReport) -> String {
    let mut text = format!("{}, id {}", node.name, node.id);
    if let Some(process) = node.process {
        let _ = write!(text, ", process {process}");
    }
    let _ = write!(text, ", {}: ", node.address);
    match (
        node.packets_received,
        node.packets_forwarded,
        node.packets_dropped,
    ) {
        (Some(received), Some(forwarded), Some(dropped)) => {
            let _ = write!(text, "{} packets received", count(received));
            // Only a mixnode sends packets on, and most drop none.
            for (packets, what) in [(forwarded, "forwarded"), (dropped, "dropped")] {
                if packets > 0 {
                    let _ = write!(text, ", {} {what}", count(packets));
                }
            }
        }
        _ => text.push_str("packets unknown"),
    }
    text
}

fn processes(report: &Report) -> String {
    let mut text = format!(
        "<details><summary>All {}, with addresses and packets</summary><div class=\"scroll\" \
         tabindex=\"0\" role=\"region\" aria-label=\"Processes\"><table><thead><tr>\
         <th scope=\"col\">Process</th><th scope=\"col\">Id</th><th scope=\"col\">Address</th>\
         <th scope=\"col\" class=\"num\">Pid</th><th scope=\"col\" class=\"num\">Received</th>\
         <th scope=\"col\" class=\"num\">Forwarded</th><th scope=\"col\" class=\"num\">Dropped</th>\
         </tr></thead><tbody>",
        counted(report.nodes.len(), "process")
    );
    for node in &report.nodes {
        let killed = super::fate_of(node).map_or_else(String::new, |fate| {
            format!(" <span class=\"tag alert\">{fate}</span>")
        });
        let process = node.process.map(|id| id.to_string()).unwrap_or_default();
        let counts = [
            node.packets_received,
            node.packets_forwarded,
            node.packets_dropped,
        ]
        .map(|packets| packets.map_or_else(|| "unknown".to_owned(), count));
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}{killed}</th><td><code>{}</code></td><td><code>{}</code></td>\
             <td class=\"num\">{process}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>\
             <td class=\"num\">{}</td></tr>",
            esc(&node.name),
            esc(&node.id),
            esc(&node.address),
            counts[0],
            counts[1],
            counts[2]
        );
    }
    text.push_str("</tbody></table></div></details>");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::fixture;

    #[test]
    fn every_node_is_drawn_twice_and_every_pair_of_neighbours_is_linked() {
        let report = fixture::report(4, 12);
        let page = section(&report);
        // Six mixnodes, four compute nodes, one coordinator; on the desk's and the phone's drawing.
        assert_eq!(page.matches("<g><title>").count(), 22);
        let links = page.matches("class=\"link").count() - 1;
        // On the phone the four compute nodes are framed, and the frame is linked.
        assert_eq!(links, (2 + 4 + 4 + 2 * 4) + (2 + 4 + 4 + 2));
        assert_eq!(page.matches("class=\"cross\"").count(), 2);
        assert_eq!(page.matches("link cut").count(), 2);
    }

    #[test]
    fn a_fog_without_nodes_or_mixnodes_is_drawn() {
        let mut report = fixture::report(2, 2);
        report.nodes.retain(|node| node.layer.is_none());
        assert!(section(&report).contains("No mixnode took part"));
        report.nodes.clear();
        fixture::assert_well_formed(&section(&report));
    }

    #[test]
    fn many_nodes_take_little_room_each() {
        let report = fixture::report(32, 64);
        let page = section(&report);
        assert!(page.contains(&format!("viewBox=\"0 0 1040 {}\"", 70 + 32 * 40 + 52)));
        // On the phone the frame around them is linked: one line from each of two mixnodes.
        assert_eq!(page.matches("class=\"frame\"").count(), 1);
        let links = page.matches("class=\"link").count() - 1;
        assert_eq!(links, (2 + 4 + 4 + 2 * 32) + (2 + 4 + 4 + 2));
    }
}
