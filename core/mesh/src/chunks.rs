//! Ours: files in chunks that are named by what is in them.
//!
//! A file is cut into chunks of 64 KiB. Each has a BLAKE3 digest; 1,024 digests are a page; the digests of
//! the pages and the length make the file's name. Whoever knows the name can take pages and chunks from
//! anybody, in any order, and check each at once. So a transfer goes on where it was, and takes from several
//! sources. The messages travel inside Noise sessions, to peers whose announce has
//! [`Capabilities::CHUNKS`](crate::Capabilities::CHUNKS).

use std::collections::BTreeSet;

use fogcompute_base::Digest;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use thiserror::Error;

use crate::tlv::FormatError;

/// Length of a chunk, but the last one, in bytes.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Digests of a page, but the last one.
pub const PAGE_CHUNKS: usize = 1024;
/// Longest file, in bytes.
pub const CHUNKED_BYTES_MAX: u64 = 1 << 30;
/// Most pages of a file.
const PAGES_MAX: usize = 16;
/// Longest name and longest media type, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

const NAME_CONTEXT: &str = "fogcompute mesh 2026 file name";
const PAGE_CONTEXT: &str = "fogcompute mesh 2026 file page";
const CHUNK_CONTEXT: &str = "fogcompute mesh 2026 file chunk";

/// What a file is: its length, and the digests of its pages. Its digest names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    length: u64,
    pages: Vec<Digest>,
}

impl Manifest {
    /// Chunks of a file of this length.
    #[must_use]
    pub const fn chunk_count(length: u64) -> u64 {
        length.div_ceil(CHUNK_BYTES as u64)
    }

    /// The file's length in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The digests of its pages.
    #[must_use]
    pub fn pages(&self) -> &[Digest] {
        &self.pages
    }

    /// The file's name.
    #[must_use]
    pub fn name(&self) -> Digest {
        let mut writer = Writer::new();
        writer.u64(self.length);
        for page in &self.pages {
            writer.raw(page.as_bytes());
        }
        Digest::derive(NAME_CONTEXT, &writer.finish())
    }

    /// A manifest of these parts.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] if the file is, [`FormatError::Value`] if it has not this many pages.
    pub fn from_parts(length: u64, pages: Vec<Digest>) -> Result<Self, FormatError> {
        if length > CHUNKED_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: usize::try_from(length).unwrap_or(usize::MAX),
                limit: usize::try_from(CHUNKED_BYTES_MAX).unwrap_or(usize::MAX),
            });
        }
        if pages.len() as u64 != Self::chunk_count(length).div_ceil(PAGE_CHUNKS as u64) {
            return Err(FormatError::Value { tag: 0 });
        }
        Ok(Self { length, pages })
    }
}

/// Makes the manifest of a file from its chunks, in their order.
#[derive(Debug, Default)]
pub struct ManifestBuilder {
    length: u64,
    digests: Vec<Digest>,
}

impl ManifestBuilder {
    /// Takes the next chunk: [`CHUNK_BYTES`], but for the last one.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] if the file is, or the chunk; [`FormatError::Length`] if a chunk follows one
    /// that was short, or is empty.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        let before = self.digests.len() as u64 * CHUNK_BYTES as u64;
        if bytes.is_empty() || bytes.len() > CHUNK_BYTES || before != self.length {
            return Err(FormatError::Length {
                tag: 0,
                actual: bytes.len(),
            });
        }
        if self.length + bytes.len() as u64 > CHUNKED_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: bytes.len(),
                limit: usize::try_from(CHUNKED_BYTES_MAX - self.length).unwrap_or(usize::MAX),
            });
        }
        self.length += bytes.len() as u64;
        self.digests.push(chunk_digest(bytes));
        Ok(())
    }

    /// The manifest, and the digests of the chunks, page by page.
    #[must_use]
    pub fn finish(self) -> (Manifest, Vec<Vec<Digest>>) {
        let pages: Vec<_> = self
            .digests
            .chunks(PAGE_CHUNKS)
            .map(<[Digest]>::to_vec)
            .collect();
        let manifest = Manifest {
            length: self.length,
            pages: pages.iter().map(|page| page_digest(page)).collect(),
        };
        (manifest, pages)
    }
}

/// The digest of a chunk, as the page that it is of has it.
#[must_use]
pub fn chunk_digest(bytes: &[u8]) -> Digest {
    Digest::derive(CHUNK_CONTEXT, bytes)
}

fn page_digest(page: &[Digest]) -> Digest {
    let bytes: Vec<u8> = page.iter().flat_map(|digest| *digest.as_bytes()).collect();
    Digest::derive(PAGE_CONTEXT, &bytes)
}

/// A step of a transfer. A byte for its kind; then, numbers big-endian, texts after a `u32` for their length:
///
/// | kind | body |
/// |---|---|
/// | 1 offer | length `u64`, pages: a byte and 32 bytes each, name, media type |
/// | 2 ask for a page | file 32, page `u16` |
/// | 3 page | file 32, page `u16`, digests: `u16` and 32 bytes each |
/// | 4 ask for a chunk | file 32, chunk `u32` |
/// | 5 chunk | file 32, chunk `u32`, bytes after a `u32` for their length |
/// | 6 not here | file 32 |
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChunkMessage {
    /// There is a file.
    Offer {
        /// What it is.
        manifest: Manifest,
        /// What it is called. It came from somebody else: no path to write to.
        title: String,
        /// Its media type.
        mime: String,
    },
    /// Asks for the digests of a page.
    WantPage {
        /// The file.
        file: Digest,
        /// The page.
        page: u16,
    },
    /// The digests of a page.
    Page {
        /// The file.
        file: Digest,
        /// The page.
        page: u16,
        /// Of its chunks.
        digests: Vec<Digest>,
    },
    /// Asks for a chunk.
    WantChunk {
        /// The file.
        file: Digest,
        /// The chunk.
        chunk: u32,
    },
    /// A chunk.
    Chunk {
        /// The file.
        file: Digest,
        /// The chunk.
        chunk: u32,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The file, or what was asked for of it, is not here.
    Missing {
        /// The file.
        file: Digest,
    },
}

impl ChunkMessage {
    /// Reads a body.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let message = match kind {
            1 => {
                let length = reader.u64()?;
                let count = usize::from(reader.u8()?);
                let pages = read_digests(&mut reader, count, PAGES_MAX)?;
                Self::Offer {
                    manifest: Manifest::from_parts(length, pages)?,
                    title: reader.text(TEXT_BYTES_MAX)?.to_owned(),
                    mime: reader.text(TEXT_BYTES_MAX)?.to_owned(),
                }
            }
            2..=6 => {
                let file = Digest::from_bytes(reader.array()?);
                match kind {
                    2 => Self::WantPage {
                        file,
                        page: reader.u16()?,
                    },
                    3 => {
                        let page = reader.u16()?;
                        let count = usize::from(reader.u16()?);
                        Self::Page {
                            file,
                            page,
                            digests: read_digests(&mut reader, count, PAGE_CHUNKS)?,
                        }
                    }
                    4 => Self::WantChunk {
                        file,
                        chunk: reader.u32()?,
                    },
                    5 => Self::Chunk {
                        file,
                        chunk: reader.u32()?,
                        bytes: reader.bytes(CHUNK_BYTES)?.to_vec(),
                    },
                    _ => Self::Missing { file },
                }
            }
            _ => {
                return Err(FormatError::Decode(DecodeError::Unknown {
                    at: 0,
                    value: kind.into(),
                }));
            }
        };
        reader.finish()?;
        Ok(message)
    }

    /// The body.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] if a text, a page or a chunk is.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let within = |actual: usize, limit: usize| {
            if actual > limit {
                Err(FormatError::TooLong { actual, limit })
            } else {
                Ok(())
            }
        };
        let mut writer = Writer::new();
        match self {
            Self::Offer {
                manifest,
                title,
                mime,
            } => {
                within(title.len().max(mime.len()), TEXT_BYTES_MAX)?;
                writer.u8(1);
                writer.u64(manifest.length);
                writer.u8(u8::try_from(manifest.pages.len()).expect("a GiB has 16 pages"));
                for page in &manifest.pages {
                    writer.raw(page.as_bytes());
                }
                writer.text(title);
                writer.text(mime);
            }
            Self::WantPage { file, page } => {
                writer.u8(2);
                writer.raw(file.as_bytes());
                writer.u16(*page);
            }
            Self::Page {
                file,
                page,
                digests,
            } => {
                within(digests.len(), PAGE_CHUNKS)?;
                writer.u8(3);
                writer.raw(file.as_bytes());
                writer.u16(*page);
                writer.u16(u16::try_from(digests.len()).expect("1,024 was the limit"));
                for digest in digests {
                    writer.raw(digest.as_bytes());
                }
            }
            Self::WantChunk { file, chunk } => {
                writer.u8(4);
                writer.raw(file.as_bytes());
                writer.u32(*chunk);
            }
            Self::Chunk { file, chunk, bytes } => {
                within(bytes.len(), CHUNK_BYTES)?;
                writer.u8(5);
                writer.raw(file.as_bytes());
                writer.u32(*chunk);
                writer.bytes(bytes);
            }
            Self::Missing { file } => {
                writer.u8(6);
                writer.raw(file.as_bytes());
            }
        }
        Ok(writer.finish())
    }
}

fn read_digests(
    reader: &mut Reader<'_>,
    count: usize,
    limit: usize,
) -> Result<Vec<Digest>, FormatError> {
    if count > limit {
        return Err(FormatError::TooLong {
            actual: count,
            limit,
        });
    }
    let bytes = reader.take(count * Digest::LEN)?;
    let digests = bytes.as_chunks().0.iter().copied();
    Ok(digests.map(Digest::from_bytes).collect())
}

/// Why a part of a file is not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DownloadError {
    /// It is of another file, or the file has no such part.
    #[error("no such part of this file")]
    NotOfThis,
    /// It is not what its digest says. Who sent it lies, or its disk does.
    #[error("part of the file does not have its digest")]
    Digest,
    /// A chunk came before its page.
    #[error("the page of chunk {chunk} is not known yet")]
    PageUnknown {
        /// The chunk.
        chunk: u32,
    },
    /// What was saved is not of this version, or does not fit together.
    #[error("saved transfer is malformed")]
    Saved,
}

/// A part of a file to ask for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// The digests of a page.
    Page(u16),
    /// A chunk.
    Chunk(u32),
}

const SAVED_VERSION: u8 = 1;

/// What of a file is here and what is asked for. The bytes are with the host.
#[derive(Clone, Debug)]
pub struct Download {
    manifest: Manifest,
    name: Digest,
    /// Digests of the pages that are known.
    pages: Vec<Option<Vec<Digest>>>,
    /// A bit for each chunk that is here.
    have: Vec<bool>,
    asked: BTreeSet<Part>,
}

impl Download {
    /// Nothing of a file yet.
    #[must_use]
    pub fn new(manifest: Manifest) -> Self {
        let chunks = Manifest::chunk_count(manifest.length);
        Self {
            name: manifest.name(),
            pages: vec![None; manifest.pages.len()],
            have: vec![false; usize::try_from(chunks).expect("a GiB has 16,384 chunks")],
            asked: BTreeSet::new(),
            manifest,
        }
    }

    /// The file's name.
    #[must_use]
    pub const fn name(&self) -> Digest {
        self.name
    }

    /// What it is.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Chunks that are here, and all of them.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let here = self.have.iter().filter(|have| **have).count();
        (here, self.have.len())
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.have.iter().all(|have| *have)
    }

    /// Up to `count` parts that are not here and that nobody was asked for; the caller asks one of the
    /// sources for each. Ask several sources for different ones.
    pub fn next_parts(&mut self, count: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        for (page, digests) in self.pages.iter().enumerate() {
            let first = page * PAGE_CHUNKS;
            if digests.is_none() {
                parts.push(Part::Page(u16::try_from(page).expect("a GiB has 16 pages")));
                continue;
            }
            let last = (first + PAGE_CHUNKS).min(self.have.len());
            parts.extend(
                (first..last)
                    .filter(|chunk| !self.have[*chunk])
                    .map(|chunk| {
                        Part::Chunk(u32::try_from(chunk).expect("a GiB has 16,384 chunks"))
                    }),
            );
        }
        parts.retain(|part| !self.asked.contains(part));
        parts.truncate(count);
        self.asked.extend(&parts);
        parts
    }

    /// A source did not answer, or does not have it: somebody else is to be asked.
    pub fn retry(&mut self, part: Part) {
        self.asked.remove(&part);
    }

    /// Takes the digests of a page.
    ///
    /// # Errors
    /// [`DownloadError::NotOfThis`], [`DownloadError::Digest`].
    pub fn page(
        &mut self,
        file: Digest,
        page: u16,
        digests: &[Digest],
    ) -> Result<(), DownloadError> {
        let index = usize::from(page);
        let expected = self
            .manifest
            .pages
            .get(index)
            .filter(|_| file == self.name)
            .ok_or(DownloadError::NotOfThis)?;
        self.asked.remove(&Part::Page(page));
        let chunks = (self.have.len() - index * PAGE_CHUNKS).min(PAGE_CHUNKS);
        if digests.len() != chunks || page_digest(digests) != *expected {
            return Err(DownloadError::Digest);
        }
        self.pages[index] = Some(digests.to_vec());
        Ok(())
    }

    /// Takes a chunk; gives where in the file its bytes belong, for the host to write them there, or nothing
    /// if it was here.
    ///
    /// # Errors
    /// [`DownloadError::NotOfThis`], [`DownloadError::PageUnknown`], [`DownloadError::Digest`].
    pub fn chunk(
        &mut self,
        file: Digest,
        chunk: u32,
        bytes: &[u8],
    ) -> Result<Option<u64>, DownloadError> {
        let index = usize::try_from(chunk)
            .ok()
            .filter(|index| file == self.name && *index < self.have.len())
            .ok_or(DownloadError::NotOfThis)?;
        self.asked.remove(&Part::Chunk(chunk));
        let expected = self.pages[index / PAGE_CHUNKS]
            .as_ref()
            .map(|page| page[index % PAGE_CHUNKS])
            .ok_or(DownloadError::PageUnknown { chunk })?;
        if chunk_digest(bytes) != expected {
            return Err(DownloadError::Digest);
        }
        let new = !std::mem::replace(&mut self.have[index], true);
        Ok(new.then_some(u64::from(chunk) * CHUNK_BYTES as u64))
    }

    /// What must be kept so that the transfer goes on after a restart: version 1; length `u64`; a byte for
    /// the number of pages and 32 bytes each; a bit for each chunk that is here, the lowest first.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(SAVED_VERSION);
        writer.u64(self.manifest.length);
        writer.u8(u8::try_from(self.manifest.pages.len()).expect("a GiB has 16 pages"));
        for page in &self.manifest.pages {
            writer.raw(page.as_bytes());
        }
        for bits in self.have.chunks(8) {
            let byte = bits
                .iter()
                .rev()
                .fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            writer.u8(byte);
        }
        writer.finish()
    }

    /// Goes on with what was saved. Pages are asked for again.
    ///
    /// # Errors
    /// [`DownloadError::Saved`].
    pub fn restore(bytes: &[u8]) -> Result<Self, DownloadError> {
        let bad = DownloadError::Saved;
        let mut reader = Reader::new(bytes);
        let mut head = || -> Result<Manifest, FormatError> {
            let version = reader.u8()?;
            let length = reader.u64()?;
            let count = usize::from(reader.u8()?);
            let pages = read_digests(&mut reader, count, PAGES_MAX)?;
            if version != SAVED_VERSION {
                return Err(FormatError::Value { tag: version });
            }
            Manifest::from_parts(length, pages)
        };
        let mut download = Self::new(head().map_err(|_| bad)?);
        let count = download.have.len();
        for bits in download.have.chunks_mut(8) {
            let byte = reader.u8().map_err(|_| bad)?;
            for (index, bit) in bits.iter_mut().enumerate() {
                *bit = byte >> index & 1 == 1;
            }
            // Bits beyond the last chunk mean nothing.
            if bits.len() < 8 && byte >> bits.len() != 0 {
                return Err(bad);
            }
        }
        reader.finish().map_err(|_| bad)?;
        debug_assert_eq!(download.have.len(), count);
        Ok(download)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + at / 7000) as u8).collect()
    }

    fn manifest(file: &[u8]) -> (Manifest, Vec<Vec<Digest>>) {
        let mut builder = ManifestBuilder::default();
        for chunk in file.chunks(CHUNK_BYTES) {
            builder.chunk(chunk).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn a_transfer_goes_on_after_a_restart_and_takes_each_part_once() {
        let file = file(5 * CHUNK_BYTES + 1);
        let (manifest, pages) = manifest(&file);
        let name = manifest.name();
        let mut download = Download::new(manifest.clone());
        let mut received = vec![0; file.len()];
        let mut restarts = 0;
        loop {
            let parts = download.next_parts(2);
            if parts.is_empty() {
                break;
            }
            for part in parts {
                match part {
                    Part::Page(page) => {
                        let digests = &pages[usize::from(page)];
                        download.page(name, page, digests).unwrap();
                    }
                    Part::Chunk(chunk) => {
                        let from = usize::try_from(chunk).unwrap() * CHUNK_BYTES;
                        let bytes = &file[from..file.len().min(from + CHUNK_BYTES)];
                        let at = download.chunk(name, chunk, bytes).unwrap().unwrap();
                        assert_eq!(at, from as u64);
                        received[from..from + bytes.len()].copy_from_slice(bytes);
                        assert_eq!(download.chunk(name, chunk, bytes), Ok(None));
                    }
                }
            }
            if download.progress().0 == 2 && restarts == 0 {
                download = Download::restore(&download.save()).unwrap();
                assert_eq!(download.progress(), (2, 6));
                restarts += 1;
            }
        }
        assert!(download.is_complete());
        assert_eq!((received == file, restarts), (true, 1));
    }

    #[test]
    fn what_is_not_of_the_file_is_not_taken() {
        let (manifest, pages) = manifest(&file(CHUNK_BYTES + 1));
        let name = manifest.name();
        let mut download = Download::new(manifest);
        let other = Digest::of(b"other");
        assert_eq!(
            download.chunk(name, 0, &[1]),
            Err(DownloadError::PageUnknown { chunk: 0 })
        );
        assert_eq!(
            download.page(other, 0, &pages[0]),
            Err(DownloadError::NotOfThis)
        );
        assert_eq!(
            download.page(name, 1, &pages[0]),
            Err(DownloadError::NotOfThis)
        );
        assert_eq!(
            download.page(name, 0, &[other, other]),
            Err(DownloadError::Digest)
        );
        download.page(name, 0, &pages[0]).unwrap();
        assert_eq!(download.chunk(name, 0, &[1]), Err(DownloadError::Digest));
        assert_eq!(download.chunk(name, 2, &[1]), Err(DownloadError::NotOfThis));
        assert_eq!(download.progress(), (0, 2));
        // Nobody else is asked until the caller says that the one that was asked does not answer.
        assert_eq!(download.next_parts(1), [Part::Chunk(0)]);
        assert_eq!(download.next_parts(9), [Part::Chunk(1)]);
        download.retry(Part::Chunk(0));
        assert_eq!(download.next_parts(9), [Part::Chunk(0)]);
    }

    #[test]
    fn lengths_and_pages_belong_together() {
        let page = Digest::of(b"");
        assert!(Manifest::from_parts(1, vec![]).is_err());
        assert!(Manifest::from_parts(0, vec![page]).is_err());
        assert!(Manifest::from_parts(CHUNKED_BYTES_MAX, vec![page; 16]).is_ok());
        assert!(Manifest::from_parts(CHUNKED_BYTES_MAX + 1, vec![page; 17]).is_err());
        let mut builder = ManifestBuilder::default();
        builder.chunk(&[1]).unwrap();
        assert!(builder.chunk(&[1]).is_err());
        assert!(ManifestBuilder::default().chunk(&[]).is_err());
        let empty = Download::new(ManifestBuilder::default().finish().0);
        assert!(empty.is_complete());
    }

    #[test]
    fn every_message_round_trips() {
        let (manifest, mut pages) = manifest(&file(3 * CHUNK_BYTES));
        let file = manifest.name();
        for message in [
            ChunkMessage::Offer {
                manifest,
                title: "a".to_owned(),
                mime: "b/c".to_owned(),
            },
            ChunkMessage::WantPage { file, page: 3 },
            ChunkMessage::Page {
                file,
                page: 0,
                digests: pages.remove(0),
            },
            ChunkMessage::WantChunk { file, chunk: 9 },
            ChunkMessage::Chunk {
                file,
                chunk: 9,
                bytes: vec![1, 2],
            },
            ChunkMessage::Missing { file },
        ] {
            assert_eq!(
                ChunkMessage::decode(&message.encode().unwrap()),
                Ok(message)
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(message) = ChunkMessage::decode(&bytes) {
                prop_assert_eq!(message.encode().unwrap(), bytes.clone());
            }
            if let Ok(download) = Download::restore(&bytes) {
                prop_assert_eq!(download.save(), bytes);
            }
        }
    }
}
