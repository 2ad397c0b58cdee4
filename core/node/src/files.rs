//! Files that are written whole.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

/// Who may read a file, as far as the process's mask allows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Readers {
    /// As any file the user makes.
    Everybody,
    /// Keys, and what was seen under them.
    Owner,
}

/// How temporary names begin and end.
const PART: [&str; 2] = [".fogcompute-", ".part"];

/// Writes a file whole or not at all, and returns when it is on the disk under its name. Its
/// temporary name is its own, and goes with a failure.
pub(crate) fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let mut file = part(path, readers)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder(folder_of(path))
}

/// A file that is written bit by bit, and has its name once it is whole. What is there under that
/// name stays.
#[derive(Debug)]
pub(crate) struct NewFile<'a> {
    path: &'a Path,
    part: NamedTempFile,
}

impl<'a> NewFile<'a> {
    /// Begins it under a temporary name of its own, which goes if it is not finished.
    pub(crate) fn begin(path: &'a Path, readers: Readers) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let part = part(path, readers)?;
        Ok(Self { path, part })
    }

    /// Gives it its name, and returns when it is on the disk.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.part.as_file().sync_all()?;
        self.part.persist_noclobber(self.path)?;
        sync_folder(folder_of(self.path))
    }
}

impl Write for NewFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.part.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.part.flush()
    }
}

/// A file with a temporary name in the folder of `path`.
fn part(path: &Path, readers: Readers) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PART[0]).suffix(PART[1]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = match readers {
            Readers::Everybody => 0o666,
            Readers::Owner => 0o600,
        };
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = readers;
    // What is wrong is told of the name that was given, not of a temporary one.
    (builder.tempfile_in(folder_of(path))).map_err(|error| io::Error::from(error.kind()))
}

/// Gives a file another name in its folder, and returns when that is on the disk.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    sync_folder(folder_of(to))
}

/// Gives a file another name in its folder that nothing has yet. It is not looked for whether that is on the disk.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = TempPath::try_from_path(from)?;
    // What fails leaves it where it is: whose it is decides what becomes of it.
    from.disable_cleanup(true);
    from.persist_noclobber(to).map_err(|failed| failed.error)
}

/// Removes what processes that were killed while they wrote have left in a folder. One that writes
/// there at this moment fails.
pub(crate) fn remove_parts(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_part = |name: &str| name.starts_with(PART[0]) && name.ends_with(PART[1]);
        if !name.to_str().is_some_and(is_part) {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().unwrap_or(Path::new("."));
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// A new name survives a power cut only when its folder was written. Elsewhere than on Unix folders
/// cannot be opened for that.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fog.png");
        replace(&path, b"first", Readers::Everybody).unwrap();
        replace(&path, b"second", Readers::Everybody).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        // A target that cannot be replaced: the temporary file had stayed.
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        std::fs::write(taken.join("file"), b"").unwrap();
        assert!(replace(&taken, b"third", Readers::Everybody).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_new_file_is_there_when_it_is_whole_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        let begin = || NewFile::begin(&path, Readers::Owner);
        let mut file = begin().unwrap();
        file.write_all(b"first").unwrap();
        assert!(!path.exists());
        let second = begin().unwrap();
        file.finish().unwrap();
        let there = io::ErrorKind::AlreadyExists;
        assert_eq!(second.finish().unwrap_err().kind(), there);
        assert_eq!(begin().unwrap_err().kind(), there);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_left_half_written_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            ".fogcompute-a1.part",
            ".fogcompute-a1",
            "b.part",
            "identity.key",
        ];
        for name in names {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        remove_parts(folder.path()).unwrap();
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, true, true, true]);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_what_the_mask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("a"), folder.path().join("b"));
        replace(&ours, b"", Readers::Everybody).unwrap();
        std::fs::write(&plain, b"").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
