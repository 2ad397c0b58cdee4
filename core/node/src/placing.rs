//! `fogcompute schedule`: jobs and nodes from files, and where the jobs go.

mod distinct;
pub(crate) mod input;
mod plot;
mod report;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fogcompute_base::NodeId;
use fogcompute_schedule::evolution::Nsga2;
use fogcompute_schedule::strategy::{Name, NsgaII, Strategy as _};
use fogcompute_schedule::{Instance, PlacementError, Preference, PreferenceError, Sharing};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use thiserror::Error;

use crate::files::{self, Readers};
pub(crate) use input::{InputError, Kind, schema};
use report::Report;

/// What to place, and how.
#[derive(Clone, Debug)]
pub(crate) struct PlacingConfig {
    pub(crate) jobs: PathBuf,
    pub(crate) nodes: PathBuf,
    pub(crate) sharing: Sharing,
    pub(crate) strategy: Name,
    pub(crate) preference: Preference,
    /// Leave out what does not fit.
    pub(crate) what_fits: bool,
    /// How much the strategy that searches does so.
    pub(crate) search: Nsga2,
    pub(crate) seed: u64,
    pub(crate) explain: bool,
    pub(crate) json: bool,
    /// Where to draw the placements to.
    pub(crate) plot: Option<PathBuf>,
}

/// Why nothing was placed.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum PlacingError {
    /// A file of jobs or nodes.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The jobs have no placement. The text has names in place of ids.
    #[error("{text}")]
    Placement {
        /// What was wrong.
        text: String,
        /// The same with ids.
        error: PlacementError,
    },
    /// A job excludes a node of a name that no node has.
    #[error("job {job} excludes {node}, which is no node of the batch")]
    UnknownNode {
        /// The job.
        job: String,
        /// The name.
        node: String,
    },
    /// The preference makes no sense.
    #[error(transparent)]
    Preference(#[from] PreferenceError),
    /// There is something else where the picture is to be.
    #[error("{} is no regular file: no picture is written there", .path.display())]
    PlotPlace {
        /// Where to.
        path: PathBuf,
    },
    /// The picture cannot be written.
    #[error("writing {}", .path.display())]
    Plot {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The standard output takes no more.
    #[error("writing to the standard output")]
    Output(#[source] io::Error),
}

impl PlacingError {
    /// What went wrong, for programs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Input(error) => error.kind(),
            Self::Placement { error, .. } => match error {
                PlacementError::Config(_) => "arguments",
                PlacementError::Infeasible { .. }
                | PlacementError::NoCommonNode { .. }
                | PlacementError::Impossible { .. }
                | PlacementError::OverCommitted { .. }
                | PlacementError::Crowded { .. }
                | PlacementError::Late { .. } => "infeasible",
                _ => "invalid",
            },
            Self::UnknownNode { .. } => "invalid",
            Self::Preference(_) => "arguments",
            Self::Plot { .. } | Self::PlotPlace { .. } => "file",
            Self::Output(_) => "output",
        }
    }

    /// The exit code for it.
    pub(crate) fn exit_code(&self) -> i32 {
        match self.kind() {
            "arguments" => 2,
            "infeasible" => 3,
            _ => 1,
        }
    }
}

/// Places the jobs of one file on the nodes of another, and returns what is to be said of it.
pub(crate) fn place(config: &PlacingConfig) -> Result<String, PlacingError> {
    config.preference.validate()?;
    let (nodes, node_names) = input::nodes(&config.nodes)?;
    let largest = nodes.iter().map(|node| node.cpu_millis_total / 1_000).max();
    let input::Jobs {
        jobs,
        names: job_names,
        skipped,
    } = input::jobs(&config.jobs, largest.unwrap_or(1))?;
    let known: BTreeSet<NodeId> = nodes.iter().map(|node| node.id).collect();
    for job in &jobs {
        // An id may be of a node that is not offered now; a name that nobody has is a mistake.
        let unknown = job.excluded.iter().find(|node| !known.contains(node));
        if let Some(node) = unknown.and_then(|node| job_names.given(node)) {
            return Err(PlacingError::UnknownNode {
                job: job_names.of(&job.id),
                node: node.to_owned(),
            });
        }
    }
    let names = job_names.and(node_names);
    let refused = |error: PlacementError| PlacingError::Placement {
        text: names.put_into(&error.to_string()),
        error,
    };
    let mut rng = ChaCha20Rng::seed_from_u64(config.seed);
    let (plan, left_out) = if config.what_fits {
        let (sharing, search) = (config.sharing, &config.search);
        let partial = Instance::place_what_fits(&jobs, &nodes, sharing, search, &mut rng);
        let partial = partial.map_err(refused)?;
        (partial.plan, partial.left_out)
    } else {
        let instance = Instance::new(jobs.clone(), nodes.clone(), config.sharing);
        let instance = instance.map_err(refused)?;
        let plan = match config.strategy {
            Name::NsgaIi => {
                let search = NsgaII {
                    config: config.search,
                };
                search.place(&instance, &mut rng)
            }
            rule => rule.strategy().place(&instance, &mut rng),
        };
        (Some(plan.map_err(refused)?), Vec::new())
    };
    let plan = plan
        .map(|plan| plan.prefer(config.preference))
        .transpose()?;
    let report = Report {
        jobs: &jobs,
        nodes: &nodes,
        names: &names,
        plan: plan.as_ref(),
        left_out: &left_out,
        skipped,
        explain: config.explain,
    };
    if let (Some(path), Some(plan)) = (&config.plot, &plan) {
        let picture = plot::draw(plan, &jobs, &nodes, &names, config.sharing);
        write(path, &picture)?;
    }
    Ok(if config.json {
        format!("{:#}\n", report.json())
    } else {
        report.text()
    })
}

/// Writes to a file, which may be there, or be linked to. Anything else is left alone: a device
/// would be replaced.
fn write(path: &Path, picture: &str) -> Result<(), PlacingError> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if std::fs::metadata(&target).is_ok_and(|there| !there.is_file()) {
        return Err(PlacingError::PlotPlace {
            path: path.to_owned(),
        });
    }
    files::replace(&target, picture.as_bytes(), Readers::Everybody).map_err(|source| {
        PlacingError::Plot {
            path: path.to_owned(),
            source,
        }
    })
}

/// Writes to the standard output.
pub(crate) fn print(text: &str) -> Result<(), PlacingError> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(PlacingError::Output)
}

#[cfg(test)]
mod tests {
    use fogcompute_base::{Domain, Preemption, Tier};

    use super::*;

    fn example(file: &str) -> PathBuf {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/schedule/");
        PathBuf::from(format!("{folder}{file}"))
    }

    fn config() -> PlacingConfig {
        PlacingConfig {
            jobs: example("jobs.json"),
            nodes: example("nodes.json"),
            sharing: Sharing::Concurrent,
            strategy: Name::NsgaIi,
            preference: Preference::Knee,
            what_fits: false,
            search: Nsga2::default(),
            seed: 1,
            explain: true,
            json: true,
            plot: None,
        }
    }

    #[test]
    fn the_example_is_placed_and_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("front.svg");
        let said = place(&PlacingConfig {
            plot: Some(picture.clone()),
            ..config()
        });
        assert!(said.unwrap().contains("\"ok\": true"));
        assert!(std::fs::read_to_string(&picture).unwrap().contains("tower"));
        for strategy in Name::ALL {
            let said = place(&PlacingConfig {
                strategy,
                json: false,
                ..config()
            });
            assert!(
                said.unwrap().contains("7 jobs in 9 replicas on"),
                "{strategy}"
            );
        }
        let refused = place(&PlacingConfig {
            plot: Some(folder.path().join("none").join("front.svg")),
            ..config()
        });
        assert_eq!(refused.unwrap_err().kind(), "file");
        // What is there and no file stays what it is: devices too.
        let there = folder.path().join("folder.svg");
        std::fs::create_dir(&there).unwrap();
        let refused = place(&PlacingConfig {
            plot: Some(there.clone()),
            ..config()
        });
        assert!(matches!(refused, Err(PlacingError::PlotPlace { .. })));
        assert!(there.is_dir());
    }

    #[cfg(unix)]
    #[test]
    fn a_picture_goes_where_a_link_points() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (
            folder.path().join("target.svg"),
            folder.path().join("link.svg"),
        );
        std::fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let placed = place(&PlacingConfig {
            plot: Some(link.clone()),
            ..config()
        });
        assert!(placed.is_ok());
        assert!(link.is_symlink());
        assert!(std::fs::read_to_string(&target).unwrap().contains("</svg>"));
    }

    #[test]
    fn excluding_a_name_that_no_node_has_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = folder.path().join("jobs.json");
        let text = std::fs::read_to_string(example("jobs.json")).unwrap();
        std::fs::write(&jobs, text.replace("[\"phone\"]", "[\"Phone\"]")).unwrap();
        let refused = place(&PlacingConfig { jobs, ..config() }).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "job render-1 excludes Phone, which is no node of the batch"
        );
    }

    #[test]
    fn what_cannot_be_placed_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let nodes = folder.path().join("nodes.json");
        let text = std::fs::read_to_string(example("nodes.json")).unwrap();
        // Nobody has a GPU.
        std::fs::write(&nodes, text.replace("\"gpus_free\": 1,", "")).unwrap();
        let config = PlacingConfig { nodes, ..config() };
        let error = place(&config).unwrap_err();
        assert_eq!(error.kind(), "infeasible");
        let text = error.to_string();
        assert!(
            text.contains("job train") && text.contains("GPUs"),
            "{text}"
        );
        let said = place(&PlacingConfig {
            what_fits: true,
            ..config
        });
        assert!(said.unwrap().contains("no node may take it"));
    }

    #[test]
    fn a_report_names_jobs_nodes_and_what_was_left_out() {
        let input::Jobs {
            mut jobs,
            names: job_names,
            ..
        } = input::jobs(&example("jobs.json"), 1).unwrap();
        let (nodes, node_names) = input::nodes(&example("nodes.json")).unwrap();
        jobs[4].gpus = 9;
        let names = job_names.and(node_names);
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (sharing, search) = (Sharing::Concurrent, Nsga2::default());
        let partial = Instance::place_what_fits(&jobs, &nodes, sharing, &search, &mut rng).unwrap();
        let report = Report {
            jobs: &jobs,
            nodes: &nodes,
            names: &names,
            plan: partial.plan.as_ref(),
            left_out: &partial.left_out,
            skipped: 0,
            explain: true,
        };
        let text = report.text();
        assert!(text.contains("\nrender-1  "), "{text}");
        assert!(
            text.contains("left out train: no node may take it"),
            "{text}"
        );
        assert!(
            text.contains("node tower comes nearest, failing on GPUs"),
            "{text}"
        );
        let json = report.json();
        assert_eq!(json["left_out"][0]["job"], "train");
        let reason = &json["left_out"][0]["reason"]["no_node"];
        assert_eq!(reason["nearest"], "tower");
        assert_eq!(
            reason["removed_by"],
            serde_json::json!({"gpu": 4, "memory": 1})
        );
        let front = json["front"].as_array().unwrap();
        let chosen = &front[json["chosen"].as_u64().unwrap() as usize];
        assert_eq!(chosen["assignment"][0]["job"], "api");
        assert!(chosen["objectives"]["cost"].is_f64() && chosen["cost"].is_string());
        assert!(
            json["explanation"]
                .as_str()
                .unwrap()
                .starts_with("6 jobs in 8 replicas")
        );
    }

    #[test]
    fn who_is_crowded_learns_by_which_rules() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, entries: &[serde_json::Value]| {
            let path = folder.path().join(name);
            std::fs::write(&path, serde_json::to_vec(entries).unwrap()).unwrap();
            path
        };
        let web = serde_json::json!({"group": "web", "over": "zone", "most": 1});
        let job = |id: &str| {
            serde_json::json!({
                "id": id, "cpu_millis": 1, "memory_bytes": 1, "duration_ms": 1, "spread": web,
            })
        };
        let node = serde_json::json!({
            "id": "home", "cpu_millis_free": 9, "cpu_millis_total": 9, "memory_bytes_free": 9,
            "speed": 1, "latency_ms": 0, "trust": 0, "price_per_cpu_second": 0,
        });
        let config = PlacingConfig {
            jobs: file("jobs.json", &[job("a"), job("b")]),
            nodes: file("nodes.json", &[node]),
            what_fits: true,
            ..config()
        };
        let said: serde_json::Value = serde_json::from_str(&place(&config).unwrap()).unwrap();
        assert_eq!(
            said["left_out"],
            serde_json::json!([{
                "job": "b",
                "reason": {"crowded": {"rules": [{"spread": web}]}},
                "text": "where there is room, there are others that it must not be with: a zone \
                         may have 1 of group \"web\"",
            }])
        );
        let said = place(&PlacingConfig {
            json: false,
            ..config
        });
        assert!(
            said.unwrap()
                .contains("left out b: where there is room, there are others")
        );
    }

    const MANUAL: &str = include_str!("../../../docs/scheduling.md");

    #[test]
    fn the_manual_shows_what_the_command_says() {
        let said = place(&PlacingConfig {
            json: false,
            ..config()
        });
        let said = said.unwrap();
        assert!(MANUAL.contains(&format!("```text\n{said}```")), "{said}");
    }

    #[test]
    fn the_manual_has_the_tiers_as_they_are() {
        for tier in Tier::ALL {
            let terms = tier.terms();
            let percent = |share: f64| format!("{} %", (share * 1e6).round() / 1e4);
            let distinct = match terms.distinct {
                _ if terms.replicas == 1 => "",
                [Domain::Node] => ", nodes",
                [Domain::Node, Domain::Zone, Domain::Operator] => ", nodes, zones and operators",
                other => panic!("{other:?}"),
            };
            let preempted = match terms.preemption {
                Preemption::Never => "never".to_owned(),
                Preemption::AfterNotice { notice_ms } => {
                    format!("after {} s notice", notice_ms / 1_000)
                }
            };
            let row = format!(
                "| {} | {}{distinct} | {} ms | {} | {} | {preempted} | ×{} |",
                serde_json::to_value(tier).unwrap().as_str().unwrap(),
                terms.replicas,
                terms.latency_ms_p95,
                percent(terms.availability),
                percent(terms.error_rate),
                terms.price_permille as f64 / 1e3,
            );
            assert!(MANUAL.contains(&row), "{row}");
        }
    }
}
