//! The README's examples are the files that run in CI, letter by letter.
//!
//! A line `<!-- file: PATH -->` is followed by a fenced block with that file's text. With
//! `FOGCOMPUTE_WRITE_README=1` the blocks are rewritten instead of compared.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The README with every marked block replaced by its file, and how many there are.
fn with_current_blocks(readme: &str, read: impl Fn(&str) -> String) -> (String, usize) {
    let mut current = String::new();
    let mut blocks = 0;
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        current.push_str(line);
        current.push('\n');
        let marked = line
            .strip_prefix("<!-- file: ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        let Some(path) = marked else { continue };
        let fence = lines.next().unwrap_or_default();
        assert!(
            fence.starts_with("```"),
            "no code block after the marker of {path}"
        );
        assert!(
            lines.any(|line| line == "```"),
            "the code block of {path} has no end"
        );
        current.push_str(fence);
        current.push('\n');
        current.push_str(read(path).trim_end());
        current.push_str("\n```\n");
        blocks += 1;
    }
    (current, blocks)
}

#[test]
fn examples_in_the_readme_are_the_files_that_run() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (current, blocks) = with_current_blocks(&readme, read);
    assert_eq!(blocks, 6, "one example for each language");
    if std::env::var_os("FOGCOMPUTE_WRITE_README").is_some() {
        fs::write(&path, current).unwrap();
        return;
    }
    assert_eq!(
        readme, current,
        "run this test with FOGCOMPUTE_WRITE_README=1 to mend it"
    );
}

#[test]
fn a_block_that_differs_is_noticed() {
    let readme = "a\n<!-- file: x -->\n```rust\nold\n```\nb\n";
    let (current, blocks) = with_current_blocks(readme, |_| "new\n".to_owned());
    assert_eq!(blocks, 1);
    assert_eq!(current, "a\n<!-- file: x -->\n```rust\nnew\n```\nb\n");
}
