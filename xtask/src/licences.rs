//! Licences and sources of everything the libraries and tools are built from.
//!
//! `cargo deny` reads the same `deny.toml` and checks more; it runs too where it is installed.

use std::collections::BTreeMap;

use crate::governor;
use crate::session::{Session, Stop};
use crate::workspace::find_tool;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
const MANIFESTS: [&str; 4] = [
    "Cargo.toml",
    "bindings/uniffi-bindgen/Cargo.toml",
    "core/fuzz/Cargo.toml",
    governor::MANIFEST,
];

pub(crate) fn check(session: &mut Session<'_>) -> Result<(), Stop> {
    let workspace = session.workspace;
    let rules = std::fs::read_to_string(workspace.path("deny.toml"))?;
    let allowed = allowed_licences(&rules);
    if allowed.is_empty() {
        return Err(Stop::Failed("deny.toml allows no licence".to_owned()));
    }
    for manifest in MANIFESTS {
        let metadata = workspace.dependencies(manifest)?;
        let packages = metadata["packages"].as_array();
        let mut refused = Vec::new();
        let mut used: BTreeMap<&str, usize> = BTreeMap::new();
        let mut count = 0;
        for package in packages.into_iter().flatten() {
            count += 1;
            let name = format!(
                "{} {}",
                package["name"].as_str().unwrap_or("?"),
                package["version"].as_str().unwrap_or("?")
            );
            let licence = package["license"].as_str().unwrap_or("");
            match permits(licence, &allowed) {
                Some(true) => *used.entry(licence).or_default() += 1,
                Some(false) => refused.push(format!("{name}: licence {licence}")),
                None => refused.push(format!("{name}: licence cannot be read: {licence:?}")),
            }
            // A package without a source is part of this checkout.
            match package["source"].as_str() {
                None | Some(REGISTRY) => {}
                Some(source) => refused.push(format!("{name}: comes from {source}")),
            }
        }
        println!(
            "{manifest}: {count} packages, {} kinds of licence",
            used.len()
        );
        if count == 0 {
            refused.push("no package".to_owned());
        }
        for line in &refused {
            println!("  {line}");
        }
        if refused.is_empty() {
            session.tally += crate::tally::Tally::PASSED;
        } else {
            session.fail(format!("licences of {manifest}: {}", refused.join("; ")));
        }
    }
    if find_tool("cargo-deny").is_some() {
        // Not `advisories`: their database is no package of a registry.
        let mut deny = workspace.cargo(["deny", "--all-features", "check"]);
        session.check(deny.args(["licenses", "bans", "sources"]))?;
    }
    Ok(())
}

/// The names in the list `allow` of the table `[licenses]`.
fn allowed_licences(rules: &str) -> Vec<&str> {
    let Some((_, table)) = rules.split_once("[licenses]") else {
        return Vec::new();
    };
    let Some((_, list)) = table.split_once("allow = [") else {
        return Vec::new();
    };
    let list = list.split(']').next().unwrap_or(list);
    let lines = list
        .lines()
        .map(|line| line.split('#').next().unwrap_or(line));
    lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect()
}

/// Whether an SPDX expression can be satisfied with allowed licences; `None` if it does not parse.
///
/// `A/B` is how old manifests write `A OR B`.
fn permits(expression: &str, allowed: &[&str]) -> Option<bool> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let answer = any_of(&mut words, allowed)?;
    words.next().is_none().then_some(answer)
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let mut answer = all_of(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        answer |= all_of(words, allowed)?;
    }
    Some(answer)
}

fn all_of(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    let mut answer = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        answer &= one(words, allowed)?;
    }
    Some(answer)
}

fn one(words: &mut Words<'_>, allowed: &[&str]) -> Option<bool> {
    match words.next()? {
        "(" => {
            let answer = any_of(words, allowed)?;
            (words.next()? == ")").then_some(answer)
        }
        ")" | "AND" | "OR" | "WITH" => None,
        licence => match words.next_if_eq(&"WITH") {
            Some(_) => {
                let with_exception = format!("{licence} WITH {}", words.next()?);
                // An exception only permits more than the licence does.
                Some(allowed.contains(&&*with_exception) || allowed.contains(&licence))
            }
            None => Some(allowed.contains(&licence)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_choice_is_enough_and_every_part_is_needed() {
        let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"];
        for (expression, answer) in [
            ("MIT", Some(true)),
            ("GPL-3.0-only", Some(false)),
            ("GPL-2.0-only OR MIT", Some(true)),
            ("MIT/GPL-2.0", Some(true)),
            ("(MIT OR GPL-2.0-only) AND Unicode-3.0", Some(true)),
            ("MIT AND GPL-2.0-only", Some(false)),
            ("MIT AND (GPL-2.0-only OR AGPL-3.0-only)", Some(false)),
            ("Apache-2.0 WITH LLVM-exception", Some(true)),
            (
                "GPL-2.0-only WITH Classpath-exception-2.0 OR MIT AND Apache-2.0",
                Some(true),
            ),
            ("GPL-2.0-only WITH Classpath-exception-2.0", Some(false)),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT Apache-2.0", None),
        ] {
            assert_eq!(permits(expression, &allowed), answer, "{expression}");
        }
    }

    #[test]
    fn the_list_is_read_from_the_rules() {
        let rules = "[bans]\nallow = [\"no\"]\n[licenses]\nx = 1\nallow = [\n  \"MIT\", # why \"x\"\n  \"ISC\",\n]\n";
        assert_eq!(allowed_licences(rules), ["MIT", "ISC"]);
        assert!(allowed_licences("[licenses]").is_empty());
        assert!(allowed_licences("").is_empty());
    }
}
