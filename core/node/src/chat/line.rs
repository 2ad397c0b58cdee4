//! What a line that was typed means.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Messages that `/history` shows unless it is told a number.
const HISTORY: usize = 20;

/// What somebody wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Line {
    /// To whom it goes was said by [`Line::Join`].
    Text(String),
    Private {
        to: String,
        text: String,
    },
    Group {
        group: String,
        text: String,
    },
    NewGroup {
        name: String,
        members: Vec<String>,
        is_large: bool,
    },
    /// `None`: everybody.
    Join(Option<String>),
    Send {
        to: String,
        path: PathBuf,
    },
    Get {
        number: usize,
        path: PathBuf,
    },
    Who,
    Groups,
    History {
        count: usize,
    },
    Stats,
    Nick(String),
    Connect(SocketAddr),
    Wait(String),
    Flush,
    Help,
    Quit,
}

/// Each command with what follows it, and what it does.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    ("/msg NAME TEXT", "to one peer; kept until it has it"),
    (
        "/group NAME MEMBER…",
        "makes a group, and invites its members",
    ),
    (
        "/large NAME MEMBER…",
        "the same, with up to 255 members and a key for each",
    ),
    ("/g GROUP TEXT", "to a group"),
    (
        "/join [NAME]",
        "what is typed goes to that group or peer, or to everybody again",
    ),
    ("/send NAME PATH", "offers a file"),
    ("/get NUMBER PATH", "takes a file that was offered"),
    ("/who", "peers, and how they are reached"),
    ("/groups", "groups, and who is in them"),
    (
        "/history [NUMBER]",
        "the last messages, if they are kept in a file",
    ),
    ("/stats", "what was sent, received, passed on and refused"),
    ("/nick NAME", "another name"),
    (
        "/connect ADDRESS:PORT",
        "keeps a link with whoever is there",
    ),
    ("/wait NAME", "waits until that peer is here"),
    ("/flush", "waits until all private messages were delivered"),
    ("/quit", "ends"),
];

/// Why a line means nothing.
#[derive(Debug, Eq, Error, PartialEq)]
pub(super) enum ParseError {
    #[error("there is no command {0}; /help lists them")]
    Unknown(String),
    #[error("it is {0}")]
    Usage(&'static str),
    #[error(
        "{0} is no IP address with a port, as 127.0.0.1:4000 and [::1]:4000 are; names of hosts are not looked up"
    )]
    Address(String),
}

/// An address with its port. Names are not looked up: what is kept a link with is an address.
///
/// # Errors
/// [`ParseError::Address`].
pub(super) fn address(text: &str) -> Result<SocketAddr, ParseError> {
    text.parse()
        .map_err(|_| ParseError::Address(text.to_owned()))
}

/// Reads a line; `None` for an empty one. A line that begins with two slashes is a text that begins with one.
pub(super) fn parse(line: &str) -> Result<Option<Line>, ParseError> {
    let line = line.trim();
    if line.is_empty() {
        return Ok(None);
    }
    if let Some(text) = line.strip_prefix("//") {
        return Ok(Some(Line::Text(format!("/{text}"))));
    }
    if !line.starts_with('/') {
        return Ok(Some(Line::Text(line.to_owned())));
    }
    let (command, rest) = split(line);
    let usage = || {
        let of = |known: &&(&'static str, &str)| known.0.split(' ').next() == Some(command);
        match COMMANDS.iter().find(of) {
            Some((usage, _)) => ParseError::Usage(usage),
            None => ParseError::Unknown(command.to_owned()),
        }
    };
    let two = || match split(rest) {
        ("", _) | (_, "") => Err(usage()),
        (first, second) => Ok((first.to_owned(), second.to_owned())),
    };
    let one = || {
        if rest.is_empty() {
            return Err(usage());
        }
        Ok(rest.to_owned())
    };
    Ok(Some(match command {
        "/msg" => {
            let (to, text) = two()?;
            Line::Private { to, text }
        }
        "/g" => {
            let (group, text) = two()?;
            Line::Group { group, text }
        }
        "/group" | "/large" => {
            let (name, members) = two()?;
            let members = members.split_whitespace().map(str::to_owned).collect();
            Line::NewGroup {
                name,
                members,
                is_large: command == "/large",
            }
        }
        "/join" if rest.is_empty() => Line::Join(None),
        "/join" => Line::Join(Some(rest.to_owned())),
        "/send" => {
            let (to, path) = two()?;
            let path = path.into();
            Line::Send { to, path }
        }
        "/get" => {
            let (number, path) = two()?;
            let number = number.parse().map_err(|_| usage())?;
            let path = path.into();
            Line::Get { number, path }
        }
        "/who" => Line::Who,
        "/groups" => Line::Groups,
        "/history" if rest.is_empty() => Line::History { count: HISTORY },
        "/history" => Line::History {
            count: rest.parse().map_err(|_| usage())?,
        },
        "/stats" => Line::Stats,
        "/nick" => Line::Nick(one()?),
        "/connect" => Line::Connect(address(&one()?)?),
        "/wait" => Line::Wait(one()?),
        "/flush" => Line::Flush,
        "/help" => Line::Help,
        "/quit" => Line::Quit,
        _ => return Err(usage()),
    }))
}

/// A word, and what follows it.
fn split(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_or_commands() {
        let parsed = |line| parse(line).unwrap();
        assert_eq!(parsed("  "), None);
        assert_eq!(parsed(" hi all "), Some(Line::Text("hi all".to_owned())));
        assert_eq!(parsed("//msg"), Some(Line::Text("/msg".to_owned())));
        let private = Line::Private {
            to: "bob".to_owned(),
            text: "two  words".to_owned(),
        };
        assert_eq!(parsed("/msg bob  two  words"), Some(private));
        let group = |is_large| Line::NewGroup {
            name: "us".to_owned(),
            members: vec!["bob".to_owned(), "carol".to_owned()],
            is_large,
        };
        assert_eq!(parsed("/group us bob carol"), Some(group(false)));
        assert_eq!(parsed("/large us bob  carol"), Some(group(true)));
        let get = Line::Get {
            number: 3,
            path: "a b".into(),
        };
        assert_eq!(parsed("/get 3 a b"), Some(get));
        assert_eq!(parsed("/history 5"), Some(Line::History { count: 5 }));
        assert_eq!(parsed("/join"), Some(Line::Join(None)));
        let join = Line::Join(Some("two words".to_owned()));
        assert_eq!(parsed("/join two words"), Some(join));
    }

    #[test]
    fn what_means_nothing_is_said_to() {
        let refused = |line| parse(line).unwrap_err();
        assert_eq!(refused("/dance"), ParseError::Unknown("/dance".to_owned()));
        for (line, usage) in [
            ("/msg bob", "/msg NAME TEXT"),
            ("/get x y", "/get NUMBER PATH"),
            ("/connect", "/connect ADDRESS:PORT"),
            ("/history many", "/history [NUMBER]"),
            ("/nick", "/nick NAME"),
        ] {
            assert_eq!(refused(line), ParseError::Usage(usage));
        }
        let host = ParseError::Address("localhost:4000".to_owned());
        assert_eq!(refused("/connect localhost:4000"), host);
    }
}
