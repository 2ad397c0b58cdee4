//! Manuals that show commands and what they say.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What another run says differently: digests, signatures' keys, and times.
fn masked(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '.');
    let mut out = String::new();
    for piece in text.split_inclusive(|c| !is_word(c)) {
        let word = piece.trim_end_matches(|c| !is_word(c));
        let is_digest = word.len() == 64 && word.bytes().all(|c| c.is_ascii_hexdigit());
        let is_time = word.len() == 24 && word.as_bytes()[10] == b'T' && word.ends_with('Z');
        let word_masked = match word {
            _ if is_digest => "DIGEST",
            _ if is_time => "TIME",
            other => other,
        };
        out.push_str(word_masked);
        out.push_str(&piece[word.len()..]);
    }
    out
}

/// Runs every command of a manual in a folder of its own, in order, and compares what it says. Returns
/// how many there are.
pub(crate) fn check(manual: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_fogcompute"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let mut commands = 0;
    for block in manual.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        for step in block.split("$ ").skip(1) {
            let (command, shown) = step.split_once('\n').unwrap();
            let mut shell = Command::new("sh")
                .args(["-c", command])
                .current_dir(folder.path())
                .env("PATH", &path)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = String::new();
            let mut out = shell.stdout.take().unwrap();
            out.read_to_string(&mut said).unwrap();
            shell.wait().unwrap();
            assert_eq!(masked(&said), masked(shown), "$ {command}\n{said}");
            commands += 1;
        }
    }
    commands
}
