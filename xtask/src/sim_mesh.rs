//! `cargo xtask sim mesh`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use clap::Args;
use serde_json::Value;

use crate::session::Stop;
use crate::workspace::Workspace;

/// Which mesh.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How many phones.
    #[arg(long, default_value_t = 50)]
    phones: u32,
    /// What everything follows from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The strategies' rules alone, without a node in every phone: for thousands of phones.
    #[arg(long)]
    rules: bool,
    /// Where the chart goes; by default `mesh.svg` in the build directory.
    #[arg(long)]
    chart: Option<PathBuf>,
}

/// Builds the simulator, runs it with each strategy, and prints a line for each as it ends.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, Stop> {
    let mut command = workspace.cargo(["run", "--quiet", "--locked", "--release"]);
    command.args(["-p", "fogcompute-sim", "--example", "phones", "--"]);
    for (name, value) in [
        ("--phones", options.phones.to_string()),
        ("--seed", options.seed.to_string()),
        ("--rules", options.rules.to_string()),
    ] {
        command.args([name, &value]);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut runs = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let run: Value = serde_json::from_str(&line?)
                .map_err(|error| Stop::Failed(format!("the simulator's output: {error}")))?;
            if runs.is_empty() {
                println!("{}", heading(&run));
            }
            println!("{}", row(&run));
            runs.push(run);
        }
    }
    if !child.wait()?.success() {
        return Err(Stop::Failed("a run found something; see above".to_owned()));
    }
    let file = match &options.chart {
        Some(file) => file.clone(),
        None => workspace.target("mesh.svg"),
    };
    std::fs::write(&file, chart(&runs))?;
    println!("chart: {}", file.display());
    Ok(ExitCode::SUCCESS)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

fn per_message(run: &Value, name: &str) -> f64 {
    number(&run[name]) / number(&run["sent"]).max(1.0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a run was made of.
fn scenario(run: &Value) -> String {
    let rules = run["rules"].as_bool().unwrap_or(false);
    let what = if rules {
        "the strategies' rules alone"
    } else {
        "a node in every phone"
    };
    format!(
        "{} phones, seed {}, {:.0} hours, {} messages, {what}",
        run["phones"],
        run["seed"],
        number(&run["span_s"]) / 3600.0,
        run["sent"],
    )
}

fn heading(run: &Value) -> String {
    format!(
        "{}\n{:<15} {:>9} {:>9} {:>9} {:>10} {:>9} {:>10} {:>13}",
        scenario(run),
        "",
        "delivered",
        "p50 min",
        "p90 min",
        "transfers",
        "energy J",
        "frames",
        "phone-s per s"
    )
}

/// The delay that so many of a hundred of the messages that arrived did not exceed, in minutes.
fn delay(run: &Value, percent: usize) -> Option<f64> {
    run["delays_s"][percent].as_f64().map(|delay| delay / 60.0)
}

fn row(run: &Value) -> String {
    let minutes = |percent| match delay(run, percent) {
        Some(minutes) => format!("{minutes:.1}"),
        None => "none".to_owned(),
    };
    let simulated = number(&run["phones"]) * number(&run["span_s"]);
    format!(
        "{:<15} {:>8.1}% {:>9} {:>9} {:>10.2} {:>9.1} {:>10} {:>13.0}",
        text(&run["strategy"]),
        100.0 * per_message(run, "delivered"),
        minutes(50),
        minutes(90),
        per_message(run, "transfers"),
        number(&run["joules"]),
        run["frames"],
        simulated / number(&run["wall_s"]).max(1e-9),
    )
}

/// A figure of a run.
type Figure = fn(&Value) -> f64;

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 440.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 392.0;
/// Left and right ends of the curves, and of the bars beside them.
const CURVES: [f64; 2] = [64.0, 560.0];
const BARS: [f64; 2] = [620.0, 1050.0];
const COLOURS: [&str; 4] = ["#718096", "#2b6cb0", "#2f855a", "#c53030"];

/// How many messages had arrived after how long, as curves; beside them what it took, as bars.
fn chart(runs: &[Value]) -> String {
    let title = runs.first().map(scenario).unwrap_or_default();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"26\" font-size=\"15\">A simulated mesh: {title}</text>\n",
        CURVES[0]
    );
    let mut at = CURVES[0];
    for (run, colour) in runs.iter().zip(COLOURS) {
        let name = text(&run["strategy"]);
        // Writing to a text cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{at:.0}\" y=\"52\" fill=\"{colour}\">■ {name}</text>"
        );
        at += 40.0 + 8.0 * name.len() as f64;
    }
    curves(&mut svg, runs);
    let only_rules = runs.iter().any(|run| run["rules"] == true);
    let energy = if only_rules {
        // Announces, sessions and sync are not among it.
        "energy of these exchanges, J (estimate)"
    } else {
        "energy of all radios, J (estimate)"
    };
    let panels: [(&str, Figure); 3] = [
        ("messages that arrived, %", |run| {
            100.0 * per_message(run, "delivered")
        }),
        ("transfers of each message", |run| {
            per_message(run, "transfers")
        }),
        (energy, |run| number(&run["joules"])),
    ];
    let height = (BOTTOM - TOP) / 3.0;
    for (index, (name, value)) in (0_u32..).zip(panels) {
        bars(&mut svg, runs, name, value, TOP + height * f64::from(index));
    }
    svg.push_str("</svg>\n");
    svg
}

fn curves(svg: &mut String, runs: &[Value]) {
    let [left, right] = CURVES;
    let longest = runs
        .iter()
        .filter_map(|run| delay(run, 100))
        .fold(60.0, f64::max);
    let hours = (longest / 60.0).ceil();
    let x = |minutes: f64| left + minutes / (hours * 60.0) * (right - left);
    let y = |share: f64| BOTTOM - share * (BOTTOM - TOP);
    for step in 0..=4 {
        let share = f64::from(step) / 4.0;
        let at = y(share);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}%</text>",
            left - 8.0,
            at + 4.0,
            share * 100.0,
        );
    }
    let mut hour = 0.0;
    while hour <= hours {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{hour:.0}</text>",
            x(hour * 60.0),
            BOTTOM + 18.0,
        );
        hour += 1.0;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">hours since a message was sent: \
         the part that had arrived</text>",
        (left + right) / 2.0,
        HEIGHT - 10.0,
    );
    for (run, colour) in runs.iter().zip(COLOURS) {
        let arrived = per_message(run, "delivered");
        let mut line = format!("M{left:.1} {:.1}", y(0.0));
        for percent in 0_u32..=100 {
            let Some(minutes) = delay(run, percent as usize) else {
                continue;
            };
            let share = arrived * f64::from(percent) / 100.0;
            let _ = write!(line, "L{:.1} {:.1}", x(minutes), y(share));
        }
        let _ = writeln!(
            svg,
            "<path d=\"{line}H{right}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
    }
}

fn bars(svg: &mut String, runs: &[Value], name: &str, value: Figure, top: f64) {
    let [left, right] = BARS;
    let most = runs.iter().map(value).fold(1e-9, f64::max);
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{:.1}\" font-weight=\"bold\">{name}</text>",
        top + 10.0
    );
    for ((run, colour), row) in runs.iter().zip(COLOURS).zip(0_u32..) {
        let y = top + 18.0 + 19.0 * f64::from(row);
        let value = value(run);
        // Room for the number after the longest bar.
        let width = value / most * (right - left - 70.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            left + width + 6.0,
            y + 12.0,
            shown(value),
        );
    }
}

/// A figure beside its bar: what is little is not shown as nothing.
fn shown(value: f64) -> String {
    if value > 0.0 && value < 1.0 {
        return format!("{value:.2}");
    }
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(strategy: &str, delivered: u32) -> Value {
        let delays: Vec<_> = (0..=100).map(|percent| percent * 60).collect();
        json!({
            "strategy": strategy, "phones": 50, "seed": 3, "rules": false, "sent": 100,
            "delivered": delivered, "acknowledged": 10, "transfers": 250, "frames": 9000,
            "bytes": 100_000, "joules": 12.5, "meetings": 40, "span_s": 28_800, "wall_s": 2.0,
            "delays_s": delays,
        })
    }

    #[test]
    fn a_row_says_what_a_run_measured() {
        let run = run("direct", 40);
        assert!(heading(&run).starts_with("50 phones, seed 3, 8 hours, 100 messages"));
        let row: Vec<_> = row(&run).split_whitespace().map(str::to_owned).collect();
        assert_eq!(
            row,
            [
                "direct", "40.0%", "50.0", "90.0", "2.50", "12.5", "9000", "720000"
            ]
        );
    }

    #[test]
    fn every_strategy_has_its_curve_and_its_bars_within_the_picture() {
        let svg = chart(&[run("direct", 40), run("epidemic", 100)]);
        // The background, and three bars each.
        assert_eq!(svg.matches("<rect").count(), 1 + 3 * 2);
        assert_eq!(svg.matches("stroke-width=\"2\"").count(), 2);
        // What arrived whole reaches the top, after a hundred minutes of the two hours drawn.
        assert!(
            svg.contains(&format!("L477.3 {TOP:.1}H{}", CURVES[1])),
            "{svg}"
        );
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(svg.contains("energy of all radios"), "{svg}");
        let mut little = run("direct", 0);
        (little["rules"], little["transfers"]) = (true.into(), 3.into());
        let svg = chart(&[little]);
        assert!(svg.contains(">0.03<") && svg.contains(">0.0<"), "{svg}");
        assert!(svg.contains("energy of these exchanges"), "{svg}");
        let none = json!({"strategy": "direct", "delays_s": []});
        for runs in [&[][..], &[none]] {
            assert!(!chart(runs).contains("NaN"));
        }
    }
}
