//! What a proposal says, from a file or from flags.

use std::ffi::OsStr;
use std::fs;

use fogcompute_base::Digest;
use fogcompute_ledger::dao::{Action, Content, ProposalKind};
use serde::Deserialize;

use super::DaoCommandError;
use super::arguments::{ActionArguments, ContentArguments};
use crate::ledger::LedgerCommandError;

/// A content as files have it: a description may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
        let written: Written = if toml {
            toml::from_str(&text).map_err(|source| DaoCommandError::Toml {
                path,
                source: Box::new(source),
            })?
        } else {
            serde_json::from_str(&text).map_err(|source| DaoCommandError::Json { path, source })?
        };
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
