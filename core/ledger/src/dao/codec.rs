//! What all byte formats of governance are read by.

use fogcompute_base::TransferId;
use fogcompute_base::wire::{DecodeError, Reader, Writer};

pub(super) use crate::read::{account, amount, flag, list, node, ppm, time, unknown};

use super::action::{Action, role};
use super::{Choice, Content, Conviction, Holder, Part, ProposalKind, Terms, Weighing, Weight};

pub(super) fn proposal(r: &mut Reader<'_>) -> Result<TransferId, DecodeError> {
    r.array().map(TransferId::from_bytes)
}

pub(super) fn weight(r: &mut Reader<'_>) -> Result<Weight, DecodeError> {
    r.u128().map(Weight)
}

pub(super) fn kind(r: &mut Reader<'_>) -> Result<ProposalKind, DecodeError> {
    let at = r.position();
    let code = r.u8()?;
    ProposalKind::from_code(code).ok_or_else(|| unknown(at, code))
}

pub(super) fn choice(r: &mut Reader<'_>) -> Result<Choice, DecodeError> {
    let at = r.position();
    let code = r.u8()?;
    Choice::try_from(code).map_err(|_| unknown(at, code))
}

pub(super) fn write_count(w: &mut Writer, items: usize) {
    w.u32(u32::try_from(items).expect("so many do not fit in memory"));
}

pub(super) fn write_parts(w: &mut Writer, parts: &[Part]) {
    write_count(w, parts.len());
    for part in parts {
        w.raw(part.to.as_bytes());
        w.u32(part.part.get());
    }
}

pub(super) fn parts(r: &mut Reader<'_>) -> Result<Vec<Part>, DecodeError> {
    list(r, |r| {
        Ok(Part {
            to: account(r)?,
            part: ppm(r)?,
        })
    })
}

pub(super) fn write_holders(w: &mut Writer, holders: &[Holder]) {
    write_count(w, holders.len());
    for holder in holders {
        w.raw(holder.account.as_bytes());
        w.u8(holder.role.code());
    }
}

pub(super) fn holders(r: &mut Reader<'_>) -> Result<Vec<Holder>, DecodeError> {
    list(r, |r| {
        Ok(Holder {
            account: account(r)?,
            role: role(r)?,
        })
    })
}

pub(super) fn write_content(w: &mut Writer, content: &Content) {
    w.u8(content.kind.code());
    w.text(&content.title);
    w.text(&content.description);
    write_count(w, content.actions.len());
    for action in &content.actions {
        action.write(w);
    }
}

pub(super) fn content(r: &mut Reader<'_>) -> Result<Content, DecodeError> {
    Ok(Content {
        kind: kind(r)?,
        // A character has at most four bytes.
        title: r.text(4 * Content::TITLE_CHARS_MAX)?.to_owned(),
        description: r.text(Content::DESCRIPTION_BYTES_MAX)?.to_owned(),
        actions: list(r, Action::read)?,
    })
}

pub(super) fn write_terms(w: &mut Writer, terms: &Terms) {
    let Terms {
        snapshot,
        deadline,
        timelock_ms,
        grace_ms,
        quorum,
        approval,
        late_quorum_ms,
        voter_share_max,
        vote_changes_max,
        weighing,
        reputation_default,
        conviction,
    } = terms;
    w.u64(snapshot.0);
    w.u64(deadline.0);
    w.u64(*timelock_ms);
    w.u64(*grace_ms);
    w.u32(quorum.get());
    w.u32(approval.get());
    w.u64(*late_quorum_ms);
    w.u32(voter_share_max.get());
    w.u32(*vote_changes_max);
    w.u8(weighing.code());
    w.u32(reputation_default.get());
    w.u64(conviction.period_ms);
    w.u32(conviction.half_life_periods);
}

pub(super) fn terms(r: &mut Reader<'_>) -> Result<Terms, DecodeError> {
    Ok(Terms {
        snapshot: time(r)?,
        deadline: time(r)?,
        timelock_ms: r.u64()?,
        grace_ms: r.u64()?,
        quorum: ppm(r)?,
        approval: ppm(r)?,
        late_quorum_ms: r.u64()?,
        voter_share_max: ppm(r)?,
        vote_changes_max: r.u32()?,
        weighing: {
            let at = r.position();
            let code = r.u8()?;
            Weighing::try_from(code).map_err(|_| unknown(at, code))?
        },
        reputation_default: ppm(r)?,
        conviction: Conviction {
            period_ms: r.u64()?,
            half_life_periods: r.u32()?,
        },
    })
}
