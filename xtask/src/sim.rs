//! `cargo xtask sim`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use clap::Args;
use serde_json::Value;

use crate::session::Stop;
use crate::workspace::Workspace;

/// Which fogs.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How many runs, each with the seed after the last.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Nodes of each fog.
    #[arg(long, default_value_t = 1_000)]
    nodes: u32,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the chart of the last run goes; by default `sim.svg` in the build directory.
    #[arg(long)]
    chart: Option<PathBuf>,
}

/// Builds the simulator, runs it, and prints a line for each seed as it ends.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Stop> {
    let mut command = workspace.cargo(["run", "--quiet", "--locked", "--release"]);
    command.args(["-p", "fogcompute-sim", "--example", "fogs", "--"]);
    for (name, value) in [
        ("--seeds", options.seeds),
        ("--nodes", options.nodes.into()),
        ("--seed", options.seed),
    ] {
        command.args([name, &value.to_string()]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut last = None;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let run = serde_json::from_str(&line?)
                .map_err(|error| Stop::Failed(format!("the simulator's output: {error}")))?;
            println!("{}", summary(&run));
            last = Some(run);
        }
    }
    if !child.wait()?.success() {
        return Err(Stop::Failed("a run found something; see above".to_owned()));
    }
    if let Some(run) = last {
        let file = match &options.chart {
            Some(file) => file.clone(),
            None => workspace.target("sim.svg"),
        };
        std::fs::write(&file, chart(&run))?;
        println!("chart: {}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// One run in words.
fn summary(run: &Value) -> String {
    let ended = number(&run["succeeded"]) + number(&run["failed"]) + number(&run["lost"]);
    let (span, wall) = (number(&run["virtual_s"]), number(&run["wall_s"]));
    let rate = |seconds: f64| ended / seconds.max(1e-9);
    let times = |name: &str| {
        let times = &run[name];
        let seconds = |key: &str| match times[key].as_f64() {
            Some(millis) => format!("{:.3} s", millis / 1e3),
            None => "none".to_owned(),
        };
        format!("p50 {}, p99 {}", seconds("p50_ms"), seconds("p99_ms"))
    };
    format!(
        "seed {}: {} nodes, {ended} of {} tasks ended ({} given up), {} deaths, {} attempts lost\n  \
         {:.1} tasks/s in {span:.0} s of virtual time; {:.0} tasks/s and {:.0} events/s in {wall:.1} s\n  \
         a silent death was noticed after {}; one that closed its connection after {}\n  \
         the tasks of the dead were elsewhere after {}\n  \
         a task took {}",
        run["seed"],
        run["nodes"],
        run["tasks"],
        run["lost"],
        run["deaths"],
        run["attempts_lost"],
        rate(span),
        rate(wall),
        number(&run["events"]) / wall.max(1e-9),
        times("detection"),
        times("disconnection"),
        times("reassignment"),
        times("turnaround"),
    )
}

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 360.0;
/// Room for the letters at the left, right, top and bottom.
const MARGINS: [f64; 4] = [72.0, 72.0, 56.0, 48.0];

/// The least round number, 1, 2 or 5 times a power of ten, of which at most `count` reach from 0 to
/// `highest`. At least 1: what is counted here is whole.
fn round_step(highest: f64, count: f64) -> f64 {
    let least = highest / count;
    let power = 10_f64.powf(least.log10().floor()).max(1.0);
    let round = [1.0, 2.0, 5.0].map(|digit| digit * power);
    let found = round.into_iter().find(|step| *step >= least);
    found.unwrap_or(10.0 * power)
}

/// Marks of an axis from 0 on, the last at or above `highest`.
fn marks(highest: f64) -> Vec<f64> {
    let step = round_step(highest, 5.0);
    let mut marks = vec![0.0];
    while marks.last().is_some_and(|last| *last < highest) {
        marks.push(marks.len() as f64 * step);
    }
    marks
}

/// The minutes of a run: tasks that ended as bars, attempts that were lost on them, and the nodes
/// that were up as a line with its own scale at the right.
fn chart(run: &Value) -> String {
    let empty = Vec::new();
    let minutes: Vec<[f64; 5]> = run["minutes"]
        .as_array()
        .unwrap_or(&empty)
        .iter()
        .map(|minute| [0, 1, 2, 3, 4].map(|index| number(&minute[index])))
        .collect();
    let highest = |index: usize| minutes.iter().map(|it| it[index]).fold(1.0, f64::max);
    let (tasks_marks, up_marks) = (marks(highest(1).max(highest(2))), marks(highest(4)));
    let end = |marks: &[f64]| marks.last().copied().unwrap_or(1.0);
    let (tasks_max, up_max) = (end(&tasks_marks), end(&up_marks));
    let span = minutes.last().map_or(1.0, |last| last[0] + 1.0);
    let [left, right, top, bottom] = MARGINS;
    let x = |minute: f64| left + minute / span * (WIDTH - left - right);
    let y = |share: f64| HEIGHT - bottom - share * (HEIGHT - top - bottom);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{left}\" y=\"24\" font-size=\"15\">A simulated fog of {} nodes, seed {}: \
         each minute</text>\n\
         <text x=\"{left}\" y=\"44\"><tspan fill=\"#2b6cb0\">■ tasks ended</tspan> \
         <tspan fill=\"#c53030\">■ attempts lost</tspan> \
         <tspan fill=\"#2f855a\">— nodes up (right)</tspan></text>\n",
        run["nodes"], run["seed"],
    );
    for mark in &tasks_marks {
        let at = y(mark / tasks_max);
        // Writing to a text cannot fail.
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark:.0}</text>",
            WIDTH - right,
            left - 8.0,
            at + 4.0,
        );
    }
    // The right scale has marks of its own: round numbers of one are seldom round of the other.
    for mark in &up_marks {
        let at = y(mark / up_max);
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {at:.1}h5\" stroke=\"#2f855a\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#2f855a\">{mark:.0}</text>",
            WIDTH - right,
            WIDTH - right + 8.0,
            at + 4.0,
        );
    }
    let width = ((x(1.0) - x(0.0)) * 0.4).max(0.5);
    let mut line = String::new();
    for (index, [minute, ended, lost, _, up]) in minutes.iter().enumerate() {
        for (value, offset, colour) in [(ended, 0.1, "#2b6cb0"), (lost, 0.5, "#c53030")] {
            let at = y(value / tasks_max);
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{at:.1}\" width=\"{width:.1}\" height=\"{:.1}\" \
                 fill=\"{colour}\"/>",
                x(minute + offset),
                y(0.0) - at,
            );
        }
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(
            line,
            "{command}{:.1} {:.1}",
            x(minute + 0.5),
            y(up / up_max)
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"{line}\" fill=\"none\" stroke=\"#2f855a\" stroke-width=\"2\"/>"
    );
    let every = round_step(span, 12.0);
    let mut minute = 0.0;
    while minute <= span {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{minute:.0}</text>",
            x(minute),
            HEIGHT - bottom + 18.0,
        );
        minute += every;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">minute of virtual time</text>\n</svg>",
        (left + WIDTH - right) / 2.0,
        HEIGHT - 8.0,
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> Value {
        json!({
            "seed": 7, "nodes": 20, "tasks": 60, "succeeded": 55, "failed": 4, "lost": 1,
            "dispatched": 70, "attempts_lost": 9, "deaths": 3, "events": 1000,
            "virtual_s": 120.0, "wall_s": 0.5,
            "detection": {"count": 2, "p50_ms": 1500, "p99_ms": 90_000},
            "disconnection": {"count": 1, "p50_ms": 200, "p99_ms": 200},
            "reassignment": {"count": 0, "p50_ms": null, "p99_ms": null},
            "turnaround": {"count": 60, "p50_ms": 9000, "p99_ms": 20_000},
            "minutes": [[0, 40, 2, 1, 20], [1, 20, 7, 2, 18]],
        })
    }

    #[test]
    fn rates_are_of_tasks_that_ended() {
        let text = summary(&run());
        for words in [
            "60 of 60 tasks ended (1 given up)",
            "0.5 tasks/s in 120 s",
            "120 tasks/s and 2000 events/s in 0.5 s",
            "noticed after p50 1.500 s, p99 90.000 s",
            "closed its connection after p50 0.200 s",
            "elsewhere after p50 none",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn axes_are_marked_with_round_numbers() {
        for (highest, step) in [
            (1.0, 1.0),
            (5.0, 1.0),
            (6.0, 2.0),
            (11.0, 5.0),
            (26.0, 10.0),
            (987.0, 200.0),
            (1_001.0, 500.0),
            (10_000.0, 2_000.0),
        ] {
            let marks = marks(highest);
            assert_eq!(marks[1].to_bits(), f64::to_bits(step), "{highest}");
            assert!(marks.len() <= 6 && marks[marks.len() - 1] >= highest);
            assert!(marks[marks.len() - 2] < highest, "one more than is needed");
        }
        assert_eq!(round_step(25.0, 12.0).to_bits(), 5_f64.to_bits());
    }

    #[test]
    fn every_minute_has_its_bars_within_the_picture() {
        let svg = chart(&run());
        // The background, and two bars a minute.
        assert_eq!(svg.matches("<rect").count(), 1 + 2 * 2);
        // The tallest bar reaches the top of the scale.
        assert!(svg.contains("y=\"56.0\""), "{svg}");
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"));
        assert!(!chart(&json!({})).contains("NaN"));
    }
}
