//! The page that shows a demonstration: one file, no script, nothing fetched.
//!
//! Every text of the run goes through [`svg::esc`]. Charts are drawn twice, for a desk and for a
//! phone, and the style sheet shows one of them: a picture that is scaled to a third has letters
//! nobody can read.

mod front;
mod gantt;
mod latency;
mod ledger;
mod lending;
mod svg;
mod topology;

use std::fmt::Write as _;

use self::svg::{base64, count, counted, esc, quantile, utc};
pub(crate) use self::svg::{memory, millis, rounded};
use crate::report::{Death, NodeReport, Picture, Report};

const STYLE: &str = include_str!("style.css");

/// Fills of hatched areas. They must be in the page, so they are in a picture without a size.
const PATTERNS: &str = "<svg class=\"defs\" aria-hidden=\"true\" width=\"0\" height=\"0\"><defs>\
     <pattern id=\"hatch-lost\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
     patternTransform=\"rotate(45)\"><rect class=\"hatch-ground\" width=\"7\" height=\"7\"></rect>\
     <rect class=\"hatch-line\" width=\"2.5\" height=\"7\"></rect></pattern>\
     <pattern id=\"hatch-gone\" width=\"9\" height=\"9\" patternUnits=\"userSpaceOnUse\" \
     patternTransform=\"rotate(-45)\"><rect class=\"hatch-faint\" width=\"1.2\" height=\"9\">\
     </rect></pattern></defs></svg>";

/// A process that was killed or ended, and when.
struct Kill<'a> {
    node: usize,
    name: &'a str,
    death: &'a Death,
    at_ms: f64,
    /// When something took its place.
    back_ms: Option<f64>,
}

/// Renders the page.
pub(crate) fn render(report: &Report) -> String {
    let kills = kills(report);
    let mut page = String::with_capacity(report.picture.png.len() * 4 / 3 + (256 << 10));
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/>\
         <title>A private fog computed a picture — fogcompute {}</title>\
         <link rel=\"icon\" href=\"data:,\"/><style>{STYLE}</style></head><body>\
         <a class=\"skip\" href=\"#main\">Skip to the account</a>{PATTERNS}",
        esc(report.version)
    );
    page.push_str(&header(report, &kills));
    page.push_str(
        "<nav aria-label=\"On this page\"><ul><li><a href=\"#happened\">What happened</a></li>\
         <li><a href=\"#fog\">Fog</a></li><li><a href=\"#lending\">Lending</a></li>\
         <li><a href=\"#placement\">Placement</a></li><li><a href=\"#tiles\">Tiles</a></li>\
         <li><a href=\"#latency\">Latency</a></li><li><a href=\"#ledger\">Ledger</a></li>\
         <li><a href=\"#account\">Account</a></li></ul></nav><main id=\"main\">",
    );
    page.push_str(&happened(report, &kills));
    page.push_str(&topology::section(report));
    page.push_str(&lending::section(report));
    page.push_str(&front::section(report));
    page.push_str(&gantt::section(report, &kills));
    page.push_str(&latency::section(report));
    page.push_str(&ledger::section(report));
    page.push_str(&account(report));
    page.push_str("</main>");
    page.push_str(&footer(report));
    page.push_str("</body></html>\n");
    page
}

/// The processes that were killed or ended, the first one first.
fn kills(report: &Report) -> Vec<Kill<'_>> {
    let nodes = report.nodes.iter().enumerate();
    let deaths = nodes.flat_map(|(node, it)| it.deaths.iter().map(move |death| (node, it, death)));
    let mut kills: Vec<_> = deaths
        .filter(|(.., death)| death.at_ms.is_finite())
        .map(|(node, it, death)| Kill {
            node,
            name: &it.name,
            death,
            at_ms: death.at_ms,
            back_ms: death.back_ms.filter(|back| back.is_finite()),
        })
        .collect();
    kills.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    kills
}

/// How a process ended, in a word.
fn fate(death: &Death) -> &'static str {
    match death.ended {
        Some(_) => "ended",
        None => "killed",
    }
}

/// The same of a node's last process that did, and whether another took its place.
fn fate_of(node: &NodeReport) -> Option<String> {
    let death = node.deaths.last()?;
    Some(match node.gone() {
        Some(_) => fate(death).to_owned(),
        None => format!("{}, back", fate(death)),
    })
}

/// A node's name in a sentence: of coordinators there is one.
fn spoken(node: &NodeReport) -> String {
    let name = esc(&node.name);
    match node.compute || node.layer.is_some() {
        true => name.to_string(),
        false => format!("the {name}"),
    }
}

/// What the run was, in numbers that several parts of the page need.
struct Tally {
    mixnodes: usize,
    layers: usize,
    computers: usize,
    done: usize,
    attempts: usize,
    lost: usize,
    /// When the last tile was back.
    last_ms: f64,
}

impl Tally {
    fn new(report: &Report) -> Self {
        let mut layers: Vec<_> = report.nodes.iter().filter_map(|node| node.layer).collect();
        let mixnodes = layers.len();
        layers.sort_unstable();
        layers.dedup();
        let attempts = || report.tiles.iter().flat_map(|tile| &tile.attempts);
        let done = |tile: &&crate::report::Tile| {
            tile.attempts.iter().any(|attempt| attempt.result.is_some())
        };
        Self {
            mixnodes,
            layers: layers.len(),
            computers: report.nodes.iter().filter(|node| node.compute).count(),
            done: report.tiles.iter().filter(done).count(),
            attempts: attempts().count(),
            lost: attempts().filter(|attempt| attempt.lost.is_some()).count(),
            last_ms: attempts()
                .filter(|attempt| attempt.result.is_some())
                .map(|attempt| attempt.end_ms)
                .fold(0.0, f64::max),
        }
    }
}

fn same(picture: &Picture) -> bool {
    !picture.digest.is_empty() && picture.digest == picture.native_digest
}

fn header(report: &Report, kills: &[Kill<'_>]) -> String {
    let tally = Tally::new(report);
    let picture = &report.picture;
    let mut text = format!(
        "<header><p class=\"eyebrow\">fogcompute {} · demonstration of {}</p>\
         <h1>A private fog computed this picture</h1><p class=\"opening\">{} on this machine, each \
         with keys of its own, computed it in {}, through {} of mixnodes. {}{}</p>",
        esc(report.version),
        utc(report.started_unix_ms),
        counted(report.nodes.len(), "process"),
        counted(report.tiles.len(), "tile"),
        counted(tally.layers, "layer"),
        match kills {
            [] => String::new(),
            [kill] => format!(
                "On the way, {} {}{}. ",
                spoken(&report.nodes[kill.node]),
                match kill.death.ended {
                    Some(_) => "ended",
                    None => "was killed",
                },
                match kill.back_ms {
                    Some(_) => " and started again",
                    None => "",
                }
            ),
            _ => format!(
                "On the way, processes ended {} times. ",
                count(kills.len() as u64)
            ),
        },
        if tally.done == report.tiles.len() {
            "The picture is whole."
        } else {
            "The picture is not whole."
        }
    );
    text.push_str("<div class=\"hero\"><figure>");
    if picture.png.is_empty() {
        text.push_str("<p class=\"empty\">There is no picture.</p>");
    } else {
        let _ = write!(
            text,
            "<img width=\"{}\" height=\"{}\" alt=\"The Mandelbrot set's seahorse valley, as the \
             fog rendered it\" src=\"data:image/png;base64,{}\"/>",
            picture.width,
            picture.height,
            base64(&picture.png)
        );
    }
    let _ = write!(
        text,
        "<figcaption>The Mandelbrot set, {} × {} pixels, computed by {} as WebAssembly in a \
         sandbox.</figcaption></figure><div class=\"facts\">",
        count(picture.width.into()),
        count(picture.height.into()),
        counted(tally.computers, "node")
    );
    text.push_str(&verdict(picture));
    text.push_str("<dl>");
    let end_to_end = latency::end_to_end(report);
    let counts = report
        .nodes
        .iter()
        .filter(|node| node.layer.is_some())
        .filter_map(|node| node.packets_received);
    let (heard, packets) = counts.fold((0, 0_u64), |(heard, sum), packets| {
        (heard + 1, sum.saturating_add(packets))
    });
    let tiles = format!(
        "{} of {}",
        count(tally.done as u64),
        count(report.tiles.len() as u64)
    );
    for (term, value, note) in [
        (
            "Tiles done",
            tiles,
            format!(
                "in {}, {} lost",
                counted(tally.attempts, "attempt"),
                tally.lost
            ),
        ),
        (
            "Time",
            millis(tally.last_ms),
            "from submission to the last tile".to_owned(),
        ),
        (
            "Latency",
            quantile(&end_to_end, 0.5).map_or_else(|| "–".to_owned(), millis),
            "median from dispatch to result".to_owned(),
        ),
        (
            "Packets",
            if heard == 0 {
                "–".to_owned()
            } else {
                count(packets)
            },
            match tally.mixnodes - heard {
                0 => format!("received by {}", counted(heard, "mixnode")),
                silent => format!(
                    "received by {}; of {silent} it is unknown",
                    counted(heard, "mixnode")
                ),
            },
        ),
        (
            "Paid",
            rounded(&report.ledger.paid),
            format!(
                "credits; {} more were reserved and released",
                rounded(&report.ledger.released)
            ),
        ),
    ] {
        let _ = write!(
            text,
            "<div><dt>{term}</dt><dd>{}<small>{}</small></dd></div>",
            esc(&value),
            esc(&note)
        );
    }
    text.push_str("</dl></div></div></header>");
    text
}

fn verdict(picture: &Picture) -> String {
    if same(picture) {
        format!(
            "<p class=\"verdict good\"><strong>✓ Equal to the native render</strong> \
             <span>byte for byte, by its BLAKE3 hash</span> <code>{}</code></p>",
            esc(&picture.digest)
        )
    } else {
        format!(
            "<p class=\"verdict bad\"><strong>✗ Not the native render</strong> <span>fog</span> \
             <code>{}</code> <span>native</span> <code>{}</code></p>",
            esc(&picture.digest),
            esc(&picture.native_digest)
        )
    }
}

fn happened(report: &Report, kills: &[Kill<'_>]) -> String {
    let tally = Tally::new(report);
    let mut text = String::from(
        "<section id=\"happened\" aria-labelledby=\"happened-title\">\
         <h2 id=\"happened-title\">What happened</h2><ol class=\"story\">",
    );
    let mut step = |title: &str, sentence: &str| {
        let _ = write!(text, "<li><h3>{title}</h3><p>{sentence}</p></li>");
    };
    step(
        "A fog was started",
        &format!(
            "{} in {} and {} joined a coordinator as processes of their own, over encrypted links \
             on the loopback interface.",
            counted(tally.mixnodes, "mixnode"),
            counted(tally.layers, "layer"),
            counted(tally.computers, "compute node"),
        ),
    );
    step("They said what they lend", &decided(report));
    step(
        "A job was placed",
        &format!(
            "A picture of {} × {} pixels was cut into {}, its price reserved. NSGA-II {}.",
            count(report.picture.width.into()),
            count(report.picture.height.into()),
            counted(report.tiles.len(), "tile"),
            match report.front.points.len() {
                0 => "did not record a front".to_owned(),
                1 => "found 1 placement that nothing beats".to_owned(),
                found => format!(
                    "chose among {} that nothing beats",
                    counted(found, "placement")
                ),
            }
        ),
    );
    for kill in kills {
        let title = match kill.death.ended {
            Some(_) => "A process ended",
            None => "A process was killed",
        };
        step(title, &told(report, kill, &tally));
    }
    step(
        "The tiles came back",
        &format!(
            "{} of {} after {}, in {}. The picture is {} a native render.",
            count(tally.done as u64),
            counted(report.tiles.len(), "tile"),
            millis(tally.last_ms),
            counted(tally.attempts, "attempt"),
            if same(&report.picture) {
                "byte for byte that of"
            } else {
                "not that of"
            }
        ),
    );
    step(
        "The ledger was settled",
        &format!(
            "{} credits were paid for finished tiles, the other {} that were reserved were \
             released. {}",
            esc(&rounded(&report.ledger.paid)),
            esc(&rounded(&report.ledger.released)),
            if report.ledger.sum == "0" {
                "No credit came from nowhere or was lost: all balances cancel out.".to_owned()
            } else {
                format!(
                    "All balances together are {} base units, and ought to cancel out.",
                    esc(&report.ledger.sum)
                )
            }
        ),
    );
    text.push_str("</ol></section>");
    text
}

/// What became of a process, and of what it did.
fn told(report: &Report, kill: &Kill<'_>, tally: &Tally) -> String {
    let node = &report.nodes[kill.node];
    let what = match &kill.death.ended {
        Some(status) => format!("ended ({})", esc(status)),
        None => "got SIGKILL".to_owned(),
    };
    let process = (kill.death.process).map(|process| format!(" (process {process})"));
    let when = if kill.at_ms < 0.0 {
        format!("{} before the job", millis(-kill.at_ms))
    } else {
        format!("After {}", millis(kill.at_ms))
    };
    let mut text = format!(
        "{when}, {}{} {what}",
        spoken(node),
        process.unwrap_or_default()
    );
    let back = kill.back_ms.map(|back| millis(back - kill.at_ms));
    if node.compute {
        let attempts = report.tiles.iter().flat_map(|tile| &tile.attempts);
        let lost = attempts
            .filter(|attempt| attempt.node == kill.node && attempt.lost.is_some())
            .filter(|attempt| attempt.start_ms <= kill.at_ms && kill.at_ms <= attempt.end_ms)
            .count();
        let _ = write!(text, " with {} under way. ", counted(lost, "tile"));
        text.push_str(if tally.done < report.tiles.len() {
            "Not everything it left was computed."
        } else if lost == 0 {
            "Its other tiles went to the nodes that remained."
        } else {
            "Other nodes computed what was lost, and what it had still to do."
        });
        if back.is_none()
            && let Some(mean) = node.reputation_mean.filter(|mean| mean.is_finite())
        {
            let _ = write!(text, " A reputation of {mean:.2} is what it is left with.");
        }
    } else if node.layer.is_some() {
        text.push_str(
            ". Packets went through the other mixnodes of its layer, and what was on its way was \
             sent again.",
        );
    } else {
        text.push_str(". Nobody else dispatches tiles and pays for them.");
    }
    let _ = match back {
        Some(back) if node.compute || node.layer.is_some() => {
            write!(
                text,
                " It took part again {back} later, as another process."
            )
        }
        Some(back) => write!(
            text,
            " It was there again {back} later, as another process, and went on from its files: its \
             nodes joined it anew."
        ),
        None => write!(text, " Nothing took its place."),
    };
    text
}

/// Which policy was used, and what came of it.
fn decided(report: &Report) -> String {
    let nodes = report.nodes.iter().filter(|node| node.compute);
    let verdicts: Vec<_> = nodes
        .map(|node| node.status["decision"]["verdict"].as_str())
        .collect();
    let of = |verdict| {
        verdicts
            .iter()
            .filter(|said| **said == Some(verdict))
            .count()
    };
    let mut parts = Vec::new();
    for (verdict, much) in [("allow", ""), ("throttle", " less"), ("refuse", " nothing")] {
        match of(verdict) {
            0 => {}
            1 => parts.push(format!("1 node lends{much}")),
            several => parts.push(format!("{several} nodes lend{much}")),
        }
    }
    let outcome = if parts.is_empty() {
        "no decision arrived".to_owned()
    } else {
        parts.join(", ")
    };
    if report.policy_enforced {
        format!("The default harvest policy looked at every device's sensors: {outcome}.")
    } else {
        format!(
            "The harvest policy was overruled, as asked for with <code>--policy always</code>: \
             {outcome}. What it objects to is listed below."
        )
    }
}

fn account(report: &Report) -> String {
    let mut text = String::from(
        "<section id=\"account\" aria-labelledby=\"account-title\">\
         <h2 id=\"account-title\">The account</h2><p class=\"lead\">As the terminal showed it. \
         Times are from the submission of the job.</p>",
    );
    if report.events.is_empty() {
        text.push_str("<p class=\"empty\">Nothing was said.</p></section>");
        return text;
    }
    text.push_str("<ol class=\"events\">");
    for event in &report.events {
        let _ = write!(
            text,
            "<li><span class=\"at\">{}</span> <span>{}</span></li>",
            millis(event.at_ms),
            esc(&event.text)
        );
    }
    text.push_str("</ol></section>");
    text
}

fn footer(report: &Report) -> String {
    format!(
        "<footer><p>Again: <code>fogcompute demo --seed {} --width {} --tiles {} --nodes {} \
         --kill {}{}</code></p><p>The seed fixes the prices, and the optimiser's and the killer's \
         draws: what it kills, and after how many tiles. What they draw from, measured speeds and timing, is new each time, and so are keys, routes and \
         delays. From the first process to this page it took {}.</p></footer>",
        report.seed,
        report.picture.width,
        report.tiles.len(),
        Tally::new(report).computers,
        report.kill,
        if report.policy_enforced {
            ""
        } else {
            " --policy always"
        },
        millis(report.elapsed_ms)
    )
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
pub(crate) use fixture::node as fixture_node;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Moment;

    #[test]
    fn the_page_is_well_formed_and_fetches_nothing() {
        let page = render(&fixture::report(4, 24));
        fixture::assert_well_formed(&page);
        for fetch in ["http:", "https:", "//", "@import", "<script", "<iframe"] {
            assert!(!page.contains(fetch), "{fetch}");
        }
        // The only things that could be loaded are in the page.
        for (attribute, allowed) in [("src=\"", "data:image/png;base64,"), ("url(", "#hatch-")] {
            for rest in page.split(attribute).skip(1) {
                assert!(rest.starts_with(allowed), "{attribute}{}", &rest[..20]);
            }
        }
    }

    #[test]
    fn links_within_the_page_lead_somewhere_and_ids_are_given_once() {
        let page = render(&fixture::report(4, 24));
        for marker in ["href=\"#", "aria-labelledby=\"", "url(#"] {
            for rest in page.split(marker).skip(1) {
                let id = rest.split(['"', ')']).next().unwrap();
                assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
            }
        }
    }

    #[test]
    fn texts_of_the_run_are_never_markup() {
        let evil = "</title><script>alert(\"1\")</script>&amp;'".to_owned();
        let mut report = fixture::report(3, 6);
        for node in &mut report.nodes {
            node.name.clone_from(&evil);
            node.id.clone_from(&evil);
            node.address.clone_from(&evil);
            node.price_per_gigafuel = Some(evil.clone());
            for death in &mut node.deaths {
                death.ended = Some(evil.clone());
            }
            node.paid = Some(evil.clone());
            node.status = serde_json::json!({
                "device": {
                    "class": evil, "network": evil, "battery": evil, "cpu_cores": evil,
                },
                "decision": {"verdict": evil},
                "objections": [evil],
                "notes": [evil],
            });
        }
        report.picture.digest.clone_from(&evil);
        report.picture.native_digest = format!("{evil}!");
        report.front.explanation.clone_from(&evil);
        report.front.objectives = vec![evil.clone(); 4];
        for attempt in report.tiles.iter_mut().flat_map(|tile| &mut tile.attempts) {
            attempt.lost = attempt.lost.as_ref().map(|_| evil.clone());
            if let Some(result) = &mut attempt.result {
                result.paid.clone_from(&evil);
            }
        }
        report.events.push(Moment {
            at_ms: f64::INFINITY,
            text: evil.clone(),
        });
        let ledger = &mut report.ledger;
        for text in [
            &mut ledger.sum,
            &mut ledger.chain,
            &mut ledger.endowment,
            &mut ledger.paid,
            &mut ledger.released,
        ] {
            text.clone_from(&evil);
        }
        for row in &mut ledger.entries {
            for text in [&mut row.kind, &mut row.from, &mut row.to, &mut row.credits] {
                text.clone_from(&evil);
            }
        }
        for row in &mut ledger.balances {
            row.account.clone_from(&evil);
            row.credits.clone_from(&evil);
        }
        let page = render(&report);
        fixture::assert_well_formed(&page);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn the_hash_decides_what_is_said_of_the_picture() {
        let mut report = fixture::report(2, 2);
        assert!(render(&report).contains("✓ Equal to the native render"));
        report.picture.digest = "00".to_owned();
        let page = render(&report);
        assert!(page.contains("✗ Not the native render"));
        assert!(!page.contains("✓ Equal"));
    }

    #[test]
    fn a_run_of_which_nothing_is_known_is_a_page() {
        let mut report = fixture::report(2, 1);
        report.nodes.clear();
        report.tiles.clear();
        report.events.clear();
        report.front.points.clear();
        report.picture.png.clear();
        report.ledger.entries.clear();
        report.ledger.balances.clear();
        report.elapsed_ms = f64::NAN;
        fixture::assert_well_formed(&render(&report));
    }

    #[test]
    fn a_job_that_lost_every_attempt_is_a_page() {
        let mut report = fixture::report(2, 4);
        for attempt in report.tiles.iter_mut().flat_map(|tile| &mut tile.attempts) {
            attempt.result = None;
            attempt.lost = Some("silent".to_owned());
        }
        let page = render(&report);
        fixture::assert_well_formed(&page);
        assert!(page.contains("The picture is not whole") && page.contains("0 of 4"));
    }

    #[test]
    fn a_kill_without_a_time_is_left_out() {
        let mut report = fixture::report(4, 24);
        let victim = kills(&report)[0].node;
        assert_eq!(victim, 9);
        report.nodes[victim].deaths[0].at_ms = f64::NAN;
        assert!(kills(&report).is_empty());
        fixture::assert_well_formed(&render(&report));
        report.nodes[victim].deaths.clear();
        assert!(kills(&report).is_empty());
    }

    #[test]
    fn what_is_not_known_is_said_to_be_unknown() {
        let mut report = fixture::report(4, 24);
        let known = render(&report);
        assert!(!known.contains("unknown</dd>") && !known.contains("it is unknown"));
        for node in &mut report.nodes {
            node.packets_received = None;
            node.packets_forwarded = None;
            node.packets_dropped = None;
        }
        let page = render(&report);
        fixture::assert_well_formed(&page);
        assert!(page.contains("of 6 it is unknown"), "the packets' sum");
        assert!(page.contains("packets unknown"), "the picture of the fog");
    }

    #[test]
    fn a_node_that_ended_otherwise_was_not_killed_by_the_demonstration() {
        let mut report = fixture::report(4, 24);
        assert!(render(&report).contains("got SIGKILL"));
        let victim = kills(&report)[0].node;
        report.nodes[victim].deaths[0].ended = Some("signal: 9 (SIGKILL)".to_owned());
        let page = render(&report);
        fixture::assert_well_formed(&page);
        assert!(page.contains("A process ended") && page.contains("ended (signal: 9 (SIGKILL))"));
        assert!(!page.contains("was killed") && !page.contains("got SIGKILL"));
        assert!(!page.contains("✕ killed"));
    }

    #[test]
    fn what_was_started_again_is_not_gone() {
        let mut report = fixture::report(4, 24);
        let gone = render(&report);
        assert!(gone.contains("Nothing took its place") && gone.contains(">gone</text>"));
        let at_ms = {
            let victim = kills(&report)[0].node;
            let death = &mut report.nodes[victim].deaths[0];
            death.back_ms = Some(death.at_ms + 250.0);
            death.at_ms
        };
        for name in ["coordinator", "mix 2a"] {
            let node = report.nodes.iter_mut().find(|node| node.name == name);
            node.unwrap().deaths.push(Death {
                process: Some(99),
                at_ms: at_ms + 1.0,
                ended: None,
                back_ms: Some(at_ms + 401.0),
            });
        }
        let page = render(&report);
        fixture::assert_well_formed(&page);
        assert!(!page.contains("Nothing took its place") && !page.contains(">gone</text>"));
        for told in [
            "250\u{a0}ms later",
            "400\u{a0}ms later",
            "went on from its files",
            "killed, back",
        ] {
            assert!(page.contains(told), "{told}");
        }
        assert!(page.contains("processes ended 3 times"));
        assert_eq!(page.matches("got SIGKILL").count(), 3);
    }

    #[test]
    fn a_large_run_stays_a_page_of_reasonable_size() {
        let report = fixture::report(16, 200);
        let page = render(&report);
        fixture::assert_well_formed(&page);
        assert!(page.len() < 2 << 20, "{} bytes", page.len());
    }
}
