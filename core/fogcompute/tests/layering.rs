//! Who may depend on whom: every manifest of the workspace against the table below, and no `unsafe`
//! outside `bindings/` and the one crate of `core/` that calls vector instructions.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The internal crates that a crate of `core/` may name, as dependencies of any kind. A crate stands
/// below all that it may name, so arrows point up in this list and cannot form a circle.
///
/// `core/fuzz` is a harness and no part of what is shipped: it may name whatever parses bytes.
const CORE: &[(&str, &[&str])] = &[
    ("fogcompute-base", &[]),
    (X25519, &[]),
    ("fogcompute-mix", &["fogcompute-base", X25519]),
    ("fogcompute-transport", &["fogcompute-base"]),
    (
        "fogcompute-mesh",
        &["fogcompute-base", "fogcompute-transport", X25519],
    ),
    ("fogcompute-harvest", &["fogcompute-base"]),
    ("fogcompute-schedule", &["fogcompute-base"]),
    ("fogcompute-ledger", &["fogcompute-base"]),
    ("fogcompute-exec", &["fogcompute-base"]),
    (
        "fogcompute-coord",
        &[
            "fogcompute-base",
            "fogcompute-exec",
            "fogcompute-harvest",
            "fogcompute-ledger",
            "fogcompute-schedule",
        ],
    ),
    (
        "fogcompute-sim",
        &[
            "fogcompute-base",
            "fogcompute-coord",
            "fogcompute-exec",
            "fogcompute-harvest",
            "fogcompute-ledger",
            "fogcompute-mesh",
            "fogcompute-schedule",
        ],
    ),
    (
        "fogcompute-store",
        &[
            "fogcompute-base",
            "fogcompute-coord",
            "fogcompute-exec",
            "fogcompute-ledger",
            "fogcompute-schedule",
        ],
    ),
    (
        "fogcompute-net",
        &["fogcompute-base", "fogcompute-mix", "fogcompute-transport"],
    ),
    (
        "fogcompute-runtime",
        &["fogcompute-base", "fogcompute-exec", "fogcompute-harvest"],
    ),
    (
        "fogcompute-node",
        &[
            "fogcompute-base",
            "fogcompute-coord",
            "fogcompute-exec",
            "fogcompute-harvest",
            "fogcompute-ledger",
            "fogcompute-mesh",
            "fogcompute-mix",
            "fogcompute-net",
            "fogcompute-runtime",
            "fogcompute-schedule",
            "fogcompute-store",
            "fogcompute-transport",
        ],
    ),
    (
        "fogcompute",
        &[
            "fogcompute-base",
            "fogcompute-coord",
            "fogcompute-exec",
            "fogcompute-harvest",
            "fogcompute-ledger",
            "fogcompute-mesh",
            "fogcompute-mix",
            "fogcompute-net",
            "fogcompute-node",
            "fogcompute-runtime",
            "fogcompute-schedule",
            "fogcompute-store",
            "fogcompute-transport",
        ],
    ),
    (
        FUZZ,
        &[
            "fogcompute-base",
            "fogcompute-coord",
            "fogcompute-exec",
            "fogcompute-harvest",
            "fogcompute-ledger",
            "fogcompute-mesh",
            "fogcompute-mix",
            "fogcompute-net",
            "fogcompute-node",
            "fogcompute-runtime",
            "fogcompute-schedule",
        ],
    ),
];

/// The one crate of `core/` whose lints are its own: what libFuzzer's macro expands to is `unsafe`.
/// Its own text must not be.
const FUZZ: &str = "fogcompute-fuzz";

/// The one crate of `core/` that may be `unsafe`: vector instructions are, on a CPU that may not have
/// them. Its other lints are the workspace's, and stricter ones of its own.
const X25519: &str = "fogcompute-x25519";

/// Compares the rules of governance with a peer, step by step, and is outside the workspace: it names
/// the rules themselves, which the facade does not show in parts.
const GOVERNOR: &str = "fogcompute-governor-peer";

/// What crates outside `core/` may name: the facade, and nothing behind it.
const FACADE: &[&str] = &["fogcompute"];

#[derive(Clone, Debug, Eq, PartialEq)]
enum Fault {
    /// The text is not a manifest of a package.
    Manifest { path: String },
    /// A manifest where no crate is expected.
    Place { path: String },
    /// A crate of `core/` that the table does not have.
    NotInTable { name: String },
    /// A row of the table without a crate.
    NoSuchCrate { name: String },
    /// An arrow that the table does not have.
    Arrow { from: String, to: String },
    /// A manifest that does not take the workspace's lints, and so may allow `unsafe`.
    Lints { path: String },
    /// The workspace does not forbid `unsafe`.
    UnsafeNotForbidden,
    /// A source file outside `bindings/` with `unsafe`.
    Unsafe { path: String },
}

/// What a dependency's key stands for where the workspace renames it.
type Renames = BTreeMap<String, String>;

fn renames(root: &Table) -> Renames {
    let dependencies = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let package = |value: &Value| value.get("package")?.as_str().map(str::to_owned);
    dependencies
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), package(value)?)))
        .collect()
}

/// Checks one manifest, given its place in the repository.
fn check(path: &str, text: &str, renames: &Renames) -> Vec<Fault> {
    let manifest = text.parse::<Table>().ok();
    let name = manifest
        .as_ref()
        .and_then(|manifest| manifest.get("package")?.get("name")?.as_str());
    let (Some(manifest), Some(name)) = (&manifest, name) else {
        return vec![Fault::Manifest {
            path: path.to_owned(),
        }];
    };
    let allowed = match path.split('/').collect::<Vec<_>>()[..] {
        ["core", _, "Cargo.toml"] => match CORE.iter().find(|(row, _)| *row == name) {
            Some((_, allowed)) => *allowed,
            None => {
                return vec![Fault::NotInTable {
                    name: name.to_owned(),
                }];
            }
        },
        ["bindings" | "examples", _, "Cargo.toml"] => FACADE,
        ["benches", "Cargo.toml"] => &["fogcompute", "fogcompute-mesh", "fogcompute-sim"],
        ["benches", "governor", "Cargo.toml"] => &["fogcompute-base", "fogcompute-ledger"],
        ["xtask", "Cargo.toml"] => &[],
        _ => {
            return vec![Fault::Place {
                path: path.to_owned(),
            }];
        }
    };
    let mut faults: Vec<_> = internal_dependencies(manifest, renames)
        .into_iter()
        .filter(|to| !allowed.contains(&to.as_str()))
        .map(|to| Fault::Arrow {
            from: name.to_owned(),
            to,
        })
        .collect();
    let lints = manifest.get("lints");
    let shared = lints.and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true));
    if !shared && ![FUZZ, GOVERNOR, X25519].contains(&name) && !path.starts_with("bindings/") {
        faults.push(Fault::Lints {
            path: path.to_owned(),
        });
    }
    faults
}

/// Checks the lints of [`X25519`] against the workspace's, which it cannot take and change.
fn check_repeated_lints(path: &str, manifest: &Table, root: &Table) -> Vec<Fault> {
    let own = |tool: &str, lint: &str| manifest.get("lints")?.get(tool)?.get(lint);
    let tools = root
        .get("workspace")
        .and_then(|workspace| workspace.get("lints")?.as_table());
    let repeated = tools.into_iter().flatten().all(|(tool, lints)| {
        let lints = lints.as_table().into_iter().flatten();
        lints
            .filter(|(lint, _)| *lint != "unsafe_code")
            .all(|(lint, level)| own(tool, lint) == Some(level))
    });
    let deny = |tool, lint| own(tool, lint).and_then(Value::as_str) == Some("deny");
    let reasons =
        deny("rust", "unsafe_op_in_unsafe_fn") && deny("clippy", "undocumented_unsafe_blocks");
    if repeated && reasons {
        vec![]
    } else {
        vec![Fault::Lints {
            path: path.to_owned(),
        }]
    }
}

/// The crates of this repository that a manifest names, under whatever key and for whatever use.
fn internal_dependencies(manifest: &Table, renames: &Renames) -> Vec<String> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(|targets| targets.values())
        .filter_map(Value::as_table);
    let mut internal: Vec<_> = targets
        .chain([manifest])
        .flat_map(|table| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .into_iter()
                .filter_map(|kind| table.get(kind)?.as_table())
        })
        .flatten()
        .filter_map(|(key, value)| {
            let renamed = value.get("package").and_then(Value::as_str);
            let renamed = renamed.or_else(|| renames.get(key).map(String::as_str));
            let name = renamed.unwrap_or(key);
            // Whatever lies in the repository is internal, whatever it is called.
            let ours = name == "xtask"
                || name == "fogcompute"
                || name.starts_with("fogcompute-")
                || value.get("path").is_some();
            ours.then(|| name.to_owned())
        })
        .collect();
    internal.sort();
    internal.dedup();
    internal
}

fn check_root(root: &Table) -> Vec<Fault> {
    let lint = root
        .get("workspace")
        .and_then(|workspace| workspace.get("lints")?.get("rust")?.get("unsafe_code"));
    if lint.and_then(Value::as_str) == Some("forbid") {
        vec![]
    } else {
        vec![Fault::UnsafeNotForbidden]
    }
}

/// The compiler forbids `unsafe` where the workspace's lints hold, and there it can only be allowed
/// by a name that this finds. `core/fuzz` and `benches/governor` have lints of their own, so there the
/// word itself counts.
fn check_source(path: &str, text: &str) -> Vec<Fault> {
    // Split, so that this file does not find itself.
    let attribute = concat!("(unsafe", "_code");
    let word = concat!("un", "safe");
    let found = if path.starts_with("bindings/") {
        false
    } else if ["core/fuzz/", "benches/governor/"]
        .iter()
        .any(|own| path.starts_with(own))
    {
        text.contains(word)
    } else {
        text.contains(attribute)
    };
    if found {
        vec![Fault::Unsafe {
            path: path.to_owned(),
        }]
    } else {
        vec![]
    }
}

/// All files below `folder` that are ours, by their path from the root of the repository.
fn files(root: &Path, folder: &Path, found: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // What tools write, some of it with other people's manifests.
        let generated = ["target", "out", "node_modules", "build"].contains(&name.as_str());
        if path.is_symlink() || generated || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            files(root, &path, found);
        } else {
            let relative = path.strip_prefix(root).unwrap();
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            found.insert(parts.join("/"), path);
        }
    }
}

#[test]
fn arrows_point_down_and_unsafe_stays_where_it_may_be() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let mut found = BTreeMap::new();
    files(&root, &root, &mut found);
    let workspace: Table = fs::read_to_string(root.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let renames = renames(&workspace);
    let mut faults = check_root(&workspace);
    let mut names = Vec::new();
    let mut sources = 0;
    for (path, file) in &found {
        if path.ends_with("/Cargo.toml") {
            let text = fs::read_to_string(file).unwrap();
            faults.extend(check(path, &text, &renames));
            let manifest: Table = text.parse().unwrap();
            let name = manifest["package"]["name"].as_str().unwrap();
            if name == X25519 {
                faults.extend(check_repeated_lints(path, &manifest, &workspace));
            }
            names.push(name.to_owned());
        } else if path.ends_with(".rs") {
            sources += 1;
            faults.extend(check_source(path, &fs::read_to_string(file).unwrap()));
        }
    }
    for (name, _) in CORE {
        if !names.iter().any(|known| known == name) {
            faults.push(Fault::NoSuchCrate {
                name: (*name).to_owned(),
            });
        }
    }
    assert_eq!(faults, []);
    assert!(sources > 100, "only {sources} source files were found");
}

#[test]
fn every_crate_of_the_table_stands_below_what_it_may_name() {
    for (index, (name, allowed)) in CORE.iter().enumerate() {
        for to in *allowed {
            assert!(
                CORE[..index].iter().any(|(above, _)| above == to),
                "{name} may name {to}, which does not stand above it"
            );
        }
    }
}

/// The faults of a manifest of this name and place, with lints and these lines.
fn faults_of(path: &str, name: &str, lines: &str) -> Vec<Fault> {
    let text = format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{lines}");
    check(path, &text, &Renames::new())
}

fn arrow(from: &str, to: &str) -> Vec<Fault> {
    vec![Fault::Arrow {
        from: from.to_owned(),
        to: to.to_owned(),
    }]
}

#[test]
fn allowed_arrows_pass() {
    let mix = "[dependencies]\nfogcompute-base.workspace = true\nlibm = \"1\"\n";
    assert_eq!(faults_of("core/mix/Cargo.toml", "fogcompute-mix", mix), []);
    let benches = "[dependencies]\nfogcompute.workspace = true\nsphinx-packet = \"1\"\n";
    assert_eq!(faults_of("benches/Cargo.toml", "benches", benches), []);
    assert_eq!(faults_of("xtask/Cargo.toml", "xtask", ""), []);
}

#[test]
fn an_arrow_between_siblings_is_found_in_every_kind_of_table() {
    for kind in [
        "dependencies",
        "dev-dependencies",
        "build-dependencies",
        "target.'cfg(unix)'.dependencies",
        "target.'cfg(unix)'.dev-dependencies",
    ] {
        for dependency in [
            "fogcompute-ledger.workspace = true",
            "fogcompute-ledger = \"0.1\"",
            "fogcompute-ledger = { version = \"0.1\", optional = true }",
            "other = { package = \"fogcompute-ledger\", path = \"../ledger\" }",
        ] {
            let lines = format!("[{kind}]\n{dependency}\n");
            assert_eq!(
                faults_of("core/mix/Cargo.toml", "fogcompute-mix", &lines),
                arrow("fogcompute-mix", "fogcompute-ledger"),
                "{lines}"
            );
        }
    }
    // A whole table for one dependency.
    let lines = "[dependencies.fogcompute-ledger]\nworkspace = true\n";
    assert_eq!(
        faults_of("core/mix/Cargo.toml", "fogcompute-mix", lines),
        arrow("fogcompute-mix", "fogcompute-ledger")
    );
}

#[test]
fn an_arrow_up_is_found() {
    let lines = "[dev-dependencies]\nfogcompute-store.workspace = true\n";
    assert_eq!(
        faults_of("core/coord/Cargo.toml", "fogcompute-coord", lines),
        arrow("fogcompute-coord", "fogcompute-store")
    );
    let lines = "[dependencies]\nfogcompute.workspace = true\n";
    assert_eq!(
        faults_of("core/node/Cargo.toml", "fogcompute-node", lines),
        arrow("fogcompute-node", "fogcompute")
    );
}

#[test]
fn an_arrow_past_the_facade_is_found() {
    let lines = "[dependencies]\nfogcompute.workspace = true\nfogcompute-mix.workspace = true\n";
    for path in [
        "bindings/c/Cargo.toml",
        "benches/Cargo.toml",
        "examples/rust/Cargo.toml",
    ] {
        assert_eq!(
            faults_of(path, "outer", lines),
            arrow("outer", "fogcompute-mix")
        );
    }
    let lines = "[dependencies]\nfogcompute.workspace = true\n";
    assert_eq!(
        faults_of("xtask/Cargo.toml", "xtask", lines),
        arrow("xtask", "fogcompute")
    );
}

#[test]
fn an_arrow_under_another_name_is_found() {
    let root =
        "[workspace.dependencies]\nmoney = { package = \"fogcompute-ledger\", path = \"x\" }";
    let renames = renames(&root.parse().unwrap());
    let mix = "[package]\nname = \"fogcompute-mix\"\n[lints]\nworkspace = true\n\
               [dependencies]\nmoney.workspace = true\n";
    assert_eq!(
        check("core/mix/Cargo.toml", mix, &renames),
        arrow("fogcompute-mix", "fogcompute-ledger")
    );
    let lines = "[dependencies]\nmoney = { path = \"../ledger\" }\n";
    assert_eq!(
        faults_of("core/mix/Cargo.toml", "fogcompute-mix", lines),
        arrow("fogcompute-mix", "money")
    );
}

#[test]
fn a_core_crate_that_is_not_in_the_table_is_found() {
    assert_eq!(
        faults_of("core/gossip/Cargo.toml", "fogcompute-gossip", ""),
        [Fault::NotInTable {
            name: "fogcompute-gossip".to_owned()
        }]
    );
}

#[test]
fn a_manifest_in_a_strange_place_is_found() {
    for path in ["tools/x/Cargo.toml", "core/mix/inner/Cargo.toml"] {
        assert_eq!(
            faults_of(path, "fogcompute-mix", ""),
            [Fault::Place {
                path: path.to_owned()
            }]
        );
    }
    for text in ["[package", "[package]\nversion = \"1\"", "[workspace]"] {
        assert_eq!(
            check("xtask/Cargo.toml", text, &Renames::new()),
            [Fault::Manifest {
                path: "xtask/Cargo.toml".to_owned()
            }]
        );
    }
}

#[test]
fn lints_of_its_own_are_found_outside_the_bindings() {
    for lints in [
        "",
        "[lints]\nworkspace = false\n",
        "[lints.rust]\nunsafe_code = \"allow\"\n",
    ] {
        let faults = |path, name| {
            let text = format!("[package]\nname = \"{name}\"\n{lints}");
            check(path, &text, &Renames::new())
        };
        for (path, name) in [
            ("core/mix/Cargo.toml", "fogcompute-mix"),
            ("xtask/Cargo.toml", "xtask"),
            ("benches/Cargo.toml", "benches"),
            ("examples/rust/Cargo.toml", "examples"),
        ] {
            let path_text = path.to_owned();
            assert_eq!(faults(path, name), [Fault::Lints { path: path_text }]);
        }
        assert_eq!(faults("bindings/c/Cargo.toml", "fogcompute-c"), []);
        assert_eq!(faults("core/fuzz/Cargo.toml", FUZZ), []);
    }
}

#[test]
fn a_lint_that_the_unsafe_crate_does_not_repeat_is_found() {
    let root = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\nmissing_docs = \"warn\"\n";
    let strict = "[lints.rust]\nunsafe_code = \"allow\"\nmissing_docs = \"warn\"\n\
                  unsafe_op_in_unsafe_fn = \"deny\"\n[lints.clippy]\n\
                  undocumented_unsafe_blocks = \"deny\"\n";
    let path = "core/x25519/Cargo.toml";
    let faults =
        |text: &str| check_repeated_lints(path, &text.parse().unwrap(), &root.parse().unwrap());
    let found = [Fault::Lints {
        path: path.to_owned(),
    }];
    assert_eq!(faults(strict), []);
    assert_eq!(
        faults(&strict.replace("missing_docs = \"warn\"\n", "")),
        found
    );
    assert_eq!(faults(&strict.replace("\"warn\"", "\"allow\"")), found);
    assert_eq!(faults(&strict.replace("\"deny\"", "\"warn\"")), found);
    assert_eq!(faults(""), found);
}

#[test]
fn a_workspace_that_does_not_forbid_unsafe_is_found() {
    for (lints, faults) in [
        ("unsafe_code = \"forbid\"", vec![]),
        ("unsafe_code = \"deny\"", vec![Fault::UnsafeNotForbidden]),
        ("", vec![Fault::UnsafeNotForbidden]),
    ] {
        let root = format!("[workspace.lints.rust]\n{lints}\n");
        assert_eq!(check_root(&root.parse().unwrap()), faults);
    }
}

#[test]
fn unsafe_in_sources_is_found() {
    let allowing = concat!("#![allow(unsafe", "_code)]\n");
    let unsafely = concat!("fn f() { un", "safe { g() } }\n");
    let fault = |path: &str| {
        vec![Fault::Unsafe {
            path: path.to_owned(),
        }]
    };
    let core = "core/mix/src/lib.rs";
    assert_eq!(check_source(core, allowing), fault(core));
    assert_eq!(check_source("bindings/c/src/lib.rs", allowing), []);
    let fuzz = "core/fuzz/fuzz_targets/wire.rs";
    assert_eq!(check_source(fuzz, unsafely), fault(fuzz));
    assert_eq!(check_source(fuzz, "fn f() {}"), []);
}
