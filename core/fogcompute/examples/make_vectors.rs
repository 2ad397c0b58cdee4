//! Writes `bindings/vectors/shared.json`, which every language's tests run.
//!
//! Packets are random, so those of an existing file are kept as long as they still open.

use std::error::Error;
use std::path::Path;

#[path = "../tests/vectors/generate.rs"]
mod generate;

fn main() -> Result<(), Box<dyn Error>> {
    let path = Path::new(generate::PATH);
    let existing = match std::fs::read_to_string(path) {
        Ok(text) => Some(serde_json::from_str(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let vectors = generate::vectors(existing.as_ref())?;
    std::fs::create_dir_all(path.parent().ok_or("the path has no folder")?)?;
    std::fs::write(path, serde_json::to_string_pretty(&vectors)? + "\n")?;
    println!("wrote {}", path.display());
    Ok(())
}
