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

/// Where the generated sources lie, and how they end.
const GENERATED: [(&str, &[&str]); 3] = [
    (KOTLIN, &["fogcompute_uniffi.kt"]),
    (SWIFT, &["FogCompute.swift"]),
    (SWIFT_FFI, &["FogComputeFFI.h", "module.modulemap"]),
];
const KOTLIN: &str = "mobile/kotlin/src/main/kotlin/dev/fogcompute";
const SWIFT: &str = "mobile/swift/Sources/FogCompute";
const SWIFT_FFI: &str = "mobile/swift/Sources/FogComputeFFI/include";

/// What UniFFI 0.32.2 writes to hand an object to a function, and what must stand there.
///
/// The first takes a reference from an object without asking whether it was closed, so a closed one
/// is read after it was freed. `callWithHandle` is what guards the object's own methods: it throws
/// `IllegalStateException` for a closed one and keeps others alive meanwhile.
const KOTLIN_LOWER: [&str; 2] = [
    "return value.uniffiCloneHandle()",
    "return value.callWithHandle { it }",
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
        // The folders of the package are added to it.
        out_dir: format!("{root}/mobile/kotlin/src/main/kotlin").into(),
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
    for (folder, files) in GENERATED {
        for file in files {
            finish(&Path::new(root).join(folder).join(file))?;
        }
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
        let [wrong, right] = KOTLIN_LOWER;
        if !text.contains(wrong) {
            return Err(format!("no `{wrong}`: see KOTLIN_LOWER before updating UniFFI").into());
        }
        text = text.replace(wrong, right);
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    fs::write(path, lines.join("\n").trim_end().to_owned() + "\n")?;
    Ok(())
}
