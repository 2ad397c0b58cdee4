//! Proposals and weights as the command prints them.

use fogcompute_base::{TransferId, UnixMillis};
use fogcompute_ledger::dao::{
    Action, Choice, Dao, Proposal, ProposalKind, ProposalState, Stage, Standing, Tally, Weight,
};
use fogcompute_ledger::economy::Economy;
use fogcompute_ledger::{Amount, Ppm};
use serde::Serialize;
use serde_json::{Value, json};

use super::arguments::{ListArguments, PowerArguments, ShowArguments};
use super::{DaoCommandError, Seen};
use crate::ledger::Said;
use crate::ledger::text::in_unit;

/// A word as JSON has it.
fn word(of: impl Serialize) -> String {
    let value = serde_json::to_value(of).ok();
    let word = value.as_ref().and_then(Value::as_str);
    word.unwrap_or_default().to_owned()
}

fn credits(weight: Weight) -> String {
    Amount(weight.0).to_credits_string()
}

/// Millionths as a percentage, to four places.
fn percent(part: Ppm) -> String {
    let (whole, rest) = (part.get() / 10_000, part.get() % 10_000);
    let text = format!("{whole}.{rest:04}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

pub(super) fn list(seen: &Seen, arguments: &ListArguments) -> Result<Said, DaoCommandError> {
    let dao = seen.ledger.state().dao();
    let mut found = Vec::new();
    for (id, record) in dao.proposals() {
        let state = state(dao, id, seen.now)?;
        if arguments.states.is_empty() || arguments.states.contains(&state) {
            found.push((id, record, state));
        }
    }
    // As they were submitted; drafts come last.
    found.sort_by_key(|(id, record, _)| {
        let snapshot = record.terms.map(|terms| terms.snapshot);
        (snapshot.is_none(), snapshot, *id)
    });
    let sequence = seen.ledger.state().head().sequence;
    let mut text = String::new();
    for (id, record, state) in &found {
        text.push_str(&format!(
            "{id}  {:<9}  {:<19}  {}\n",
            word(state),
            word(record.content.kind),
            record.content.title
        ));
    }
    text.push_str(&format!("after entry {sequence}"));
    let proposals = found.iter().map(|(id, record, state)| {
        json!({
            "proposal": id,
            "state": state,
            "kind": record.content.kind,
            "title": record.content.title,
            "author": record.author,
            "deadline": record.terms.map(|_| record.deadline),
        })
    });
    let json = json!({
        "ok": true,
        "sequence": sequence,
        "now": seen.now,
        "established": dao.is_established(),
        "members": dao.member_count(),
        "circulating": dao.circulating(),
        "total": dao.total(),
        "proposals": proposals.collect::<Value>(),
    });
    Ok(Said::new(json, text))
}

fn state(dao: &Dao, id: TransferId, now: UnixMillis) -> Result<ProposalState, DaoCommandError> {
    dao.state(id, now)
        .map_err(|_| DaoCommandError::UnknownProposal { proposal: id })
}

/// What a vote must come to: the total at the snapshot, the quorum and the cap, once it is known.
fn bars(dao: &Dao, record: &Proposal, now: UnixMillis) -> Option<(Weight, Weight, Weight)> {
    let terms = record.terms?;
    let total = dao.past_total(terms.snapshot, now).ok()?;
    Some((total, terms.quorum_of(total), terms.cap_of(total)))
}

pub(super) fn show(seen: &Seen, arguments: &ShowArguments) -> Result<Said, DaoCommandError> {
    let (dao, id) = (seen.ledger.state().dao(), arguments.proposal);
    let economy = seen.ledger.state().economy();
    let record = dao.proposal(id);
    let record = record.ok_or(DaoCommandError::UnknownProposal { proposal: id })?;
    let state = state(dao, id, seen.now)?;
    let votes = record.votes(seen.now);
    let bars = bars(dao, record, seen.now);
    let json = json!({
        "ok": true,
        "now": seen.now,
        "proposal": id,
        "state": state,
        "author": record.author,
        "content": *record.content,
        "stage": record.stage,
        "terms": record.terms,
        "deadline": record.terms.map(|_| record.deadline),
        "power": record.power,
        "votes": votes,
        "ballots": dao.ballot_count(id),
        "total": bars.map(|(total, ..)| total),
        "quorum": bars.map(|(_, quorum, _)| quorum),
        "ballot_max": bars.map(|(.., cap)| cap),
        "quorum_reached": bars.map(|(_, quorum, _)| record.power.reaches(quorum)),
        "approved": record.terms.map(|terms| votes.approves(terms.approval)),
    });
    let mut lines = vec![
        format!("{id} is {}", word(state)),
        format!("{}: {}", word(record.content.kind), record.content.title),
        format!("author {}", record.author),
    ];
    if !record.content.description.is_empty() {
        // Whatever its lines say, they are not lines of this command.
        let quoted = record.content.description.lines();
        lines.extend(quoted.map(|line| format!("  | {line}")));
    }
    let actions = record.content.actions.iter();
    lines.extend(actions.map(|of| action(of, economy)));
    if let Some(terms) = record.terms {
        lines.push(format!(
            "votes count as of {}, until {}",
            terms.snapshot, record.deadline
        ));
        lines.push(tally("power", &record.power));
        lines.push(tally("votes", &votes));
        if let Some((total, quorum, _)) = bars {
            let reached = if record.power.reaches(quorum) {
                "reached"
            } else {
                "not reached"
            };
            lines.push(format!(
                "quorum {} of {}, {reached}",
                credits(quorum),
                credits(total)
            ));
        }
        lines.push(format!(
            "approval {} of for and against, {}",
            percent(terms.approval),
            if votes.approves(terms.approval) {
                "given"
            } else {
                "not given"
            }
        ));
    }
    match record.stage {
        Stage::Queued { eta } => lines.push(format!("may be executed from {eta}")),
        Stage::Executed { time } => lines.push(format!("executed {time}")),
        Stage::Cancelled { time, by } => lines.push(format!("cancelled {time} by {by}")),
        _ => {}
    }
    Ok(Said::new(json, lines.join("\n")))
}

fn tally(of: &str, tally: &Tally) -> String {
    let [against, in_favor, abstain] = Choice::ALL.map(|choice| credits(tally.of(choice)));
    format!("{of} for {in_favor}, against {against}, abstain {abstain}")
}

fn action(action: &Action, economy: Option<&Economy>) -> String {
    let said = match action {
        Action::SetParameter { name, value } => {
            let parameters = economy.map(Economy::parameters).unwrap_or_default();
            let unit = parameters.iter().find(|parameter| parameter.name == *name);
            let value = unit.map_or_else(
                || value.to_string(),
                |parameter| in_unit(parameter.unit, *value),
            );
            format!("set {name} to {value}")
        }
        Action::Pay { to, amount, .. } => {
            format!("pay {} to {to}", amount.to_credits_string())
        }
        Action::GrantRole { account, role } => format!("make {account} a {}", word(role)),
        Action::RevokeRole { account } => format!("make {account} a citizen"),
        Action::ScheduleUpgrade {
            version,
            digest,
            activates,
        } => format!("run version {version} ({digest}) from {activates}"),
        Action::DeployAgent {
            agent,
            operator,
            budget,
        } => format!(
            "deploy agent {agent} of {operator} with {}",
            budget.to_credits_string()
        ),
        Action::Pause { scope } => format!("pause {}", word(scope)),
        Action::Unpause { scope } => format!("unpause {}", word(scope)),
        Action::Resolve { text } => format!("resolve {text}"),
    };
    format!("  {said}")
}

pub(super) fn power(seen: &Seen, arguments: &PowerArguments) -> Result<Said, DaoCommandError> {
    let state = seen.ledger.state();
    let (dao, account) = (state.dao(), arguments.account);
    super::known(&seen.ledger, account)?;
    let sequence = state.head().sequence;
    let standing = |topic| match arguments.at_time {
        Some(at) => dao
            .past_standing(account, topic, at, seen.now)
            .map_err(DaoCommandError::Untimely),
        None => Ok(dao.standing(account, topic)),
    };
    let mut topics = Vec::with_capacity(ProposalKind::ALL.len());
    for topic in ProposalKind::ALL {
        topics.push((topic, standing(topic)?, dao.delegation(account, topic)));
    }
    let total = match arguments.at_time {
        Some(at) => dao
            .past_total(at, seen.now)
            .map_err(DaoCommandError::Untimely)?,
        None => dao.total(),
    };
    let member = dao.member(account);
    let rows = topics.iter().map(|(topic, standing, parts)| {
        let &Standing {
            own,
            received,
            passed_on,
        } = standing;
        json!({
            "topic": topic,
            "own": own,
            "received": received,
            "passed_on": passed_on,
            "kept": standing.kept(),
            "power": standing.power(),
            "delegates_to": arguments.at_time.is_none().then_some(parts),
        })
    });
    let json = json!({
        "ok": true,
        "sequence": sequence,
        "account": account,
        "enrolled": member.is_some(),
        "tokens": member.map(|member| member.tokens),
        "staked": member.map(|member| member.staked),
        "role": dao.role(account),
        "total": total,
        "topics": rows.collect::<Value>(),
    });
    let enrolled = if member.is_some() {
        ""
    } else {
        ", not enrolled"
    };
    let mut text = format!("{account}, {}{enrolled}\n", word(dao.role(account)));
    for (topic, standing, parts) in &topics {
        text.push_str(&format!(
            "  {:<19}  own {}  received {}  passed on {}\n",
            word(topic),
            credits(standing.own),
            credits(standing.received),
            credits(standing.passed_on)
        ));
        if arguments.at_time.is_none() {
            for part in *parts {
                text.push_str(&format!("    {} to {}\n", percent(part.part), part.to));
            }
        }
    }
    text.push_str(&format!(
        "of {} in all, after entry {sequence}",
        credits(total)
    ));
    Ok(Said::new(json, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_without_zeros_that_say_nothing() {
        for (ppm, text) in [
            (0, "0 %"),
            (100_000, "10 %"),
            (666_667, "66.6667 %"),
            (1_000_000, "100 %"),
            (1_500, "0.15 %"),
        ] {
            assert_eq!(percent(Ppm::new(ppm).unwrap()), text);
        }
    }
}
