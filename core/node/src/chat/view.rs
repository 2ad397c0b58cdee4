//! What a full screen shows: who is there, what was said, and what is being typed. Keys and what happens go in, a
//! picture comes out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use fogcompute_mesh::group::GroupId;
use fogcompute_mesh::{DeliveryState, Passing, PeerId, PeerView};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Paragraph};

use super::show::{Channel, Said, as_line, clean, state_name, through};
use crate::mesh::MeshHistory;

/// What is kept of a channel to scroll back to.
const ENTRIES_MAX: usize = 2000;
/// Longest line that can be typed, in characters.
const TYPED_MAX: usize = 4000;
/// Lines that were typed and can be had again.
const TYPED_BEFORE_MAX: usize = 200;
/// Files that are shown, the newest ones.
const FILES_SHOWN: usize = 5;
/// Columns of those who are there, and of the narrowest screen that shows them.
const SIDE_COLUMNS: u16 = 26;
const COLUMNS_WITH_SIDE: u16 = 60;
/// Cells of a bar.
const BAR: u64 = 10;

const DIM: Style = Style::new().fg(Color::DarkGray);
const NOTICE: Style = Style::new().fg(Color::Yellow);
const REFUSED: Style = Style::new().fg(Color::Red);
const NAME: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
const OWN_NAME: Style = Style::new().fg(Color::Green).add_modifier(Modifier::BOLD);
const UNREAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const HERE: Style = Style::new().add_modifier(Modifier::REVERSED);

/// What keys do beside writing.
const KEYS: &str = "Tab, Shift-Tab    the next channel, the one before
PgUp, PgDn        further back, further on
Up, Down          what was typed before
Ctrl-C            ends";

/// What somebody wants who pressed a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// To have this line carried out.
    Line(String),
    /// To see another channel, and write there.
    Open(Channel),
    /// To end.
    Quit,
}

/// Something in a channel.
#[derive(Debug)]
struct Entry {
    number: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Notice {
        text: String,
        style: Style,
    },
    Message {
        id: String,
        /// Who wrote it; `None` from here.
        name: Option<String>,
        text: String,
        /// How it came.
        note: String,
        /// How far one from here has come.
        state: Option<DeliveryState>,
    },
}

/// What was said in a channel.
#[derive(Debug, Default)]
struct Talk {
    /// What it is called, if nobody who is known has the name.
    name: String,
    entries: VecDeque<Entry>,
    unread: usize,
    /// The first entry that was not seen when the channel was opened.
    mark: Option<u64>,
    /// Rows below the lowest one that is seen.
    below: usize,
    /// Private messages that were not before anybody's eyes yet: their senders are told when they were.
    unseen: Vec<(PeerId, String)>,
}

/// A file that comes or goes.
#[derive(Debug, Default)]
struct FileRow {
    title: String,
    peer: String,
    is_sent: bool,
    done: u64,
    length: u64,
    end: Option<&'static str>,
}

/// A line that is typed.
#[derive(Debug, Default)]
struct Typed {
    text: Vec<char>,
    cursor: usize,
    before: VecDeque<String>,
    /// Which one of those is shown, from the newest; and what was there before.
    shown: Option<usize>,
    draft: Vec<char>,
}

/// The state of a screen.
#[derive(Debug)]
pub(super) struct View {
    name: String,
    open: Channel,
    /// Whether what is typed goes to the channel that is open, or nowhere.
    is_addressed: bool,
    talks: BTreeMap<Channel, Talk>,
    peers: Vec<PeerView>,
    files: BTreeMap<usize, FileRow>,
    typed: Typed,
    /// What is waited for.
    waiting: Option<String>,
    numbers: u64,
    /// Columns and rows of what was said, as it was drawn last.
    size: (usize, usize),
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            name: String::new(),
            open: Channel::Everybody,
            is_addressed: true,
            talks: BTreeMap::from([(Channel::Everybody, Talk::default())]),
            peers: Vec::new(),
            files: BTreeMap::new(),
            typed: Typed::default(),
            waiting: None,
            numbers: 0,
            size: (0, 0),
        }
    }

    /// Who is known now, and what is waited for before the next line is carried out.
    pub(super) fn refresh(&mut self, peers: Vec<PeerView>, waiting: Option<String>) {
        self.peers = peers;
        self.waiting = waiting;
    }

    /// Private messages that are before somebody's eyes now.
    pub(super) fn take_seen(&mut self) -> Vec<(PeerId, String)> {
        match self.talks.get_mut(&self.open) {
            Some(talk) if talk.below == 0 => std::mem::take(&mut talk.unseen),
            _ => Vec::new(),
        }
    }

    /// A message of an earlier time, oldest first.
    pub(super) fn remember(&mut self, message: &MeshHistory, name: &str) {
        let channel = match message.group {
            Some(group) => Channel::Group(group),
            None if message.is_private => Channel::Peer(message.peer),
            None => Channel::Everybody,
        };
        let kind = Kind::Message {
            id: message.id.clone(),
            name: (!message.is_own).then(|| clean(name)),
            text: clean(&message.text),
            note: String::new(),
            state: (message.is_own && message.is_private).then_some(message.state),
        };
        if let Channel::Peer(_) = channel {
            self.talk(channel).name = clean(name);
        }
        self.add(channel, kind, false);
    }

    /// A group there is, although nothing was said in it yet.
    pub(super) fn name_group(&mut self, group: GroupId, name: &str) {
        self.talk(Channel::Group(group)).name = clean(name);
    }

    /// Takes something that happened.
    pub(super) fn say(&mut self, said: &Said) {
        match said {
            Said::Me { name, .. } => {
                self.name = clean(name);
                self.notice(self.open, said, NOTICE);
            }
            Said::To { channel, name } => {
                self.talk(*channel).name = clean(name);
                self.is_addressed = true;
                self.look_at(*channel);
            }
            Said::ToNobody => {
                self.is_addressed = false;
                self.notice(self.open, said, REFUSED);
            }
            Said::Joined { .. } | Said::Left { .. } => {
                self.notice(Channel::Everybody, said, DIM);
            }
            Said::Public {
                id,
                name,
                text,
                via,
                hops,
                ..
            } => {
                let note = through(via.as_ref(), *hops);
                self.message(Channel::Everybody, id, name, text, note);
            }
            Said::Private {
                id,
                from,
                name,
                text,
                via,
                hops,
                ..
            } => {
                let channel = Channel::Peer(*from);
                self.talk(channel).name = clean(name);
                let note = through(via.as_ref(), *hops);
                self.message(channel, id, name, text, note);
                self.talk(channel).unseen.push((*from, id.clone()));
            }
            Said::InGroup {
                id,
                group,
                of,
                name,
                text,
                via,
                hops,
                ..
            } => {
                let channel = Channel::Group(*group);
                self.talk(channel).name = clean(of);
                let note = through(via.as_ref(), *hops);
                self.message(channel, id, name, text, note);
            }
            Said::Kept {
                id,
                channel,
                to,
                text,
                ..
            } => {
                if let Some(to) = to {
                    self.talk(*channel).name = clean(to);
                }
                let is_private = matches!(channel, Channel::Peer(_));
                let kind = Kind::Message {
                    id: id.clone(),
                    name: None,
                    text: clean(text),
                    note: String::new(),
                    state: is_private.then_some(DeliveryState::Waiting),
                };
                self.add(*channel, kind, false);
                if *channel != self.open {
                    self.notice(self.open, said, DIM);
                }
            }
            Said::Delivery { id, state, .. } => self.has_come(id, *state),
            Said::Passed { id, by, how, .. } => self.was_passed(id, by, *how),
            Said::Invited { id, name, .. } | Said::Group { id, name } => {
                self.talk(Channel::Group(*id)).name = clean(name);
                self.notice(Channel::Group(*id), said, NOTICE);
                if self.open != Channel::Group(*id) {
                    self.notice(self.open, said, NOTICE);
                }
            }
            Said::Offering {
                number, title, to, ..
            } => {
                let row = self.files.entry(*number).or_default();
                (row.title, row.peer, row.is_sent) = (clean(title), clean(to), true);
                self.notice(self.open, said, NOTICE);
            }
            Said::Offered {
                number,
                title,
                length,
                peer,
                from,
                ..
            } => {
                let row = self.files.entry(*number).or_default();
                (row.title, row.peer) = (clean(title), clean(from));
                row.length = *length;
                self.talk(Channel::Peer(*peer)).name = clean(from);
                self.notice_of(Channel::Peer(*peer), said);
            }
            Said::Progress {
                number,
                peer,
                is_sent,
                done,
                length,
                ..
            } => {
                let row = self.files.entry(*number).or_default();
                (row.peer, row.is_sent) = (clean(peer), *is_sent);
                (row.done, row.length) = (*done, *length);
            }
            Said::Received { number, .. } => {
                let row = self.files.entry(*number).or_default();
                row.done = row.length;
                self.notice(self.open, said, NOTICE);
            }
            Said::Failed { number, .. } => {
                self.files.entry(*number).or_default().end = Some("given up");
                self.notice(self.open, said, REFUSED);
            }
            Said::Whole { from, name, .. } => {
                self.talk(Channel::Peer(*from)).name = clean(name);
                self.notice_of(Channel::Peer(*from), said);
            }
            Said::Refused { .. } => self.notice(self.open, said, REFUSED),
            Said::Help => {
                self.notice(self.open, said, NOTICE);
                for line in KEYS.lines() {
                    self.notice_line(self.open, line, NOTICE);
                }
            }
            Said::Link { .. } => {}
            Said::Dialled { is_up, .. } => {
                let style = if *is_up { NOTICE } else { REFUSED };
                self.notice(self.open, said, style);
            }
            Said::Listening { .. }
            | Said::Members { .. }
            | Said::Peer { .. }
            | Said::History { .. }
            | Said::Stats(_) => self.notice(self.open, said, NOTICE),
        }
    }

    fn talk(&mut self, channel: Channel) -> &mut Talk {
        self.talks.entry(channel).or_default()
    }

    fn message(&mut self, channel: Channel, id: &str, name: &str, text: &str, note: String) {
        let kind = Kind::Message {
            id: id.to_owned(),
            name: Some(clean(name)),
            text: clean(text),
            note,
            state: None,
        };
        self.add(channel, kind, true);
    }

    fn notice(&mut self, channel: Channel, said: &Said, style: Style) {
        // Each line of it was cleaned.
        for line in as_line(said).unwrap_or_default().lines() {
            self.notice_line(channel, line, style);
        }
    }

    fn notice_line(&mut self, channel: Channel, line: &str, style: Style) {
        let text = line.to_owned();
        self.add(channel, Kind::Notice { text, style }, false);
    }

    /// As a message: whoever looks at something else is to see that there is one.
    fn notice_of(&mut self, channel: Channel, said: &Said) {
        let text = as_line(said).unwrap_or_default();
        let style = NOTICE;
        self.add(channel, Kind::Notice { text, style }, true);
    }

    fn add(&mut self, channel: Channel, kind: Kind, is_news: bool) {
        let entry = Entry {
            number: self.numbers,
            kind,
        };
        self.numbers += 1;
        let is_open = channel == self.open;
        let width = self.size.0;
        let talk = self.talk(channel);
        if is_open && talk.below > 0 {
            // What is read stays where it is.
            talk.below += entry.rows(width).len();
        }
        if is_news && (!is_open || talk.below > 0) {
            talk.unread += 1;
            if !is_open {
                talk.mark.get_or_insert(entry.number);
            }
        }
        talk.entries.push_back(entry);
        if talk.entries.len() > ENTRIES_MAX {
            talk.entries.pop_front();
        }
    }

    fn has_come(&mut self, message: &str, to: DeliveryState) {
        let entries = self.talks.values_mut();
        let entries = entries.flat_map(|talk| talk.entries.iter_mut().rev());
        for entry in entries {
            if let Kind::Message { id, state, .. } = &mut entry.kind
                && id == message
            {
                *state = Some(to);
                return;
            }
        }
    }

    /// Notes at a message who passed it on, or carries it.
    fn was_passed(&mut self, message: &str, by: &str, how: Passing) {
        let what = match how {
            Passing::PassedOn { hops } => format!(" (passed on by {}, {hops} hops)", clean(by)),
            Passing::Carries => format!(" (carried by {})", clean(by)),
            Passing::Given | Passing::Has => return,
        };
        let entries = self.talks.values_mut();
        let entries = entries.flat_map(|talk| talk.entries.iter_mut().rev());
        for entry in entries {
            if let Kind::Message { id, note, .. } = &mut entry.kind
                && id == message
            {
                // The last one: a message has one line of notes.
                *note = what;
                return;
            }
        }
    }

    fn look_at(&mut self, channel: Channel) {
        if channel != self.open {
            self.talk(self.open).mark = None;
        }
        self.open = channel;
        let talk = self.talk(channel);
        (talk.unread, talk.below) = (0, 0);
    }

    /// What there is to look at, in the order in which it is shown: everybody, groups, then peers, those that are
    /// here before the others.
    fn channels(&self) -> Vec<Channel> {
        let mut peers: Vec<_> = self.peers.iter().collect();
        peers.sort_by_key(|peer| (Reverse(peer.is_reachable), &peer.nickname, peer.id));
        let known = peers.iter().map(|peer| Channel::Peer(peer.id));
        let is_known = |id: &PeerId| self.peers.iter().any(|peer| peer.id == *id);
        // Everybody and groups are before peers in the order of the map.
        let (first, last): (Vec<_>, Vec<_>) = self
            .talks
            .keys()
            .filter(|channel| !matches!(channel, Channel::Peer(id) if is_known(id)))
            .partition(|channel| !matches!(channel, Channel::Peer(_)));
        first
            .into_iter()
            .copied()
            .chain(known)
            .chain(last.into_iter().copied())
            .collect()
    }

    fn peer(&self, channel: Channel) -> Option<&PeerView> {
        let Channel::Peer(id) = channel else {
            return None;
        };
        self.peers.iter().find(|peer| peer.id == id)
    }

    fn title(&self, channel: Channel) -> String {
        let of_talk = || self.talks.get(&channel).map(|talk| talk.name.clone());
        match channel {
            Channel::Everybody => "everybody".to_owned(),
            Channel::Group(_) => format!("#{}", of_talk().unwrap_or_default()),
            Channel::Peer(id) => {
                let Some(peer) = self.peer(channel) else {
                    return of_talk().unwrap_or_else(|| id.to_string());
                };
                let name = clean(&peer.nickname);
                let of_name = |other: &&PeerView| other.nickname == peer.nickname;
                if self.peers.iter().filter(of_name).count() > 1 {
                    // Names are anybody's.
                    return format!("{name} {}", &id.to_string()[..4]);
                }
                name
            }
        }
    }

    /// Takes a key that was pressed.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let typed = &mut self.typed;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Some(Wish::Quit),
            KeyCode::Char('d') if control && typed.text.is_empty() => return Some(Wish::Quit),
            KeyCode::Char('a') if control => typed.cursor = 0,
            KeyCode::Char('e') if control => typed.cursor = typed.text.len(),
            KeyCode::Char('u') if control => {
                typed.text.drain(..typed.cursor);
                typed.cursor = 0;
            }
            KeyCode::Char('k') if control => typed.text.truncate(typed.cursor),
            KeyCode::Char('w') if control => typed.remove_word(),
            KeyCode::Char(c) if !control => typed.insert(c),
            KeyCode::Backspace => typed.remove_before(),
            KeyCode::Delete if typed.cursor < typed.text.len() => {
                typed.text.remove(typed.cursor);
            }
            KeyCode::Left => typed.cursor = typed.cursor.saturating_sub(1),
            KeyCode::Right => typed.cursor = (typed.cursor + 1).min(typed.text.len()),
            KeyCode::Home => typed.cursor = 0,
            KeyCode::End => typed.cursor = typed.text.len(),
            KeyCode::Up => typed.recall(true),
            KeyCode::Down => typed.recall(false),
            KeyCode::Enter => return typed.enter().map(Wish::Line),
            KeyCode::PageUp => self.scroll(true),
            KeyCode::PageDown => self.scroll(false),
            KeyCode::Tab => return self.beside(1),
            KeyCode::BackTab => return self.beside(-1),
            _ => {}
        }
        None
    }

    /// Takes what was pasted, as one line; none of what does not fit.
    pub(super) fn paste(&mut self, text: &str) {
        let text: Vec<_> = clean(text).chars().collect();
        if text.len() > TYPED_MAX - self.typed.text.len() {
            let error = format!("a line has at most {TYPED_MAX} characters: nothing was pasted");
            let line = None;
            self.notice(self.open, &Said::Refused { error, line }, REFUSED);
            return;
        }
        text.into_iter().for_each(|c| self.typed.insert(c));
    }

    fn scroll(&mut self, is_back: bool) {
        let step = self.size.1.saturating_sub(1).max(1);
        let talk = self.talk(self.open);
        if is_back {
            // Drawing knows where the beginning is.
            talk.below += step;
        } else {
            talk.below = talk.below.saturating_sub(step);
        }
        if talk.below == 0 {
            talk.unread = 0;
        }
    }

    /// The channel so many places further on.
    fn beside(&self, step: isize) -> Option<Wish> {
        let channels = self.channels();
        let at = channels.iter().position(|channel| *channel == self.open)?;
        let length = isize::try_from(channels.len()).ok()?;
        let next = (isize::try_from(at).ok()? + step).rem_euclid(length);
        let next = channels.get(usize::try_from(next).ok()?)?;
        Some(Wish::Open(*next))
    }

    /// Draws it all.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [top, bottom] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(2)]).areas(frame.area());
        let side = if top.width < COLUMNS_WITH_SIDE {
            0
        } else {
            SIDE_COLUMNS
        };
        let [side, middle] =
            Layout::horizontal([Constraint::Length(side), Constraint::Min(0)]).areas(top);
        if side.width > 0 {
            self.draw_side(frame, side);
        }
        self.draw_talk(frame, middle);
        self.draw_typed(frame, bottom);
    }

    fn draw_side(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.files.len().min(FILES_SHOWN);
        let files = match u16::try_from(rows).unwrap_or(0) {
            0 => 0,
            rows => rows + 2,
        };
        let [channels, files] =
            Layout::vertical([Constraint::Min(3), Constraint::Length(files)]).areas(area);
        let all = self.channels();
        let height = usize::from(channels.height.saturating_sub(2));
        let at = all.iter().position(|channel| *channel == self.open);
        // The one that is open is always seen.
        let skipped = (at.unwrap_or(0) + 1).saturating_sub(height);
        let rows = all.iter().skip(skipped).take(height);
        let rows: Vec<_> = rows.map(|channel| self.channel_row(*channel)).collect();
        let block = Block::bordered().title(" peers and channels ");
        frame.render_widget(Paragraph::new(rows).block(block), channels);
        if files.height > 2 {
            let rows = self.files.iter().rev().take(FILES_SHOWN);
            let rows: Vec<_> = rows.map(|(number, file)| file.row(*number)).collect();
            let block = Block::bordered().title(" files ");
            frame.render_widget(Paragraph::new(rows).block(block), files);
        }
    }

    fn channel_row(&self, channel: Channel) -> Row<'static> {
        let how = match (channel, self.peer(channel)) {
            (Channel::Peer(_), Some(peer)) if peer.is_linked => "●",
            (Channel::Peer(_), Some(peer)) if peer.is_reachable => "○",
            (Channel::Peer(_), _) => "·",
            _ => " ",
        };
        let style = if channel == self.open {
            HERE
        } else if how == "·" {
            DIM
        } else {
            Style::new()
        };
        let mut spans = vec![
            Span::raw(format!("{how} ")),
            Span::styled(self.title(channel), style),
        ];
        let unread = self.talks.get(&channel).map_or(0, |talk| talk.unread);
        if unread > 0 {
            spans.push(Span::styled(format!(" ({unread})"), UNREAD));
        }
        if self.peer(channel).is_some_and(|peer| peer.has_session) {
            spans.push(Span::styled(" proved", DIM));
        }
        Row::from(spans)
    }

    fn draw_talk(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let mut block = Block::bordered().title(format!(" {} ", self.title(self.open)));
        let inside = block.inner(area);
        let (width, height) = (usize::from(inside.width), usize::from(inside.height));
        self.size = (width, height);
        let open = self.open;
        let talk = self.talk(open);
        // From the end, as many as are seen.
        let mut rows = VecDeque::new();
        for entry in talk.entries.iter().rev() {
            if rows.len() >= height + talk.below {
                break;
            }
            for row in entry.rows(width).into_iter().rev() {
                rows.push_front(row);
            }
            if talk.mark == Some(entry.number) {
                rows.push_front(Row::styled("── not read before ──", UNREAD));
            }
        }
        talk.below = talk.below.min(rows.len().saturating_sub(height));
        if talk.below == 0 {
            talk.unread = 0;
        } else {
            let more = match talk.unread {
                0 => " more below: PgDn ".to_owned(),
                unread => format!(" {unread} not read below: PgDn "),
            };
            block = block.title_bottom(Span::styled(more, UNREAD));
        }
        let end = rows.len() - talk.below;
        let begin = end.saturating_sub(height);
        let seen: Vec<_> = rows.into_iter().skip(begin).take(end - begin).collect();
        frame.render_widget(Paragraph::new(seen).block(block), area);
    }

    fn draw_typed(&self, frame: &mut Frame<'_>, area: Rect) {
        let [line, below] =
            Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
        let (prompt, style) = if self.is_addressed {
            (format!("{}> ", self.title(self.open)), NAME)
        } else {
            ("(nobody)> ".to_owned(), REFUSED)
        };
        let before = Span::raw(&prompt).width();
        let columns = usize::from(line.width);
        // The cursor is always seen: what is left of it gives way.
        let room = columns.saturating_sub(before + 1);
        let typed = &self.typed;
        let mut first = typed.cursor;
        let mut left = 0;
        while first > 0 {
            let width = width_of(typed.text[first - 1]);
            if left + width > room {
                break;
            }
            left += width;
            first -= 1;
        }
        let text: String = typed.text[first..].iter().collect();
        let row = Row::from(vec![Span::styled(prompt, style), Span::raw(text)]);
        frame.render_widget(Paragraph::new(row), line);
        let column = u16::try_from(before + left).unwrap_or(u16::MAX);
        if line.width > 0 && line.height > 0 {
            let column = column.min(line.width - 1);
            frame.set_cursor_position((line.x + column, line.y));
        }
        let here = self.peers.iter().filter(|peer| peer.is_reachable).count();
        let status = match &self.waiting {
            Some(waiting) => format!("waits for {}", clean(waiting)),
            None => format!("{}, {here} here   /help, Tab, PgUp, Ctrl-C", self.name),
        };
        frame.render_widget(Paragraph::new(Row::styled(status, DIM)), below);
    }
}

impl Entry {
    /// Its rows where there are so many columns.
    fn rows(&self, columns: usize) -> Vec<Row<'static>> {
        match &self.kind {
            Kind::Notice { text, style } => wrap(&[(text, *style)], columns),
            Kind::Message {
                name,
                text,
                note,
                state,
                ..
            } => {
                let (name, style) = match name {
                    Some(name) => (name.as_str(), NAME),
                    None => ("you", OWN_NAME),
                };
                let state = state.map_or_else(String::new, |state| {
                    let state = match state {
                        // It is on disk, if there is a file.
                        DeliveryState::Waiting => "kept",
                        other => state_name(other),
                    };
                    format!(" · {}", state.replace('_', " "))
                });
                let parts = [
                    (name, style),
                    (": ", Style::new()),
                    (text, Style::new()),
                    (note, DIM),
                    (&state, DIM),
                ];
                wrap(&parts, columns)
            }
        }
    }
}

impl FileRow {
    fn row(&self, number: usize) -> Row<'static> {
        let way = if self.is_sent { "→" } else { "←" };
        let full = (self.done.saturating_mul(BAR))
            .checked_div(self.length)
            .unwrap_or(0);
        let bar = (0..BAR).map(|cell| if cell < full { '█' } else { '·' });
        let how = match self.end {
            Some(end) => end.to_owned(),
            None => bar.collect(),
        };
        Row::from(format!("{number} {how} {way} {} {}", self.peer, self.title))
    }
}

impl Typed {
    fn insert(&mut self, c: char) {
        if self.text.len() < TYPED_MAX && !c.is_control() {
            self.text.insert(self.cursor, c);
            self.cursor += 1;
        }
    }

    fn remove_before(&mut self) {
        if self.cursor > 0 {
            self.cursor -= 1;
            self.text.remove(self.cursor);
        }
    }

    fn remove_word(&mut self) {
        let before = &self.text[..self.cursor];
        let end = before
            .iter()
            .rposition(|c| *c != ' ')
            .map_or(0, |at| at + 1);
        let begin = before[..end].iter().rposition(|c| *c == ' ');
        let begin = begin.map_or(0, |at| at + 1);
        self.text.drain(begin..self.cursor);
        self.cursor = begin;
    }

    /// Shows what was typed before that, or after.
    fn recall(&mut self, is_before: bool) {
        let next = match (self.shown, is_before) {
            (None, true) => Some(0),
            (Some(shown), true) => Some((shown + 1).min(self.before.len().saturating_sub(1))),
            (None, false) => return,
            (Some(shown), false) => shown.checked_sub(1),
        };
        if self.before.is_empty() {
            return;
        }
        if self.shown.is_none() {
            self.draft = std::mem::take(&mut self.text);
        }
        self.shown = next;
        self.text = match next.and_then(|at| self.before.iter().rev().nth(at)) {
            Some(line) => line.chars().collect(),
            None => std::mem::take(&mut self.draft),
        };
        self.cursor = self.text.len();
    }

    fn enter(&mut self) -> Option<String> {
        let line: String = std::mem::take(&mut self.text).into_iter().collect();
        (self.cursor, self.shown) = (0, None);
        self.draft.clear();
        if line.trim().is_empty() {
            return None;
        }
        if self.before.back() != Some(&line) {
            self.before.push_back(line.clone());
        }
        if self.before.len() > TYPED_BEFORE_MAX {
            self.before.pop_front();
        }
        Some(line)
    }
}

fn width_of(c: char) -> usize {
    Span::raw(&*c.encode_utf8(&mut [0; 4])).width()
}

/// Rows of so many columns, broken at spaces where there are some; what belongs to a row before it is moved in.
fn wrap(parts: &[(&str, Style)], columns: usize) -> Vec<Row<'static>> {
    const INDENT: usize = 2;
    let all: Vec<(char, Style)> = parts
        .iter()
        .flat_map(|(text, style)| text.chars().map(|c| (c, *style)))
        .collect();
    let mut rows = Vec::new();
    let mut begin = 0;
    while begin < all.len() {
        let indent = if begin > 0 && columns > 4 * INDENT {
            INDENT
        } else {
            0
        };
        let mut width = indent;
        let mut end = begin;
        let mut space = None;
        while end < all.len() {
            let next = width_of(all[end].0);
            // At least one, or there would be no end.
            if width + next > columns && end > begin {
                break;
            }
            width += next;
            end += 1;
            if all[end - 1].0 == ' ' {
                space = Some(end);
            }
        }
        if let Some(space) = space
            && end < all.len()
        {
            end = space;
        }
        let mut spans = vec![Span::raw(" ".repeat(indent))];
        for run in all[begin..end].chunk_by(|(_, a), (_, b)| a == b) {
            let text: String = run.iter().map(|(c, _)| *c).collect();
            spans.push(Span::styled(text, run[0].1));
        }
        rows.push(Row::from(spans));
        begin = end;
    }
    if rows.is_empty() {
        rows.push(Row::default());
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    use fogcompute_base::Digest;
    use fogcompute_mesh::{Capabilities, Identity, Protection};
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    const EVERYBODY: Channel = Channel::Everybody;

    /// A peer that is here, and what follows from its number alone.
    fn peer(number: u64, nickname: &str) -> PeerView {
        let identity = Identity::random(&mut ChaCha8Rng::seed_from_u64(number));
        PeerView {
            has_ratchet: true,
            id: identity.peer_id(),
            nickname: nickname.to_owned(),
            noise_key: identity.noise_key(),
            verify_key: identity.verify_key(),
            capabilities: Capabilities::default(),
            is_reachable: true,
            is_linked: number == 1,
            has_session: number == 1,
            is_favourite: false,
            neighbours: Vec::new(),
        }
    }

    /// One who has bob with a link and carol without one.
    fn view() -> (View, PeerId, PeerId) {
        let mut view = View::new();
        let (bob, carol) = (peer(1, "bob"), peer(2, "carol"));
        let ids = (bob.id, carol.id);
        view.name = "ann".to_owned();
        view.refresh(vec![carol, bob], None);
        (view, ids.0, ids.1)
    }

    fn rows(view: &mut View, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| {
            let row = (0..columns).map(|x| buffer[(x, y)].symbol());
            row.collect::<String>().trim_end().to_owned()
        };
        (0..rows).map(row).collect()
    }

    fn public(text: &str) -> Said {
        Said::Public {
            id: text.to_owned(),
            from: peer(2, "").id,
            name: "carol".to_owned(),
            text: text.to_owned(),
            via: Some("bob".to_owned()),
            hops: 2,
        }
    }

    fn private(from: PeerId, text: &str) -> Said {
        Said::Private {
            id: text.to_owned(),
            from,
            name: "bob".to_owned(),
            text: text.to_owned(),
            via: None,
            hops: 1,
            protection: Protection::Ratchet,
        }
    }

    fn kept(channel: Channel, to: Option<&str>, text: &str) -> Said {
        Said::Kept {
            number: 1,
            id: text.to_owned(),
            channel,
            to: to.map(str::to_owned),
            text: text.to_owned(),
        }
    }

    fn press(view: &mut View, code: KeyCode) -> Option<Wish> {
        view.press(KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn control(view: &mut View, c: char) -> Option<Wish> {
        view.press(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
    }

    fn write(view: &mut View, text: &str) {
        for c in text.chars() {
            assert_eq!(press(view, KeyCode::Char(c)), None);
        }
    }

    fn typed(view: &View) -> String {
        view.typed.text.iter().collect()
    }

    fn open(view: &mut View, channel: Channel, name: &str) {
        let name = name.to_owned();
        view.say(&Said::To { channel, name });
    }

    #[test]
    fn the_picture_in_the_manual_is_what_is_drawn() {
        let mut view = View::new();
        let mut all = [peer(1, "relay"), peer(2, "bob"), peer(3, "carol")];
        (all[0].has_session, all[1].has_session) = (false, true);
        all[2].is_reachable = false;
        let bob = all[1].id;
        let channel = Channel::Peer(bob);
        view.name = "ann".to_owned();
        view.refresh(all.to_vec(), None);
        view.name_group(GroupId([1; 16]), "hikers");
        let from_bob = |text: &str| Said::Private {
            id: text.to_owned(),
            from: bob,
            name: "bob".to_owned(),
            text: text.to_owned(),
            via: Some("relay".to_owned()),
            hops: 2,
            protection: Protection::Ratchet,
        };
        let far = |id: &str, state| Said::Delivery {
            number: Some(1),
            id: id.to_owned(),
            to: Some("bob".to_owned()),
            state,
        };
        open(&mut view, channel, "bob");
        view.say(&kept(channel, Some("bob"), "hello"));
        view.say(&far("hello", DeliveryState::Read));
        view.say(&from_bob("hello"));
        open(&mut view, EVERYBODY, "everybody");
        view.say(&from_bob("the bridge is closed, go round by the mill"));
        open(&mut view, channel, "bob");
        view.say(&public("is anybody there"));
        view.say(&kept(channel, Some("bob"), "thanks"));
        view.say(&far("thanks", DeliveryState::Delivered));
        let (number, file) = (1, Digest::of(b""));
        view.files.entry(number).or_default().title = "map.pdf".to_owned();
        view.say(&Said::Progress {
            number,
            file,
            peer: "bob".to_owned(),
            is_sent: true,
            done: 600,
            length: 1000,
        });
        write(&mut view, "on my way");
        let shown = rows(&mut view, 78, 12).join("\n");
        let manual = include_str!("../../../../docs/mesh.md");
        assert!(manual.contains(&shown), "it is\n{shown}");
    }

    #[test]
    fn a_message_from_here_says_who_passed_it_on_or_carries_it() {
        let (mut view, bob, _) = view();
        let channel = Channel::Peer(bob);
        open(&mut view, channel, "bob");
        view.say(&kept(channel, Some("bob"), "hello"));
        view.say(&kept(channel, Some("bob"), "are you there"));
        let passed = |id: &str, how| Said::Passed {
            number: Some(1),
            id: id.to_owned(),
            by: "relay".to_owned(),
            how,
        };
        view.say(&passed("hello", Passing::Given));
        let shown = rows(&mut view, 78, 12).join("\n");
        assert!(!shown.contains("by relay"), "{shown}");
        view.say(&passed("hello", Passing::PassedOn { hops: 2 }));
        view.say(&passed("are you there", Passing::Carries));
        let shown = rows(&mut view, 78, 12).join("\n");
        assert!(
            shown.contains("you: hello (passed on by relay, 2 hops) · kept"),
            "{shown}"
        );
        assert!(
            shown.contains("you: are you there (carried by relay) · kept"),
            "{shown}"
        );
    }

    #[test]
    fn what_was_not_read_is_counted_and_marked_until_it_was() {
        let (mut view, bob, _) = view();
        view.say(&private(bob, "one"));
        open(&mut view, Channel::Peer(bob), "bob");
        open(&mut view, EVERYBODY, "everybody");
        view.say(&private(bob, "two"));
        view.say(&private(bob, "three"));
        assert!(rows(&mut view, 60, 9)[2].contains("bob (2)"));
        open(&mut view, Channel::Peer(bob), "bob");
        let shown = rows(&mut view, 40, 9);
        let inside: Vec<_> = shown[1..5]
            .iter()
            .map(|row| row.trim_matches(['│', ' ']))
            .collect();
        assert_eq!(
            inside,
            [
                "bob: one",
                "── not read before ──",
                "bob: two",
                "bob: three"
            ]
        );
        // Another look, and it is as old as the rest.
        open(&mut view, EVERYBODY, "everybody");
        open(&mut view, Channel::Peer(bob), "bob");
        assert!(!rows(&mut view, 60, 9).concat().contains("not read"));
        assert!(!rows(&mut view, 60, 9).concat().contains("(2)"));
    }

    #[test]
    fn a_sender_hears_that_a_message_was_read_when_it_was_before_the_eyes() {
        let (mut view, bob, _) = view();
        view.say(&private(bob, "one"));
        assert_eq!(view.take_seen(), []);
        open(&mut view, Channel::Peer(bob), "bob");
        assert_eq!(view.take_seen(), [(bob, "one".to_owned())]);
        assert_eq!(view.take_seen(), []);
        for number in 0..20 {
            view.say(&private(bob, &number.to_string()));
        }
        rows(&mut view, 40, 8);
        assert_eq!(view.take_seen().len(), 20);
        press(&mut view, KeyCode::PageUp);
        rows(&mut view, 40, 8);
        view.say(&private(bob, "below"));
        assert_eq!(view.take_seen(), []);
        press(&mut view, KeyCode::PageDown);
        press(&mut view, KeyCode::PageDown);
        assert_eq!(view.take_seen(), [(bob, "below".to_owned())]);
    }

    #[test]
    fn a_message_from_here_says_how_far_it_has_come() {
        let (mut view, bob, _) = view();
        open(&mut view, Channel::Peer(bob), "bob");
        view.say(&kept(Channel::Peer(bob), Some("bob"), "hello"));
        assert!(rows(&mut view, 40, 6)[1].contains("you: hello · kept"));
        for (state, shown) in [
            (DeliveryState::Sent, "sent"),
            (DeliveryState::Relayed, "relayed"),
            (DeliveryState::Delivered, "delivered"),
            (DeliveryState::Read, "read"),
            (DeliveryState::GivenUp, "given up"),
        ] {
            view.say(&Said::Delivery {
                number: Some(1),
                id: "hello".to_owned(),
                to: Some("bob".to_owned()),
                state,
            });
            let row = rows(&mut view, 40, 6)[1].clone();
            assert!(row.contains(&format!("you: hello · {shown}")), "{row}");
        }
        // What is for everybody has nobody to have it.
        open(&mut view, EVERYBODY, "everybody");
        view.say(&kept(EVERYBODY, None, "to all"));
        assert!(rows(&mut view, 40, 6)[1].ends_with("you: to all                           │"));
    }

    #[test]
    fn nothing_of_somebody_else_is_more_than_text() {
        let bad = "a\x1b[2Jb\r\n\u{9b}31m\u{7}c\u{202e}d";
        let mut view = View::new();
        let mut bob = peer(1, bad);
        bob.nickname = bad.to_owned();
        let id = bob.id;
        view.refresh(vec![bob], Some(bad.to_owned()));
        view.say(&public(bad));
        view.say(&private(id, bad));
        view.say(&Said::Offered {
            number: 1,
            file: Digest::of(b""),
            title: bad.to_owned(),
            length: 1,
            peer: id,
            from: bad.to_owned(),
        });
        view.say(&Said::Refused {
            error: bad.to_owned(),
            line: None,
        });
        view.paste(bad);
        for channel in [EVERYBODY, Channel::Peer(id)] {
            open(&mut view, channel, bad);
            let shown = rows(&mut view, 120, 20).concat();
            assert!(shown.contains("a [2Jb"), "{shown}");
            let moves = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!shown.contains(moves), "{shown:?}");
        }
    }

    #[test]
    fn a_line_is_edited_and_what_was_typed_before_comes_back() {
        let (mut view, ..) = view();
        assert_eq!(press(&mut view, KeyCode::Enter), None);
        write(&mut view, "one two");
        assert_eq!(
            press(&mut view, KeyCode::Enter),
            Some(Wish::Line("one two".to_owned()))
        );
        write(&mut view, "three");
        assert_eq!(
            press(&mut view, KeyCode::Enter),
            Some(Wish::Line("three".to_owned()))
        );
        write(&mut view, "draft");
        for (key, shown) in [
            (KeyCode::Up, "three"),
            (KeyCode::Up, "one two"),
            (KeyCode::Up, "one two"),
            (KeyCode::Down, "three"),
            (KeyCode::Down, "draft"),
            (KeyCode::Down, "draft"),
            (KeyCode::Backspace, "draf"),
            (KeyCode::Home, "draf"),
            (KeyCode::Delete, "raf"),
            (KeyCode::Right, "raf"),
            (KeyCode::Char('X'), "rXaf"),
            (KeyCode::End, "rXaf"),
            (KeyCode::Left, "rXaf"),
            (KeyCode::Backspace, "rXf"),
        ] {
            press(&mut view, key);
            assert_eq!(typed(&view), shown, "{key:?}");
        }
        control(&mut view, 'u');
        assert_eq!(typed(&view), "f");
        control(&mut view, 'e');
        write(&mut view, " words  here ");
        control(&mut view, 'w');
        assert_eq!(typed(&view), "f words  ");
        control(&mut view, 'w');
        assert_eq!(typed(&view), "f ");
        control(&mut view, 'a');
        control(&mut view, 'k');
        assert_eq!(typed(&view), "");
        view.paste("two\nlines");
        assert_eq!(typed(&view), "two lines");
        assert_eq!(control(&mut view, 'd'), None);
        assert_eq!(control(&mut view, 'c'), Some(Wish::Quit));
    }

    #[test]
    fn what_is_pasted_and_does_not_fit_is_left_out_whole() {
        // It was cut, and what was left of it could be sent.
        let (mut view, ..) = view();
        write(&mut view, "to: ");
        view.paste(&"x".repeat(TYPED_MAX - 3));
        assert_eq!(typed(&view), "to: ");
        let shown = rows(&mut view, 80, 6).concat();
        assert!(shown.contains("4000 characters: nothing"), "{shown}");
        view.paste(&"x".repeat(TYPED_MAX - 4));
        assert_eq!(typed(&view).len(), TYPED_MAX);
    }

    #[test]
    fn who_is_addressed_by_nobody_is_shown() {
        // After a /join that failed the line still stood at everybody.
        let (mut view, bob, _) = view();
        view.say(&Said::ToNobody);
        let shown = rows(&mut view, 80, 8);
        assert!(shown[6].starts_with("(nobody)>"), "{shown:?}");
        assert!(shown.concat().contains("goes to nobody"), "{shown:?}");
        // From there Tab goes on as ever.
        let next = Wish::Open(Channel::Peer(bob));
        assert_eq!(press(&mut view, KeyCode::Tab), Some(next));
        open(&mut view, Channel::Peer(bob), "bob");
        assert!(rows(&mut view, 80, 8)[6].starts_with("bob>"));
    }

    #[test]
    fn of_a_long_line_the_part_with_the_cursor_is_seen() {
        let (mut view, ..) = view();
        write(&mut view, "0123456789日本語");
        assert_eq!(rows(&mut view, 20, 6)[4], "everybody> 89日 本 語");
        press(&mut view, KeyCode::Home);
        assert_eq!(rows(&mut view, 20, 6)[4], "everybody> 012345678");
    }

    #[test]
    fn what_is_read_stays_where_it_is_while_more_comes() {
        let (mut view, ..) = view();
        for number in 0..30 {
            view.say(&public(&format!("text {number}")));
        }
        let shown = |view: &mut View| {
            let all = rows(view, 50, 8);
            let texts = all[1..5].iter().filter_map(|row| row.split("text ").nth(1));
            let texts: Vec<_> = texts
                .filter_map(|row| row.split(' ').next())
                .map(str::to_owned)
                .collect();
            (texts.join(" "), all[5].clone())
        };
        assert_eq!(shown(&mut view).0, "26 27 28 29");
        press(&mut view, KeyCode::PageUp);
        let (texts, below) = shown(&mut view);
        assert_eq!(texts, "23 24 25 26");
        assert!(below.contains("more below"), "{below}");
        view.say(&public("text 30"));
        view.say(&public("text 31"));
        let (texts, below) = shown(&mut view);
        assert_eq!(texts, "23 24 25 26");
        assert!(below.contains("2 not read below"), "{below}");
        for _ in 0..20 {
            press(&mut view, KeyCode::PageUp);
            shown(&mut view);
        }
        assert_eq!(shown(&mut view).0, "0 1 2 3");
        press(&mut view, KeyCode::PageDown);
        assert_eq!(shown(&mut view).0, "3 4 5 6");
        for _ in 0..20 {
            press(&mut view, KeyCode::PageDown);
        }
        let (texts, below) = shown(&mut view);
        assert_eq!(texts, "28 29 30 31");
        assert!(!below.contains("below"), "{below}");
    }

    #[test]
    fn tab_goes_round_through_all_there_is() {
        let (mut view, bob, carol) = view();
        let group = GroupId([7; 16]);
        view.name_group(group, "us");
        let all = [
            EVERYBODY,
            Channel::Group(group),
            Channel::Peer(bob),
            Channel::Peer(carol),
        ];
        assert_eq!(view.channels(), all);
        for next in [1, 2, 3, 0] {
            assert_eq!(press(&mut view, KeyCode::Tab), Some(Wish::Open(all[next])));
            open(&mut view, all[next], "us");
        }
        assert_eq!(press(&mut view, KeyCode::BackTab), Some(Wish::Open(all[3])));
        assert!(rows(&mut view, 60, 8)[2].contains("#us"));
    }

    #[test]
    fn two_of_one_name_are_told_apart() {
        let mut view = View::new();
        let both = [peer(1, "bob"), peer(2, "bob")];
        let short = both
            .each_ref()
            .map(|peer| peer.id.to_string()[..4].to_owned());
        view.refresh(both.to_vec(), None);
        let shown = rows(&mut view, 60, 8).concat();
        for short in short {
            assert!(shown.contains(&format!("bob {short}")), "{shown}");
        }
    }

    #[test]
    fn a_file_is_shown_as_it_goes() {
        let (mut view, ..) = view();
        let file = Digest::of(b"");
        view.say(&Said::Offering {
            number: 3,
            file,
            title: "a.jpg".to_owned(),
            to: "bob".to_owned(),
        });
        view.say(&Said::Progress {
            number: 3,
            file,
            peer: "bob".to_owned(),
            is_sent: true,
            done: 50,
            length: 100,
        });
        let shown = rows(&mut view, 70, 12);
        assert!(shown[8].contains("3 █████····· → bob a.jp"), "{shown:?}");
        view.say(&Said::Failed {
            number: 3,
            file,
            end: crate::mesh::MeshFileEnd::Silent,
        });
        let shown = rows(&mut view, 70, 12);
        assert!(shown[8].contains("3 given up → bob a.jpg"), "{shown:?}");
    }

    #[test]
    fn every_size_can_be_drawn() {
        let (mut view, bob, _) = view();
        view.say(&public("日本語 and a word_that_is_longer_than_any_row"));
        view.say(&private(bob, "é👋🏽"));
        write(&mut view, "日本語");
        for columns in (0..12).chain(55..65) {
            for height in 0..12 {
                rows(&mut view, columns, height);
                press(&mut view, KeyCode::PageUp);
            }
        }
    }

    #[test]
    fn rows_break_at_spaces_and_are_never_wider_than_there_is_room() {
        let all = |text: &str, columns| {
            let rows = wrap(&[(text, DIM)], columns);
            rows.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            all("one two three four", 10),
            ["one two ", "  three ", "  four"]
        );
        assert_eq!(all("0123456789", 4), ["0123", "4567", "89"]);
        assert_eq!(all("日本語", 4), ["日本", "語"]);
        assert_eq!(all("", 4), [""]);
        // A row that is narrower than a character has one nevertheless.
        assert_eq!(all("日本", 1), ["日", "本"]);
        for columns in 2..40 {
            for row in wrap(
                &[("a 日本 of words and_longer_ones", NAME), ("more", DIM)],
                columns,
            ) {
                assert!(row.width() <= columns);
            }
        }
    }
}
