//! One measured case, for people or for programs.

use std::error::Error;
use std::io::{self, Write};

use serde::Serialize;

/// A case of an area: ours and the peer's, medians of the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) area: &'static str,
    pub(crate) case: String,
    pub(crate) ours: f64,
    pub(crate) unit: &'static str,
    pub(crate) peer: String,
    pub(crate) peer_version: String,
    pub(crate) theirs: f64,
    /// How many times faster ours is.
    pub(crate) ratio: f64,
    /// Calls measured on each side.
    pub(crate) n: u64,
}

/// The unit of a row that says how many times as much two threads do as one.
pub(crate) const TIMES: &str = "x";

impl Row {
    /// Digits after the point that a measurement in this unit can mean.
    fn decimals(&self) -> usize {
        if self.unit == TIMES { 2 } else { 1 }
    }

    /// Rounds to what a measurement can mean: a tenth of a nanosecond, three digits of a ratio.
    pub(crate) fn rounded(self) -> Self {
        let scale = if self.decimals() == 2 { 100.0 } else { 10.0 };
        Self {
            ours: (self.ours * scale).round() / scale,
            theirs: (self.theirs * scale).round() / scale,
            ratio: rounded_to_digits(self.theirs / self.ours, 3),
            ..self
        }
    }
}

fn rounded_to_digits(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "logarithms of doubles are below 310"
    )]
    let magnitude = value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits - 1 - magnitude);
    (value * scale).round() / scale
}

/// Prints rows as they are measured.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    headed: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            headed: false,
        }
    }

    pub(crate) fn print(&mut self, row: Row) -> Result<(), Box<dyn Error>> {
        let row = row.rounded();
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        } else {
            if !self.headed {
                self.headed = true;
                writeln!(
                    out,
                    "{:6} {:28} {:>12} {:>12} {:>7} {:>9}  peer",
                    "area", "case", "ours", "theirs", "ratio", "n"
                )?;
            }
            let decimals = row.decimals();
            let Row {
                area,
                case,
                ours,
                unit,
                peer,
                peer_version,
                theirs,
                ratio,
                n,
            } = row;
            writeln!(
                out,
                "{area:6} {case:28} {ours:>9.decimals$} {unit:2} {theirs:>9.decimals$} {unit:2} \
                 {ratio:>7} {n:>9}  {peer} {peer_version}"
            )?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, theirs: f64) -> Row {
        Row {
            area: "mix",
            case: "c".to_owned(),
            ours,
            unit: "ns",
            peer: "p".to_owned(),
            peer_version: "1".to_owned(),
            theirs,
            ratio: 0.0,
            n: 3,
        }
    }

    #[test]
    fn the_ratio_says_how_many_times_faster_ours_is() {
        assert_eq!(row(200.0, 100.0).rounded().ratio.to_string(), "0.5");
        assert_eq!(row(3.0, 1000.0).rounded().ratio.to_string(), "333");
        assert_eq!(row(70_000.0, 1.04).rounded().ratio.to_string(), "0.0000149");
    }

    #[test]
    fn how_well_threads_scale_is_told_by_hundredths() {
        let scaling = Row {
            unit: TIMES,
            ..row(1.956, 1.874)
        }
        .rounded();
        assert_eq!(
            (scaling.ours.to_string(), scaling.theirs.to_string()),
            ("1.96".to_owned(), "1.87".to_owned())
        );
        assert_eq!(row(1.956, 1.0).rounded().ours.to_string(), "2");
    }

    #[test]
    fn json_has_the_documented_keys_in_order() {
        assert_eq!(
            serde_json::to_string(&row(10.04, 20.0).rounded()).unwrap(),
            r#"{"area":"mix","case":"c","ours":10.0,"unit":"ns","peer":"p","peer_version":"1","theirs":20.0,"ratio":1.99,"n":3}"#
        );
    }
}
