//! What a node is for, and how it is doing.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A text or a code names none of what is listed here.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UnknownKind {
    /// The text is no name.
    #[error("no such name: one of {expected} is expected")]
    Name {
        /// The names there are.
        expected: &'static str,
    },
    /// The number is no code.
    #[error("code {code} is not below {count}")]
    Code {
        /// What was given.
        code: u8,
        /// Codes go from 0 to one less than this.
        count: u8,
    },
}

/// What a node is in the fog.
///
/// | code | name | |
/// |---|---|---|
/// | 0 | `edge_device` | somebody's phone, laptop or sensor, which lends what is idle |
/// | 1 | `relay` | passes messages on for nodes that cannot reach each other |
/// | 2 | `mixnode` | mixes packets |
/// | 3 | `compute` | is there to compute |
/// | 4 | `gateway` | where clients enter |
///
/// Codes and names are stored and sent: they do not change.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum NodeKind {
    /// Somebody's phone, laptop or sensor, which lends what is idle.
    EdgeDevice = 0,
    /// Passes messages on for nodes that cannot reach each other.
    Relay = 1,
    /// Mixes packets.
    Mixnode = 2,
    /// Is there to compute.
    Compute = 3,
    /// Where clients enter.
    Gateway = 4,
}

impl NodeKind {
    /// All of them, by code.
    pub const ALL: [Self; 5] = [
        Self::EdgeDevice,
        Self::Relay,
        Self::Mixnode,
        Self::Compute,
        Self::Gateway,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdgeDevice => "edge_device",
            Self::Relay => "relay",
            Self::Mixnode => "mixnode",
            Self::Compute => "compute",
            Self::Gateway => "gateway",
        }
    }

    /// Whether it runs tasks. What carries other people's packets does not: a task that breaks out
    /// of its sandbox there would find the keys that hide them.
    #[must_use]
    pub const fn runs_tasks(self) -> bool {
        matches!(self, Self::EdgeDevice | Self::Compute)
    }
}

/// How a node is doing.
///
/// | code | name | | new tasks |
/// |---|---|---|---|
/// | 0 | `active` | works and has room | yes |
/// | 1 | `idle` | has nothing to do | yes |
/// | 2 | `busy` | has no room now | when its free capacity says so |
/// | 3 | `suspect` | late with its heartbeat | no |
/// | 4 | `draining` | finishes what it has, to leave | no |
/// | 5 | `maintenance` | its operator works on it | no |
/// | 6 | `offline` | gone | no |
///
/// Codes and names are stored and sent: they do not change.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Status {
    /// Works and has room.
    Active = 0,
    /// Has nothing to do.
    Idle = 1,
    /// Has no room now.
    Busy = 2,
    /// Late with its heartbeat: perhaps gone.
    Suspect = 3,
    /// Finishes what it has, to leave.
    Draining = 4,
    /// Its operator works on it.
    Maintenance = 5,
    /// Gone.
    Offline = 6,
}

impl Status {
    /// All of them, by code.
    pub const ALL: [Self; 7] = [
        Self::Active,
        Self::Idle,
        Self::Busy,
        Self::Suspect,
        Self::Draining,
        Self::Maintenance,
        Self::Offline,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Offline => "offline",
        }
    }

    /// Whether it may be given tasks, as far as it has free capacity. A busy node may: that it has
    /// no room is for its capacity to say, in the moment in which that is asked.
    #[must_use]
    pub const fn takes_tasks(self) -> bool {
        matches!(self, Self::Active | Self::Idle | Self::Busy)
    }

    /// Whether it is heard of, and may go on with what it has.
    #[must_use]
    pub const fn is_there(self) -> bool {
        !matches!(self, Self::Offline)
    }
}

/// How well a task must be hidden.
///
/// | code | name | |
/// |---|---|---|
/// | 0 | `public` | not at all: any node may get it, by any way |
/// | 1 | `private` | its node is reached through the mixnet |
/// | 2 | `confidential` | the same, over a longer route |
/// | 3 | `secret` | the same, among cover traffic |
///
/// Which node may get a task, and by which way, depends on whether it is above `public`; routes and
/// cover are the mixnet's to keep. What nobody has decided is `private`. Codes and names are stored and sent: they do not change.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum PrivacyLevel {
    /// Any node may get it, by any way.
    Public = 0,
    /// Its node is reached through the mixnet.
    #[default]
    Private = 1,
    /// The same, over a longer route.
    Confidential = 2,
    /// The same, among cover traffic.
    Secret = 3,
}

impl PrivacyLevel {
    /// All of them, by code.
    pub const ALL: [Self; 4] = [
        Self::Public,
        Self::Private,
        Self::Confidential,
        Self::Secret,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Confidential => "confidential",
            Self::Secret => "secret",
        }
    }

    /// Whether a node must be reachable through the mixnet to get the task.
    #[must_use]
    pub const fn needs_mixnet(self) -> bool {
        !matches!(self, Self::Public)
    }
}

macro_rules! coded {
    ($name:ident, $expected:literal) => {
        impl $name {
            /// Its code.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// What a code stands for.
            ///
            /// # Errors
            /// [`UnknownKind::Code`].
            pub fn from_code(code: u8) -> Result<Self, UnknownKind> {
                let found = Self::ALL.get(usize::from(code));
                found.copied().ok_or(UnknownKind::Code {
                    code,
                    count: Self::ALL.len() as u8,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownKind;

            fn from_str(text: &str) -> Result<Self, UnknownKind> {
                let found = Self::ALL.into_iter().find(|it| it.name() == text);
                found.ok_or(UnknownKind::Name {
                    expected: $expected,
                })
            }
        }
    };
}

coded!(NodeKind, "edge_device, relay, mixnode, compute, gateway");
coded!(
    Status,
    "active, idle, busy, suspect, draining, maintenance, offline"
);
coded!(PrivacyLevel, "public, private, confidential, secret");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_those_of_the_tables() {
        let kinds = ["edge_device", "relay", "mixnode", "compute", "gateway"];
        for (code, name) in (0..).zip(kinds) {
            let kind = NodeKind::from_code(code).unwrap();
            assert_eq!((kind.code(), kind.to_string().as_str()), (code, name));
            assert_eq!(name.parse(), Ok(kind));
        }
        let states = [
            "active",
            "idle",
            "busy",
            "suspect",
            "draining",
            "maintenance",
            "offline",
        ];
        for (code, name) in (0..).zip(states) {
            let status = Status::from_code(code).unwrap();
            assert_eq!((status.code(), status.to_string().as_str()), (code, name));
            assert_eq!(name.parse(), Ok(status));
        }
        let levels = ["public", "private", "confidential", "secret"];
        for (code, name) in (0..).zip(levels) {
            let level = PrivacyLevel::from_code(code).unwrap();
            assert_eq!((level.code(), level.to_string().as_str()), (code, name));
            assert_eq!(name.parse(), Ok(level));
            assert_eq!(level.needs_mixnet(), level > PrivacyLevel::Public);
        }
    }

    #[test]
    fn what_is_not_in_the_tables_is_refused() {
        for code in 5..=u8::MAX {
            let refused = UnknownKind::Code { code, count: 5 };
            assert_eq!(NodeKind::from_code(code), Err(refused));
        }
        for code in 7..=u8::MAX {
            let refused = UnknownKind::Code { code, count: 7 };
            assert_eq!(Status::from_code(code), Err(refused));
        }
        assert!(PrivacyLevel::from_code(4).is_err());
        for text in ["", "Relay", "relay ", "mix"] {
            let expected = "edge_device, relay, mixnode, compute, gateway";
            assert_eq!(
                text.parse::<NodeKind>(),
                Err(UnknownKind::Name { expected })
            );
            assert!(text.parse::<Status>().is_err());
        }
    }

    #[test]
    fn names_in_errors_are_all_there_are() {
        let names = NodeKind::ALL.map(NodeKind::name).join(", ");
        let Err(UnknownKind::Name { expected }) = "?".parse::<NodeKind>() else {
            panic!("a question mark is no name");
        };
        assert_eq!(names, expected);
        let names = PrivacyLevel::ALL.map(PrivacyLevel::name).join(", ");
        let Err(UnknownKind::Name { expected }) = "?".parse::<PrivacyLevel>() else {
            panic!("a question mark is no name");
        };
        assert_eq!(names, expected);
        let names = Status::ALL.map(Status::name).join(", ");
        let Err(UnknownKind::Name { expected }) = "?".parse::<Status>() else {
            panic!("a question mark is no name");
        };
        assert_eq!(names, expected);
    }

    #[test]
    fn a_busy_node_is_not_shut_out() {
        // In the prototype a node that got a task was busy, and busy nodes got none ever after.
        let takers: Vec<_> = Status::ALL
            .into_iter()
            .filter(|it| it.takes_tasks())
            .collect();
        assert_eq!(takers, [Status::Active, Status::Idle, Status::Busy]);
        assert!(Status::Suspect.is_there() && !Status::Offline.is_there());
    }
}
