//! Files of jobs and nodes, and the names in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::Utf8Error;

use fogcompute_base::{Digest, NodeId, TaskId};
use fogcompute_schedule::workload::Arrival;
use fogcompute_schedule::workload::csv::{self, CsvError};
use fogcompute_schedule::workload::swf::{self, Log, SwfError};
use fogcompute_schedule::{JOBS_MAX, Job, NODES_MAX, Node};
use schemars::transform::{RecursiveTransform, Transform as _};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

use super::distinct::Distinct;

/// Longest name of a job or node, in characters.
const NAME_MAX: usize = 100;

/// Names become ids under this context.
const CONTEXT: &str = "fogcompute 2026-11 name of a job or node in a file";

/// What is in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// An array of jobs.
    Jobs,
    /// An array of nodes.
    Nodes,
}

/// Where an entry is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// From 1.
    number: usize,
    /// What it calls itself.
    id: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(f, "{} ({id:?})", self.number),
            None => write!(f, "{}", self.number),
        }
    }
}

/// Why a file was not read.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum InputError {
    /// It cannot be read.
    #[error("reading {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no JSON.
    #[error("{}: no JSON", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        source: serde_json::Error,
    },
    /// It is JSON in which an object has a key twice.
    #[error("{}", .path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// Which key, and where.
        source: serde_json::Error,
    },
    /// It is JSON, but no array.
    #[error("{}: not an array", .path.display())]
    NoArray {
        /// The file.
        path: PathBuf,
    },
    /// One of its entries is no job or no node.
    #[error("{}: entry {entry}", .path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Which entry.
        entry: Place,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is no text.
    #[error("{}: no text", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Where not.
        source: Utf8Error,
    },
    /// It is no table.
    #[error("{}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        source: CsvError,
    },
    /// It is no log.
    #[error("{}", .path.display())]
    Swf {
        /// The file.
        path: PathBuf,
        /// Where and why not.
        source: SwfError,
    },
    /// It is a log where nodes are wanted.
    #[error("{}: a log in SWF has no nodes", .path.display())]
    NoNodes {
        /// The file.
        path: PathBuf,
    },
    /// A text is no name.
    #[error("{}: entry {entry}", .path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// Which entry.
        entry: Place,
        /// Why not.
        source: BadName,
    },
    /// There are too many entries.
    #[error("{}: {entries} entries are more than {limit}", .path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many there are.
        entries: usize,
        /// How many may be placed at once.
        limit: usize,
    },
    /// An entry has no fields.
    #[error("{}: entry {entry} is no object", .path.display())]
    NoObject {
        /// The file.
        path: PathBuf,
        /// Which entry.
        entry: Place,
    },
}

impl InputError {
    /// What went wrong, for programs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Read { .. } => "file",
            _ => "invalid",
        }
    }
}

/// The names that files gave to ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

impl Names {
    /// These and others.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The name of an id, or the id itself.
    pub(crate) fn of(&self, id: &impl ToString) -> String {
        let id = id.to_string();
        self.0.get(&id).cloned().unwrap_or(id)
    }

    /// The text with names in place of their ids.
    pub(crate) fn put_into(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while !rest.is_empty() {
            let is_hex = |c: char| c.is_ascii_hexdigit();
            let end = rest.find(|c| !is_hex(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            match self.0.get(word) {
                Some(name) => out.push_str(name),
                None => out.push_str(word),
            }
            let end = after.find(is_hex).unwrap_or(after.len());
            let (between, after) = after.split_at(end);
            out.push_str(between);
            rest = after;
        }
        out
    }

    /// Calls the jobs of a log by their numbers. Returns how many there are.
    fn number(&mut self, arrivals: &[Arrival]) -> usize {
        let mut numbers = BTreeSet::new();
        for job in arrivals.iter().map(|arrival| &arrival.job) {
            // A log's jobs are named by their number and the part of a gang, from 0.
            let (number, part) = swf::number(job.id);
            numbers.insert(number);
            let name = if job.gang.is_some() {
                format!("{number}/{}", part + 1)
            } else {
                number.to_string()
            };
            self.0.insert(job.id.to_string(), name);
        }
        numbers.len()
    }

    /// The name that was given to an id, if one was.
    pub(crate) fn given(&self, id: &impl ToString) -> Option<&str> {
        self.0.get(&id.to_string()).map(String::as_str)
    }

    /// Turns a name into an id; an id stays what it is.
    fn resolve(&mut self, text: &mut String, digits: usize) -> Result<(), BadName> {
        if text.len() == digits && text.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Ok(());
        }
        let length = text.chars().count();
        if !(1..=NAME_MAX).contains(&length) {
            return Err(BadName::Length(length));
        }
        if let Some(character) = text.chars().find(|&c| is_unprintable(c)) {
            return Err(BadName::Character(character));
        }
        let mut id = Digest::derive(CONTEXT, text.as_bytes()).to_string();
        id.truncate(digits);
        self.0.insert(id.clone(), std::mem::replace(text, id));
        Ok(())
    }
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum BadName {
    /// It is empty or too long.
    #[error("a name has {0} characters, not 1 to {NAME_MAX}")]
    Length(usize),
    /// It cannot be shown on a terminal or in a picture as it is.
    #[error("a name has the character {0:?}")]
    Character(char),
}

/// What controls terminals, turns the direction of writing, or may not be in XML.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The jobs of a file.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(crate) jobs: Vec<Job>,
    pub(crate) names: Names,
    /// Lines of a log that are no whole jobs, or do not say enough of one.
    pub(crate) skipped: usize,
}

/// How a file says what it holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Json,
    Csv,
    Swf,
}

impl Form {
    /// By the ending of the file's name. What says nothing else is JSON.
    fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Self::Csv,
            Some("swf") => Self::Swf,
            _ => Self::Json,
        }
    }
}

/// The jobs of a file, for nodes of which the largest has so many processors: a job of a log that
/// takes more is a gang.
pub(crate) fn jobs(path: &Path, processors_max: u64) -> Result<Jobs, InputError> {
    let bytes = read(path)?;
    let mut names = Names::default();
    let mut skipped = 0;
    let arrivals = match Form::of(path) {
        Form::Json => {
            let (jobs, names) = jobs_in(path, &bytes)?;
            return Ok(Jobs {
                jobs,
                names,
                skipped,
            });
        }
        Form::Csv => csv::read_jobs(text(path, &bytes)?).map_err(|source| InputError::Csv {
            path: path.to_owned(),
            source,
        })?,
        Form::Swf => {
            let refused = |source| InputError::Swf {
                path: path.to_owned(),
                source,
            };
            let log: Log = text(path, &bytes)?.parse().map_err(refused)?;
            let arrivals = log.arrivals(processors_max).map_err(refused)?;
            let parts = names.number(&arrivals);
            skipped = log.records.len() - parts;
            arrivals
        }
    };
    let jobs = arrivals.into_iter().map(|arrival| arrival.job).collect();
    Ok(Jobs {
        jobs,
        names,
        skipped,
    })
}

/// The nodes of a file.
pub(crate) fn nodes(path: &Path) -> Result<(Vec<Node>, Names), InputError> {
    let bytes = read(path)?;
    match Form::of(path) {
        Form::Csv => {
            let nodes = csv::read_nodes(text(path, &bytes)?);
            let nodes = nodes.map_err(|source| InputError::Csv {
                path: path.to_owned(),
                source,
            })?;
            Ok((nodes, Names::default()))
        }
        Form::Swf => Err(InputError::NoNodes {
            path: path.to_owned(),
        }),
        Form::Json => nodes_in(path, &bytes),
    }
}

fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, InputError> {
    std::str::from_utf8(bytes).map_err(|source| InputError::Text {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    std::fs::read(path).map_err(|source| InputError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The jobs in what a file holds.
pub(crate) fn jobs_in(path: &Path, text: &[u8]) -> Result<(Vec<Job>, Names), InputError> {
    const JOB: usize = 2 * TaskId::LEN;
    const NODE: usize = 2 * NodeId::LEN;
    entries(
        path,
        text,
        JOBS_MAX,
        &[
            ("id", JOB),
            ("affinity", JOB),
            ("anti_affinity", JOB),
            ("excluded", NODE),
            ("input_on", NODE),
        ],
    )
}

/// The nodes in what a file holds.
pub(crate) fn nodes_in(path: &Path, text: &[u8]) -> Result<(Vec<Node>, Names), InputError> {
    entries(path, text, NODES_MAX, &[("id", 2 * NodeId::LEN)])
}

/// Reads an array; the texts in the fields named are names or ids of so many digits.
fn entries<T: DeserializeOwned>(
    path: &Path,
    text: &[u8],
    limit: usize,
    named: &[(&str, usize)],
) -> Result<(Vec<T>, Names), InputError> {
    let path_buf = || path.to_owned();
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let Distinct(value) = serde_json::from_slice(text).map_err(|source| {
        let path = path_buf();
        if source.is_data() {
            InputError::Twice { path, source }
        } else {
            InputError::Json { path, source }
        }
    })?;
    let Value::Array(values) = value else {
        return Err(InputError::NoArray { path: path_buf() });
    };
    if values.len() > limit {
        return Err(InputError::TooMany {
            path: path_buf(),
            entries: values.len(),
            limit,
        });
    }
    let mut names = Names::default();
    let mut entries = Vec::with_capacity(values.len());
    for (index, mut value) in values.into_iter().enumerate() {
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        let place = || Place {
            number: index + 1,
            id: id.clone(),
        };
        if !value.is_object() {
            return Err(InputError::NoObject {
                path: path_buf(),
                entry: place(),
            });
        }
        for &(field, digits) in named {
            let texts = match value.get_mut(field) {
                Some(Value::Array(texts)) => texts.as_mut_slice(),
                Some(text) => std::slice::from_mut(text),
                None => &mut [],
            };
            for text in texts {
                // Anything but a text is refused below, where it is told what is expected.
                if let Value::String(text) = text {
                    let resolved = names.resolve(text, digits);
                    resolved.map_err(|source| InputError::Name {
                        path: path_buf(),
                        entry: place(),
                        source,
                    })?;
                }
            }
        }
        entries.push(
            serde_json::from_value(value).map_err(|source| InputError::Entry {
                path: path_buf(),
                entry: place(),
                source,
            })?,
        );
    }
    Ok((entries, names))
}

/// The JSON Schema of one kind of file.
pub(crate) fn schema(kind: Kind) -> String {
    let mut schema = match kind {
        Kind::Jobs => of_array::<Job>("Jobs for fogcompute schedule place"),
        Kind::Nodes => of_array::<Node>("Nodes for fogcompute schedule place"),
    };
    // In files an id may be a name.
    let mut named = RecursiveTransform(|schema: &mut Schema| {
        if schema.remove("pattern").is_some() {
            schema.insert("minLength".to_owned(), json!(1));
            schema.insert("maxLength".to_owned(), json!(NAME_MAX));
        }
    });
    named.transform(&mut schema);
    format!("{:#}\n", json!(schema))
}

fn of_array<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<Vec<T>>();
    schema.insert("title".to_owned(), json!(title));
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<Job>, Names), InputError> {
        jobs_in(Path::new("file.json"), text.as_bytes())
    }

    #[test]
    fn a_name_is_one_id_wherever_it_is_used() {
        let text = r#"[
            {"id": "render", "cpu_millis": 1, "memory_bytes": 2, "duration_ms": 3},
            {"id": "0123456789abcdef0123456789abcdef", "cpu_millis": 1, "memory_bytes": 2,
             "duration_ms": 3, "affinity": ["render"], "excluded": ["render"]}
        ]"#;
        let (found, names) = read(text).unwrap();
        assert_eq!(found[1].affinity, [found[0].id]);
        assert_eq!(found[1].id.to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(names.of(&found[0].id), "render");
        assert_eq!(names.of(&found[1].id), found[1].id.to_string());
        assert_eq!(names.of(&found[1].excluded[0]), "render");
        let told = names.put_into(&format!("job {} is late", found[0].id));
        assert_eq!(told, "job render is late");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let sound = r#"{"id": "a", "cpu_millis": 1, "memory_bytes": 2, "duration_ms": 3}"#;
        let told = |text: &str| {
            let error = read(text).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            (error.to_string(), source.unwrap_or_default())
        };
        let (_, why) = told("[");
        assert!(why.contains("line 1 column 1"), "{why}");
        let (what, _) = told("{}");
        assert!(what.contains("not an array"), "{what}");
        let (what, why) = told(&format!("[{sound}, {{\"id\": \"b\"}}]"));
        assert!(
            what.contains("entry 2 (\"b\")") && why.contains("cpu_millis"),
            "{what}: {why}"
        );
        let (what, why) = told(
            &sound
                .replace("\"a\"", "7")
                .replace('{', "[{")
                .replace('}', "}]"),
        );
        assert!(
            what.contains("entry 1") && why.contains("expected a string"),
            "{why}"
        );
        let (what, why) = told(&format!("[{}]", sound.replace('}', ",\n\"id\": \"b\"}")));
        assert_eq!(what, "file.json");
        assert!(why.starts_with("\"id\" is said twice at line 2"), "{why}");
        let (_, why) = told(&format!("[{}]", sound.replace("cpu_millis", "cpu_milis")));
        assert!(why.contains("unknown field `cpu_milis`"), "{why}");
        let named = |name: &str| {
            told(&format!(
                "[{}]",
                sound.replace("\"a\"", &format!("{name:?}"))
            ))
        };
        let (_, why) = named("");
        assert!(why.contains("0 characters"), "{why}");
        let (_, why) = named(&"é".repeat(NAME_MAX + 1));
        assert!(why.contains("101 characters"), "{why}");
        for bad in ["\\u001b[2J", "\\u0000", "\\u202e", "\\uffff"] {
            let (_, why) = told(&format!(
                "[{}]",
                sound.replace("\"a\"", &format!("\"{bad}\""))
            ));
            assert!(why.contains("a name has the character"), "{why}");
            assert!(why.chars().all(|c| !is_unprintable(c)), "{why}");
        }
        let (what, _) = told("[[\"0123456789abcdef0123456789abcdef\", 1, 1, 1]]");
        assert!(what.contains("entry 1 is no object"), "{what}");
        let many = format!("[{}{sound}]", format!("{sound},").repeat(JOBS_MAX));
        let (what, _) = told(&many);
        assert!(what.contains("65537 entries are more than 65536"), "{what}");
        assert!(read(&format!("\u{feff}[{sound}]")).is_ok());
    }

    #[test]
    fn the_schema_knows_every_field_and_allows_names() {
        for (kind, fields) in [(Kind::Jobs, 24), (Kind::Nodes, 17)] {
            let schema: Value = serde_json::from_str(&schema(kind)).unwrap();
            let entry = &schema["$defs"][if kind == Kind::Jobs { "Job" } else { "Node" }];
            assert_eq!(entry["additionalProperties"], json!(false));
            assert_eq!(entry["properties"].as_object().unwrap().len(), fields);
            assert!(!schema.to_string().contains("pattern"));
        }
    }

    #[test]
    fn the_ending_of_a_name_says_what_a_file_holds() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let id = "0123456789abcdef0123456789abcdef";
        let table = format!("id,cpu_millis,memory_bytes,duration_ms\n{id},1,2,3\n");
        let found = jobs(&file("jobs.CSV", table.as_bytes()), 1).unwrap().jobs;
        assert_eq!(found[0].id.to_string(), id);
        let table =
            format!("id,cpu_millis_free,cpu_millis_total,memory_bytes_free\n{id}{id},1,2,3\n");
        let (found, _) = nodes(&file("nodes.csv", table.as_bytes())).unwrap();
        assert_eq!(found[0].cpu_millis_total, 2);
        let log = file(
            "jobs.swf",
            b"7 0 5 60 4 -1 -1 4 120 -1 1 1 1 -1 1 -1 -1 -1\n\
              8 0 5 60 1 -1 -1 1 120 -1 1 1 1 -1 1 -1 -1 -1\n\
              9 0 5 -1 1 -1 -1 1 -1 -1 1 1 1 -1 1 -1 -1 -1\n",
        );
        let read = jobs(&log, 2).unwrap();
        assert_eq!((read.jobs.len(), read.skipped), (3, 1));
        let named: Vec<_> = read.jobs.iter().map(|job| read.names.of(&job.id)).collect();
        assert_eq!(named, ["7/1", "7/2", "8"]);
        for (refused, why) in [
            (nodes(&log).unwrap_err(), "no nodes"),
            (
                nodes(&file("bad.csv", b"id\n")).unwrap_err(),
                "cpu_millis_free",
            ),
            (jobs(&file("bad.swf", b"1 2\n"), 2).unwrap_err(), "line 1"),
            (jobs(&file("bad.csv", b"\xff"), 2).unwrap_err(), "no text"),
        ] {
            let source = std::error::Error::source(&refused).map(ToString::to_string);
            let told = format!("{refused}: {}", source.unwrap_or_default());
            assert!(told.contains(why), "{told}");
            assert_eq!(refused.kind(), "invalid");
        }
    }
}
