//! Names the shared library, and writes the C header when asked to.

use std::env;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=FOGCOMPUTE_WRITE_HEADER");
    if env::var("CARGO_CFG_TARGET_OS")? == "linux" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfogcompute.so.0");
    }
    // The header is committed. Only a change of the interface asks for a new one, so a usual build
    // leaves it alone.
    let Some(path) = env::var_os("FOGCOMPUTE_WRITE_HEADER") else {
        println!("cargo:rerun-if-changed=build.rs");
        return Ok(());
    };
    for source in ["build.rs", "cbindgen.toml", "src"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let folder = env::var("CARGO_MANIFEST_DIR")?;
    let folder = Path::new(&folder);
    let mut config = cbindgen::Config::from_file(folder.join("cbindgen.toml"))?;
    let number = |part| env::var(format!("CARGO_PKG_VERSION_{part}"));
    config.after_includes = Some(format!(
        "\n/** Version of the library this header belongs to. */\n\
         #define FOGCOMPUTE_VERSION \"{}\"\n\
         #define FOGCOMPUTE_VERSION_MAJOR {}\n\
         #define FOGCOMPUTE_VERSION_MINOR {}\n\
         #define FOGCOMPUTE_VERSION_PATCH {}",
        env::var("CARGO_PKG_VERSION")?,
        number("MAJOR")?,
        number("MINOR")?,
        number("PATCH")?,
    ));
    // `1` means the header of the repository; a path is for those who compare.
    let path = if path == "1" {
        folder.join("../../include/fogcompute.h")
    } else {
        path.into()
    };
    let bindings = cbindgen::Builder::new()
        .with_crate(folder)
        .with_config(config)
        .generate()?;
    let mut header = Vec::new();
    bindings.write(&mut header);
    std::fs::write(&path, header).map_err(|error| format!("{}: {error}", path.display()))?;
    // Written again at the next build that asks, even if no source has changed.
    println!("cargo:rerun-if-changed={}", path.display());
    Ok(())
}
