//! What each device read of itself, and what it lent.

use std::fmt::Write as _;

use serde_json::Value;

use super::svg::{count, counted, esc, memory, n, rounded};
use crate::report::{NodeReport, Report};

pub(super) fn section(report: &Report) -> String {
    let nodes: Vec<_> = report.nodes.iter().filter(|node| node.compute).collect();
    let mut text = String::from(
        "<section id=\"lending\" aria-labelledby=\"lending-title\">\
         <h2 id=\"lending-title\">Who lends what, and why</h2>",
    );
    text.push_str(if report.policy_enforced {
        "<p class=\"lead\">The default harvest policy decided. Each compute node read its device's \
         sensors and lent its part of what the policy allows. This is what it said last before the \
         job was submitted.</p>"
    } else {
        "<p class=\"lead\">The harvest policy was overruled with <code>--policy always</code>. \
         Each compute node read its device's sensors all the same, says what the policy objects to, \
         and lent its part of the shares of processor and memory that the policy allows. This is \
         what it said last before the job was submitted.</p>"
    });
    if nodes.is_empty() {
        text.push_str("<p class=\"empty\">No compute node took part.</p></section>");
        return text;
    }
    let alike = shared_readings(&nodes);
    if !alike.is_empty() {
        text.push_str("<p class=\"intro\">All of them read:</p><dl class=\"strip\">");
        push_readings(&alike, &mut text);
        text.push_str("</dl>");
    }
    let shared = KINDS_OF_WORDS.map(|(kind, _, intro)| {
        let shared = shared_words(&nodes, kind);
        if !shared.is_empty() {
            let _ = write!(text, "<p class=\"intro\">{intro}:</p>");
            push_list(&shared, &mut text);
        }
        shared
    });
    text.push_str("<div class=\"cards\">");
    for node in nodes {
        text.push_str(&card(node, &alike, &shared));
    }
    text.push_str("</div></section>");
    text
}

/// What a policy says of a reading: where a node's status has it, what it is on the node's card, and
/// for all nodes together.
const KINDS_OF_WORDS: [(&str, &str, &str); 2] = [
    ("objections", "Objections", "The policy objects"),
    ("notes", "Notes", "It notes, without objecting"),
];

fn push_list(words: &[&str], text: &mut String) {
    text.push_str("<ul class=\"words\">");
    for word in words {
        let _ = write!(text, "<li>{}</li>", esc(word));
    }
    text.push_str("</ul>");
}

fn words<'a>(node: &'a NodeReport, kind: &str) -> Vec<&'a str> {
    node.status[kind]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// What every node said: nodes on one machine mostly say the same, and once is enough.
fn shared_words<'a>(nodes: &[&'a NodeReport], kind: &str) -> Vec<&'a str> {
    let Some((first, others)) = nodes.split_first() else {
        return Vec::new();
    };
    words(first, kind)
        .into_iter()
        .filter(|word| others.iter().all(|other| words(other, kind).contains(word)))
        .collect()
}

/// What every node read: the devices of one fog may be one device.
fn shared_readings(nodes: &[&NodeReport]) -> Vec<Reading> {
    match nodes {
        [first, others @ ..] if !others.is_empty() => readings(&first.status["device"])
            .into_iter()
            .filter(|reading| {
                others
                    .iter()
                    .all(|other| readings(&other.status["device"]).contains(reading))
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn push_row(term: &str, value: &str, text: &mut String) {
    let _ = write!(text, "<div><dt>{term}</dt><dd>{}</dd></div>", esc(value));
}

fn push_readings(readings: &[Reading], text: &mut String) {
    let mut unknown = Vec::new();
    for (term, value) in readings {
        match value {
            Some(value) => push_row(term, value, text),
            None => unknown.push(term.to_lowercase()),
        }
    }
    if !unknown.is_empty() {
        let _ = write!(
            text,
            "<div class=\"all\"><dt>Unknown</dt><dd>{}</dd></div>",
            unknown.join(", ")
        );
    }
}

fn card(node: &NodeReport, alike: &[Reading], shared: &[Vec<&str>; 2]) -> String {
    let verdict = node.status["decision"]["verdict"].as_str();
    let mut text = format!(
        "<article class=\"card\"><h3>{}</h3><p class=\"tags\">",
        esc(&node.name)
    );
    let (mark, tone) = match verdict {
        Some("allow") => ("✓ ", "good"),
        Some("throttle") => ("◐ ", "some"),
        Some("refuse") => ("✗ ", "alert"),
        _ => ("", "some"),
    };
    let _ = write!(
        text,
        "<span class=\"tag {tone}\">{mark}{}</span>",
        esc(verdict.unwrap_or("no answer"))
    );
    if let Some(fate) = super::fate_of(node) {
        let _ = write!(text, " <span class=\"tag alert\">✕ {fate}</span>");
    }
    text.push_str("</p><dl>");
    let mut own = readings(&node.status["device"]);
    if own.is_empty() {
        push_row("Sensors", "no reading arrived", &mut text);
    }
    own.retain(|reading| !alike.contains(reading));
    push_readings(&own, &mut text);
    let mut row = |term, value: &str| push_row(term, value, &mut text);
    let or_unknown = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let lends = node
        .cpu_millis
        .zip(node.memory_bytes)
        .map(|offer| match offer {
            (0, _) => "nothing".to_owned(),
            (millis, bytes) => {
                let processors = processors(millis).replace(' ', "\u{a0}");
                format!("{processors}, {}", memory(bytes as f64))
            }
        });
    row("Lends", &or_unknown(lends));
    let speed = node
        .fuel_per_second
        .map(|fuel| format!("{} Mfuel/s", count(fuel / 1_000_000)));
    row("Speed", &or_unknown(speed));
    let credits = |amount: String| format!("{amount} credits");
    let price = node.price_per_gigafuel.as_deref().map(rounded).map(credits);
    row("Per Gfuel", &or_unknown(price));
    let done = node.tiles_done.map(|tiles| counted(tiles, "tile"));
    row("Did", &or_unknown(done));
    let earned = node.paid.as_deref().map(rounded).map(credits);
    row("Earned", &or_unknown(earned));
    text.push_str("</dl>");
    text.push_str(&reputation(node));
    for ((kind, title, _), shared) in KINDS_OF_WORDS.iter().zip(shared) {
        let mut own = words(node, kind);
        own.retain(|word| !shared.contains(word));
        if !own.is_empty() {
            let _ = write!(text, "<h4>{title}</h4>");
            push_list(&own, &mut text);
        }
    }
    text.push_str("</article>");
    text
}

fn processors(millis: u64) -> String {
    if millis == 1000 {
        "1 processor".to_owned()
    } else if millis.is_multiple_of(1000) {
        format!("{} processors", millis / 1000)
    } else {
        format!("{:.2} processors", millis as f64 / 1000.0)
    }
}

fn reputation(node: &NodeReport) -> String {
    let share = |value: Option<f64>| {
        let finite = value.filter(|value| value.is_finite());
        finite.map(|value| value.clamp(0.0, 1.0))
    };
    let (Some(mean), Some(lower)) = (share(node.reputation_mean), share(node.reputation_lower))
    else {
        return "<p class=\"trust\"><span>Reputation unknown</span></p>".to_owned();
    };
    format!(
        "<p class=\"trust\"><span>Reputation <strong>{mean:.2}</strong>, with 95 % confidence \
         above {lower:.2}</span><svg viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\"><rect class=\"track\" width=\"100\" height=\"8\"></rect><rect \
         class=\"fill\" width=\"{}\" height=\"8\"></rect><rect class=\"mark\" x=\"{}\" \
         width=\"1\" height=\"8\"></rect></svg></p>",
        n(mean * 100.0),
        n((lower * 100.0).min(99.0))
    )
}

/// A reading's name and what it was in words, if it could be taken.
type Reading = (&'static str, Option<String>);

/// What the sensors said; nothing at all if they were not heard.
fn readings(device: &Value) -> Vec<Reading> {
    if !device.is_object() {
        return Vec::new();
    }
    let number = |key: &str| device[key].as_f64();
    let flag = |key: &str, yes: &str, no: &str| {
        device[key]
            .as_bool()
            .map(|value| if value { yes } else { no }.to_owned())
    };
    let celsius = |key: &str| number(key).map(|value| format!("{value:.0} °C"));
    let network = device["network"]
        .as_str()
        .filter(|network| *network != "unknown");
    vec![
        ("Kind", device["class"].as_str().map(str::to_owned)),
        (
            "Processors",
            number("cpu_cores").map(|cores| format!("{cores:.0}")),
        ),
        (
            "Load",
            number("cpu_load").map(|load| format!("{:.0} % by others", load * 100.0)),
        ),
        (
            "Memory",
            number("memory_available_bytes").map(|available| match number("memory_total_bytes") {
                Some(total) => format!("{} of {} free", memory(available), memory(total)),
                None => format!("{} free", memory(available)),
            }),
        ),
        ("Battery", battery(&device["battery"])),
        ("Battery heat", celsius("battery_temperature_celsius")),
        ("Temperature", celsius("temperature_celsius")),
        ("Network", network.map(str::to_owned)),
        ("Metering", flag("metered", "metered", "not metered")),
        ("Screen", flag("screen_on", "on", "off")),
        (
            "User",
            device["user_idle"]["secs"]
                .as_u64()
                .map(|seconds| format!("away for {} s", count(seconds))),
        ),
        (
            "Local time",
            device["minute_of_day"]
                .as_u64()
                .map(|minute| format!("{:02}:{:02}", minute / 60, minute % 60)),
        ),
    ]
}

fn battery(battery: &Value) -> Option<String> {
    if battery.as_str() == Some("absent") {
        return Some("none, on mains".to_owned());
    }
    let level = battery["present"]["level_percent"].as_f64()?;
    Some(match battery["present"]["charging"].as_bool() {
        Some(true) => format!("{level:.0} %, charging"),
        Some(false) => format!("{level:.0} %, not charging"),
        None => format!("{level:.0} %"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report_page::fixture;
    use fogcompute_base::Instant;
    use fogcompute_harvest::{Battery, DeviceClass, DeviceState, Network};
    use std::time::Duration;

    fn said(state: &DeviceState) -> String {
        let device = serde_json::to_value(state).unwrap();
        readings(&device)
            .into_iter()
            .map(|(term, value)| format!("{term}: {}\n", value.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn every_reading_of_a_device_is_put_into_words() {
        let state = DeviceState {
            cpu_cores: Some(8),
            cpu_load: Some(0.25),
            memory_total_bytes: Some(8 << 30),
            memory_available_bytes: Some(4 << 30),
            battery: Battery::Present {
                level_percent: 80.0,
                charging: true,
            },
            battery_temperature_celsius: Some(31.0),
            temperature_celsius: Some(40.0),
            network: Network::Wifi,
            metered: Some(false),
            screen_on: Some(false),
            user_idle: Some(Duration::from_secs(600)),
            minute_of_day: Some(1_401),
            ..DeviceState::unknown(DeviceClass::Laptop, Instant::from_millis(3))
        };
        assert_eq!(
            said(&state),
            "Kind: laptop\nProcessors: 8\nLoad: 25 % by others\n\
             Memory: 4.0\u{a0}GiB of 8.0\u{a0}GiB free\n\
             Battery: 80 %, charging\nBattery heat: 31 °C\nTemperature: 40 °C\nNetwork: wifi\n\
             Metering: not metered\nScreen: off\nUser: away for 600 s\nLocal time: 23:21\n"
        );
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let unknown = DeviceState::unknown(DeviceClass::Phone, Instant::ZERO);
        let known = said(&unknown)
            .lines()
            .filter(|line| !line.ends_with(": "))
            .count();
        assert_eq!(known, 1, "the class alone");
    }

    #[test]
    fn words_of_all_nodes_are_said_once() {
        let mut report = fixture::report(3, 3);
        for (index, node) in report.nodes.iter_mut().enumerate() {
            let own = format!("only {index}");
            node.status["objections"] = serde_json::json!(["everybody", own]);
            node.status["notes"] = serde_json::json!(["nobody", own]);
        }
        let page = section(&report);
        assert_eq!(page.matches("everybody").count(), 1);
        assert_eq!(page.matches("<li>only").count(), 6);
        for title in ["<h4>Objections</h4>", "<h4>Notes</h4>"] {
            assert_eq!(page.matches(title).count(), 3);
        }
        assert!(page.contains("The policy objects:") && page.contains("without objecting:"));
    }

    #[test]
    fn nodes_that_said_nothing_or_nonsense_are_shown() {
        let mut report = fixture::report(2, 2);
        for status in [
            Value::Null,
            serde_json::json!({"device": 5, "objections": "no", "decision": []}),
        ] {
            for node in &mut report.nodes {
                node.status = status.clone();
                node.reputation_mean = Some(f64::NAN);
                node.cpu_millis = None;
                node.paid = None;
            }
            let page = section(&report);
            fixture::assert_well_formed(&page);
            assert!(page.contains("no reading arrived") && page.contains("no answer"));
            assert!(page.contains("<dt>Lends</dt><dd>unknown</dd>"));
            assert!(page.contains("<dt>Earned</dt><dd>unknown</dd>"));
            assert!(page.contains("Reputation unknown"));
        }
        report.nodes.clear();
        assert!(section(&report).contains("No compute node took part"));
    }

    #[test]
    fn readings_of_all_nodes_are_shown_once_and_others_on_their_cards() {
        let mut report = fixture::report(3, 3);
        for (index, node) in report.nodes.iter_mut().enumerate() {
            node.status["device"]["cpu_load"] = serde_json::json!(index as f64 / 100.0);
        }
        let page = section(&report);
        assert_eq!(page.matches("<dt>Network</dt>").count(), 1);
        assert_eq!(page.matches("<dt>Unknown</dt>").count(), 1);
        assert_eq!(page.matches("<dt>Load</dt>").count(), 3);
        // A single node has nobody to share with.
        let report = fixture::report(1, 1);
        let page = section(&report);
        assert_eq!(page.matches("<dt>Network</dt>").count(), 1);
        assert!(!page.contains("class=\"strip\""));
    }

    #[test]
    fn processors_are_counted_as_people_do() {
        for (millis, text) in [
            (1000, "1 processor"),
            (4000, "4 processors"),
            (405, "0.41 processors"),
        ] {
            assert_eq!(processors(millis), text);
        }
    }

    #[test]
    fn who_decided_is_said() {
        let mut report = fixture::report(2, 2);
        report.policy_enforced = true;
        assert!(section(&report).contains("The default harvest policy decided"));
        report.policy_enforced = false;
        assert!(section(&report).contains("--policy always"));
    }
}
