//! Parts of the day and of the week, in local time.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Minutes in a day.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;

/// A day of the week.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl Weekday {
    /// All of them, from Monday.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    /// The day of the week of a local date, given in days since 1970-01-01.
    #[must_use]
    pub const fn of_day(local_day: u32) -> Self {
        // The first day of 1970 was a Thursday. Reduced first, so that no date overflows.
        Self::ALL[((local_day % 7 + 3) % 7) as usize]
    }

    /// 1 for Monday to 7 for Sunday, as ISO 8601 counts.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The day before.
    #[must_use]
    pub const fn before(self) -> Self {
        Self::ALL[(self as usize + 6) % 7]
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Monday => "Monday",
            Self::Tuesday => "Tuesday",
            Self::Wednesday => "Wednesday",
            Self::Thursday => "Thursday",
            Self::Friday => "Friday",
            Self::Saturday => "Saturday",
            Self::Sunday => "Sunday",
        })
    }
}

/// A part of the day, in local time. It may reach over midnight.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First minute inside, since midnight, 0 to 1439.
    pub from_minute: u16,
    /// First minute outside again, since midnight, 0 to 1439.
    pub to_minute: u16,
}

impl Window {
    /// Whether `minute_of_day` lies inside.
    #[must_use]
    pub const fn contains(self, minute_of_day: u16) -> bool {
        self.contains_evening(minute_of_day) || self.contains_morning(minute_of_day)
    }

    /// Whether `minute_of_day` lies in the part that belongs to the day on which the window opens.
    pub(crate) const fn contains_evening(self, minute_of_day: u16) -> bool {
        self.from_minute <= minute_of_day
            && (minute_of_day < self.to_minute || self.to_minute < self.from_minute)
    }

    /// Whether `minute_of_day` lies in the part after midnight of a window that opened the day
    /// before.
    pub(crate) const fn contains_morning(self, minute_of_day: u16) -> bool {
        self.to_minute < self.from_minute && minute_of_day < self.to_minute
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from_minute, self.to_minute);
        write!(
            f,
            "{:02}:{:02} to {:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

/// What one day of the week has instead of the window of every day.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayWindow {
    /// No work begins on that day. What began the evening before goes on until its window closes.
    Closed,
    /// Every hour of that day.
    AllDay,
    /// A part of the day. It belongs to the day on which it opens, so the window of Friday night
    /// reaches into Saturday.
    Window(Window),
}

impl DayWindow {
    /// Whether the day itself is open at `minute_of_day`.
    pub(crate) const fn contains_evening(self, minute_of_day: u16) -> bool {
        match self {
            Self::Closed => false,
            Self::AllDay => true,
            Self::Window(window) => window.contains_evening(minute_of_day),
        }
    }

    /// Whether the day after is still open at `minute_of_day`.
    pub(crate) const fn contains_morning(self, minute_of_day: u16) -> bool {
        match self {
            Self::Closed | Self::AllDay => false,
            Self::Window(window) => window.contains_morning(minute_of_day),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_reach_over_midnight() {
        let night = Window {
            from_minute: 22 * 60,
            to_minute: 7 * 60,
        };
        assert_eq!(night.to_string(), "22:00 to 07:00");
        for (minute, inside) in [
            (21 * 60 + 59, false),
            (22 * 60, true),
            (0, true),
            (7 * 60 - 1, true),
            (7 * 60, false),
            (12 * 60, false),
        ] {
            assert_eq!(night.contains(minute), inside, "minute {minute}");
        }
        let day = Window {
            from_minute: 60,
            to_minute: 120,
        };
        assert!(day.contains(60) && day.contains(119));
        assert!(!day.contains(59) && !day.contains(120));
    }

    #[test]
    fn days_of_the_week_follow_the_calendar() {
        assert_eq!(Weekday::of_day(0), Weekday::Thursday);
        assert_eq!(Weekday::of_day(4), Weekday::Monday);
        // 2026-11-21.
        assert_eq!(Weekday::of_day(20_778), Weekday::Saturday);
        for (index, day) in Weekday::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(day.number()), index + 1);
            assert_eq!(Weekday::ALL[(index + 1) % 7].before(), day);
        }
        assert_eq!(
            Weekday::of_day(u32::MAX).before(),
            Weekday::of_day(u32::MAX - 1)
        );
    }
}
