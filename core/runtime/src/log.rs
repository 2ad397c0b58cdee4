//! A task's log: lines out of what it writes, up to a limit.

use std::sync::Arc;

use fogcompute_exec::Observer;

/// Longest line; longer ones are cut into several.
const LINE_BYTES_MAX: usize = 4 << 10;

/// Passes lines on to an observer.
pub(crate) struct Log {
    observer: Arc<dyn Observer>,
    line: Vec<u8>,
    limit: u64,
    left: u64,
    is_cut: bool,
}

impl Log {
    pub(crate) fn new(observer: Arc<dyn Observer>, limit: u64) -> Self {
        Self {
            observer,
            line: Vec::new(),
            limit,
            left: limit,
            is_cut: false,
        }
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    /// Takes what the task wrote. What is over the limit is dropped.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let kept = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.left -= kept as u64;
        for byte in &bytes[..kept] {
            if *byte == b'\n' {
                self.end_line();
                continue;
            }
            self.line.push(*byte);
            if self.line.len() == LINE_BYTES_MAX {
                self.end_line();
            }
        }
        if kept < bytes.len() && !self.is_cut {
            self.is_cut = true;
            self.flush();
            let limit = self.limit;
            self.observer
                .log(&format!("log ends here: its limit is {limit} bytes"));
        }
    }

    /// Passes on what has no end of line yet.
    pub(crate) fn flush(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let clean = |char: char| {
            if char.is_control() && char != '\t' {
                '?'
            } else {
                char
            }
        };
        let line: String = text.trim_end_matches('\r').chars().map(clean).collect();
        self.line.clear();
        self.observer.log(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_exec::Checkpoint;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Observer for Lines {
        fn log(&self, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
        fn progress(&self, _: u16) {}
        fn checkpoint(&self, _: Checkpoint) {}
    }

    fn lines(limit: u64, writes: &[&[u8]]) -> Vec<String> {
        let lines = Arc::new(Lines::default());
        let mut log = Log::new(lines.clone(), limit);
        for write in writes {
            log.write(write);
        }
        log.flush();
        drop(log);
        Arc::into_inner(lines).unwrap().0.into_inner().unwrap()
    }

    #[test]
    fn lines_are_put_together_and_cleaned() {
        let written = lines(100, &[b"one\ntw", b"o\r\n\n", b"\x1b[31mred\xff"]);
        assert_eq!(written, ["one", "two", "", "?[31mred\u{fffd}"]);
    }

    #[test]
    fn what_is_over_the_limit_is_dropped_and_said_once() {
        let written = lines(5, &[b"abc\nde", b"f\n", b"ghi\n"]);
        assert_eq!(written, ["abc", "d", "log ends here: its limit is 5 bytes"]);
    }

    #[test]
    fn endless_line_is_cut() {
        let written = lines(10_000, &[&[b'x'; 9_000]]);
        assert_eq!(
            written.iter().map(String::len).collect::<Vec<_>>(),
            [4_096, 4_096, 808]
        );
    }
}
