//! Jobs and nodes as tables: a header that names the columns, then a row each.
//!
//! Columns come in any order; those that are left out, and empty cells, stand for what
//! [`Job::new`](crate::Job::new) and [`Node::new`](crate::Node::new) say. Each column is the field
//! of its name. Besides there are `at_ms` and `took_ms` of an [`Arrival`], and a job's spread is in
//! `spread_group`, `spread_over` and `spread_most`, all three or none. Required are `id`,
//! `cpu_millis`, `memory_bytes` and `duration_ms` of jobs, and `id`, `cpu_millis_free`,
//! `cpu_millis_total` and `memory_bytes_free` of nodes.
//!
//! Ids are hexadecimal, times whole milliseconds, sizes bytes. Priorities (`critical`, `high`,
//! `normal`, `low`, `bulk`), tiers (`platinum`, `gold`, `silver`, `bronze`), domains (`node`,
//! `zone`, `region`, `operator`), `true` and `false` are words, in capitals or not. Where a cell
//! holds several ids or regions, semicolons are between them, and
//! blanks around each count for nothing. Quotes are as RFC 4180 has them.
//!
//! What numbers mean is checked where jobs and nodes are used, not here.
//!
//! ```
//! use fogcompute_schedule::workload::csv;
//!
//! let text = "id,cpu_millis,memory_bytes,duration_ms,priority,regions\n\
//!     00000000000000000000000000000001,500,1048576,2000,high,eu;us\n";
//! let arrivals = csv::read_jobs(text)?;
//! assert_eq!(arrivals[0].job.regions, ["eu", "us"]);
//! assert_eq!(csv::read_jobs(&csv::write_jobs(&arrivals)?)?, arrivals);
//! # Ok::<(), csv::CsvError>(())
//! ```

use ::csv::{Position, ReaderBuilder, StringRecord, WriterBuilder};
use fogcompute_base::{Domain, NodeId, ParseIdError, Priority, TaskId, Tier};
use thiserror::Error;

use super::Arrival;
use crate::{Job, Node, Spread};

/// Most rows of one table.
pub const ROWS_MAX: usize = 1 << 22;

/// Longest part of an unknown column's name that an error shows, in characters.
const NAME_CHARS_MAX: usize = 100;

/// What is between the parts of a cell.
const SEPARATOR: char = ';';

/// Why a text is no table of jobs or nodes, or they cannot be written as one.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum CsvError {
    /// A column that must be there is not.
    #[error("there is no column {column}")]
    MissingColumn {
        /// Its name.
        column: &'static str,
    },
    /// There is no field of this name.
    #[error("there is no field {column:?}")]
    UnknownColumn {
        /// The first 100 characters of the column's name.
        column: String,
    },
    /// Two columns have one name.
    #[error("column {column} is there twice")]
    DuplicateColumn {
        /// Its name.
        column: &'static str,
    },
    /// A row has more or fewer cells than the header.
    #[error("line {line} has {cells} cells, the header has {columns}")]
    Cells {
        /// The line on which the row begins, from 1.
        line: u64,
        /// How many it has.
        cells: usize,
        /// How many the header has.
        columns: usize,
    },
    /// A cell does not say what its column is for.
    #[error("{column} in line {line} {reason}")]
    Cell {
        /// The line on which the row begins, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        reason: CellError,
    },
    /// The table is too long; split it.
    #[error("the table has more than {ROWS_MAX} rows")]
    TooLong,
    /// What a field says would not be read the same: a text that is empty though it is there, a
    /// region with a semicolon or blanks around it, a number that is not finite.
    #[error("{column} of row {row} cannot be written")]
    Unwritable {
        /// The row, from 0.
        row: usize,
        /// The column.
        column: &'static str,
    },
}

/// What is wrong with a cell.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CellError {
    /// It is empty and must not be.
    #[error("is empty")]
    Empty,
    /// It is no whole number in its range.
    #[error("is no whole number from 0 to {max}")]
    Whole {
        /// The highest that it could be.
        max: u64,
    },
    /// It is no finite number.
    #[error("is no finite number")]
    Number,
    /// It is none of the words it could be.
    #[error("is none of {}", .words.join(", "))]
    Word {
        /// Those.
        words: &'static [&'static str],
    },
    /// It is no id.
    #[error("is no id: {0}")]
    Id(#[from] ParseIdError),
}

/// What a cell can say.
trait Cell: Sized {
    fn read(cell: &str) -> Result<Self, CellError>;

    /// `None` if there is no cell that would be read the same.
    fn write(&self) -> Option<String>;
}

macro_rules! whole_cell {
    ($($number:ty),*) => {$(
        impl Cell for $number {
            fn read(cell: &str) -> Result<Self, CellError> {
                let max = <$number>::MAX.into();
                cell.trim().parse().map_err(|_| CellError::Whole { max })
            }

            fn write(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

whole_cell!(u8, u32, u64);

impl Cell for f64 {
    fn read(cell: &str) -> Result<Self, CellError> {
        let number: Self = cell.trim().parse().map_err(|_| CellError::Number)?;
        number
            .is_finite()
            .then_some(number)
            .ok_or(CellError::Number)
    }

    fn write(&self) -> Option<String> {
        self.is_finite().then(|| self.to_string())
    }
}

macro_rules! id_cell {
    ($($id:ty),*) => {$(
        impl Cell for $id {
            fn read(cell: &str) -> Result<Self, CellError> {
                Ok(cell.trim().parse()?)
            }

            fn write(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

id_cell!(NodeId, TaskId);

macro_rules! word_cell {
    ($kind:ty, $($word:literal => $value:expr),*) => {
        impl Cell for $kind {
            fn read(cell: &str) -> Result<Self, CellError> {
                let cell = cell.trim();
                $(if cell.eq_ignore_ascii_case($word) {
                    return Ok($value);
                })*
                Err(CellError::Word { words: &[$($word),*] })
            }

            fn write(&self) -> Option<String> {
                $(if *self == $value {
                    return Some($word.to_owned());
                })*
                None
            }
        }
    };
}

word_cell!(bool, "false" => false, "true" => true);
word_cell!(
    Priority,
    "critical" => Self::Critical,
    "high" => Self::High,
    "normal" => Self::Normal,
    "low" => Self::Low,
    "bulk" => Self::Bulk
);
word_cell!(
    Tier,
    "platinum" => Self::Platinum,
    "gold" => Self::Gold,
    "silver" => Self::Silver,
    "bronze" => Self::Bronze
);
word_cell!(
    Domain,
    "node" => Self::Node,
    "zone" => Self::Zone,
    "region" => Self::Region,
    "operator" => Self::Operator
);

impl Cell for String {
    fn read(cell: &str) -> Result<Self, CellError> {
        Ok(cell.to_owned())
    }

    fn write(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl<T: Cell> Cell for Option<T> {
    fn read(cell: &str) -> Result<Self, CellError> {
        T::read(cell).map(Some)
    }

    fn write(&self) -> Option<String> {
        match self {
            Some(value) => value.write().filter(|cell| !cell.is_empty()),
            None => Some(String::new()),
        }
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn read(cell: &str) -> Result<Self, CellError> {
        let parts = cell.split(SEPARATOR);
        let parts = parts.map(|part| match part.trim() {
            "" => Err(CellError::Empty),
            part => T::read(part),
        });
        parts.collect()
    }

    fn write(&self) -> Option<String> {
        let parts = self.iter().map(|part| {
            let part = part.write()?;
            let is_whole = !part.contains(SEPARATOR) && part.trim() == part;
            (!part.is_empty() && is_whole).then_some(part)
        });
        let parts: Vec<String> = parts.collect::<Option<_>>()?;
        Some(parts.join(";"))
    }
}

/// A column of a table of `T`.
struct Column<T> {
    name: &'static str,
    is_required: bool,
    /// Writes down in a row what a cell says that is not empty.
    read: fn(&mut T, &str) -> Result<(), CellError>,
    write: fn(&T) -> Option<String>,
}

/// Columns by their names, what they are of a row, and whether they must be there.
macro_rules! columns {
    ($($name:literal $(. $field:ident)+ $is_required:literal),* $(,)?) => {
        &[$(Column {
            name: $name,
            is_required: $is_required,
            read: |row, cell| {
                row $(. $field)+ = Cell::read(cell)?;
                Ok(())
            },
            write: |row| row $(. $field)+ .write(),
        }),*]
    };
}

/// A row of a table of jobs.
struct JobRow {
    arrival: Arrival,
    spread_group: Option<String>,
    spread_over: Option<Domain>,
    spread_most: Option<u32>,
}

const JOB_COLUMNS: &[Column<JobRow>] = columns![
    "id".arrival.job.id true,
    "at_ms".arrival.at_ms false,
    "took_ms".arrival.took_ms false,
    "cpu_millis".arrival.job.cpu_millis true,
    "memory_bytes".arrival.job.memory_bytes true,
    "duration_ms".arrival.job.duration_ms true,
    "priority".arrival.job.priority false,
    "min_trust".arrival.job.min_trust false,
    "max_cost".arrival.job.max_cost false,
    "max_latency_ms".arrival.job.max_latency_ms false,
    "excluded".arrival.job.excluded false,
    "disk_bytes".arrival.job.disk_bytes false,
    "gpus".arrival.job.gpus false,
    "bandwidth_bps".arrival.job.bandwidth_bps false,
    "input_bytes".arrival.job.input_bytes false,
    "input_on".arrival.job.input_on false,
    "max_price".arrival.job.max_price false,
    "deadline_ms".arrival.job.deadline_ms false,
    "regions".arrival.job.regions false,
    "tier".arrival.job.tier false,
    "affinity".arrival.job.affinity false,
    "anti_affinity".arrival.job.anti_affinity false,
    "spread_group".spread_group false,
    "spread_over".spread_over false,
    "spread_most".spread_most false,
    "gang".arrival.job.gang false,
    "replicas".arrival.job.replicas false,
    "preemptible".arrival.job.preemptible false,
];

const NODE_COLUMNS: &[Column<Node>] = columns![
    "id".id true,
    "cpu_millis_free".cpu_millis_free true,
    "cpu_millis_total".cpu_millis_total true,
    "memory_bytes_free".memory_bytes_free true,
    "speed".speed false,
    "latency_ms".latency_ms false,
    "trust".trust false,
    "price_per_cpu_second".price_per_cpu_second false,
    "disk_bytes_free".disk_bytes_free false,
    "gpus_free".gpus_free false,
    "bandwidth_bps_free".bandwidth_bps_free false,
    "ask_per_cpu_second".ask_per_cpu_second false,
    "region".region false,
    "zone".zone false,
    "operator".operator false,
    "availability".availability false,
    "error_rate".error_rate false,
];

/// Reads jobs.
///
/// # Errors
///
/// [`CsvError`], with the line of the first thing that is wrong.
pub fn read_jobs(text: &str) -> Result<Vec<Arrival>, CsvError> {
    let blank = || JobRow {
        arrival: Arrival {
            at_ms: 0,
            job: Job::new(TaskId::from_bytes([0; TaskId::LEN]), 0, 0, 0),
            took_ms: None,
        },
        spread_group: None,
        spread_over: None,
        spread_most: None,
    };
    read(text, JOB_COLUMNS, blank, |row, line| {
        let JobRow { mut arrival, .. } = row;
        let empty = |column| {
            let reason = CellError::Empty;
            CsvError::Cell {
                line,
                column,
                reason,
            }
        };
        let (group, over, most) = (row.spread_group, row.spread_over, row.spread_most);
        if group.is_some() || over.is_some() || most.is_some() {
            arrival.job.spread = Some(Spread {
                group: group.ok_or(empty("spread_group"))?,
                over: over.ok_or(empty("spread_over"))?,
                most: most.ok_or(empty("spread_most"))?,
            });
        }
        Ok(arrival)
    })
}

/// Reads nodes.
///
/// # Errors
///
/// [`CsvError`], with the line of the first thing that is wrong.
pub fn read_nodes(text: &str) -> Result<Vec<Node>, CsvError> {
    let blank = || Node::new(NodeId::from_bytes([0; NodeId::LEN]), 0, 0);
    read(text, NODE_COLUMNS, blank, |node, _| Ok(node))
}

/// Writes jobs, in all columns.
///
/// # Errors
///
/// [`CsvError::Unwritable`].
pub fn write_jobs(arrivals: &[Arrival]) -> Result<String, CsvError> {
    write(JOB_COLUMNS, arrivals, |arrival| {
        let spread = arrival.job.spread.as_ref();
        JobRow {
            arrival: arrival.clone(),
            spread_group: spread.map(|spread| spread.group.clone()),
            spread_over: spread.map(|spread| spread.over),
            spread_most: spread.map(|spread| spread.most),
        }
    })
}

/// Writes nodes, in all columns.
///
/// # Errors
///
/// [`CsvError::Unwritable`].
pub fn write_nodes(nodes: &[Node]) -> Result<String, CsvError> {
    write(NODE_COLUMNS, nodes, Node::clone)
}

fn read<T, U>(
    text: &str,
    columns: &'static [Column<T>],
    blank: impl Fn() -> T,
    finish: impl Fn(T, u64) -> Result<U, CsvError>,
) -> Result<Vec<U>, CsvError> {
    // Rows of another length are looked for here, so that they are told with both lengths.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    // A slice that is text can neither fail to be read nor hold what is no text.
    let mut next = |record: &mut StringRecord| {
        let is_there = reader.read_record(record).unwrap_or(false);
        is_there.then(|| record.position().map_or(0, |start| line_of(text, start)))
    };
    let mut header = Vec::new();
    if next(&mut record).is_some() {
        for name in &record {
            let name = name.trim();
            let column = columns.iter().position(|column| column.name == name);
            let column = column.ok_or_else(|| CsvError::UnknownColumn {
                column: name.chars().take(NAME_CHARS_MAX).collect(),
            })?;
            if header.contains(&column) {
                let column = columns[column].name;
                return Err(CsvError::DuplicateColumn { column });
            }
            header.push(column);
        }
    }
    for (index, column) in columns.iter().enumerate() {
        if column.is_required && !header.contains(&index) {
            let column = column.name;
            return Err(CsvError::MissingColumn { column });
        }
    }
    let mut rows = Vec::new();
    while let Some(line) = next(&mut record) {
        if rows.len() == ROWS_MAX {
            return Err(CsvError::TooLong);
        }
        if record.len() != header.len() {
            return Err(CsvError::Cells {
                line,
                cells: record.len(),
                columns: header.len(),
            });
        }
        let mut row = blank();
        for (&column, cell) in header.iter().zip(&record) {
            let column = &columns[column];
            let read = match cell {
                "" if column.is_required => Err(CellError::Empty),
                "" => Ok(()),
                cell => (column.read)(&mut row, cell),
            };
            read.map_err(|reason| CsvError::Cell {
                line,
                column: column.name,
                reason,
            })?;
        }
        rows.push(finish(row, line)?);
    }
    Ok(rows)
}

/// On which line a record is, which is said to start where the one before it ends.
fn line_of(text: &str, start: &Position) -> u64 {
    let byte = usize::try_from(start.byte()).unwrap_or(usize::MAX);
    let rest = text.as_bytes().get(byte..).unwrap_or_default();
    let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    start.line() + blank.filter(|&&byte| byte == b'\n').count() as u64
}

fn write<T, U>(
    columns: &'static [Column<T>],
    rows: &[U],
    row_of: impl Fn(&U) -> T,
) -> Result<String, CsvError> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    let into_memory = "memory takes whatever is written";
    let header = columns.iter().map(|column| column.name);
    writer.write_record(header).expect(into_memory);
    for (row, content) in rows.iter().enumerate() {
        let content = row_of(content);
        for column in columns {
            let name = column.name;
            let cell = (column.write)(&content);
            let cell = cell.ok_or(CsvError::Unwritable { row, column: name })?;
            writer.write_field(cell).expect(into_memory);
        }
        let end: [&str; 0] = [];
        writer.write_record(end).expect(into_memory);
    }
    let bytes = writer.into_inner().expect(into_memory);
    Ok(String::from_utf8(bytes).expect("only texts were written"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "id,cpu_millis,memory_bytes,duration_ms";
    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    #[test]
    fn columns_come_in_any_order_and_cells_may_be_empty() {
        let text = format!(
            "tier,id,duration_ms,memory_bytes,cpu_millis,gang,spread_most,spread_group,spread_over\n\
             Gold,{ID},5,6,7,\"a \"\"gang\"\", of two\",2,web,zone\n\n,{ID},5,6,7,,,,\n"
        );
        let arrivals = read_jobs(&text).unwrap();
        let plain = Job::new(ID.parse().unwrap(), 7, 6, 5);
        assert_eq!(arrivals[1].job, plain);
        let spread = Spread {
            group: "web".to_owned(),
            over: Domain::Zone,
            most: 2,
        };
        let first = Job {
            tier: Tier::Gold,
            gang: Some("a \"gang\", of two".to_owned()),
            spread: Some(spread),
            ..plain
        };
        assert_eq!(arrivals[0].job, first);
        assert_eq!((arrivals[0].at_ms, arrivals[0].took_ms), (0, None));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let refused = |text: &str| read_jobs(text).unwrap_err();
        let column = "id";
        assert_eq!(refused(""), CsvError::MissingColumn { column });
        let column = "cost".to_owned();
        assert_eq!(refused("id,cost"), CsvError::UnknownColumn { column });
        let column = "id";
        assert_eq!(refused("id,id"), CsvError::DuplicateColumn { column });
        assert_eq!(
            refused(&format!("{HEADER}\n\n{ID},1,1\n")),
            CsvError::Cells {
                line: 3,
                cells: 3,
                columns: 4
            }
        );
        let cell = |column, text: &str| {
            let text = format!("{HEADER},{column}\n{ID},1,1,1,\n{ID},1,1,1,{text}\n");
            match refused(&text) {
                CsvError::Cell {
                    line: 3,
                    column: wrong,
                    reason,
                } if wrong == column => reason,
                other => panic!("{other}"),
            }
        };
        assert_eq!(cell("replicas", "256"), CellError::Whole { max: 255 });
        assert_eq!(cell("gpus", "-1"), CellError::Whole { max: u64::MAX });
        assert_eq!(cell("min_trust", "NaN"), CellError::Number);
        assert_eq!(cell("regions", "eu;;us"), CellError::Empty);
        assert!(matches!(cell("affinity", "12"), CellError::Id(_)));
        let words = cell("tier", "tin").to_string();
        assert_eq!(words, "is none of platinum, gold, silver, bronze");
        let text = format!("{HEADER},spread_group\n{ID},1,1,1,web\n");
        let reason = CellError::Empty;
        let (line, column) = (2, "spread_over");
        assert_eq!(
            refused(&text),
            CsvError::Cell {
                line,
                column,
                reason
            }
        );
        let nodes = read_nodes("id,cpu_millis_free,cpu_millis_total\n").unwrap_err();
        let column = "memory_bytes_free";
        assert_eq!(nodes, CsvError::MissingColumn { column });
    }

    #[test]
    fn blanks_around_parts_of_a_cell_count_for_nothing() {
        let text = format!("{HEADER},regions,affinity\n{ID},1,1,1, eu; us east ,{ID} ; {ID}\n");
        let job = &read_jobs(&text).unwrap()[0].job;
        assert_eq!(job.regions, ["eu", "us east"]);
        assert_eq!(job.affinity, [job.id, job.id]);
    }

    #[test]
    fn what_would_not_be_read_the_same_is_not_written() {
        let plain = Job::new(TaskId::from_bytes([1; 16]), 1, 1, 1);
        for (column, job) in [
            (
                "min_trust",
                Job {
                    min_trust: f64::NAN,
                    ..plain.clone()
                },
            ),
            (
                "regions",
                Job {
                    regions: vec!["a;b".to_owned()],
                    ..plain.clone()
                },
            ),
            (
                "regions",
                Job {
                    regions: vec![" eu".to_owned()],
                    ..plain.clone()
                },
            ),
            (
                "gang",
                Job {
                    gang: Some(String::new()),
                    ..plain
                },
            ),
        ] {
            let arrival = Arrival {
                at_ms: 0,
                job,
                took_ms: None,
            };
            let refused = CsvError::Unwritable { row: 0, column };
            assert_eq!(write_jobs(&[arrival]), Err(refused));
        }
    }

    fn id<const N: usize>() -> impl Strategy<Value = [u8; N]> {
        prop::array::uniform::<_, N>(any::<u8>())
    }

    fn arrival() -> impl Strategy<Value = Arrival> {
        let task = || id::<16>().prop_map(TaskId::from_bytes);
        let node = || id::<32>().prop_map(NodeId::from_bytes);
        let text = || "[^;]{1,9}";
        let region = r"[^;\s]([^;]{0,7}[^;\s])?";
        let whole = any::<u64>;
        let some = || prop::option::of(any::<u64>());
        let numbers = (whole(), whole(), whole(), whole(), whole(), some(), some());
        let decimals = (-1e9..1e9, prop::option::of(0.0..1e300));
        let ids = (
            prop::collection::vec(node(), 0..3),
            prop::collection::vec(task(), 0..3),
        );
        let texts = (
            prop::collection::vec(region, 0..3),
            prop::option::of(text()),
            prop::option::of((text(), any::<u32>())),
        );
        let words = (0_usize..5, 0_usize..4, 0_usize..4, any::<bool>());
        let all = (task(), numbers, decimals, ids, texts, words);
        all.prop_map(|(id, numbers, decimals, ids, texts, words)| {
            use Priority::{Bulk, Critical, High, Low, Normal};
            let over = [Domain::Node, Domain::Zone, Domain::Region, Domain::Operator][words.1];
            let spread = texts.2.map(|(group, most)| Spread { group, over, most });
            let job = Job {
                priority: [Critical, High, Normal, Low, Bulk][words.0],
                tier: [Tier::Platinum, Tier::Gold, Tier::Silver, Tier::Bronze][words.2],
                preemptible: words.3,
                min_trust: decimals.0,
                max_latency_ms: decimals.1,
                excluded: ids.0.clone(),
                input_on: ids.0,
                affinity: ids.1.clone(),
                anti_affinity: ids.1,
                regions: texts.0,
                gang: texts.1,
                spread,
                gpus: numbers.3,
                deadline_ms: numbers.6,
                ..Job::new(id, numbers.0, numbers.1, numbers.2)
            };
            Arrival {
                at_ms: numbers.4,
                job,
                took_ms: numbers.5,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(
            arrivals in prop::collection::vec(arrival(), 0..5),
            node_id in id::<32>(),
            (zone, speed, rate) in (".{0,9}", 0.0..1e9, prop::option::of(0.0..1.0)),
        ) {
            let text = write_jobs(&arrivals).unwrap();
            prop_assert_eq!(read_jobs(&text), Ok(arrivals));
            let node = Node {
                speed,
                zone,
                error_rate: rate,
                ..Node::new(NodeId::from_bytes(node_id), 1, 2)
            };
            let text = write_nodes(std::slice::from_ref(&node)).unwrap();
            prop_assert_eq!(read_nodes(&text), Ok(vec![node]));
        }

        #[test]
        fn any_text_is_a_table_or_is_refused(text in "(\"|,|\n|\r|;|1|a|é){0,60}", quoted: bool) {
            let cell = if quoted { format!("\"{text}\"") } else { text };
            let table = format!("{HEADER},regions,gang\n{ID},1,1,1,{cell}\n");
            if let Ok(arrivals) = read_jobs(&table)
                && let Ok(written) = write_jobs(&arrivals)
            {
                prop_assert_eq!(read_jobs(&written), Ok(arrivals));
            }
        }
    }
}
