//! `fogcompute chat`: a peer of the mesh on a full screen, or one that reads and writes lines.

mod line;
mod screen;
mod show;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, BufRead, IsTerminal as _, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use fogcompute_base::Digest;
use fogcompute_mesh::file::{FILE_BYTES_MAX, File};
use fogcompute_mesh::group::{GroupId, Member};
use fogcompute_mesh::{Capabilities, Event, PeerId, PeerView, SendError};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::error::NodeError;
use crate::mesh::{
    DialNew, DialNews, MeshError, MeshEvent, MeshNode, MeshNodeConfig, open_to_send,
};
use crate::signals::Signals;
use line::{Line, parse};
use screen::{Screen, ScreenInput};
use show::{Channel, Form, Said, Show};
use view::{View, Wish};

/// Lines that were read and not yet acted on.
const LINES_MAX: usize = 64;
/// Longest line, in bytes without its end. A longer one is refused whole.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Events that a screen takes before it is drawn again.
const EVENTS_AT_ONCE: usize = 1000;
/// Messages of earlier times that a screen begins with.
const REMEMBERED: usize = 200;
/// Messages, and files, that have a number to name them by; older ones lose theirs.
const NUMBERED_MAX: usize = 10_000;

#[derive(Debug, Parser)]
pub(crate) struct ChatArguments {
    /// What others see. With a file that has a name already, that one if this is left out.
    #[arg(long)]
    name: Option<String>,
    /// Keep who this is, what waits to be delivered, and all messages in this file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Accept links here; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = line::address)]
    listen: Vec<SocketAddr>,
    /// Keep a link with whoever is there; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = line::address)]
    connect: Vec<SocketAddr>,
    /// Take every file that is offered, and write it into this folder.
    #[arg(long, value_name = "FOLDER")]
    downloads: Option<PathBuf>,
    /// End after so many messages have come, and not with the input.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Print one JSON object for each thing that happens.
    #[arg(long)]
    json: bool,
    /// Read and print lines without colours, as where input or output is no terminal.
    #[arg(long)]
    plain: bool,
}

/// Why a chat ends that was not asked to.
#[derive(Debug, Error)]
pub(crate) enum ChatError {
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("thread: {0}")]
    Thread(#[source] io::Error),
    #[error("output: {0}")]
    Output(#[source] io::Error),
    #[error("creating {}: {source}", path.display())]
    Downloads { path: PathBuf, source: io::Error },
}

impl ChatError {
    /// Whoever read the output has had enough, as `head` has.
    pub(crate) fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Why a line was not carried out.
#[derive(Debug, Error)]
enum LineError {
    #[error(transparent)]
    Line(#[from] line::ParseError),
    #[error(transparent)]
    Mesh(#[from] MeshError),
    #[error("nobody here is called {name}")]
    Nobody { name: String },
    #[error("{count} peers are called {name}: write the identifier, /who shows it")]
    Several { name: String, count: usize },
    #[error("{count} messages wait for {name} already: this one is not kept")]
    PeerFull { name: String, count: usize },
    #[error("there is no group called {name}")]
    NoGroup { name: String },
    #[error("nobody is addressed: /join NAME says who is, and /join alone everybody")]
    NoAddressee,
    #[error("a line of more than {LINE_BYTES_MAX} bytes, all of which is left out")]
    LongLine,
    #[error("there is no file {number}")]
    NoFile { number: usize },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{peer} takes files of at most {FILE_BYTES_MAX} bytes")]
    TooLong { peer: String },
}

/// What is waited for before the next line.
enum Wait {
    Peer(String),
    Outbox,
}

struct Chat {
    node: MeshNode,
    show: Show,
    downloads: Option<PathBuf>,
    /// Where texts go; nowhere after a `/join` that failed, for what follows was not meant for whoever was there.
    to: Option<Channel>,
    /// What own messages are known by, with whom they are for; numbered from 1.
    messages: Vec<(String, Option<PeerId>)>,
    files: Vec<(Digest, String)>,
    /// Messages that came.
    came: u64,
    /// The line that is carried out, from 1.
    line: u64,
    wait: Option<Wait>,
    /// What is said of attempts to dial.
    dials: DialNews,
    /// Addresses of which it was said whether they are reached, and what.
    reached: BTreeMap<SocketAddr, bool>,
}

/// Carries the command out.
pub(crate) async fn run(arguments: ChatArguments) -> Result<(), ChatError> {
    let has_file = arguments.file.is_some();
    let anonymous = if has_file {
        String::new()
    } else {
        "anonymous".to_owned()
    };
    let is_named = arguments.name.is_some();
    if let Some(path) = &arguments.downloads {
        fs::create_dir_all(path).map_err(|source| ChatError::Downloads {
            path: path.clone(),
            source,
        })?;
    }
    let mut config = MeshNodeConfig {
        nickname: arguments.name.unwrap_or(anonymous),
        file: arguments.file,
        listen: arguments.listen,
        ..MeshNodeConfig::default()
    };
    let mut signals = Signals::listen()?;
    let node = match MeshNode::start(config.clone()) {
        // A new file, and no name given.
        Err(MeshError::Send(_)) if has_file && !is_named => {
            config.nickname = "anonymous".to_owned();
            MeshNode::start(config)?
        }
        started => started?,
    };
    let dials = node.hear_dials()?;
    for address in arguments.connect {
        node.connect(address)?;
    }
    // Where there is no cursor to move, as in an editor's window.
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    let is_terminal = !is_dumb && io::stdout().is_terminal();
    let show = if arguments.json {
        Show::Lines(Form::Json)
    } else if arguments.plain || !is_terminal {
        Show::Lines(Form::Lines)
    } else if !io::stdin().is_terminal() {
        Show::Lines(Form::Colours)
    } else {
        Show::Screen(Box::new(View::new()))
    };
    let is_screen = matches!(show, Show::Screen(_));
    let mut chat = Chat {
        node,
        show,
        downloads: arguments.downloads,
        to: Some(Channel::Everybody),
        messages: Vec::new(),
        files: Vec::new(),
        came: 0,
        line: 0,
        wait: None,
        dials,
        reached: BTreeMap::new(),
    };
    if is_screen {
        on_screen(&mut chat, &mut signals, arguments.count).await?;
    } else {
        in_lines(&mut chat, &mut signals, arguments.count).await?;
    }
    chat.node.close();
    Ok(())
}

async fn in_lines(
    chat: &mut Chat,
    signals: &mut Signals,
    count: Option<u64>,
) -> Result<(), ChatError> {
    let mut lines = read_lines()?;
    chat.begin()?;
    let mut input_ended = false;
    while count.is_none_or(|count| chat.came < count) {
        let waits = chat.waits()?;
        tokio::select! {
            event = chat.node.receive() => {
                let event = event?;
                chat.tell(event)?;
            }
            news = chat.dials.next() => chat.tell_dial(news)?,
            line = lines.recv(), if !waits && !input_ended => match line {
                Some(line) => {
                    chat.line += 1;
                    match line {
                        Input::Line(line) => {
                            if !chat.obey(&line)? {
                                break;
                            }
                        }
                        Input::TooLong => chat.refuse(&LineError::LongLine)?,
                    }
                }
                None if count.is_some() => input_ended = true,
                None => break,
            },
            () = signals.asked() => break,
        }
    }
    Ok(())
}

async fn on_screen(
    chat: &mut Chat,
    signals: &mut Signals,
    count: Option<u64>,
) -> Result<(), ChatError> {
    let (mut screen, mut inputs) = Screen::open()?;
    chat.remember()?;
    chat.begin()?;
    let mut lines = VecDeque::<String>::new();
    while count.is_none_or(|count| chat.came < count) {
        while !chat.waits()?
            && let Some(line) = lines.pop_front()
        {
            chat.line += 1;
            if !chat.obey(&line)? {
                return Ok(());
            }
        }
        chat.draw(&mut screen)?;
        let wish = tokio::select! {
            event = chat.node.receive() => {
                let mut next = Some(event?);
                for _ in 0..EVENTS_AT_ONCE {
                    let Some(event) = next else {
                        break;
                    };
                    chat.tell(event)?;
                    next = chat.node.try_receive()?;
                }
                None
            }
            news = chat.dials.next() => {
                chat.tell_dial(news)?;
                None
            }
            input = inputs.recv() => match input {
                Some(input) => chat.take(input),
                // The keyboard has gone.
                None => Some(Wish::Quit),
            },
            () = signals.asked() => Some(Wish::Quit),
        };
        match wish {
            Some(Wish::Quit) => break,
            Some(Wish::Line(line)) => lines.push_back(line),
            Some(Wish::Open(channel)) => chat.join(channel)?,
            None => {}
        }
    }
    Ok(())
}

/// What was read.
#[derive(Debug, Eq, PartialEq)]
enum Input {
    Line(String),
    /// A line that was longer than any may be. Nothing of it is kept.
    TooLong,
}

/// Reads lines on a thread of its own: reading a terminal cannot be given up.
fn read_lines() -> Result<mpsc::Receiver<Input>, ChatError> {
    let (lines, receiver) = mpsc::channel(LINES_MAX);
    std::thread::Builder::new()
        .name("chat-input".to_owned())
        .spawn(move || {
            let mut input = io::stdin().lock();
            while let Ok(Some(line)) = read_line(&mut input) {
                if lines.blocking_send(line).is_err() {
                    return;
                }
            }
        })
        .map_err(ChatError::Thread)?;
    Ok(receiver)
}

/// Reads a line; `None` at the end.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Input>> {
    let mut line = Vec::new();
    // One more for its end.
    let mut limited = io::Read::take(&mut *input, LINE_BYTES_MAX as u64 + 1);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() > LINE_BYTES_MAX && !line.ends_with(b"\n") {
        // What is left of it is not a line of its own.
        input.skip_until(b'\n')?;
        return Ok(Some(Input::TooLong));
    }
    let line = String::from_utf8_lossy(&line).trim_end().to_owned();
    Ok(Some(Input::Line(line)))
}

impl Chat {
    fn begin(&mut self) -> Result<(), ChatError> {
        let (id, name) = (self.node.id(), self.node.nickname()?);
        self.show.say(&Said::Me { id, name })?;
        for address in self.node.listening() {
            self.show.say(&Said::Listening { address })?;
        }
        Ok(())
    }

    /// What a screen begins with, if there is a file.
    fn remember(&mut self) -> Result<(), ChatError> {
        let (peers, groups) = (self.node.peers()?, self.node.groups()?);
        let messages = self.node.history(u64::MAX, REMEMBERED)?;
        let Show::Screen(view) = &mut self.show else {
            return Ok(());
        };
        for group in groups {
            view.name_group(group.id, &group.name);
        }
        for message in messages.iter().rev() {
            view.remember(message, &named(&peers, message.peer));
        }
        Ok(())
    }

    /// Takes what was done at the terminal.
    fn take(&mut self, input: ScreenInput) -> Option<Wish> {
        let Show::Screen(view) = &mut self.show else {
            return None;
        };
        match input {
            ScreenInput::Key(key) => view.press(key),
            ScreenInput::Paste(text) => {
                view.paste(&text);
                None
            }
            // It is drawn again after each input.
            ScreenInput::Resize => None,
        }
    }

    /// Draws the screen, and tells senders what was seen on it.
    fn draw(&mut self, screen: &mut Screen) -> Result<(), ChatError> {
        let peers = self.node.peers()?;
        let waiting = self.wait.as_ref().map(|wait| match wait {
            Wait::Peer(name) => name.clone(),
            Wait::Outbox => "all private messages to be delivered".to_owned(),
        });
        let Show::Screen(view) = &mut self.show else {
            return Ok(());
        };
        view.refresh(peers, waiting);
        screen.draw(view)?;
        for (peer, id) in view.take_seen() {
            // Whoever has left is told nothing.
            let _ = self.node.mark_read(peer, &id);
        }
        Ok(())
    }

    /// Whether something has to happen before the next line is looked at.
    fn waits(&mut self) -> Result<bool, ChatError> {
        let is_over = match &self.wait {
            None => return Ok(false),
            Some(Wait::Peer(name)) => {
                let peers = self.node.peers()?;
                peers
                    .iter()
                    .any(|peer| peer.is_reachable && is_called(peer, name))
            }
            Some(Wait::Outbox) => self.node.outbox()?.is_empty(),
        };
        if is_over {
            self.wait = None;
        }
        Ok(!is_over)
    }

    /// Does what a line says; `false` when it says to end.
    fn obey(&mut self, line: &str) -> Result<bool, ChatError> {
        let parsed = parse(line);
        let is_join = matches!(parsed, Ok(Some(Line::Join(_))));
        let done = match parsed {
            Ok(None) => return Ok(true),
            Ok(Some(Line::Quit)) => return Ok(false),
            Ok(Some(line)) => self.act(line),
            Err(error) => Err(error.into()),
        };
        match done {
            Ok(said) => {
                for said in &said {
                    self.show.say(said)?;
                }
            }
            Err(LineError::Mesh(
                error @ (MeshError::Closed | MeshError::Failed(_) | MeshError::Store(_)),
            )) => {
                return Err(error.into());
            }
            Err(error) => self.refuse(&error)?,
        }
        if is_join && self.to.is_none() {
            self.show.say(&Said::ToNobody)?;
        }
        Ok(true)
    }

    fn refuse(&mut self, error: &LineError) -> Result<(), ChatError> {
        let error = error.to_string();
        let line = Some(self.line);
        self.show.say(&Said::Refused { error, line })
    }

    fn act(&mut self, line: Line) -> Result<Vec<Said>, LineError> {
        Ok(match line {
            Line::Quit => vec![],
            Line::Help => vec![Said::Help],
            Line::Text(text) => {
                let to = self.to.ok_or(LineError::NoAddressee)?;
                vec![self.send(to, &text)?]
            }
            Line::Private { to, text } => {
                let peer = self.find(&to)?;
                vec![self.send(Channel::Peer(peer), &text)?]
            }
            Line::Group { group, text } => {
                let group = self.find_group(&group)?;
                vec![self.send(Channel::Group(group), &text)?]
            }
            Line::Join(to) => {
                // Until it is found, what follows is for nobody.
                self.to = None;
                let channel = match to {
                    None => Channel::Everybody,
                    Some(name) => self.find_channel(&name)?,
                };
                self.to = Some(channel);
                vec![self.joined(channel)?]
            }
            Line::NewGroup {
                name,
                members,
                is_large,
            } => {
                let members: Result<Vec<_>, _> =
                    members.iter().map(|name| self.find(name)).collect();
                let id = if is_large {
                    self.node.create_large_group(&name, &members?)?
                } else {
                    self.node.create_group(&name, &members?)?
                };
                vec![Said::Group { id, name }]
            }
            Line::Send { to, path } => {
                let peer = self.find(&to)?;
                self.send_file(peer, &path)?
            }
            Line::Get { number, path } => {
                let known = number.checked_sub(1).and_then(|at| self.files.get(at));
                let (file, _) = known.ok_or(LineError::NoFile { number })?;
                self.node.accept_file(*file, &path)?;
                vec![]
            }
            Line::Who => {
                let peers = self.node.peers()?;
                let names = |ids: &[PeerId]| ids.iter().map(|id| named(&peers, *id)).collect();
                let told = peers.iter().map(|peer| Said::Peer {
                    neighbours: names(&peer.neighbours),
                    view: peer.clone(),
                });
                told.collect()
            }
            Line::Groups => {
                let (peers, groups) = (self.node.peers()?, self.node.groups()?);
                let own = (self.node.id(), self.node.nickname()?);
                let name = |member: &Member| {
                    let id = member.fingerprint.peer_id();
                    if id == own.0 {
                        return own.1.clone();
                    }
                    // A member that was never met is called what the creator says.
                    let met = peers.iter().find(|peer| peer.id == id);
                    met.map_or_else(|| member.nickname.clone(), |peer| peer.nickname.clone())
                };
                let told = groups.into_iter().map(|group| Said::Members {
                    id: group.id,
                    name: group.name,
                    members: group.members.iter().map(name).collect(),
                    is_large: group.is_large,
                });
                told.collect()
            }
            Line::History { count } => {
                let (peers, groups) = (self.node.peers()?, self.node.groups()?);
                let of = |group: GroupId| {
                    let known = groups.iter().find(|known| known.id == group);
                    // One that was left has no name any more.
                    known.map_or_else(|| group.to_string(), |known| known.name.clone())
                };
                let messages = self.node.history(u64::MAX, count)?.into_iter().rev();
                let told = messages.map(|message| Said::History {
                    name: named(&peers, message.peer),
                    of: message.group.map(of),
                    message,
                });
                told.collect()
            }
            Line::Stats => vec![Said::Stats(Box::new(self.node.stats()?))],
            Line::Nick(name) => {
                self.node.set_nickname(&name)?;
                let id = self.node.id();
                vec![Said::Me { id, name }]
            }
            Line::Connect(address) => {
                self.node.connect(address)?;
                vec![]
            }
            Line::Wait(name) => {
                self.wait = Some(Wait::Peer(name));
                vec![]
            }
            Line::Flush => {
                self.wait = Some(Wait::Outbox);
                vec![]
            }
        })
    }

    /// Sends a message, which is on disk then if there is a file.
    fn send(&mut self, channel: Channel, text: &str) -> Result<Said, LineError> {
        let (id, to) = match channel {
            Channel::Everybody => (self.node.send_public(text)?, None),
            Channel::Group(group) => (self.node.send_group(group, text)?, None),
            Channel::Peer(peer) => match self.node.send_private(peer, text) {
                Err(MeshError::Send(SendError::PeerFull { limit, .. })) => {
                    let (name, count) = (self.name(peer), limit);
                    return Err(LineError::PeerFull { name, count });
                }
                sent => (sent?, Some(peer)),
            },
        };
        if self.messages.len() < NUMBERED_MAX {
            self.messages.push((id.as_str().to_owned(), to));
        }
        Ok(Said::Kept {
            number: self.messages.len(),
            id: id.as_str().to_owned(),
            channel,
            to: to.map(|to| self.name(to)),
            text: text.to_owned(),
        })
    }

    fn join(&mut self, channel: Channel) -> Result<(), ChatError> {
        self.to = Some(channel);
        let said = self.joined(channel)?;
        self.show.say(&said)
    }

    /// That texts go there now.
    fn joined(&self, channel: Channel) -> Result<Said, MeshError> {
        let name = match channel {
            Channel::Everybody => "everybody".to_owned(),
            Channel::Peer(peer) => self.name(peer),
            Channel::Group(group) => {
                let groups = self.node.groups()?;
                let of = groups.into_iter().find(|known| known.id == group);
                of.map_or_else(|| group.to_string(), |of| of.name)
            }
        };
        Ok(Said::To { channel, name })
    }

    fn send_file(&mut self, peer: PeerId, path: &Path) -> Result<Vec<Said>, LineError> {
        let peers = self.node.peers()?;
        let view = peers.iter().find(|view| view.id == peer);
        if view.is_some_and(|view| view.capabilities.has(Capabilities::CHUNKS)) {
            let file = self
                .node
                .offer_file(peer, path, "application/octet-stream")?;
            let title = file_name(path);
            let number = self.number_file(file, &title);
            let to = self.name(peer);
            return Ok(vec![Said::Offering {
                number,
                file,
                title,
                to,
            }]);
        }
        let file = |source| LineError::File {
            path: path.to_owned(),
            source,
        };
        let mut content = Vec::new();
        let opened = open_to_send(path)?;
        // It may grow while it is read.
        let mut limited = opened.take(FILE_BYTES_MAX as u64 + 1);
        limited.read_to_end(&mut content).map_err(file)?;
        if content.len() > FILE_BYTES_MAX {
            let peer = self.name(peer);
            return Err(LineError::TooLong { peer });
        }
        let file = File {
            name: Some(file_name(path)),
            mime: Some("application/octet-stream".to_owned()),
            content,
        };
        self.node.send_file(Some(peer), file)?;
        Ok(vec![])
    }

    fn number_file(&mut self, file: Digest, title: &str) -> usize {
        let known = self.files.iter().position(|(of, _)| *of == file);
        let at = known.unwrap_or_else(|| {
            if self.files.len() < NUMBERED_MAX {
                self.files.push((file, title.to_owned()));
            }
            self.files.len() - 1
        });
        at + 1
    }

    /// Tells once that an address is reached, and once that it is not.
    fn tell_dial(&mut self, news: DialNew) -> Result<(), ChatError> {
        let Some(address) = self.node.dialled(news.dial) else {
            // Nobody wants it any more.
            return Ok(());
        };
        let is_up = news.is_up;
        if self.reached.insert(address, is_up) == Some(is_up) {
            return Ok(());
        }
        self.show.say(&Said::Dialled {
            address,
            is_up,
            is_wrong_peer: news.is_wrong_peer,
        })
    }

    /// Tells what happened.
    fn tell(&mut self, event: MeshEvent) -> Result<(), ChatError> {
        let said = match event {
            MeshEvent::Mesh(event) => match self.tell_mesh(event) {
                Some(said) => said,
                None => return Ok(()),
            },
            MeshEvent::FileOffered {
                from,
                file,
                title,
                mime: _,
                length,
            } => {
                let number = self.number_file(file, &title);
                if let Some(folder) = &self.downloads {
                    let path = folder.join(format!("{}-{}", &file.to_string()[..8], safe(&title)));
                    if let Err(error) = self.node.accept_file(file, &path) {
                        let error = error.to_string();
                        self.show.say(&Said::Refused { error, line: None })?;
                    }
                }
                Said::Offered {
                    number,
                    file,
                    title,
                    length,
                    peer: from,
                    from: self.name(from),
                }
            }
            MeshEvent::FileProgress {
                file,
                peer,
                is_sent,
                done,
                length,
            } => Said::Progress {
                number: self.number_file(file, ""),
                file,
                peer: self.name(peer),
                is_sent,
                done,
                length,
            },
            MeshEvent::FileReceived { file, from, path } => Said::Received {
                number: self.number_file(file, ""),
                file,
                from: self.name(from),
                path,
            },
            MeshEvent::FileFailed { file, end } => Said::Failed {
                number: self.number_file(file, ""),
                file,
                end,
            },
            MeshEvent::LinkUp { link } => Said::Link { link, is_up: true },
            MeshEvent::LinkDown { link } => Said::Link { link, is_up: false },
            MeshEvent::RadioFailed { radio, reason } => Said::Refused {
                error: format!("radio {radio}: {reason}"),
                line: None,
            },
        };
        self.show.say(&said)?;
        Ok(())
    }

    fn tell_mesh(&mut self, event: Event) -> Option<Said> {
        Some(match event {
            Event::PeerJoined { peer } => Said::Joined {
                peer,
                name: self.name(peer),
            },
            Event::PeerLeft { peer } => Said::Left {
                peer,
                name: self.name(peer),
            },
            Event::Public {
                id,
                from,
                text,
                via,
                hops,
                ..
            } => {
                self.came += 1;
                Said::Public {
                    id: id.as_str().to_owned(),
                    from,
                    name: self.name(from),
                    text,
                    via: via.filter(|via| *via != from).map(|via| self.name(via)),
                    hops,
                }
            }
            Event::Private {
                id,
                from,
                text,
                via,
                hops,
                protection,
            } => {
                self.came += 1;
                if let Show::Lines(_) = self.show {
                    // Whoever has this output has it before the eyes; that the sender may hear of it too.
                    let _ = self.node.mark_read(from, id.as_str());
                }
                Said::Private {
                    id: id.as_str().to_owned(),
                    from,
                    name: self.name(from),
                    text,
                    via: via.filter(|via| *via != from).map(|via| self.name(via)),
                    hops,
                    protection,
                }
            }
            Event::GroupMessage {
                group,
                id,
                from,
                text,
                via,
                hops,
                protection,
                ..
            } => {
                self.came += 1;
                let groups = self.node.groups().unwrap_or_default();
                let of = groups.into_iter().find(|known| known.id == group);
                let from = from.peer_id();
                Said::InGroup {
                    id: id.as_str().to_owned(),
                    group,
                    of: of.map_or_else(|| group.to_string(), |of| of.name),
                    from,
                    name: self.name(from),
                    text,
                    via: via.filter(|via| *via != from).map(|via| self.name(via)),
                    hops,
                    protection,
                }
            }
            Event::Passed { id, by, how } => {
                let known = self.messages.iter().rposition(|(of, _)| of == id.as_str());
                Said::Passed {
                    number: known.map(|at| at + 1),
                    id: id.as_str().to_owned(),
                    by: self.name(by),
                    how,
                }
            }
            Event::Delivery { id, state } => {
                let known = self.messages.iter().rposition(|(of, _)| of == id.as_str());
                let to = known.and_then(|at| self.messages[at].1);
                Said::Delivery {
                    number: known.map(|at| at + 1),
                    id: id.as_str().to_owned(),
                    to: to.map(|to| self.name(to)),
                    state,
                }
            }
            Event::Group { group, creator } => {
                let groups = self.node.groups().unwrap_or_default();
                let name = groups.into_iter().find(|known| known.id == group)?.name;
                let creator = self.name(creator.peer_id());
                Said::Invited {
                    id: group,
                    name,
                    creator,
                }
            }
            Event::File { from, file, .. } => self.tell_file(from, &file),
            _ => return None,
        })
    }

    /// A file that came in one piece.
    fn tell_file(&self, from: PeerId, file: &File) -> Said {
        let title = file.name.clone().unwrap_or_default();
        let path = self.downloads.as_ref().map(|folder| {
            let digest = Digest::of(&file.content).to_string();
            folder.join(format!("{}-{}", &digest[..8], safe(&title)))
        });
        let written = path.map(|path| (std::fs::write(&path, &file.content), path));
        Said::Whole {
            name: self.name(from),
            from,
            title,
            length: file.content.len(),
            path: written.and_then(|(done, path)| done.is_ok().then_some(path)),
        }
    }

    fn name(&self, peer: PeerId) -> String {
        named(&self.node.peers().unwrap_or_default(), peer)
    }

    fn find(&self, name: &str) -> Result<PeerId, LineError> {
        let peers = self.node.peers()?;
        let called: Vec<_> = peers.iter().filter(|peer| is_called(peer, name)).collect();
        // Who has gone and come back under another identity does not stand in the way.
        let here: Vec<_> = called.iter().filter(|peer| peer.is_reachable).collect();
        let name = name.to_owned();
        match (here.as_slice(), called.as_slice()) {
            ([peer], _) => Ok(peer.id),
            ([], [peer]) => Ok(peer.id),
            ([], []) => Err(LineError::Nobody { name }),
            _ => Err(LineError::Several {
                name,
                count: called.len(),
            }),
        }
    }

    /// The group, or else the peer, of a name.
    fn find_channel(&self, name: &str) -> Result<Channel, LineError> {
        // A group is shown with a # before its name.
        let of_group = name.strip_prefix('#');
        match (self.find_group(of_group.unwrap_or(name)), of_group) {
            (Ok(group), _) => Ok(Channel::Group(group)),
            (Err(error), Some(_)) => self.find(name).map(Channel::Peer).map_err(|_| error),
            (Err(_), None) => Ok(Channel::Peer(self.find(name)?)),
        }
    }

    fn find_group(&self, name: &str) -> Result<GroupId, LineError> {
        let groups = self.node.groups()?;
        let found = groups
            .iter()
            .find(|group| group.name == name || group.id.to_string() == name);
        let name = name.to_owned();
        found
            .map(|group| group.id)
            .ok_or(LineError::NoGroup { name })
    }
}

fn is_called(peer: &PeerView, name: &str) -> bool {
    peer.nickname == name || peer.id.to_string() == name
}

/// What a peer is called, or its identifier if nothing was heard of it.
fn named(peers: &[PeerView], id: PeerId) -> String {
    let known = peers.iter().find(|peer| peer.id == id);
    known.map_or_else(|| id.to_string(), |peer| peer.nickname.clone())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A name from somebody else, as part of the name of a file.
fn safe(title: &str) -> String {
    let title: String = title
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '_'
            }
        })
        .take(100)
        .collect();
    title.trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_left_out_whole() {
        // It was cut, and its rest was the next line: said to everybody, or a command.
        let at_most = "x".repeat(LINE_BYTES_MAX);
        let text = format!("{at_most}\n{at_most}/quit\n{at_most}é\r\nlast");
        // Less at a time than a line has.
        let mut input = io::BufReader::with_capacity(1000, text.as_bytes());
        let mut read = || read_line(&mut input).unwrap();
        assert_eq!(read(), Some(Input::Line(at_most.clone())));
        assert_eq!(read(), Some(Input::TooLong));
        assert_eq!(read(), Some(Input::TooLong));
        assert_eq!(read(), Some(Input::Line("last".to_owned())));
        assert_eq!(read(), None);
    }

    #[test]
    fn names_of_files_from_others_lead_nowhere() {
        assert_eq!(safe("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(safe(".bashrc"), "bashrc");
        assert_eq!(safe("photo of\\me?.png"), "photo_of_me_.png");
        assert_eq!(safe(&"x".repeat(300)).len(), 100);
    }
}
