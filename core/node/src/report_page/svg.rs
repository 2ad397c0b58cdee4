//! What every part of the page is made with: escaping, numbers as text, scales.

use std::fmt::{self, Write as _};

use fogcompute_ledger::Amount;

/// Width of the viewBox of a full-width chart on a desk.
pub(super) const WIDE: f64 = 1040.0;
/// The same on a phone. Charts are drawn for both, so that their letters are never scaled down.
pub(super) const NARROW: f64 = 360.0;

/// A text that is safe between tags and between quotes.
pub(super) struct Escaped<'a>(&'a str);

/// Escapes a text of the run for the page.
pub(super) const fn esc(text: &str) -> Escaped<'_> {
    Escaped(text)
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(character)?,
                // Not allowed in a page, however they are written.
                control if control.is_control() => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Shortens a text to so many characters.
pub(super) fn clip(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    let kept: String = text
        .chars()
        .take(characters_max.saturating_sub(1))
        .collect();
    format!("{}…", kept.trim_end())
}

/// How many characters fit into so many units at the size of chart labels. Wide fonts exist, so
/// it is counted with theirs.
pub(super) fn fitting(width: f64) -> usize {
    (width / 7.6).max(1.0) as usize
}

/// A coordinate.
pub(super) fn n(value: f64) -> String {
    let value = if value.is_finite() { value } else { 0.0 };
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Maps values to coordinates, evenly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Maps `low` to `start` and `high` to `end`.
    pub(super) const fn new(low: f64, high: f64, start: f64, end: f64) -> Self {
        Self {
            low,
            high,
            start,
            end,
        }
    }

    /// The coordinate of a value, never outside the range. If all values are the same, the middle.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        let share = if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.5
        };
        self.start + (self.end - self.start) * share
    }

    /// Round values in the domain, about `count` of them, and the step between them.
    pub(super) fn ticks(&self, count: usize) -> (Vec<f64>, f64) {
        let span = self.high - self.low;
        if !(span.is_finite() && span > 0.0) {
            return (vec![self.low], 1.0);
        }
        let step = round_step(span / count.max(1) as f64);
        let first = (self.low / step - 1e-9).ceil();
        let ticks = (0..=3 * count)
            .map(|index| (first + index as f64) * step)
            .take_while(|tick| *tick <= self.high + step * 1e-9)
            .collect();
        (ticks, step)
    }
}

/// The smallest of 1, 2 or 5 times a power of ten that is not below `step`.
pub(super) fn round_step(step: f64) -> f64 {
    if !(step.is_finite() && step > 0.0) {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|candidate| *candidate >= step * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Lowest and highest of the finite values.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite())
        .fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
}

/// The value that a share of the sorted values do not exceed (nearest rank).
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

/// A duration, in the unit people would say it in. Spaces before units do not break.
pub(crate) fn millis(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "unknown".to_owned()
    } else if size < 0.05 {
        "0\u{a0}ms".to_owned()
    } else if size < 9.95 {
        minus(format!("{value:.1}\u{a0}ms"))
    } else if size < 999.5 {
        minus(format!("{value:.0}\u{a0}ms"))
    } else if size < 99_950.0 {
        minus(format!("{:.2}\u{a0}s", value / 1e3))
    } else {
        minus(format!("{:.0}\u{a0}s", value / 1e3))
    }
}

/// A moment on an axis of times that ends at `top` and is marked every `step`, in milliseconds.
pub(super) fn time_tick(value: f64, step: f64, top: f64) -> String {
    if top >= 2000.0 {
        minus(format!("{} s", plain_tick(value / 1e3, step / 1e3)))
    } else {
        minus(format!("{} ms", plain_tick(value, step)))
    }
}

/// A number on an axis that is marked every `step`.
pub(super) fn plain_tick(value: f64, step: f64) -> String {
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 9.0) as usize;
    // Adding zero turns a negative zero into a positive one.
    format!("{:.decimals$}", value + 0.0)
}

/// A real minus sign, as wide as a figure.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) => format!("\u{2212}{rest}"),
        None => text,
    }
}

/// A count with its thousands apart.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and what is counted.
pub(super) fn counted(number: usize, noun: &str) -> String {
    let number_text = count(number as u64);
    match noun.strip_suffix('y') {
        _ if number == 1 => format!("{number_text} {noun}"),
        Some(stem) => format!("{number_text} {stem}ies"),
        None if noun.ends_with('s') => format!("{number_text} {noun}es"),
        None => format!("{number_text} {noun}s"),
    }
}

/// Memory, in the unit people would say it in.
pub(crate) fn memory(bytes: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    if bytes >= 1024.0 * MIB {
        format!("{:.1}\u{a0}GiB", bytes / (1024.0 * MIB))
    } else {
        format!("{:.0}\u{a0}MiB", bytes / MIB)
    }
}

/// Base units as credits. What is no amount stays as it is.
pub(super) fn credits(base_units: &str) -> String {
    base_units
        .parse::<Amount>()
        .map_or_else(|_| base_units.to_owned(), Amount::to_credits_string)
}

/// Credits for a sentence: to a thousandth. The exact amounts are in the tables.
pub(crate) fn rounded(credits: &str) -> String {
    match credits.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            let text = format!("{value:.3}");
            minus(text.trim_end_matches('0').trim_end_matches('.').to_owned())
        }
        _ => credits.to_owned(),
    }
}

/// Pads amounts of one column with invisible figures, so that their points are below each other.
pub(super) fn aligned(amount: &str, decimals: usize) -> String {
    let fraction = amount.split_once('.').map_or(0, |(_, rest)| rest.len());
    let mut text = minus(esc(amount).to_string());
    if decimals > fraction {
        let point = if fraction == 0 { "." } else { "" };
        let zeros = "0".repeat(decimals - fraction);
        // Not spaces: no font promises that a space is as wide as a figure.
        let _ = write!(
            text,
            "<span class=\"pad\" aria-hidden=\"true\">{point}{zeros}</span>"
        );
    }
    text
}

/// Most decimals of a column of amounts.
pub(super) fn decimals(amounts: impl Iterator<Item = impl AsRef<str>>) -> usize {
    amounts
        .filter_map(|amount| Some(amount.as_ref().split_once('.')?.1.len()))
        .max()
        .unwrap_or(0)
}

/// Draws a chart for a desk and for a phone; the style sheet shows one of them.
pub(super) fn responsive(wide: f64, draw: impl Fn(f64) -> String) -> String {
    format!(
        "<div class=\"wide\">{}</div><div class=\"narrow\">{}</div>",
        draw(wide),
        draw(NARROW)
    )
}

/// An image of shapes with its description.
pub(super) fn image(width: f64, height: f64, description: &str, shapes: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{shapes}</svg>",
        n(width),
        n(height),
        esc(description)
    )
}

/// Bytes as base64 with padding.
///
/// Source: RFC 4648, §4.
pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for index in 0..4_usize {
            if index <= group.len() {
                let six = (bits >> (18 - 6 * index)) & 63;
                text.push(char::from(ALPHABET[six as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

/// A moment as people in UTC would write it.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
pub(super) fn utc(unix_ms: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let minutes = unix_ms / 60_000;
    let days = minutes / 1440 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day is the last one.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12;
    let year = year_of_era + era * 400 + u64::from(month < 2);
    format!(
        "{day} {} {year}, {:02}:{:02} UTC",
        MONTHS[month as usize],
        minutes / 60 % 24,
        minutes % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_texts_is_defused() {
        assert_eq!(
            esc("<a href=\"x\" id='y'>&\u{0}\n").to_string(),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;\u{fffd}\n"
        );
    }

    #[test]
    fn base64_gives_the_vectors_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_scale_stays_in_its_range_and_puts_equal_values_in_the_middle() {
        let scale = Scale::new(0.0, 10.0, 100.0, 200.0);
        for (value, x) in [(0.0, 100.0), (5.0, 150.0), (99.0, 200.0), (-1.0, 100.0)] {
            assert!((scale.at(value) - x).abs() < 1e-9);
        }
        for odd in [
            Scale::new(3.0, 3.0, 0.0, 10.0).at(3.0),
            scale.at(f64::NAN) / 30.0,
        ] {
            assert!((odd - 5.0).abs() < 1e-9, "{odd}");
        }
    }

    #[test]
    fn ticks_are_round_and_inside() {
        let (ticks, step) = Scale::new(0.0, 5297.0, 0.0, 1.0).ticks(8);
        let labels: Vec<_> = ticks
            .iter()
            .map(|tick| time_tick(*tick, step, 5297.0))
            .collect();
        assert_eq!(labels, ["0 s", "1 s", "2 s", "3 s", "4 s", "5 s"]);
        let (ticks, step) = Scale::new(0.031, 0.43, 0.0, 1.0).ticks(4);
        let labels: Vec<_> = ticks.iter().map(|tick| plain_tick(*tick, step)).collect();
        assert_eq!(labels, ["0.1", "0.2", "0.3", "0.4"]);
        for (low, high) in [(2.0, 2.0), (0.0, f64::INFINITY), (5.0, 1.0)] {
            assert_eq!(Scale::new(low, high, 0.0, 1.0).ticks(5).0.len(), 1);
        }
        assert!(Scale::new(-1e300, 1e300, 0.0, 1.0).ticks(5).0.len() <= 16);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.5), Some(2.0));
        assert_eq!(quantile(&values, 0.95), Some(4.0));
        assert_eq!(quantile(&values[..1], 0.0), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn numbers_read_like_prose() {
        assert_eq!(millis(0.25), "0.2\u{a0}ms");
        assert_eq!(millis(-158.1), "\u{2212}158\u{a0}ms");
        assert_eq!(millis(5297.4), "5.30\u{a0}s");
        assert_eq!(millis(123_456.0), "123\u{a0}s");
        assert_eq!(millis(f64::NAN), "unknown");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!(counted(1, "tile"), "1 tile");
        assert_eq!(counted(2, "tile"), "2 tiles");
        assert_eq!(counted(1, "entry"), "1 entry");
        assert_eq!(counted(80, "entry"), "80 entries");
        assert_eq!(counted(0, "process"), "0 processes");
        assert_eq!(memory(7_582_950_604.0), "7.1\u{a0}GiB");
        assert_eq!(memory(5_242_880.0), "5\u{a0}MiB");
        assert_eq!(n(-0.01), "0");
        assert_eq!(n(f64::NAN), "0");
        assert_eq!(n(10.25), "10.2");
    }

    #[test]
    fn amounts_are_exact_in_tables_and_rounded_in_sentences() {
        assert_eq!(credits("219378012098000000"), "0.219378012098");
        assert_eq!(credits("much"), "much");
        assert_eq!(rounded("4.5201367162"), "4.52");
        assert_eq!(rounded("-1000"), "\u{2212}1000");
        assert_eq!(rounded("much"), "much");
        assert_eq!(decimals(["1", "0.25", "0.5"].into_iter()), 2);
        assert_eq!(aligned("0.25", 2), "0.25");
        assert!(aligned("1", 2).contains(">.00</span>"));
        assert!(aligned("0.5", 2).contains(">0</span>"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1 January 1970, 00:00 UTC");
        assert_eq!(utc(951_782_400_000), "29 February 2000, 00:00 UTC");
        assert_eq!(utc(1_795_235_255_098), "21 November 2026, 04:27 UTC");
        assert_eq!(utc(4_107_542_399_999), "28 February 2100, 23:59 UTC");
    }

    #[test]
    fn long_names_are_shortened_at_a_character() {
        assert_eq!(clip("compute 1", 9), "compute 1");
        assert_eq!(clip("ünïcödé näme", 8), "ünïcödé…");
        assert_eq!(clip("ab", 1), "…");
    }
}
