//! How what happens is shown: as lines, in colours on a terminal, or as JSON.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use fogcompute_base::Digest;
use fogcompute_mesh::group::GroupId;
use fogcompute_mesh::{DeliveryState, Passing, PeerId, PeerView, Protection};
use serde_json::{Map, Value, json};

use super::ChatError;
use super::line::COMMANDS;
use super::view::View;
use crate::mesh::{MeshFileEnd, MeshHistory, MeshNodeStats};

/// To whom something was said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Channel {
    Everybody,
    Group(GroupId),
    Peer(PeerId),
}

/// Something to show.
#[derive(Debug)]
pub(super) enum Said {
    Me {
        id: PeerId,
        name: String,
    },
    /// What is typed goes there from now on.
    To {
        channel: Channel,
        name: String,
    },
    /// What is typed goes nowhere.
    ToNobody,
    Listening {
        address: SocketAddr,
    },
    /// Somebody answers at an address that is dialled, or nobody.
    Dialled {
        address: SocketAddr,
        is_up: bool,
        is_wrong_peer: bool,
    },
    Link {
        link: u64,
        is_up: bool,
    },
    Joined {
        peer: PeerId,
        name: String,
    },
    Left {
        peer: PeerId,
        name: String,
    },
    Public {
        id: String,
        from: PeerId,
        name: String,
        text: String,
        via: Option<String>,
        hops: u8,
    },
    Private {
        id: String,
        from: PeerId,
        name: String,
        text: String,
        via: Option<String>,
        hops: u8,
        protection: Protection,
    },
    InGroup {
        id: String,
        group: GroupId,
        of: String,
        from: PeerId,
        name: String,
        text: String,
        via: Option<String>,
        hops: u8,
        protection: Protection,
    },
    Passed {
        number: Option<usize>,
        id: String,
        by: String,
        how: Passing,
    },
    Kept {
        number: usize,
        id: String,
        channel: Channel,
        to: Option<String>,
        text: String,
    },
    Delivery {
        number: Option<usize>,
        id: String,
        to: Option<String>,
        state: DeliveryState,
    },
    Invited {
        id: GroupId,
        name: String,
        creator: String,
    },
    Group {
        id: GroupId,
        name: String,
    },
    Members {
        id: GroupId,
        name: String,
        members: Vec<String>,
        is_large: bool,
    },
    Peer {
        view: PeerView,
        neighbours: Vec<String>,
    },
    History {
        message: MeshHistory,
        name: String,
        /// What the group is called, of a message for one.
        of: Option<String>,
    },
    Stats(Box<MeshNodeStats>),
    Offering {
        number: usize,
        file: Digest,
        title: String,
        to: String,
    },
    Offered {
        number: usize,
        file: Digest,
        title: String,
        length: u64,
        peer: PeerId,
        from: String,
    },
    Progress {
        number: usize,
        file: Digest,
        peer: String,
        is_sent: bool,
        done: u64,
        length: u64,
    },
    Received {
        number: usize,
        file: Digest,
        from: String,
        path: PathBuf,
    },
    Failed {
        number: usize,
        file: Digest,
        end: MeshFileEnd,
    },
    Whole {
        from: PeerId,
        name: String,
        title: String,
        length: usize,
        path: Option<PathBuf>,
    },
    Refused {
        error: String,
        /// Which line that was, from 1, if it was one.
        line: Option<u64>,
    },
    Help,
}

/// What lines look like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Lines,
    Colours,
    Json,
}

/// Who is told.
#[derive(Debug)]
pub(super) enum Show {
    /// Whoever reads lines.
    Lines(Form),
    /// Whoever looks at a full screen.
    Screen(Box<View>),
}

impl Show {
    /// Shows something: as a line at once, on a screen when that is drawn next.
    pub(super) fn say(&mut self, said: &Said) -> Result<(), ChatError> {
        let form = match self {
            Self::Lines(form) => form,
            Self::Screen(view) => {
                view.say(said);
                return Ok(());
            }
        };
        let shown = match form {
            Form::Json => Some(escaped(&as_json(said).to_string())),
            Form::Lines => as_line(said),
            Form::Colours => as_line(said).map(|line| coloured(said, &line)),
        };
        let Some(shown) = shown else {
            return Ok(());
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{shown}")
            .and_then(|()| out.flush())
            .map_err(ChatError::Output)
    }
}

/// Whether a character does something else than being seen: it moves the cursor, ends a line, or turns the direction
/// of what follows.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// A text of somebody else, on one line and without what moves the cursor or turns the direction of what follows.
pub(super) fn clean(text: &str) -> String {
    let visible = |c: char| if acts(c) { ' ' } else { c };
    text.chars().map(visible).collect()
}

/// The same value as JSON, in which nothing acts on a terminal: what does stands in strings alone, and is escaped.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if acts(c) {
            out += &format!("\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

pub(super) fn state_name(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Waiting => "waiting",
        DeliveryState::Sent => "sent",
        DeliveryState::Relayed => "relayed",
        DeliveryState::Delivered => "delivered",
        DeliveryState::Read => "read",
        DeliveryState::GivenUp => "given_up",
    }
}

const fn end_name(end: MeshFileEnd) -> &'static str {
    match end {
        MeshFileEnd::Missing => "missing",
        MeshFileEnd::Silent => "silent",
        MeshFileEnd::Disk => "disk",
    }
}

pub(super) const fn passing_name(how: Passing) -> &'static str {
    match how {
        Passing::Given => "given",
        Passing::PassedOn { .. } => "passed_on",
        Passing::Has => "has",
        Passing::Carries => "carries",
    }
}

pub(super) fn through(via: Option<&String>, hops: u8) -> String {
    match (via, hops) {
        (None, _) => String::new(),
        (Some(via), 0) => format!(" (carried by {})", clean(via)),
        (Some(via), hops) => format!(" (through {}, {hops} hops)", clean(via)),
    }
}

/// A line for people; `None` for what only programs want to know.
pub(super) fn as_line(said: &Said) -> Option<String> {
    Some(match said {
        Said::Me { name, .. } => format!("* you are {}", clean(name)),
        Said::To { name, .. } => format!("* what you write goes to {}", clean(name)),
        Said::ToNobody => "* what you write goes to nobody, until a /join that works".to_owned(),
        Said::Listening { address } => format!("* listening on {address}"),
        Said::Dialled {
            address,
            is_up: true,
            ..
        } => format!("* {address} is reached"),
        Said::Dialled {
            address,
            is_wrong_peer: true,
            ..
        } => format!("! {address} is this peer itself"),
        Said::Dialled { address, .. } => {
            format!("! {address} is not reached, and tried again from time to time")
        }
        Said::Joined { name, .. } => format!("* {} is here", clean(name)),
        Said::Left { name, .. } => format!("* {} has left", clean(name)),
        Said::Public {
            name,
            text,
            via,
            hops,
            ..
        } => {
            let through = through(via.as_ref(), *hops);
            format!("{}: {}{through}", clean(name), clean(text))
        }
        Said::Private {
            name,
            text,
            via,
            hops,
            ..
        } => {
            let through = through(via.as_ref(), *hops);
            format!("[private] {}: {}{through}", clean(name), clean(text))
        }
        Said::InGroup {
            of,
            name,
            text,
            via,
            hops,
            ..
        } => {
            let through = through(via.as_ref(), *hops);
            let (of, name, text) = (clean(of), clean(name), clean(text));
            format!("[{of}] {name}: {text}{through}")
        }
        Said::Passed {
            number: Some(number),
            by,
            how,
            ..
        } => match how {
            Passing::PassedOn { hops } => {
                format!("#{number}: passed on by {}, {hops} hops", clean(by))
            }
            Passing::Carries => format!("#{number}: carried by {}", clean(by)),
            // Which link it left over, and who asked for others, is for programs.
            Passing::Given | Passing::Has => return None,
        },
        Said::Kept { number, to, .. } => match to {
            Some(to) => format!("#{number} to {}: kept", clean(to)),
            None => return None,
        },
        Said::Delivery {
            number: Some(number),
            to: Some(to),
            state,
            ..
        } => {
            format!(
                "#{number} to {}: {}",
                clean(to),
                state_name(*state).replace('_', " ")
            )
        }
        // Of what is for everybody nothing is heard but that somebody passes it on.
        Said::Passed { number: None, .. } | Said::Delivery { .. } | Said::Link { .. } => {
            return None;
        }
        Said::Invited { name, creator, .. } => {
            format!(
                "* {} takes you into the group {}",
                clean(creator),
                clean(name)
            )
        }
        Said::Group { name, .. } => format!("* group {}", clean(name)),
        Said::Members {
            name,
            members,
            is_large,
            ..
        } => {
            let large = match is_large {
                true => format!(" (large, {})", members.len()),
                false => String::new(),
            };
            format!("{}{large}: {}", clean(name), clean(&members.join(", ")))
        }
        Said::Peer { view, neighbours } => {
            let how = match (view.is_linked, view.is_reachable) {
                (true, _) => "linked",
                (false, true) => "here",
                (false, false) => "away",
            };
            let session = match (view.has_ratchet, view.has_session) {
                (true, _) => ", with a ratchet",
                (false, true) => ", proved",
                (false, false) => "",
            };
            let name = clean(&view.nickname);
            let mut line = format!("{name} {} {how}{session}", view.id);
            if !neighbours.is_empty() {
                line += &format!(", next to {}", clean(&neighbours.join(", ")));
            }
            line
        }
        Said::History { message, name, of } => {
            let (name, text) = (clean(name), clean(&message.text));
            let of = of.as_ref();
            let of = of.map_or_else(String::new, |of| format!("[{}] ", clean(of)));
            match (message.is_own, message.is_private) {
                (true, true) => {
                    let state = state_name(message.state).replace('_', " ");
                    format!("{} [private] to {name}: {text} ({state})", message.at)
                }
                (true, false) => format!("{} {of}you: {text}", message.at),
                (false, true) => format!("{} [private] {name}: {text}", message.at),
                (false, false) => format!("{} {of}{name}: {text}", message.at),
            }
        }
        Said::Stats(stats) => {
            let rules = stats.rules.iter().filter(|(_, count)| *count > 0);
            let rules: Vec<_> = rules
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            format!(
                "links {}, waiting {}, carried {}, bytes in {}, bytes out {}; {}",
                stats.links,
                stats.waiting,
                stats.carried,
                stats.bytes_in,
                stats.bytes_out,
                rules.join(", ")
            )
        }
        Said::Offering {
            number, title, to, ..
        } => {
            format!(
                "file {number}: {} is offered to {}",
                clean(title),
                clean(to)
            )
        }
        Said::Offered {
            number,
            title,
            length,
            from,
            ..
        } => format!(
            "file {number}: {} offers {}, {length} bytes; /get {number} PATH takes it",
            clean(from),
            clean(title)
        ),
        Said::Progress {
            number,
            peer,
            is_sent,
            done,
            length,
            ..
        } => {
            let way = if *is_sent { "to" } else { "from" };
            let percent = done * 100 / (*length).max(1);
            format!("file {number}: {percent} % {way} {}", clean(peer))
        }
        Said::Received { number, path, .. } => format!("file {number}: is {}", path.display()),
        Said::Failed { number, end, .. } => format!("file {number}: given up, {}", end_name(*end)),
        Said::Whole {
            name,
            title,
            length,
            path,
            ..
        } => {
            let name = clean(name);
            match path {
                Some(path) => format!("file from {name}: {length} bytes, is {}", path.display()),
                None => format!(
                    "file from {name}: {}, {length} bytes, not kept",
                    clean(title)
                ),
            }
        }
        Said::Refused { error, .. } => format!("! {}", clean(error)),
        Said::Help => {
            let lines = COMMANDS.iter();
            let lines: Vec<_> = lines
                .map(|(usage, does)| format!("{usage:24}{does}"))
                .collect();
            lines.join("\n")
        }
    })
}

fn coloured(said: &Said, line: &str) -> String {
    let colour = match said {
        Said::Private { .. } => 35,
        Said::Public { .. } | Said::InGroup { .. } => 36,
        Said::Refused { .. }
        | Said::Failed { .. }
        | Said::ToNobody
        | Said::Dialled { is_up: false, .. } => 31,
        Said::Kept { .. } | Said::Delivery { .. } | Said::Progress { .. } => 90,
        _ => 33,
    };
    format!("\x1b[{colour}m{line}\x1b[0m")
}

fn as_json(said: &Said) -> Value {
    let (event, fields) = fields(said);
    let mut object = Map::new();
    object.insert("event".to_owned(), json!(event));
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

fn fields(said: &Said) -> (&'static str, Value) {
    match said {
        Said::Me { id, name } => ("me", json!({"id": id.to_string(), "name": name})),
        Said::To { channel, name } => (
            "to",
            json!({
                "name": name,
                "peer": match channel {
                    Channel::Peer(peer) => Some(peer.to_string()),
                    _ => None,
                },
                "group": match channel {
                    Channel::Group(group) => Some(group.to_string()),
                    _ => None,
                },
            }),
        ),
        Said::ToNobody => ("to_nobody", json!({})),
        Said::Listening { address } => ("listening", json!({"address": address.to_string()})),
        Said::Dialled {
            address,
            is_up,
            is_wrong_peer,
        } => {
            let event = if *is_up { "reached" } else { "not_reached" };
            let address = address.to_string();
            (event, json!({"address": address, "self": is_wrong_peer}))
        }
        Said::Link { link, is_up: true } => ("link_up", json!({"link": link})),
        Said::Link { link, is_up: false } => ("link_down", json!({"link": link})),
        Said::Joined { peer, name } => (
            "peer_joined",
            json!({"peer": peer.to_string(), "name": name}),
        ),
        Said::Left { peer, name } => ("peer_left", json!({"peer": peer.to_string(), "name": name})),
        Said::Public {
            id,
            from,
            name,
            text,
            via,
            hops,
        } => (
            "public",
            json!({
                "id": id, "from": from.to_string(), "name": name, "text": text, "via": via,
                "hops": hops,
            }),
        ),
        Said::Private {
            id,
            from,
            name,
            text,
            via,
            hops,
            protection,
        } => (
            "private",
            json!({
                "id": id, "from": from.to_string(), "name": name, "text": text, "via": via,
                "hops": hops, "protection": protection.name(),
            }),
        ),
        Said::InGroup {
            id,
            group,
            of,
            from,
            name,
            text,
            via,
            hops,
            protection,
        } => (
            "group_message",
            json!({
                "id": id, "group": group.to_string(), "of": of, "from": from.to_string(),
                "name": name, "text": text, "via": via, "hops": hops,
                "protection": protection.name(),
            }),
        ),
        Said::Passed { id, by, how, .. } => {
            let hops = match how {
                Passing::PassedOn { hops } => Some(*hops),
                _ => None,
            };
            (
                "passed",
                json!({"id": id, "by": by, "how": passing_name(*how), "hops": hops}),
            )
        }
        Said::Kept { id, to, text, .. } => ("kept", json!({"id": id, "to": to, "text": text})),
        Said::Delivery { id, to, state, .. } => (
            "delivery",
            json!({"id": id, "to": to, "state": state_name(*state)}),
        ),
        Said::Invited { id, name, creator } => (
            "invited",
            json!({"group": id.to_string(), "name": name, "by": creator}),
        ),
        Said::Group { id, name } => ("group", json!({"group": id.to_string(), "name": name})),
        Said::Members {
            id,
            name,
            members,
            is_large,
        } => (
            "members",
            json!({
                "group": id.to_string(), "name": name, "members": members, "large": is_large,
            }),
        ),
        Said::Peer { view, neighbours } => (
            "peer",
            json!({
                "peer": view.id.to_string(), "name": view.nickname, "reachable": view.is_reachable,
                "linked": view.is_linked, "session": view.has_session, "ratchet": view.has_ratchet,
                "neighbours": neighbours,
            }),
        ),
        Said::History { message, name, of } => (
            "history",
            json!({
                "id": message.id, "peer": message.peer.to_string(), "name": name,
                "own": message.is_own, "private": message.is_private, "text": message.text,
                "at": message.at.to_string(), "group": message.group.map(|group| group.to_string()),
                "of": of,
                // Of no other is it known how far it has come.
                "state": (message.is_own && message.is_private).then(|| state_name(message.state)),
            }),
        ),
        Said::Stats(stats) => {
            let rules: Map<_, _> = stats
                .rules
                .iter()
                .map(|(name, count)| (name.to_owned(), json!(count)))
                .collect();
            (
                "stats",
                json!({
                    "links": stats.links, "waiting": stats.waiting, "carried": stats.carried,
                    "bytes_in": stats.bytes_in, "bytes_out": stats.bytes_out,
                    "events_dropped": stats.events_dropped, "rules": rules,
                }),
            )
        }
        Said::Offering {
            file, title, to, ..
        } => (
            "file_offering",
            json!({"file": file.to_string(), "title": title, "to": to}),
        ),
        Said::Offered {
            number,
            file,
            title,
            length,
            from,
            ..
        } => (
            "file_offered",
            json!({
                "number": number, "file": file.to_string(), "title": title, "length": length,
                "from": from,
            }),
        ),
        Said::Progress {
            file,
            peer,
            is_sent,
            done,
            length,
            ..
        } => (
            "file_progress",
            json!({
                "file": file.to_string(), "peer": peer, "sent": is_sent, "done": done,
                "length": length,
            }),
        ),
        Said::Received {
            file, from, path, ..
        } => (
            "file_received",
            json!({"file": file.to_string(), "from": from, "path": path}),
        ),
        Said::Failed { file, end, .. } => (
            "file_failed",
            json!({"file": file.to_string(), "why": end_name(*end)}),
        ),
        Said::Whole {
            from,
            name,
            title,
            length,
            path,
        } => (
            "file",
            json!({
                "from": from.to_string(), "name": name, "title": title, "length": length,
                "path": path,
            }),
        ),
        Said::Refused { error, line } => ("refused", json!({"error": error, "line": line})),
        Said::Help => {
            let lines = COMMANDS.iter();
            let lines: Map<_, _> = lines
                .map(|(usage, does)| ((*usage).to_owned(), json!(does)))
                .collect();
            ("help", json!({"commands": lines}))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_nothing_in_it_that_acts_on_a_terminal() {
        // U+009B, which is the same as ESC [, came through raw.
        let acting = (0..0x3000).filter_map(char::from_u32).filter(|c| acts(*c));
        let text: String = acting.chain("é 日 👋 \"\\".chars()).collect();
        assert!(text.contains("\x1b") && text.contains("\u{7f}\u{80}"));
        let json = escaped(
            &as_json(&Said::Refused {
                error: text.clone(),
                line: None,
            })
            .to_string(),
        );
        assert!(!json.chars().any(acts), "{json}");
        assert!(json.contains("\\u009b") && json.contains("\\u202e") && json.contains("日"));
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["error"], text);
    }

    #[test]
    fn nothing_of_somebody_elses_text_moves_the_cursor_or_turns_the_line() {
        let text = "a\x1b[2Jb\r\nc\u{9b}2Jd\u{202e}e\u{2066}f\u{2028}g é 日 👋\u{7f}";
        assert_eq!(clean(text), "a [2Jb  c 2Jd e f g é 日 👋 ");
    }
}
