//! Files under a root.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Most of a file that is read, in bytes. `/proc/stat` of a machine with hundreds of processors is
/// tens of kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 16_384;

/// Small files under one root; whatever cannot be read is `None`.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The file's text without white space around it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = String::from_utf8(read(&self.root.join(path))?).ok()?;
        Some(text.trim().to_owned())
    }

    /// The file's text as a number.
    pub(super) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The bytes of a file that may be an absolute link: such a link means a place under this
    /// root, not under the root of the process.
    pub(super) fn bytes_of_link(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.root.join(path);
        match fs::read_link(&path) {
            Ok(target) => match target.strip_prefix("/") {
                Ok(target) => read(&self.root.join(target)),
                Err(_) => read(&path),
            },
            Err(_) => read(&path),
        }
    }

    /// Names in a folder, in order.
    pub(super) fn entries(&self, path: &str) -> Option<Vec<String>> {
        let mut names: Vec<String> = fs::read_dir(self.root.join(path))
            .ok()?
            .take(ENTRIES_MAX)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Some(names)
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not `fs::read`: a driver's file may have no end.
    File::open(path)
        .ok()?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}
