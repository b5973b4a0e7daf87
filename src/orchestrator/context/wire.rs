//! Whatever happens in a session, what a model is told is valid in every dialect and told once. Drives
//! the rows as turns do, with crashes anywhere between.

use std::collections::HashSet;

use proptest::{prelude::*, test_runner::TestCaseResult};
use serde_json::json;

use super::*;
use crate::{
    bus::Bus,
    orchestrator::{collect, inbox as accepting, resume, turn::Claim},
    providers::{Request, contract::every_dialect_takes},
    store::{
        Store, Tx,
        inbox::{self, State},
        messages::Author,
        turns::{self, End, Said, Step, StepKind},
        users,
    },
    types::{
        Address, Clock, Inbound, SessionId, StepId, Timestamp, TurnId, UserId, WhenBusy,
        chat::{Call, ToolSpec, Usage},
        effect::Effects,
        frame::CallStatus,
    },
};

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    /// A message comes.
    Said(WhenBusy),
    /// The lane looks: a turn begins.
    Claim {
        alone: bool,
    },
    /// The model says a text and asks for calls; with none it answers.
    Model {
        text: bool,
        calls: u8,
    },
    /// One of the running calls ends.
    Tool {
        which: u8,
        failed: bool,
    },
    /// The model is asked again, if nothing runs.
    Ask,
    /// The daemon is killed and starts again; skills may or may not run again.
    Crash {
        idempotent: bool,
    },
    /// The turn is stopped or fails.
    End(State),
    Reminder,
}

fn event() -> impl Strategy<Value = Event> {
    let mode = prop_oneof![
        3 => Just(WhenBusy::Collect),
        3 => Just(WhenBusy::Steer),
        1 => Just(WhenBusy::Interrupt),
        1 => Just(WhenBusy::Queue),
    ];
    prop_oneof![
        5 => mode.prop_map(Event::Said),
        4 => prop::bool::weighted(0.2).prop_map(|alone| Event::Claim { alone }),
        6 => (any::<bool>(), 0..4_u8).prop_map(|(text, calls)| Event::Model { text, calls }),
        8 => (any::<u8>(), any::<bool>()).prop_map(|(which, failed)| Event::Tool { which, failed }),
        6 => Just(Event::Ask),
        3 => any::<bool>().prop_map(|idempotent| Event::Crash { idempotent }),
        1 => prop_oneof![Just(State::Cancelled), Just(State::Failed)].prop_map(Event::End),
        1 => Just(Event::Reminder),
    ]
}

/// A session on disk, and what a lane holds in memory.
struct World {
    store: Store,
    session: SessionId,
    user: UserId,
    said: usize,
    claim: Option<Claim>,
}

impl World {
    async fn new(folder: &std::path::Path) -> Self {
        let store = Store::open(&folder.join("t.db"), &Bus::new(Clock::system())).unwrap();
        let (session, user) = store
            .write(|tx| {
                let user = users::owner(tx, Timestamp(1))?.id;
                let session = crate::store::sessions::create(tx, "web", user, Timestamp(1))?;
                Ok((session, user))
            })
            .await
            .unwrap();
        Self {
            store,
            session,
            user,
            said: 0,
            claim: None,
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> T {
        self.store.write(query).await.unwrap()
    }

    async fn apply(&mut self, event: &Event) {
        match event {
            Event::Said(mode) => self.hear(*mode).await,
            Event::Claim { alone } if self.claim.is_none() => {
                let (session, alone) = (self.session, *alone);
                self.claim = self
                    .write(move |tx| collect::claim(tx, session, alone, Timestamp(2)))
                    .await;
            }
            Event::Model { text, calls } => self.model(*text, *calls).await,
            Event::Tool { which, failed } => self.tool(*which, *failed).await,
            Event::Ask => self.ask().await,
            Event::Crash { idempotent } => self.crash(*idempotent).await,
            Event::End(state) => self.end(*state).await,
            Event::Reminder => self.remind().await,
            Event::Claim { .. } => {}
        }
    }

    async fn hear(&mut self, mode: WhenBusy) {
        let from = Address::new("web", "", self.session.to_string());
        let text = format!("<said {}>", self.said);
        let inbound = Inbound {
            person: Some(self.user),
            session: Some(self.session),
            ..Inbound::new(from, self.said.to_string(), "u", text)
        };
        self.said += 1;
        self.write(move |tx| accepting::write(tx, (&inbound, mode), Timestamp(2)))
            .await
            .unwrap();
    }

    async fn model(&mut self, text: bool, calls: u8) {
        let Some(claim) = &mut self.claim else { return };
        let Some(step) = claim.open.take() else {
            return;
        };
        let (turn, first) = (claim.turn.id, next(&claim.steps));
        let said = Said {
            name: "p/m".to_owned(),
            text: if text {
                "thinking".to_owned()
            } else {
                String::new()
            },
            // Servers that number their calls from zero each time.
            calls: (0..calls)
                .map(|n| Call {
                    id: format!("call_{}", u32::from(n) + first * 10),
                    tool: format!("t{n}"),
                    args: json!({ "n": n }),
                })
                .collect(),
            reasoning: None,
            usage: Usage::default(),
            first_token_at: None,
        };
        self.write(move |tx| {
            turns::finish_model(tx, step, &said, Timestamp(3))?;
            for (call, ordinal) in said.calls.iter().zip(first + 1..) {
                let (call, place) = ((call, Effects::NONE), (StepId::new(), ordinal));
                turns::start_tool(tx, turn, place, call, Timestamp(3))?;
            }
            Ok(())
        })
        .await;
        self.reread().await;
        if calls == 0 {
            self.end(State::Answered).await;
        }
    }

    async fn tool(&mut self, which: u8, failed: bool) {
        let Some(claim) = &self.claim else { return };
        let running: Vec<StepId> = running(&claim.steps).collect();
        let Some(step) = running
            .get(usize::from(which) % running.len().max(1))
            .copied()
        else {
            return;
        };
        let status = if failed {
            CallStatus::Failed
        } else {
            CallStatus::Ok
        };
        self.write(move |tx| {
            turns::finish_tool(tx, step, (status, "out", &json!("out")), Timestamp(4))
        })
        .await;
        self.reread().await;
    }

    async fn ask(&mut self) {
        let Some(claim) = &mut self.claim else { return };
        if claim.open.is_some() || running(&claim.steps).next().is_some() {
            return;
        }
        let (id, ordinal) = (StepId::new(), next(&claim.steps));
        let (turn, asked) = (claim.turn.clone(), claim.asked.clone());
        claim.open = Some(id);
        let joining = self
            .write(move |tx| {
                let joining = collect::steer(tx, &turn, &asked, ordinal)?;
                turns::start_model(tx, turn.id, (id, ordinal), Timestamp(5))?;
                Ok(joining)
            })
            .await;
        self.claim.as_mut().unwrap().also.extend(joining);
    }

    async fn crash(&mut self, idempotent: bool) {
        self.claim = None;
        let session = self.session;
        let again: HashSet<String> = if idempotent {
            (0..4).map(|n| format!("t{n}")).collect()
        } else {
            HashSet::new()
        };
        self.claim = self
            .write(move |tx| match turns::running(tx, session)? {
                Some(turn) => resume::claim(tx, turn, &again, Timestamp(6)),
                None => Ok(None),
            })
            .await;
    }

    async fn end(&mut self, state: State) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let word = state.as_str();
        let end = End {
            state: word,
            provider: String::new(),
            model: String::new(),
            error: None,
        };
        self.write(move |tx| {
            turns::finish(tx, claim.turn.id, &end, Timestamp(7))?;
            for step in running(&claim.steps).chain(claim.open) {
                turns::end_step(tx, step, CallStatus::Cancelled, "stopped", Timestamp(7))?;
            }
            let status = if word == "answered" { "ok" } else { word };
            let said = message(claim.turn.session, Some(claim.turn.id), status);
            messages::insert(tx, &said)?;
            collect::finish(tx, &claim.turn, state, Timestamp(7))
        })
        .await;
    }

    async fn remind(&mut self) {
        let said = message(self.session, None, "ok");
        self.write(move |tx| messages::insert(tx, &said)).await;
    }

    /// Steps as they are on disk.
    async fn reread(&mut self) {
        let claim = self.claim.as_mut().unwrap();
        let turn = claim.turn.id;
        let steps = self
            .store
            .read(move |c| turns::steps(c, turn))
            .await
            .unwrap();
        claim.steps = steps
            .into_iter()
            .filter(|s| Some(s.id) != claim.open)
            .collect();
    }

    /// What a model would be told now, if it is asked.
    async fn told(&self) -> Option<Vec<Message>> {
        let claim = self.claim.as_ref()?;
        claim.open?;
        let (session, turn) = (self.session, claim.turn.id);
        let also: Vec<Waiting> = claim
            .also
            .iter()
            .filter(|m| m.joined.is_some())
            .cloned()
            .collect();
        let read = self
            .store
            .read(move |c| Ok((past(c, session, turn)?, joined(c, also)?)));
        let (past, joined) = read.await.unwrap();
        let (mut messages, dropped, _) = fit(past, u64::MAX);
        assert_eq!(dropped, 0);
        messages.push(Message::User {
            text: claim.asked.text.clone(),
            images: Vec::new(),
        });
        messages.extend(said_in(&claim.steps, &joined));
        Some(messages)
    }

    /// The messages that some turn has taken, by their numbers.
    async fn taken(&self) -> Vec<usize> {
        let session = self.session;
        let waiting = self
            .store
            .read(move |c| inbox::pending(c, session, 1000))
            .await
            .unwrap();
        let waiting: HashSet<usize> = waiting
            .iter()
            .map(|m| m.external_id.parse().unwrap())
            .collect();
        (0..self.said).filter(|n| !waiting.contains(n)).collect()
    }
}

fn message(session: SessionId, turn: Option<TurnId>, status: &str) -> messages::Message {
    messages::Message {
        id: MessageId::new(),
        session,
        turn,
        author: Author::Assistant,
        origin: "turn".to_owned(),
        status: status.to_owned(),
        text: "answered".to_owned(),
        provenance: None,
        at: Timestamp(7),
    }
}

fn next(steps: &[Step]) -> u32 {
    steps.last().map_or(0, |s| s.ordinal + 1)
}

fn running(steps: &[Step]) -> impl Iterator<Item = StepId> {
    steps
        .iter()
        .filter(|s| s.status == CallStatus::Running && matches!(s.kind, StepKind::Tool { .. }))
        .map(|s| s.id)
}

async fn check(world: &World) -> TestCaseResult {
    let Some(messages) = world.told().await else {
        return Ok(());
    };
    let everything = format!("{messages:?}");
    for n in world.taken().await {
        let times = everything.matches(&format!("<said {n}>")).count();
        prop_assert_eq!(times, 1, "message {} of {}", n, everything);
    }
    let tool = ToolSpec {
        name: "t0".to_owned(),
        description: "A tool.".to_owned(),
        input_schema: json!({ "type": "object", "properties": {} }),
    };
    every_dialect_takes(&Request {
        messages,
        tools: vec![tool],
        ..Request::default()
    })
}

async fn story(events: &[Event]) -> TestCaseResult {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path()).await;
    for event in events {
        world.apply(event).await;
        check(&world).await?;
    }
    // In the end everything is answered, once.
    world.crash(false).await;
    for _ in 0..=events.len() {
        world.ask().await;
        check(&world).await?;
        world.end(State::Answered).await;
        world.apply(&Event::Claim { alone: false }).await;
    }
    let session = world.session;
    let left = world.store.read(move |c| {
        let open = inbox::pending(c, session, 1000)?.len();
        let running = turns::running(c, session)?.is_some();
        Ok((open, running, inbox::backlog(c)?))
    });
    prop_assert_eq!(left.await.unwrap(), (0, false, 0));
    world.store.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_a_model_is_told_something_valid_and_everything_once(
        events in prop::collection::vec(event(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(story(&events))?;
    }
}
