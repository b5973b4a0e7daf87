//! Updates of one answer to `getUpdates`, in the order in which they are taken in.
//!
//! An album comes as one update for each of its files. It is taken in as one message, at the place of its
//! last part. A position is only written when everything up to it was taken in, so that a crash in
//! between loses nothing: what was taken in already is known by its id.

use serde_json::Value;

/// An update as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    pub id: i64,
    pub body: Value,
}

/// What is taken in at once: an update, or the parts of an album.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unit {
    pub parts: Vec<Raw>,
    /// Everything up to this was taken in once this was.
    pub position: i64,
}

/// The updates of an answer; what has no id cannot be confirmed and is left out.
pub(super) fn raw(updates: Vec<Value>) -> Vec<Raw> {
    let with_id = |body: Value| {
        let id = body.get("update_id")?.as_i64()?;
        Some(Raw { id, body })
    };
    let mut updates: Vec<Raw> = updates.into_iter().filter_map(with_id).collect();
    updates.sort_by_key(|update| update.id);
    updates.dedup_by_key(|update| update.id);
    updates
}

/// The album that an update belongs to.
fn album(update: &Raw) -> Option<(i64, &str)> {
    let message = update.body.get("message")?;
    let chat = message.get("chat")?.get("id")?.as_i64()?;
    Some((chat, message.get("media_group_id")?.as_str()?))
}

/// Whether there is an album among them, more of which may be on its way.
pub(super) fn has_album(updates: &[Raw]) -> bool {
    updates.iter().any(|update| album(update).is_some())
}

/// Updates as units. When the answer was `full`, an album at its end may go on in the next: it is left
/// for that, unless there is nothing else.
pub(super) fn units(updates: Vec<Raw>, full: bool) -> Vec<Unit> {
    let mut groups: Vec<Vec<Raw>> = Vec::new();
    for update in updates {
        let same = |group: &&mut Vec<Raw>| {
            let first = group.first().and_then(album);
            first.is_some() && first == album(&update)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(update),
            None => groups.push(vec![update]),
        }
    }
    let last = |group: &Vec<Raw>| group.last().map_or(0, |update| update.id);
    groups.sort_by_key(last);
    let mut open = i64::MAX;
    if full
        && groups.len() > 1
        && groups
            .last()
            .and_then(|g| g.first())
            .and_then(album)
            .is_some()
    {
        let left = groups.pop();
        open = left.and_then(|g| Some(g.first()?.id)).unwrap_or(open);
    }
    // From the end: how far everything is done once a group is.
    let mut units: Vec<Unit> = Vec::with_capacity(groups.len());
    for parts in groups.into_iter().rev() {
        let position = last(&parts).min(open.saturating_sub(1));
        open = open.min(parts.first().map_or(open, |update| update.id));
        units.push(Unit { parts, position });
    }
    units.reverse();
    units
}

/// The chat of an update that is a message of text alone.
fn text_in(update: &Raw) -> Option<i64> {
    let message = update.body.get("message")?;
    message.get("text")?.as_str()?;
    message.get("chat")?.get("id")?.as_i64()
}

/// Units that are taken in one after the other, or, where all of them are messages of text, side by side.
pub(super) type Run = Vec<Unit>;

/// Units as runs, in order.
pub(super) fn runs(units: Vec<Unit>) -> Vec<Run> {
    let mut runs: Vec<(bool, Run)> = Vec::new();
    for unit in units {
        let is_text = chat_of(&unit).is_some();
        match runs.last_mut() {
            Some((true, run)) if is_text => run.push(unit),
            _ => runs.push((is_text, vec![unit])),
        }
    }
    runs.into_iter().map(|(_, run)| run).collect()
}

fn chat_of(unit: &Unit) -> Option<i64> {
    match unit.parts.as_slice() {
        [one] => text_in(one),
        _ => None,
    }
}

/// The units of a run by chat, each in order.
pub(super) fn by_chat(run: Run) -> Vec<Vec<Unit>> {
    let mut chats: Vec<(Option<i64>, Vec<Unit>)> = Vec::new();
    for unit in run {
        let chat = chat_of(&unit);
        match chats.iter_mut().find(|(of, _)| *of == chat) {
            Some((_, units)) => units.push(unit),
            None => chats.push((chat, vec![unit])),
        }
    }
    chats.into_iter().map(|(_, units)| units).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(id: i64, album: Option<&str>) -> Value {
        let mut body = json!({ "update_id": id, "message": { "chat": { "id": 7 } } });
        if let Some(album) = album {
            body["message"]["media_group_id"] = album.into();
        }
        body
    }

    fn planned(updates: &[(i64, Option<&str>)], full: bool) -> Vec<(Vec<i64>, i64)> {
        let updates = updates.iter().map(|(id, album)| said(*id, *album));
        let units = units(raw(updates.collect()), full);
        let ids = |unit: &Unit| unit.parts.iter().map(|part| part.id).collect();
        units.iter().map(|u| (ids(u), u.position)).collect()
    }

    #[test]
    fn each_update_moves_the_position() {
        let plan = planned(&[(5, None), (6, None), (9, None)], false);
        assert_eq!(plan, [(vec![5], 5), (vec![6], 6), (vec![9], 9)]);
    }

    #[test]
    fn no_position_passes_an_album_that_is_not_taken_in() {
        let plan = planned(
            &[(5, Some("a")), (6, None), (7, Some("a")), (8, None)],
            false,
        );
        assert_eq!(plan, [(vec![6], 4), (vec![5, 7], 7), (vec![8], 8)]);
        // Two that are woven.
        let updates = [
            (1, Some("a")),
            (2, Some("b")),
            (3, Some("a")),
            (4, Some("b")),
        ];
        let plan = planned(&updates, false);
        assert_eq!(plan, [(vec![1, 3], 1), (vec![2, 4], 4)]);
    }

    #[test]
    fn an_album_at_the_end_of_a_full_answer_waits_for_the_next() {
        let updates = [(1, None), (2, Some("a")), (3, None), (4, Some("a"))];
        assert_eq!(planned(&updates, true), [(vec![1], 1), (vec![3], 1)]);
        assert_eq!(planned(&[(2, Some("a"))], true), [(vec![2], 2)]);
    }

    #[test]
    fn only_texts_are_taken_side_by_side_and_each_chat_in_order() {
        let text = |id: i64, chat: i64| json!({ "update_id": id, "message": { "chat": { "id": chat }, "text": "x" } });
        let updates = vec![
            text(1, 7),
            text(2, 8),
            text(3, 7),
            json!({ "update_id": 4, "edited_message": { "chat": { "id": 7 }, "text": "y" } }),
            said(5, None),
            text(6, 8),
        ];
        let ids = |units: &[Unit]| units.iter().map(|u| u.position).collect::<Vec<_>>();
        let runs = runs(units(raw(updates), false));
        let planned: Vec<Vec<i64>> = runs.iter().map(|run| ids(run)).collect();
        assert_eq!(planned, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
        let chats = by_chat(runs[0].clone());
        let chats: Vec<Vec<i64>> = chats.iter().map(|units| ids(units)).collect();
        assert_eq!(chats, [vec![1, 3], vec![2]]);
    }

    #[test]
    fn what_is_no_update_is_left_out() {
        let updates = vec![
            json!(3),
            json!({ "update_id": "x" }),
            said(2, None),
            said(2, None),
        ];
        assert_eq!(raw(updates).len(), 1);
    }
}
