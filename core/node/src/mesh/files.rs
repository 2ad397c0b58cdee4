//! Files in chunks: those that are offered from here, and those that come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fogcompute_base::{Digest, Instant};
use fogcompute_mesh::chunks::{
    CHUNK_BYTES, CHUNKED_BYTES_MAX, ChunkMessage, Download, Manifest, ManifestBuilder, PAGE_CHUNKS,
    Part, chunk_digest,
};
use fogcompute_mesh::{FormatError, PeerId};

use super::MeshError;
use super::events::{MeshEvent, MeshFileEnd};
use crate::files::rename_new;

/// Files that are sent, and files that are received, at once.
const FILES_MAX: usize = 64;
/// Offers that are remembered. Those that came first are forgotten first.
const OFFERS_MAX: usize = 256;
/// Peers that take one file from here, and those it comes from.
const PEERS_MAX: usize = 64;
/// Parts of a file that were asked for and did not come.
const ASKED_MAX: usize = 8;
/// After so long a part is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// After so long without any part a file is given up.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// What a step leads to.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) messages: Vec<(PeerId, ChunkMessage)>,
    pub(super) events: Vec<MeshEvent>,
}

#[derive(Default)]
pub(super) struct Files {
    offers: VecDeque<Offer>,
    sent: BTreeMap<Digest, Sent>,
    received: BTreeMap<Digest, Received>,
}

struct Offer {
    from: PeerId,
    manifest: Manifest,
}

/// Where the bytes of a file are.
pub(super) enum Source {
    Bytes(Vec<u8>),
    File(File),
}

struct Sent {
    length: u64,
    pages: Vec<Vec<Digest>>,
    source: Source,
    /// Chunks that were sent to each peer, and how much was said to have been.
    peers: BTreeMap<PeerId, (BTreeSet<u32>, u64)>,
    /// What those are told who did not ask for any of it yet.
    offers: BTreeMap<PeerId, ChunkMessage>,
}

impl Sent {
    /// Whether a chunk is what it was when the file was offered.
    fn is_as_offered(&self, chunk: u32, bytes: &[u8]) -> bool {
        let (page, place) = (chunk as usize / PAGE_CHUNKS, chunk as usize % PAGE_CHUNKS);
        let digest = self.pages.get(page).and_then(|page| page.get(place));
        digest == Some(&chunk_digest(bytes))
    }
}

struct Received {
    download: Download,
    file: File,
    part: PathBuf,
    path: PathBuf,
    sources: BTreeSet<PeerId>,
    asked: BTreeMap<Part, Instant>,
    heard: Instant,
    done: u64,
    said: u64,
}

impl Source {
    fn length(&self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(file) => Ok(file.metadata()?.len()),
        }
    }

    fn chunk(&mut self, chunk: u32, length: u64) -> io::Result<Vec<u8>> {
        let start = u64::from(chunk) * CHUNK_BYTES as u64;
        let bytes = length.saturating_sub(start).min(CHUNK_BYTES as u64);
        let bytes = usize::try_from(bytes).expect("a chunk has 64 KiB");
        match self {
            Self::Bytes(all) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let part = all.get(start..).and_then(|rest| rest.get(..bytes));
                part.map(<[u8]>::to_vec)
                    .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Self::File(file) => {
                let mut part = vec![0; bytes];
                file.seek(SeekFrom::Start(start))?;
                file.read_exact(&mut part)?;
                Ok(part)
            }
        }
    }
}

/// A file to offer, read once for its digests.
pub(super) struct Prepared {
    manifest: Manifest,
    sent: Sent,
}

impl Prepared {
    /// # Errors
    /// [`MeshError::Format`], and what reading says.
    pub(super) fn new(mut source: Source) -> Result<Result<Self, MeshError>, io::Error> {
        let length = source.length()?;
        if length > CHUNKED_BYTES_MAX {
            // Before all of it is read.
            let of = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
            let (actual, limit) = (of(length), of(CHUNKED_BYTES_MAX));
            return Ok(Err(FormatError::TooLong { actual, limit }.into()));
        }
        let mut builder = ManifestBuilder::default();
        for chunk in 0..Manifest::chunk_count(length) {
            let chunk = u32::try_from(chunk).unwrap_or(u32::MAX);
            let bytes = source.chunk(chunk, length)?;
            if let Err(error) = builder.chunk(&bytes) {
                return Ok(Err(error.into()));
            }
        }
        let (manifest, pages) = builder.finish();
        Ok(Ok(Self {
            manifest,
            sent: Sent {
                length,
                pages,
                source,
                peers: BTreeMap::new(),
                offers: BTreeMap::new(),
            },
        }))
    }

    pub(super) fn name(&self) -> Digest {
        self.manifest.name()
    }

    /// What is said of it.
    pub(super) fn offer(&self, title: String, mime: String) -> ChunkMessage {
        ChunkMessage::Offer {
            manifest: self.manifest.clone(),
            title,
            mime,
        }
    }
}

/// Opens a file to be sent. What is no regular file is not opened: a pipe would wait for who writes to it.
///
/// # Errors
/// [`MeshError::File`], [`MeshError::NotAFile`].
pub(crate) fn open_to_send(path: &Path) -> Result<File, MeshError> {
    let file = |source| MeshError::File {
        path: path.to_owned(),
        source,
    };
    let check = |found: fs::Metadata| {
        if found.is_file() {
            return Ok(());
        }
        if found.is_dir() {
            return Err(file(io::ErrorKind::IsADirectory.into()));
        }
        Err(MeshError::NotAFile {
            path: path.to_owned(),
        })
    };
    check(fs::metadata(path).map_err(file)?)?;
    let opened = File::open(path).map_err(file)?;
    // It may have been replaced meanwhile.
    check(opened.metadata().map_err(file)?)?;
    Ok(opened)
}

impl Files {
    /// Keeps a file for a peer, which is told of it whenever it comes until it asks for some of it.
    ///
    /// # Errors
    /// [`MeshError::FilesFull`].
    pub(super) fn keep(
        &mut self,
        prepared: Prepared,
        peer: PeerId,
        offer: ChunkMessage,
    ) -> Result<(), MeshError> {
        let name = prepared.name();
        let known = self.sent.get(&name);
        let is_new = known.is_none_or(|sent| !sent.offers.contains_key(&peer));
        for (count, limit, is_more) in [
            (self.sent.len(), FILES_MAX, known.is_none()),
            (known.map_or(0, |sent| sent.offers.len()), PEERS_MAX, is_new),
        ] {
            if is_more && count >= limit {
                return Err(MeshError::FilesFull { limit });
            }
        }
        let sent = self.sent.entry(name).or_insert(prepared.sent);
        sent.offers.insert(peer, offer);
        Ok(())
    }

    /// What a peer that has come is told again: it may not have been there.
    pub(super) fn offers_to(&self, peer: PeerId) -> Steps {
        let offers = self.sent.values().filter_map(|sent| sent.offers.get(&peer));
        Steps {
            messages: offers.map(|offer| (peer, offer.clone())).collect(),
            events: Vec::new(),
        }
    }

    /// Takes a file that was offered.
    ///
    /// # Errors
    /// [`MeshError::UnknownFile`], [`MeshError::FilesFull`], [`MeshError::FileExists`], [`MeshError::File`].
    pub(super) fn accept(
        &mut self,
        name: Digest,
        path: &Path,
        now: Instant,
    ) -> Result<Steps, MeshError> {
        if self.received.contains_key(&name) {
            return Ok(Steps::default());
        }
        if self.received.len() >= FILES_MAX {
            return Err(MeshError::FilesFull { limit: FILES_MAX });
        }
        let offers = self.offers.iter();
        let mut offers = offers.filter(|offer| offer.manifest.name() == name);
        let first = offers.next().ok_or(MeshError::UnknownFile { file: name })?;
        let sources = offers.map(|offer| offer.from).chain([first.from]).collect();
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        for (path, is_part) in [(path, false), (&part, true)] {
            let found = path.symlink_metadata();
            if found.is_ok_and(|found| !is_part || !found.is_file()) {
                let path = path.to_owned();
                return Err(MeshError::FileExists { path });
            }
        }
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&part)
            .map_err(|source| MeshError::File {
                path: part.clone(),
                source,
            })?;
        let received = Received {
            download: Download::new(first.manifest.clone()),
            file: opened,
            part,
            path: path.to_owned(),
            sources,
            asked: BTreeMap::new(),
            heard: now,
            done: 0,
            said: 0,
        };
        self.received.insert(name, received);
        let mut steps = Steps::default();
        self.go_on(name, now, &mut steps);
        Ok(steps)
    }

    /// Gives a file up, one that comes or one that is offered. `false` if there is none.
    pub(super) fn cancel(&mut self, name: Digest) -> bool {
        let received = self.received.remove(&name);
        if let Some(received) = &received {
            // What is left of it is of no use to anybody.
            let _ = fs::remove_file(&received.part);
        }
        received.is_some() | self.sent.remove(&name).is_some()
    }

    /// Takes a step of a peer.
    pub(super) fn handle(&mut self, from: PeerId, message: ChunkMessage, now: Instant) -> Steps {
        let mut steps = Steps::default();
        match message {
            ChunkMessage::Offer {
                manifest,
                title,
                mime,
            } => {
                let file = manifest.name();
                let length = manifest.length();
                if let Some(received) = self.received.get_mut(&file) {
                    if received.sources.len() < PEERS_MAX {
                        received.sources.insert(from);
                    }
                    return steps;
                }
                // Whoever offers it does not know what came.
                let is_known = |offer: &Offer| offer.from == from && offer.manifest == manifest;
                if self.offers.iter().any(is_known) {
                    return steps;
                }
                if self.offers.len() >= OFFERS_MAX {
                    self.offers.pop_front();
                }
                self.offers.push_back(Offer { from, manifest });
                steps.events.push(MeshEvent::FileOffered {
                    from,
                    file,
                    title,
                    mime,
                    length,
                });
            }
            ChunkMessage::WantPage { file, page } => {
                self.is_heard(from, file);
                let sent = self.sent.get(&file);
                let digests = sent.and_then(|sent| sent.pages.get(usize::from(page)).cloned());
                let answer = match digests {
                    Some(digests) => ChunkMessage::Page {
                        file,
                        page,
                        digests,
                    },
                    None => ChunkMessage::Missing { file },
                };
                steps.messages.push((from, answer));
            }
            ChunkMessage::WantChunk { file, chunk } => {
                self.is_heard(from, file);
                let answer = self.serve(from, file, chunk, &mut steps);
                let answer = answer.unwrap_or(ChunkMessage::Missing { file });
                steps.messages.push((from, answer));
            }
            ChunkMessage::Page {
                file,
                page,
                digests,
            } => {
                if let Some(received) = self.received.get_mut(&file)
                    && received.download.page(file, page, &digests).is_ok()
                {
                    received.asked.remove(&Part::Page(page));
                    received.heard = now;
                    self.go_on(file, now, &mut steps);
                }
            }
            ChunkMessage::Chunk { file, chunk, bytes } => {
                self.take(from, file, chunk, &bytes, now, &mut steps);
            }
            ChunkMessage::Missing { file } => {
                if let Some(received) = self.received.get_mut(&file)
                    && received.sources.remove(&from)
                    && received.sources.is_empty()
                {
                    self.cancel(file);
                    let end = MeshFileEnd::Missing;
                    steps.events.push(MeshEvent::FileFailed { file, end });
                }
            }
            _ => {}
        }
        steps
    }

    /// A peer asks for a file, so it need not be told of it.
    fn is_heard(&mut self, from: PeerId, file: Digest) {
        if let Some(sent) = self.sent.get_mut(&file) {
            sent.offers.remove(&from);
        }
    }

    fn serve(
        &mut self,
        from: PeerId,
        file: Digest,
        chunk: u32,
        steps: &mut Steps,
    ) -> Option<ChunkMessage> {
        let sent = self.sent.get_mut(&file)?;
        if u64::from(chunk) >= Manifest::chunk_count(sent.length) {
            return None;
        }
        let bytes = sent.source.chunk(chunk, sent.length).ok();
        let Some(bytes) = bytes.filter(|bytes| sent.is_as_offered(chunk, bytes)) else {
            // It was changed or went away: whoever asks goes to others, or gives up.
            self.fail(file, MeshFileEnd::Missing, steps);
            return None;
        };
        let length = sent.length;
        if sent.peers.len() < PEERS_MAX || sent.peers.contains_key(&from) {
            let (chunks, said) = sent.peers.entry(from).or_default();
            chunks.insert(chunk);
            let done = (chunks.len() as u64 * CHUNK_BYTES as u64).min(length);
            if is_worth_saying(*said, done, length) {
                *said = done;
                steps.events.push(MeshEvent::FileProgress {
                    file,
                    peer: from,
                    is_sent: true,
                    done,
                    length,
                });
            }
        }
        Some(ChunkMessage::Chunk { file, chunk, bytes })
    }

    fn take(
        &mut self,
        from: PeerId,
        file: Digest,
        chunk: u32,
        bytes: &[u8],
        now: Instant,
        steps: &mut Steps,
    ) {
        let Some(received) = self.received.get_mut(&file) else {
            return;
        };
        // What is not what its digest says is asked for again when its time has come, of whoever is next.
        let Ok(place) = received.download.chunk(file, chunk, bytes) else {
            return;
        };
        received.asked.remove(&Part::Chunk(chunk));
        received.heard = now;
        let Some(at) = place else {
            return;
        };
        let written = received
            .file
            .seek(SeekFrom::Start(at))
            .and_then(|_| received.file.write_all(bytes));
        received.done += bytes.len() as u64;
        let (done, length) = (received.done, received.download.manifest().length());
        if is_worth_saying(received.said, done, length) {
            received.said = done;
            steps.events.push(MeshEvent::FileProgress {
                file,
                peer: from,
                is_sent: false,
                done,
                length,
            });
        }
        if written.is_err() {
            self.fail(file, MeshFileEnd::Disk, steps);
        } else {
            self.go_on(file, now, steps);
        }
    }

    fn fail(&mut self, file: Digest, end: MeshFileEnd, steps: &mut Steps) {
        self.cancel(file);
        steps.events.push(MeshEvent::FileFailed { file, end });
    }

    /// Asks for more, or ends what is whole.
    fn go_on(&mut self, file: Digest, now: Instant, steps: &mut Steps) {
        let Some(received) = self.received.get_mut(&file) else {
            return;
        };
        if received.download.is_complete() {
            let kept = received.file.sync_all();
            let kept = kept.and_then(|()| rename_new(&received.part, &received.path));
            if kept.is_err() {
                self.fail(file, MeshFileEnd::Disk, steps);
                return;
            }
            let from = received.sources.first().copied();
            let path = received.path.clone();
            self.received.remove(&file);
            if let Some(from) = from {
                let event = MeshEvent::FileReceived { file, from, path };
                steps.events.push(event);
            }
            return;
        }
        let room = ASKED_MAX.saturating_sub(received.asked.len());
        let sources: Vec<_> = received.sources.iter().copied().collect();
        for part in received.download.next_parts(room) {
            received.asked.insert(part, now);
            let index = match part {
                Part::Page(page) => usize::from(page),
                Part::Chunk(chunk) => chunk as usize,
            };
            // Another try starts with another one.
            let turn = index + (now.as_nanos() / 1_000_000_000) as usize;
            let Some(source) = sources.get(turn % sources.len().max(1)) else {
                return;
            };
            let ask = match part {
                Part::Page(page) => ChunkMessage::WantPage { file, page },
                Part::Chunk(chunk) => ChunkMessage::WantChunk { file, chunk },
            };
            steps.messages.push((*source, ask));
        }
    }

    /// When [`Files::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.received.values().flat_map(|received| {
            let asked = received.asked.values().map(|at| *at + ASK_AGAIN);
            asked.chain([received.heard + SILENCE_MAX])
        });
        due.min()
    }

    /// Asks again, and gives up.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Steps {
        let mut steps = Steps::default();
        let names: Vec<_> = self.received.keys().copied().collect();
        for name in names {
            let Some(received) = self.received.get_mut(&name) else {
                continue;
            };
            if received.heard + SILENCE_MAX <= now {
                self.fail(name, MeshFileEnd::Silent, &mut steps);
                continue;
            }
            let late: Vec<_> = received
                .asked
                .iter()
                .filter(|(_, at)| **at + ASK_AGAIN <= now)
                .map(|(part, _)| *part)
                .collect();
            for part in &late {
                received.asked.remove(part);
                received.download.retry(*part);
            }
            if !late.is_empty() {
                self.go_on(name, now, &mut steps);
            }
        }
        steps
    }
}

/// Whether a hundredth more has been done since something was said, or all of it.
const fn is_worth_saying(said: u64, done: u64, length: u64) -> bool {
    done == length || done - said >= length / 100
}
