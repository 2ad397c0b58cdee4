//! Writes the Swift and Kotlin sources of fogcompute from its compiled library.
//!
//! ```sh
//! fogcompute-uniffi-bindgen target/debug/libfogcompute_uniffi.so .
//! ```
//!
//! The second argument is where `mobile/` lies: the checkout, or another folder to compare with it.
//! Run it inside the checkout, for `bindings/uniffi/uniffi.toml` is found by way of cargo. The
//! library must not be stripped.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use uniffi::{GenerateOptions, SwiftBindingsOptions, TargetLanguage};

/// The C module that the Swift sources import.
const FFI_MODULE: &str = "FogComputeFFI";

const KOTLIN: &str = "mobile/kotlin/src/main/kotlin";
const SWIFT: &str = "mobile/swift/Sources/FogCompute";
const SWIFT_FFI: &str = "mobile/swift/Sources/FogComputeFFI/include";

/// The generated sources.
const GENERATED: [(&str, &str); 4] = [
    (KOTLIN, "dev/fogcompute/fogcompute_uniffi.kt"),
    (SWIFT, "FogCompute.swift"),
    (SWIFT_FFI, "FogComputeFFI.h"),
    (SWIFT_FFI, "module.modulemap"),
];

/// What UniFFI 0.32.2 writes for Kotlin, and what must stand there instead.
const KOTLIN_MENDED: [[&str; 2]; 2] = [
    // Hands an object to a function, closed or not: a closed one is then read after it was freed.
    // `callWithHandle`, which guards an object's own methods, throws for a closed one and keeps
    // others alive meanwhile.
    [
        "return value.uniffiCloneHandle()",
        "return value.callWithHandle { it }",
    ],
    // Lets a `NotImplementedError` out of a callback: the library would get no answer, and would
    // take that for one.
    ["catch(e: kotlin.Exception)", "catch(e: Throwable)"],
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, root] = arguments.as_slice() else {
        eprintln!("usage: fogcompute-uniffi-bindgen LIBRARY ROOT");
        return ExitCode::from(2);
    };
    match write(library, root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(library: &str, root: &str) -> Result<(), Box<dyn Error>> {
    uniffi::generate(GenerateOptions {
        languages: vec![TargetLanguage::Kotlin],
        source: library.into(),
        out_dir: format!("{root}/{KOTLIN}").into(),
        metadata_no_deps: true,
        ..GenerateOptions::default()
    })?;
    uniffi::generate_swift_bindings(SwiftBindingsOptions {
        generate_swift_sources: true,
        generate_headers: false,
        generate_modulemap: false,
        out_dir: format!("{root}/{SWIFT}").into(),
        ..swift(library)
    })?;
    uniffi::generate_swift_bindings(SwiftBindingsOptions {
        generate_swift_sources: false,
        generate_headers: true,
        generate_modulemap: true,
        out_dir: format!("{root}/{SWIFT_FFI}").into(),
        ..swift(library)
    })?;
    for (folder, file) in GENERATED {
        finish(&Path::new(root).join(folder).join(file))?;
    }
    Ok(())
}

fn swift(library: &str) -> SwiftBindingsOptions {
    SwiftBindingsOptions {
        generate_swift_sources: false,
        generate_headers: false,
        generate_modulemap: false,
        source: library.into(),
        out_dir: "".into(),
        xcframework: false,
        module_name: Some(FFI_MODULE.to_owned()),
        modulemap_filename: Some("module.modulemap".to_owned()),
        metadata_no_deps: true,
        link_frameworks: vec![],
        config: None,
    }
}

/// Mends what the generator wrote, and takes the blanks off the ends of its lines.
fn finish(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut text = fs::read_to_string(path)?;
    if path.extension().is_some_and(|extension| extension == "kt") {
        for [wrong, right] in KOTLIN_MENDED {
            if !text.contains(wrong) {
                return Err(format!("no `{wrong}`: is KOTLIN_MENDED still needed?").into());
            }
            text = text.replace(wrong, right);
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    fs::write(path, lines.join("\n").trim_end().to_owned() + "\n")?;
    Ok(())
}
