//! What a proposal says, from a file or from flags.

use std::ffi::OsStr;
use std::fs;

use fogcompute_base::Digest;
use fogcompute_ledger::dao::{Action, Content, ProposalKind};
use serde::Deserialize;
use serde_json::Value;

use super::DaoCommandError;
use super::arguments::{ActionArguments, ContentArguments};
use crate::ledger::LedgerCommandError;

/// A content as files have it: a description may be left out.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "kind, title, description and actions"
)]
struct Written {
    kind: ProposalKind,
    title: String,
    #[serde(default)]
    description: String,
    actions: Vec<Action>,
}

pub(super) fn content(arguments: &ContentArguments) -> Result<Content, DaoCommandError> {
    if let Some(path) = &arguments.content {
        let reading = LedgerCommandError::file("reading", path);
        let path = path.clone();
        let ending = path.extension().and_then(OsStr::to_str);
        let ending = ending.map(str::to_ascii_lowercase);
        let toml = match ending.as_deref() {
            Some("toml") => true,
            Some("json") => false,
            _ => return Err(DaoCommandError::ContentName { path }),
        };
        let text = fs::read_to_string(&path).map_err(reading)?;
        let read = if toml { of_toml(&text) } else { of_json(&text) };
        let written = read.map_err(|(field, reason)| DaoCommandError::Content {
            path,
            field,
            reason,
        })?;
        let Written {
            kind,
            title,
            description,
            actions,
        } = written;
        return Ok(Content {
            kind,
            title,
            description,
            actions,
        });
    }
    Ok(Content {
        // The arguments demand both where there is no file.
        kind: arguments.kind.unwrap_or(ProposalKind::General),
        title: arguments.title.clone().unwrap_or_default(),
        description: arguments.description.clone(),
        actions: actions(&arguments.actions)?,
    })
}

/// Which field of a file is not what it should be, and why not.
type Wrong = (String, String);

fn of_json(text: &str) -> Result<Written, Wrong> {
    let syntax = |error: serde_json::Error| (String::new(), error.to_string());
    // Looked at first, as reading takes lists of values for fields in their order.
    shape(&serde_json::from_str(text).map_err(syntax)?)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(wrong)
}

fn of_toml(text: &str) -> Result<Written, Wrong> {
    let syntax = |error: toml::de::Error| (String::new(), error.to_string());
    shape(&toml::from_str(text).map_err(syntax)?)?;
    let reader = toml::Deserializer::parse(text).map_err(syntax)?;
    serde_path_to_error::deserialize(reader).map_err(wrong)
}

fn wrong(error: serde_path_to_error::Error<impl std::error::Error>) -> Wrong {
    let field = match error.path().to_string() {
        // That is how a path of no fields is written.
        path if path == "." => String::new(),
        path => path,
    };
    (field, error.into_inner().to_string())
}

/// Checks that there are names wherever names are expected.
fn shape(file: &Value) -> Result<(), Wrong> {
    let Value::Object(fields) = file else {
        let expected =
            "a proposal has the fields kind, title, description and actions, each by name";
        return Err((String::new(), expected.to_owned()));
    };
    let Some(Value::Array(actions)) = fields.get("actions") else {
        return Ok(());
    };
    for (index, action) in actions.iter().enumerate() {
        let field = format!("actions[{index}]");
        let named = match action {
            Value::Object(named) if named.len() == 1 => named.iter().next(),
            _ => None,
        };
        let Some((name, of)) = named else {
            let expected = "an action is its name, and under it its fields";
            return Err((field, expected.to_owned()));
        };
        if !of.is_object() {
            let expected = "an action has its fields by name";
            return Err((format!("{field}.{name}"), expected.to_owned()));
        }
    }
    Ok(())
}

fn actions(arguments: &ActionArguments) -> Result<Vec<Action>, DaoCommandError> {
    let ActionArguments {
        set,
        pay,
        grant,
        revoke,
        pause,
        unpause,
        resolve,
    } = arguments;
    let mut actions = Vec::new();
    actions.extend(set.iter().map(|(name, value)| Action::SetParameter {
        name: name.clone(),
        value: *value,
    }));
    actions.extend(pay.iter().map(|&(to, amount)| Action::Pay {
        to,
        amount,
        code: 0,
    }));
    let granted = |&(account, role)| Action::GrantRole { account, role };
    actions.extend(grant.iter().map(granted));
    actions.extend((revoke.iter()).map(|&account| Action::RevokeRole { account }));
    actions.extend(pause.iter().map(|&scope| Action::Pause { scope }));
    actions.extend(unpause.iter().map(|&scope| Action::Unpause { scope }));
    for path in resolve {
        let text = fs::read(path).map_err(LedgerCommandError::file("reading", path))?;
        let text = Digest::of(&text);
        actions.push(Action::Resolve { text });
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_the_field() {
        // It was told by line and column alone, with names of the program's own; and what had no
        // names was read by its place.
        let action = |action: &str| {
            format!(
                r#"{{"kind":"general","title":"x","actions":[{{"resolve":{{"text":"{}"}}}},{action}]}}"#,
                "0".repeat(64)
            )
        };
        for (text, field, part) in [
            (r#"["general","x","",[]]"#.to_owned(), "", "by name"),
            ("5".to_owned(), "", "by name"),
            (r#"{"kind":"general","#.to_owned(), "", "line 1"),
            (
                r#"{"kind":"none","title":"x","actions":[]}"#.to_owned(),
                "kind",
                "unknown variant",
            ),
            (
                r#"{"kind":"general","title":"x","actions":5}"#.to_owned(),
                "actions",
                "a sequence",
            ),
            (
                r#"{"kind":"general","title":5,"actions":[]}"#.to_owned(),
                "title",
                "a string",
            ),
            (
                r#"{"kind":"general","title":"x","title":"y","actions":[]}"#.to_owned(),
                "",
                "duplicate",
            ),
            (action(r#""resolve""#), "actions[1]", "its name"),
            (action("[]"), "actions[1]", "its name"),
            (action("{}"), "actions[1]", "its name"),
            (
                action(r#"{"revoke_role":["b0b00000000000000000000000000000"]}"#),
                "actions[1].revoke_role",
                "by name",
            ),
            (
                action(r#"{"revoke_role":{"account":"b0b"}}"#),
                "actions[1].revoke_role.account",
                "",
            ),
            (
                action(r#"{"revoke_role":{}}"#),
                "actions[1].revoke_role",
                "account",
            ),
            (action(r#"{"mint":{}}"#), "actions[1]", "mint"),
        ] {
            let (at, reason) = of_json(&text).err().unwrap();
            assert_eq!(at, field, "{text}: {reason}");
            assert!(reason.contains(part), "{text}: {reason}");
            for name in ["struct", "Written", "Action"] {
                assert!(!reason.contains(name), "{text}: {reason}");
            }
        }
        let toml =
            "kind = \"general\"\ntitle = \"x\"\nactions = [{ pause = { scope = \"all\" } }]\n";
        let (at, reason) = of_toml(toml).err().unwrap();
        assert_eq!(at, "actions[0].pause.scope", "{reason}");
        let toml = "kind = \"general\"\ntitle = \"x\"\nactions = [{ pause = [\"fees\"] }]\n";
        assert_eq!(of_toml(toml).err().unwrap().0, "actions[0].pause");
        assert!(of_toml("kind = ").err().unwrap().1.contains("line 1"));
    }
}
