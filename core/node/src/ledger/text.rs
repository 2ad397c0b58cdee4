//! Amounts, moments and entries as people write and read them.

use fogcompute_base::UnixMillis;
use fogcompute_ledger::economy::Unit;
use fogcompute_ledger::{Amount, EntryKind, ParseAmountError};
use serde_json::Value;
use thiserror::Error;

/// Base units of one credit.
const CREDIT: u128 = 10_u128.pow(Amount::DECIMALS);

/// Why a text is no amount of credits.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum BadCredits {
    /// It has a minus sign.
    #[error("an amount has no sign: to move it the other way, exchange the accounts")]
    Sign,
    /// It is no decimal number.
    #[error("an amount of credits is digits, and a point between two of them for a part of one")]
    NoNumber,
    /// It names less than a base unit.
    #[error(
        "an amount of credits has at most {} digits after the point, not {digits}",
        Amount::DECIMALS
    )]
    TooFine {
        /// Digits after the point.
        digits: usize,
    },
    /// It is above [`Amount::MAX`].
    #[error("an amount is at most {} credits", Amount::MAX.to_credits_string())]
    TooLarge,
}

/// A number of the economy for people, with its unit.
pub(crate) fn in_unit(unit: Unit, value: u128) -> String {
    match unit {
        Unit::BaseUnits if value == u128::MAX => "no limit".to_owned(),
        Unit::BaseUnits => format!("{} credits", Amount(value).to_credits_string()),
        Unit::Ppm => format!("{value} millionths"),
        Unit::PerMille => format!("{value} thousandths"),
        Unit::Milliseconds => format!("{value} ms"),
        Unit::Count => value.to_string(),
        Unit::Flag => if value == 0 { "no" } else { "yes" }.to_owned(),
    }
}

/// Reads an amount of credits: `5`, `0.25`.
pub(crate) fn credits(text: &str) -> Result<Amount, BadCredits> {
    if text.starts_with(['-', '+']) {
        return Err(BadCredits::Sign);
    }
    let number = |text: &str| match text.parse::<Amount>() {
        Ok(amount) => Ok(amount.0),
        Err(ParseAmountError::TooLarge) => Err(BadCredits::TooLarge),
        Err(_) => Err(BadCredits::NoNumber),
    };
    let (whole, part) = match text.split_once('.') {
        Some((_, digits)) if digits.len() > Amount::DECIMALS as usize => {
            // Of what is no number, that is the more useful thing to say.
            number(digits).or_else(|error| match error {
                BadCredits::TooLarge => Ok(0),
                other => Err(other),
            })?;
            let digits = digits.len();
            return Err(BadCredits::TooFine { digits });
        }
        Some((whole, digits)) => (whole, number(&format!("{digits:0<18}"))?),
        None => (text, 0),
    };
    if text.ends_with('.') {
        return Err(BadCredits::NoNumber);
    }
    let units = number(whole)?.checked_mul(CREDIT);
    let units = units.and_then(|units| units.checked_add(part));
    units.map(Amount).ok_or(BadCredits::TooLarge)
}

/// Reads a moment: milliseconds since 1970, or a date or time of UTC as RFC 3339 writes them.
pub(crate) fn moment(text: &str) -> Result<UnixMillis, String> {
    let read = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().ok().map(UnixMillis)
    } else {
        civil(text)
    };
    read.ok_or_else(|| {
        "a moment is a date or time of UTC from 1970 on, as 2026-11-21 or 2026-11-21T12:30:00Z, or \
         milliseconds since 1970"
            .to_owned()
    })
}

fn civil(text: &str) -> Option<UnixMillis> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let full = match time.len() {
        8 => format!("{date}T{time}.000Z"),
        _ => format!("{date}T{time}Z"),
    };
    let field = |range: std::ops::Range<usize>| full.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
    let ms = field(20..23)?;
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin on a 1st of March, so that leap days end them.
    // Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468;
    let moment = UnixMillis((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms);
    // Whatever is no date, or not of this form, is written differently.
    (moment.to_string() == full).then_some(moment)
}

/// Says what an entry records: the kind, then its fields. It asks the entry for their names, so
/// that no kind is left out.
pub(crate) fn describe(kind: &EntryKind) -> String {
    /// What people look for first; other fields follow by name.
    const ORDER: [&str; 7] = [
        "amount",
        "released",
        "account",
        "from",
        "to",
        "id",
        "reservation",
    ];
    // What a value cannot hold, such as a number above 64 bits, is no reason to stop.
    let Ok(value) = serde_json::to_value(kind) else {
        return format!("kind {}", kind.code());
    };
    let (name, fields) = match &value {
        Value::Object(outer) => match outer.iter().next() {
            Some((name, Value::Object(fields))) => (name.as_str(), Some(fields)),
            Some((name, _)) => (name.as_str(), None),
            None => ("", None),
        },
        other => (other.as_str().unwrap_or_default(), None),
    };
    let mut text = name.to_lowercase();
    let Some(fields) = fields else { return text };
    let first = ORDER.iter().filter_map(|name| fields.get_key_value(*name));
    let others = fields
        .iter()
        .filter(|(name, _)| !ORDER.contains(&name.as_str()));
    for (name, value) in first.chain(others) {
        let shown = match (name.as_str(), value) {
            (_, Value::Null) => continue,
            ("memo", _) => {
                let memo = kind.memo();
                if memo.code != 0 {
                    text.push_str(&format!(" code {}", memo.code));
                }
                if memo.reference != [0; 16] {
                    text.push_str(&format!(" reference {}", hex(&memo.reference)));
                }
                continue;
            }
            ("amount" | "released", Value::String(units)) => match units.parse::<Amount>() {
                Ok(amount) => amount.to_credits_string(),
                Err(_) => units.clone(),
            },
            ("expires", Value::Number(ms)) => {
                UnixMillis(ms.as_u64().unwrap_or(u64::MAX)).to_string()
            }
            ("kind", Value::String(kind)) => kind.to_lowercase(),
            ("event", event) => {
                text.push_str(&happened(event));
                continue;
            }
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        text.push_str(&format!(" {name} {shown}"));
    }
    text
}

/// What happened in an economy: whose part, what, and what is told of it in a word. What is longer,
/// such as what a proposal says or all numbers of an economy, has commands of its own.
fn happened(event: &Value) -> String {
    /// Amounts and weights, in base units.
    const UNITS: [&str; 8] = [
        "amount", "balance", "budget", "power", "released", "reward", "shares", "tokens",
    ];
    const TIMES: [&str; 4] = ["deadline", "eta", "matures", "until"];
    let mut text = String::new();
    let mut value = event;
    // Names stand around the fields: what it is of, and what it is.
    while let Value::Object(fields) = value {
        let mut names = fields.iter();
        let (Some((name, inner)), None) = (names.next(), names.next()) else {
            break;
        };
        if !matches!(inner, Value::Object(_)) {
            break;
        }
        text.push_str(&format!(" {}", name.to_lowercase()));
        value = inner;
        if name == "Configured" {
            return text;
        }
    }
    let Value::Object(fields) = value else {
        return text;
    };
    for (name, value) in fields {
        let shown = match value {
            Value::String(units) if UNITS.contains(&name.as_str()) => units
                .parse::<Amount>()
                .map_or_else(|_| units.clone(), Amount::to_credits_string),
            Value::Number(ms) if TIMES.contains(&name.as_str()) => {
                UnixMillis(ms.as_u64().unwrap_or(u64::MAX)).to_string()
            }
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Array(list) => list.iter().map(part).collect::<Vec<_>>().join(", "),
            Value::Null | Value::Object(_) => continue,
        };
        if !shown.is_empty() {
            text.push_str(&format!(" {name} {shown}"));
        }
    }
    text
}

/// What is named in a list: its fields' values, in the order of their names.
fn part(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields.values().map(part).collect::<Vec<_>>().join(" "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use fogcompute_base::{AccountId, TransferId};
    use fogcompute_ledger::Memo;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credits_have_up_to_18_digits_after_a_point() {
        for (text, units) in [
            ("0", 0),
            ("5", 5 * CREDIT),
            ("0.25", CREDIT / 4),
            ("00.10", CREDIT / 10),
            ("1.000000000000000001", CREDIT + 1),
            ("340282366920938463463.374607431768211455", u128::MAX),
        ] {
            assert_eq!(credits(text), Ok(Amount(units)), "{text}");
        }
        for (text, error) in [
            ("-1", BadCredits::Sign),
            ("+1", BadCredits::Sign),
            ("", BadCredits::NoNumber),
            (".", BadCredits::NoNumber),
            (".5", BadCredits::NoNumber),
            ("5.", BadCredits::NoNumber),
            ("1e3", BadCredits::NoNumber),
            ("1,5", BadCredits::NoNumber),
            ("1.2.3", BadCredits::NoNumber),
            ("1.+5", BadCredits::NoNumber),
            (" 1", BadCredits::NoNumber),
            ("١", BadCredits::NoNumber),
            ("1.0000000000000000é00", BadCredits::NoNumber),
            ("1.0000000000000000001", BadCredits::TooFine { digits: 19 }),
            (
                "340282366920938463463.374607431768211456",
                BadCredits::TooLarge,
            ),
            ("340282366920938463464", BadCredits::TooLarge),
            (
                "999999999999999999999999999999999999999999",
                BadCredits::TooLarge,
            ),
        ] {
            assert_eq!(credits(text), Err(error), "{text}");
        }
        let nines = format!("1.{}", "9".repeat(60));
        assert_eq!(credits(&nines), Err(BadCredits::TooFine { digits: 60 }));
    }

    #[test]
    fn moments_are_dates_times_or_milliseconds() {
        for (text, ms) in [
            ("0", 0),
            ("1700000000000", 1_700_000_000_000),
            ("1970-01-01", 0),
            ("1970-01-01T00:00:00.001Z", 1),
            ("2024-02-29T23:59:59Z", 1_709_251_199_000),
            ("9999-12-31", 253_402_214_400_000),
        ] {
            assert_eq!(moment(text), Ok(UnixMillis(ms)), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2023-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "1969-12-31",
            "2026-11-21T24:00:00Z",
            "2026-11-21T12:30:00",
            "2026-11-21T12:30Z",
            "2026-11-21 12:30:00Z",
            "2026-11-21T12:30:00+01:00",
            "2026-+1-21",
            "20é6-11-21",
            "-1",
            "18446744073709551616",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_of_amounts_and_moments_is_read_again(
            units: u128,
            ms in 0..253_402_300_800_000_u64,
        ) {
            let amount = Amount(units);
            prop_assert_eq!(credits(&amount.to_credits_string()), Ok(amount));
            prop_assert_eq!(moment(&UnixMillis(ms).to_string()), Ok(UnixMillis(ms)));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text: String) {
            let _ = (credits(&text), moment(&text), unhex(&text));
        }
    }

    #[test]
    fn an_entry_says_all_it_has() {
        let (account, id) = (AccountId::from_bytes, TransferId::from_bytes);
        let mut reserved = EntryKind::Reserved {
            id: id([1; 16]),
            from: account([2; 16]),
            to: account([3; 16]),
            amount: Amount(CREDIT / 2),
            expires: Some(UnixMillis(0)),
            memo: Memo::NONE,
        };
        let plain = format!(
            "reserved amount 0.5 from {} to {} id {} expires 1970-01-01T00:00:00.000Z",
            "02".repeat(16),
            "03".repeat(16),
            "01".repeat(16)
        );
        assert_eq!(describe(&reserved), plain);
        if let EntryKind::Reserved { memo, .. } = &mut reserved {
            memo.code = 7;
        }
        assert_eq!(describe(&reserved), format!("{plain} code 7"));
    }

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(unhex("00AB"), Some(vec![0, 0xab]));
        for refused in ["0", "0g", "é0"] {
            assert_eq!(unhex(refused), None, "{refused}");
        }
    }
}
