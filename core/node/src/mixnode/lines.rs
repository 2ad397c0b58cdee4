//! Lines for the operator, written where nothing waits for them.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that wait while nobody reads them. What is beyond is dropped.
const LINES_MAX: usize = 256;
/// How long the end of a run waits for the last lines to be written.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);

/// Lines for the operator. A thread of its own writes them, so that a node goes on when nobody
/// reads its standard output: a pipe whose reader has stopped takes no more once it is full.
#[derive(Debug)]
pub(super) struct Lines {
    sender: Option<SyncSender<String>>,
    /// Never gets anything, but ends with the thread.
    written: Receiver<()>,
    /// Lines dropped since the last one that was not.
    dropped: u64,
}

impl Lines {
    /// Lines to the standard output.
    pub(super) fn to_stdout() -> io::Result<Self> {
        Self::new(io::stdout())
    }

    fn new(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, lines) = sync_channel::<String>(LINES_MAX);
        let (end, written) = sync_channel(1);
        thread::Builder::new()
            .name("fog-lines".to_owned())
            .spawn(move || {
                for line in lines {
                    // A reader that has gone away stops nothing.
                    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                }
                drop(end);
            })?;
        Ok(Self {
            sender: Some(sender),
            written,
            dropped: 0,
        })
    }

    /// Has a line written, or drops it when too many wait. How many were dropped is the first that
    /// is written when some are read again.
    pub(super) fn say(&mut self, line: &str) {
        if self.dropped > 0 {
            let count = self.dropped;
            if !self.send(format!("{count} lines were dropped, for nobody read them")) {
                self.dropped += 1;
                return;
            }
            self.dropped = 0;
        }
        if !self.send(line.to_owned()) {
            self.dropped += 1;
        }
    }

    fn send(&self, line: String) -> bool {
        let Some(sender) = &self.sender else {
            unreachable!("only its end takes the sender away");
        };
        match sender.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

/// Waits for the last lines, but not long: nobody may be there to read them.
impl Drop for Lines {
    fn drop(&mut self) {
        self.sender = None;
        match self.written.recv_timeout(LAST_LINES_MAX) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Who says when there is something to read, reads only when it is told to, and passes on what
    /// it has read.
    struct Reader {
        offered: Sender<()>,
        may_read: Receiver<()>,
        read: Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.offered.send(());
            // Nobody tells it any more: it reads all.
            let _ = self.may_read.recv();
            let _ = self.read.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Lines, the end that is told of each offer, the end that lets it be read, and what was read.
    fn reader() -> (Lines, Receiver<()>, Sender<()>, Receiver<Vec<u8>>) {
        let (offered, offers) = channel();
        let (tell, may_read) = channel();
        let (read, text) = channel();
        let lines = Lines::new(Reader {
            offered,
            may_read,
            read,
        })
        .unwrap();
        (lines, offers, tell, text)
    }

    #[test]
    fn whoever_says_something_does_not_wait_for_who_does_not_read() {
        // The node's main task waited for the standard output, and neither /metrics nor SIGTERM were
        // served.
        let (mut lines, offers, tell, text) = reader();
        let said = 3 * LINES_MAX;
        lines.say("line 0");
        // It is in the writer's hand now, and takes no room among those that wait.
        offers.recv().unwrap();
        for number in 1..said {
            lines.say(&format!("line {number}"));
        }
        assert_eq!(lines.dropped as usize, said - 1 - LINES_MAX);
        drop(tell);
        // Lines are written now; those that still find no room are counted as well.
        let mut more = 0;
        while lines.dropped > 0 {
            lines.say("more");
            more += 1;
        }
        drop(lines);
        let text: Vec<u8> = text.iter().flatten().collect();
        let text = String::from_utf8(text).unwrap();
        let count = |part: &str| text.lines().filter(|line| line.contains(part)).count();
        let told = text.lines().filter(|line| line.contains("were dropped"));
        let told = told.map(|line| line.split_once(' ').unwrap().0.parse::<usize>().unwrap());
        let told: usize = told.sum();
        assert_eq!(count("line ") + count("more") + told, said + more);
        assert!(text.starts_with("line 0\nline 1\n"), "{text}");
    }

    #[test]
    fn the_end_waits_for_lines_that_are_read_and_not_for_ever_for_others() {
        let (mut lines, _, tell, text) = reader();
        lines.say("last");
        drop(tell);
        drop(lines);
        assert_eq!(text.iter().flatten().collect::<Vec<_>>(), b"last\n");
        let (mut lines, _, tell, text) = reader();
        lines.say("never read");
        drop(lines);
        assert!(text.try_recv().is_err());
        drop(tell);
    }
}
