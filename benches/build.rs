//! Tells the program which versions of its peers it is built with.

use std::error::Error;

const PEERS: [&str; 6] = [
    "ed25519-dalek",
    "genoxide",
    "non-dominated-sort",
    "rusqlite",
    "snow",
    "sphinx-packet",
];

fn main() -> Result<(), Box<dyn Error>> {
    let path = format!("{}/../Cargo.lock", std::env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed={path}");
    let lock = std::fs::read_to_string(path)?;
    for peer in PEERS {
        let (_, entry) = lock
            .split_once(&format!("name = \"{peer}\"\nversion = \""))
            .ok_or_else(|| format!("Cargo.lock has no {peer}"))?;
        let version = entry.split('"').next().unwrap_or_default();
        let name = peer.to_uppercase().replace('-', "_");
        println!("cargo:rustc-env=PEER_{name}={version}");
    }
    Ok(())
}
