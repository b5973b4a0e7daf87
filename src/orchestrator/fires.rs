//! Firing what is due: a reminder is said in its session, a job becomes a message to the agent. One
//! transaction writes the slot and what follows from it, so a slot fires once or is known as missed.

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Core, Orchestrator, deliver, inbox};
use crate::{
    fail::{self, Point},
    schedule::{ScheduleError, next_slot},
    store::{
        Result, StoreError, Tx,
        messages::{self, Author, Message},
        outbox::{self, Parcel},
        schedules::{self, Kind, Schedule},
        sessions,
    },
    types::{
        Inbound, MessageId, SessionId, Timestamp, WhenBusy,
        frame::{Body, UsageInfo},
    },
};

/// Due schedules taken at once.
const BATCH: u32 = 100;
/// Later than this is said to be late.
const LATE: std::time::Duration = std::time::Duration::from_secs(90);

/// Fires until cancelled.
pub(super) async fn run(
    orchestrator: Orchestrator,
    cancel: CancellationToken,
) -> std::result::Result<(), ScheduleError> {
    loop {
        fire_due(&orchestrator).await?;
        tokio::select! {
            waited = orchestrator.core.parts.kit.schedules.wait() => waited?,
            () = cancel.cancelled() => return Ok(()),
        }
    }
}

async fn fire_due(orchestrator: &Orchestrator) -> std::result::Result<(), StoreError> {
    let core = &orchestrator.core;
    let now = core.parts.clock.now();
    let due = core
        .parts
        .store
        .read(move |c| schedules::due(c, now, BATCH))
        .await?;
    for schedule in due {
        let (id, session) = (schedule.id, schedule.session_id);
        let shared = std::sync::Arc::clone(core);
        let fired = core
            .parts
            .store
            .write(move |tx| {
                let fired = fire(&shared, tx, &schedule, now)?;
                fail::point(Point::FireWritten);
                Ok(fired)
            })
            .await?;
        fail::point(Point::FireCommitted);
        tracing::info!(schedule_id = %id, session_id = %session, ?fired, "fired");
        match fired {
            Fired::Said => core.posted.notify_one(),
            Fired::Asked => orchestrator.wake(session).await,
            Fired::Nothing => {}
        }
    }
    Ok(())
}

/// Fires once out of turn: its times stay as they are.
pub(super) async fn fire_now(orchestrator: &Orchestrator, mut schedule: Schedule) -> Result<()> {
    let core = &orchestrator.core;
    let (now, session) = (core.parts.clock.now(), schedule.session_id);
    schedule.next_at = Some(now);
    let shared = std::sync::Arc::clone(core);
    let fired = core.parts.store.write(move |tx| {
        if !schedules::record(tx, (schedule.id, now), ("ran", Some("asked for")), now)? {
            return Ok(Fired::Nothing);
        }
        match schedule.kind {
            Kind::Reminder => say(&shared, tx, &schedule, now).map(|()| Fired::Said),
            Kind::Skill | Kind::Prompt => ask(tx, &schedule, now, now),
        }
    });
    match fired.await? {
        Fired::Said => core.posted.notify_one(),
        Fired::Asked => orchestrator.wake(session).await,
        Fired::Nothing => {}
    }
    Ok(())
}

#[derive(Debug)]
enum Fired {
    /// A reminder is in the session.
    Said,
    /// A message waits for the agent.
    Asked,
    /// The slot had been settled already.
    Nothing,
}

fn fire(core: &Core, tx: &Tx<'_>, schedule: &Schedule, now: Timestamp) -> Result<Fired> {
    let Some(slot) = schedule.next_at else {
        return Ok(Fired::Nothing);
    };
    // What repeats goes on from now: slots that passed while nobody was there are caught up once.
    let next = schedule
        .cron
        .as_ref()
        .and_then(|cron| next_slot(cron, &schedule.time_zone, now));
    schedules::set_next(tx, schedule.id, next)?;
    if !schedules::record(tx, (schedule.id, slot), ("ran", None), now)? {
        return Ok(Fired::Nothing);
    }
    missed_slots(tx, schedule, slot, now)?;
    match schedule.kind {
        Kind::Reminder => say(core, tx, schedule, now)?,
        Kind::Skill | Kind::Prompt => return ask(tx, schedule, slot, now),
    }
    Ok(Fired::Said)
}

/// Slots between the one that fires now and now itself.
fn missed_slots(tx: &Tx<'_>, schedule: &Schedule, slot: Timestamp, now: Timestamp) -> Result<()> {
    let Some(cron) = &schedule.cron else {
        return Ok(());
    };
    let mut at = slot;
    for _ in 0..BATCH {
        match next_slot(cron, &schedule.time_zone, at) {
            Some(next) if next <= now => at = next,
            _ => break,
        }
        let why = Some("nexflow was not running; caught up once");
        schedules::record(tx, (schedule.id, at), ("missed", why), now)?;
    }
    Ok(())
}

fn say(core: &Core, tx: &Tx<'_>, schedule: &Schedule, now: Timestamp) -> Result<()> {
    let due = schedule.next_at.unwrap_or(now);
    let what = schedule.input.as_str().unwrap_or_default();
    let text = if now.since(due) > LATE {
        let at = core.parts.kit.schedules.show(due);
        format!("⏰ {what}\n\n*(late: this was due {at}, while I was not running)*")
    } else {
        format!("⏰ {what}")
    };
    let id = MessageId::new();
    messages::insert(tx, &message(id, schedule.session_id, &text, now))?;
    let to = (schedule.address.clone(), schedule.external_user.clone());
    let parcel = Parcel::new((id, schedule.session_id), to, text.clone(), now);
    outbox::insert(tx, &deliver::parcel(core, parcel, now))?;
    sessions::touch(tx, schedule.session_id, "Reminder", now)?;
    let completed = Body::Completed {
        turn_id: None,
        message_id: id,
        text,
        status: "ok".to_owned(),
        attachments: Vec::new(),
        usage: UsageInfo::default(),
        provider: "schedule".to_owned(),
        model: String::new(),
        at: now,
    };
    tx.show(schedule.session_id, completed)
}

fn message(id: MessageId, session: SessionId, text: &str, at: Timestamp) -> Message {
    Message {
        id,
        session,
        turn: None,
        author: Author::Assistant,
        origin: "reminder".to_owned(),
        status: "ok".to_owned(),
        text: text.to_owned(),
        provenance: None,
        at,
    }
}

/// The slot is the message's external id: it is accepted once.
fn ask(tx: &Tx<'_>, schedule: &Schedule, slot: Timestamp, now: Timestamp) -> Result<Fired> {
    let text = match (&schedule.skill, &schedule.input) {
        (Some(skill), input) => format!("/run {skill} {input}"),
        (None, Value::String(prompt)) => prompt.clone(),
        (None, other) => other.to_string(),
    };
    let external_id = format!("schedule:{}:{}", schedule.id, slot.0);
    let (from, user) = (schedule.address.clone(), schedule.external_user.clone());
    let inbound = Inbound {
        person: Some(schedule.user_id),
        session: Some(schedule.session_id),
        ..Inbound::new(from, external_id, user, text)
    };
    Ok(match inbox::write(tx, (&inbound, WhenBusy::Queue), now)? {
        Ok(_) => Fired::Asked,
        Err(_) => Fired::Nothing,
    })
}
