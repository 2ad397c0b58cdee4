//! Running other programs.

use std::io::{self, Read, Write};
use std::process::{Command, ExitStatus, Stdio};

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it printed on both streams, without colours.
    pub(crate) text: String,
}

/// Runs a program to its end; what it prints goes through at once, and is kept.
pub(crate) fn run_live(command: &mut Command) -> io::Result<Finished> {
    let (mut reader, writer) = io::pipe()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .map_err(|error| not_started(command, &error))?;
    // The command keeps this side's copies of the pipe's writing end: while one is open, reading
    // does not end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut kept = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let length = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut out = io::stdout().lock();
        out.write_all(&chunk[..length])?;
        out.flush()?;
        kept.extend_from_slice(&chunk[..length]);
    }
    Ok(Finished {
        status: child.wait()?,
        text: without_colours(&String::from_utf8_lossy(&kept)),
    })
}

/// Runs a program to its end; all it prints goes to the standard error.
pub(crate) fn run_to_stderr(command: &mut Command) -> io::Result<ExitStatus> {
    command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .map_err(|error| not_started(command, &error))
}

/// The command as a person would type it.
pub(crate) fn display(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .map(|word| match word.contains(' ') {
            true => format!("'{word}'"),
            false => word.into_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

fn not_started(command: &Command, error: &io::Error) -> io::Error {
    let program = command.get_program().to_string_lossy();
    io::Error::new(error.kind(), format!("cannot start {program}: {error}"))
}

/// Takes the terminal's colour sequences (`ESC [ … letter`) out of a text.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\x1b' && characters.next_if_eq(&'[').is_some() {
            for character in characters.by_ref() {
                if character.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(
            without_colours("test result: \x1b[1;32mok\x1b[0m. 3 passed\x1b[K"),
            "test result: ok. 3 passed"
        );
    }

    #[test]
    fn both_streams_are_kept_in_order() {
        let finished =
            run_live(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"])).unwrap();
        assert_eq!(finished.text, "one\ntwo\n");
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run_live(&mut Command::new("no-such-program")).unwrap_err();
        assert!(error.to_string().contains("no-such-program"));
    }

    #[test]
    fn words_with_spaces_are_quoted() {
        let mut command = Command::new("cargo");
        command.args(["test", "a b"]);
        assert_eq!(display(&command), "cargo test 'a b'");
    }
}
