//! The guests in `examples/wasm`: the committed binary is what its text assembles to.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use fogcompute_exec::{Limits, Runtime, TaskError, TaskSpec};
use fogcompute_runtime::{WasmConfig, WasmRuntime};

fn guest(file: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/wasm")
        .join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run(file: &str, input: &[u8]) -> Result<Vec<u8>, TaskError> {
    let spec = TaskSpec::new(guest(file), input, Limits::default()).expect("guests are small");
    WasmRuntime::new(WasmConfig::default())
        .run(&spec)
        .map(|done| done.output)
}

/// After a change to a text: `FOG_ASSEMBLE=1 cargo test -p fogcompute-runtime --test guests`.
#[test]
fn committed_binaries_are_what_their_texts_assemble_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/wasm");
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    for text in names {
        let assembled = wat::parse_file(&text).unwrap();
        let binary = text.with_extension("wasm");
        if std::env::var_os("FOG_ASSEMBLE").is_some() {
            std::fs::write(&binary, &assembled).unwrap();
        }
        assert!(
            std::fs::read(&binary).is_ok_and(|committed| committed == assembled),
            "{} is not what its text assembles to: run with FOG_ASSEMBLE=1",
            binary.display()
        );
    }
}

#[test]
fn echo_returns_its_input() {
    let long: Vec<u8> = (0..200_000_u32).map(|at| (at % 253) as u8).collect();
    for input in [&b""[..], b"fog", &long] {
        assert_eq!(run("echo.wasm", input).as_deref(), Ok(input));
    }
}

#[test]
fn sum_adds_up_the_bytes() {
    assert_eq!(run("sum.wasm", b""), Ok(vec![0; 8]));
    assert_eq!(
        run("sum.wasm", &[1, 2, 39]),
        Ok(42_u64.to_le_bytes().to_vec())
    );
    let input = vec![255; 100_000];
    assert_eq!(
        run("sum.wasm", &input),
        Ok(25_500_000_u64.to_le_bytes().to_vec())
    );
}

/// Of `words.c`, which says how it is compiled; there is not always a clang to compare with.
#[test]
fn words_counts_words() {
    let count = |text: &[u8]| run("words.wasm", text).map(|output| output.try_into().unwrap());
    for (text, words) in [
        (&b""[..], 0),
        (b" \t\r\n ", 0),
        (b"fog", 1),
        (b"  private  fog\ncomputing ", 3),
    ] {
        assert_eq!(count(text).map(u64::from_le_bytes), Ok(words));
    }
    // More than a page of memory.
    let long = b"fog ".repeat(50_000);
    assert_eq!(count(&long).map(u64::from_le_bytes), Ok(50_000));
}
