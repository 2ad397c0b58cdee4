//! A program on a terminal that is not there, and what is on its screen.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A program that runs on a terminal, killed when it is dropped.
pub(super) struct Terminal {
    pub(super) process: Child,
    /// Where keys go, and what is drawn comes from.
    line: File,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts it on a screen of so many rows and columns.
    pub(super) fn start(program: &str, arguments: &[&str], size: (u16, u16)) -> Self {
        let line = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&line).unwrap();
        unlockpt(&line).unwrap();
        let name = ptsname(&line, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .custom_flags(OpenptFlags::NOCTTY.bits().cast_signed())
            .open(OsStr::from_bytes(name.as_bytes()))
            .unwrap();
        tcsetwinsize(&line, winsize(size)).unwrap();
        // The terminal is to be its own, and not the one that the tests were started from.
        let process = Command::new("setsid")
            .args(["--ctty", program])
            .args(arguments)
            .env("TERM", "xterm-256color")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal)
            .spawn()
            .unwrap();
        Self {
            process,
            line: line.into(),
            screen: vt100::Parser::new(cells(size.0), cells(size.1), 0),
        }
    }

    pub(super) fn write(&mut self, keys: &str) {
        self.line.write_all(keys.as_bytes()).unwrap();
    }

    pub(super) fn resize(&mut self, size: (u16, u16)) {
        let screen = self.screen.screen_mut();
        screen.set_size(cells(size.0), cells(size.1));
        tcsetwinsize(&self.line, winsize(size)).unwrap();
    }

    /// Waits until something holds of what is on the screen.
    pub(super) fn until(&mut self, holds: impl Fn(&str) -> bool) {
        let patience = Timespec {
            tv_sec: 120,
            tv_nsec: 0,
        };
        loop {
            let shown = self.screen.screen().contents();
            if holds(&shown) {
                return;
            }
            let mut drawn = [PollFd::new(&self.line, PollFlags::IN)];
            let events = poll(&mut drawn, Some(&patience)).unwrap();
            assert_ne!(events, 0, "nothing more is drawn on\n{shown}");
            assert!(self.read(), "it ended, and shows\n{shown}");
        }
    }

    /// Takes what was drawn; `false` if nothing more is.
    fn read(&mut self) -> bool {
        let mut drawn = [0; 4096];
        // A terminal that nobody has open any more is an error.
        match self.line.read(&mut drawn) {
            Ok(length) if length > 0 => {
                self.screen.process(&drawn[..length]);
                true
            }
            _ => false,
        }
    }

    /// Waits until it has ended, and takes what it drew.
    pub(super) fn wait(&mut self) -> ExitStatus {
        while self.read() {}
        self.process.wait().unwrap()
    }

    /// Whether the program has the whole screen, and each key. If it has neither, the cursor must be seen.
    pub(super) fn is_taken(&self) -> bool {
        let screen = self.screen.screen();
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        let has_lines = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        assert_eq!(screen.alternate_screen(), !has_lines);
        assert_eq!(screen.bracketed_paste(), !has_lines);
        assert!(!has_lines || !screen.hide_cursor());
        !has_lines
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}

fn winsize((rows, columns): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
