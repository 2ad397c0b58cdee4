//! The README's examples, copied from the files that the tests run.

use std::io;

use crate::workspace::Workspace;

/// Stands before a block of code and names the file to fill it with.
const MARK: &str = "<!-- file: ";

/// The README with every marked block of code filled anew.
pub(crate) fn filled(workspace: &Workspace) -> io::Result<String> {
    let readme = std::fs::read_to_string(workspace.path("README.md"))?;
    fill(&readme, |path| {
        std::fs::read_to_string(workspace.path(path))
            .map_err(|error| io::Error::new(error.kind(), format!("README.md: {path}: {error}")))
    })
}

fn fill(readme: &str, read: impl Fn(&str) -> io::Result<String>) -> io::Result<String> {
    let mut lines = readme.lines();
    let mut filled = Vec::new();
    while let Some(line) = lines.next() {
        filled.push(line.to_owned());
        let Some(path) = line
            .strip_prefix(MARK)
            .and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        let fence = lines.next().filter(|fence| fence.starts_with("```"));
        let closed = lines.by_ref().any(|line| line == "```");
        let (Some(fence), true) = (fence, closed) else {
            return Err(io::Error::other(format!(
                "README.md: no block of code after {path}"
            )));
        };
        filled.push(fence.to_owned());
        filled.push(read(path)?.trim_end().to_owned());
        filled.push("```".to_owned());
    }
    Ok(filled.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> io::Result<String> {
        match path {
            "a.py" => Ok("import fog\n\nfog()\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[test]
    fn marked_blocks_are_filled_and_others_are_left_alone() {
        let readme = "x\n```sh\nls\n```\n<!-- file: a.py -->\n```python\nold\n```\ny\n";
        let filled = fill(readme, read).unwrap();
        assert_eq!(
            filled,
            "x\n```sh\nls\n```\n<!-- file: a.py -->\n```python\nimport fog\n\nfog()\n```\ny\n"
        );
        assert_eq!(fill(&filled, read).unwrap(), filled);
    }

    #[test]
    fn a_mark_without_a_block_or_a_file_is_an_error() {
        assert!(fill("<!-- file: a.py -->\n", read).is_err());
        assert!(fill("<!-- file: a.py -->\n```python\nopen\n", read).is_err());
        assert!(fill("<!-- file: b.py -->\n```python\n```\n", read).is_err());
    }
}
