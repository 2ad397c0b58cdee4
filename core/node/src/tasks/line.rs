//! The socket beside a file of tasks, through which other processes ask the one that has the file.
//!
//! One question and one answer a connection. Each is a text in JSON and then bytes: a part is its
//! length, 4 bytes big-endian, and as many bytes; a question says with 4 bytes more how many parts
//! follow its text. Both sides are of one version of this program, or do not understand each other.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::limits::{JOB_TASKS_MAX, MESSAGE_BYTES_MAX};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::question::{Answer, Question, answer};
use crate::worker::Worker;

/// How long a question may take to arrive.
const ASK_MAX: Duration = Duration::from_secs(30);

/// Most parts of a question: a module, and the inputs of a job.
const PARTS_MAX: usize = JOB_TASKS_MAX + 1;

/// Where the worker that has a file is asked.
fn socket_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".socket");
    PathBuf::from(name)
}

/// Where a worker is asked. The socket goes with it.
#[derive(Debug)]
pub(super) struct Line {
    listener: UnixListener,
    path: PathBuf,
}

impl Line {
    /// Begins to listen, in place of whoever had the file before.
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        let path = socket_of(file);
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Nobody else can reach it before its own permissions are set.
        let private = tempfile::Builder::new()
            .prefix(".fogcompute-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(folder)?;
        let draft = private.path().join("s");
        let listener = UnixListener::bind(&draft)?;
        fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
        fs::rename(&draft, &path)?;
        Ok(Self { listener, path })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // What stays is found to be dead by who dials it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers one question, unless whoever asked goes away.
pub(super) async fn serve(worker: Arc<Worker>, stream: UnixStream) {
    let (mut reader, mut writer) = stream.into_split();
    let Ok(Ok((question, parts))) = tokio::time::timeout(ASK_MAX, hear(&mut reader)).await else {
        return;
    };
    let (said, body) = tokio::select! {
        answered = answer(&worker, question, parts) => answered,
        // Nothing follows a question but the end of the connection.
        _ = reader.read_u8() => return,
    };
    let Ok(said) = serde_json::to_vec(&said) else {
        return;
    };
    let mut bytes = Vec::new();
    if part(&mut bytes, &said).is_ok() && part(&mut bytes, &body).is_ok() {
        // Who does not listen any more misses it.
        let _ = writer.write_all(&bytes).await;
    }
}

async fn hear(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<(Question, Vec<Vec<u8>>)> {
    let question = serde_json::from_slice(&hear_part(reader).await?)?;
    let count = reader.read_u32().await? as usize;
    if count > PARTS_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut parts = Vec::new();
    for _ in 0..count {
        parts.push(hear_part(reader).await?);
    }
    Ok((question, parts))
}

async fn hear_part(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let len = reader.read_u32().await?;
    if len as usize > MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    reader.take(len.into()).read_to_end(&mut bytes).await?;
    if bytes.len() < len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.extend(len.to_be_bytes());
    out.extend(bytes);
    Ok(())
}

/// Asks the worker that has the file; `None` if none listens.
pub(super) fn ask(
    file: &Path,
    question: &Question,
    parts: &[Vec<u8>],
) -> io::Result<Option<(Answer, Vec<u8>)>> {
    let mut stream = match Stream::connect(socket_of(file)) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    part(&mut bytes, &serde_json::to_vec(question)?)?;
    let count = u32::try_from(parts.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    bytes.extend(count.to_be_bytes());
    stream.write_all(&bytes)?;
    for bytes in parts {
        let mut framed = Vec::new();
        part(&mut framed, bytes)?;
        stream.write_all(&framed)?;
    }
    let said = read_part(&mut stream)?;
    let body = read_part(&mut stream)?;
    Ok(Some((serde_json::from_slice(&said)?, body)))
}

fn read_part(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
