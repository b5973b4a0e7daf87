//! A turn in work: what was done so far, what is asked next, and writing each step as it happens.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Core, ask, attachments, collect,
    context::{self, Context},
    events, flow,
    limits::{self, Limit},
    plan::Planning,
    spend::Purse,
    toolbox::{Finished, Toolbox},
};
use crate::{
    fail::{self, Point},
    policy::Flow,
    providers::{About, Request, Wish},
    store::{
        Result,
        approvals::Approval,
        inbox::Waiting,
        turns::{self, Said, Step, StepKind, Turn},
        usage,
        users::Role,
    },
    types::{
        Place, Room, ScheduleId, StepId, TurnId,
        chat::{Call, Message},
        frame::{Body, CallStatus},
    },
};

/// A turn that is being worked on.
pub(super) struct Work {
    pub(super) core: Arc<Core>,
    pub(super) turn: Turn,
    /// The message that it replies to, with the texts of all that it was asked together.
    pub(super) asked: Waiting,
    /// Others that it answers too, and those that joined it, oldest first.
    pub(super) also: Vec<Waiting>,
    pub(super) place: Place,
    /// The room that it is said in: nothing of a person's own is told there.
    pub(super) room: Option<Room>,
    pub(super) cancel: CancellationToken,
    pub(super) toolbox: Toolbox,
    /// Role of the person whose message it is.
    pub(super) role: Role,
    /// What the context brings in, without this turn's steps.
    pub(super) flow: Flow,
    /// Whether a plan comes first.
    pub(super) planning: Planning,
    /// Expired questions that this turn asks again.
    pub(super) again: Vec<Approval>,
    /// What was done so far.
    pub(super) steps: Vec<Step>,
    /// The model step that is written and waits for its answer.
    pub(super) open: Option<StepId>,
    /// What it cost so far, and what the call that runs may cost.
    pub(super) purse: Purse,
    /// Who is to be asked.
    pub(super) wish: Wish,
    /// That another model than the first answered, and why.
    pub(super) stood_in: Mutex<Option<String>>,
    /// What was said while it ran: each before the step with that ordinal.
    pub(super) joined: Vec<(u32, Message)>,
}

impl Work {
    /// Why this turn is to end with one closing answer, if it is.
    pub(super) fn limit(&self) -> Option<Limit> {
        if let Some(circle) = limits::circles(&self.steps) {
            return Some(circle);
        }
        let limits = &self.core.parts.live().turns;
        let asked = self
            .steps
            .iter()
            .filter(|s| matches!(s.kind, StepKind::Model { .. }))
            .count();
        let took = self.core.parts.clock.now().since(self.turn.started_at);
        // Waiting for a person is not work.
        let took = took.saturating_sub(Duration::from_micros(self.turn.waited.unsigned_abs()));
        if asked >= limits.max_steps as usize {
            Some(Limit::Steps)
        } else if took >= Duration::from_secs(limits.max_seconds) {
            Some(Limit::Time)
        } else if limits
            .max_cost_usd
            .is_some_and(|most| self.purse.spent() >= most)
        {
            Some(Limit::Money)
        } else {
            None
        }
    }

    fn next_ordinal(&self) -> u32 {
        self.steps.iter().map(|s| s.ordinal + 1).max().unwrap_or(0)
    }

    /// Writes that the model is being asked, unless that is written already; what is to join the turn
    /// joins it here.
    pub(super) async fn open_step(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Ok(());
        }
        let (id, ordinal) = (StepId::new(), self.next_ordinal());
        let (turn, asked) = (self.turn.clone(), self.asked.clone());
        let (now, about) = (self.core.parts.clock.now(), self.about());
        let write = self.core.parts.store.keep(move |tx| {
            let joined = collect::steer(tx, &turn, &asked, ordinal)?;
            turns::start_model(tx, turn.id, (id, ordinal), now)?;
            events::asked(tx, about, ordinal, now)?;
            Ok(joined)
        });
        let joining = write.await?;
        fail::point(Point::StepCommitted);
        self.open = Some(id);
        if !joining.is_empty() {
            let ids = joining.iter().map(|m| m.id).collect();
            self.flow.take_in(context::flow_of(self, ids).await?);
            self.also.extend(joining);
            attachments::unpack(self).await?;
            self.load_joined().await?;
        }
        Ok(())
    }

    /// Reads what joined the turn, with its images.
    pub(super) async fn load_joined(&mut self) -> Result<()> {
        let joined: Vec<Waiting> = self
            .also
            .iter()
            .filter(|m| m.joined.is_some())
            .cloned()
            .collect();
        if joined.is_empty() {
            return Ok(());
        }
        let read = self
            .core
            .parts
            .store
            .read(move |c| context::joined(c, joined));
        self.joined = read.await?;
        Ok(())
    }

    /// External ids of all that it answers, the newest last.
    pub(super) fn answers(&self) -> Vec<String> {
        let mut all: Vec<&Waiting> = self.also.iter().chain([&self.asked]).collect();
        all.sort_by_key(|m| m.id);
        all.iter().map(|m| m.external_id.clone()).collect()
    }

    /// Past and present as a provider is asked; at a limit without tools.
    pub(super) fn request(&self, context: &Context, last: Option<Limit>) -> Request {
        let mut messages = context.past.clone();
        messages.extend(context::said_in(&self.steps, &self.joined));
        let word = last.map(Limit::last_word).or_else(|| self.planning.word());
        messages.extend(word.map(|text| Message::User {
            text,
            images: Vec::new(),
        }));
        Request {
            system: context.system.clone(),
            messages,
            tools: if last.is_some() {
                Vec::new()
            } else {
                self.planning.tools(&self.toolbox, self.by_command())
            },
            max_output_tokens: self.core.parts.live().turns.max_output_tokens,
            model: None,
            temperature: None,
        }
    }

    /// The schedule that asked, if one did: its message has its id in its own.
    pub(super) fn schedule(&self) -> Option<ScheduleId> {
        let slot = self.asked.external_id.strip_prefix("schedule:")?;
        slot.split(':').next()?.parse().ok()
    }

    /// Whether this is a command, which no model is needed for.
    pub(super) fn by_command(&self) -> bool {
        crate::providers::is_command(&self.asked.text)
    }

    /// The step as what it became.
    pub(super) fn said_step(&self, id: StepId, said: &Said) -> Step {
        let now = self.core.parts.clock.now();
        Step {
            id,
            ordinal: self.next_ordinal(),
            kind: StepKind::Model {
                name: said.name.clone(),
                text: said.text.clone(),
                calls: said.calls.clone(),
                reasoning: said.reasoning.clone(),
                usage: said.usage,
            },
            status: CallStatus::Ok,
            started_at: now,
            first_token_at: said.first_token_at,
            finished_at: Some(now),
        }
    }

    /// One transaction: what the model said, what it took, and that its calls begin.
    pub(super) async fn record(
        &mut self,
        said: Said,
        about: &About,
    ) -> Result<Vec<(StepId, Call)>> {
        let Some(id) = self.open.take() else {
            return Ok(Vec::new());
        };
        let charge = self.purse.paid(&self.core, &said, about);
        self.steps.push(self.said_step(id, &said));
        let first = self.next_ordinal();
        let calls = said.calls.iter().map(|call| (StepId::new(), call.clone()));
        let begun = ask::begin(self, (calls.collect(), first), about.offline).await?;
        let (turn, now) = (self.turn.clone(), self.core.parts.clock.now());
        let (written, belongs) = (Arc::clone(&begun), self.about());
        self.core
            .parts
            .store
            .keep(move |tx| {
                turns::finish_model(tx, id, &said, now)?;
                if let Some(charge) = &charge {
                    charge.write(tx, now)?;
                }
                events::said(tx, belongs, &said, now)?;
                written
                    .iter()
                    .try_for_each(|one| one.write(tx, &turn, now))?;
                fail::point(Point::CallsWritten);
                Ok(())
            })
            .await?;
        fail::point(Point::CallsCommitted);
        if begun.iter().any(ask::Begun::proposes) {
            fail::point(Point::PlanCommitted);
        }
        self.core.asked.notify_one();
        self.steps.extend(begun.iter().map(|one| one.step(now)));
        let run = begun.iter().filter(|one| one.runs());
        Ok(run.map(|one| (one.id, one.call.clone())).collect())
    }

    /// What is in the context now, this turn's results included.
    pub(super) fn flow_now(&self) -> Flow {
        let mut flow = self.flow.clone();
        flow.take_in(flow::of_steps(&self.steps));
        flow
    }

    /// Takes in the result of a call.
    pub(super) fn take_result(&mut self, (id, done, from): Finished) {
        let Some(step) = self.steps.iter_mut().find(|s| s.id == id) else {
            return;
        };
        step.status = done.status;
        if let StepKind::Tool {
            output,
            detail,
            provenance,
            ..
        } = &mut step.kind
        {
            *output = done.text;
            *detail = done.detail;
            *provenance = Some(from);
        }
    }

    /// Calls that began before a restart and may run again.
    pub(super) fn unfinished_calls(&self) -> Vec<(StepId, Call)> {
        let running = self
            .steps
            .iter()
            .filter(|s| s.status == CallStatus::Running);
        running
            .filter_map(|step| match &step.kind {
                StepKind::Tool { call, .. } => Some((step.id, call.clone())),
                StepKind::Model { .. } => None,
            })
            .collect()
    }

    /// Runs calls side by side and takes in their results.
    pub(super) async fn act(&mut self, calls: Vec<(StepId, Call)>) -> Result<()> {
        if calls.is_empty() {
            return Ok(());
        }
        let finished = self.toolbox.run(self, calls).await?;
        for one in finished {
            self.take_result(one);
        }
        // What skills asked of a model counts too.
        if self.core.parts.live().turns.max_cost_usd.is_some() {
            let turn = self.turn.id;
            let read = self
                .core
                .parts
                .store
                .read(move |c| usage::known_cost(c, turn));
            self.purse.set_spent(read.await?);
        }
        Ok(())
    }
}

/// The frame of a call that begins.
pub(super) fn tool_started(turn_id: TurnId, call: &Call) -> Body {
    Body::ToolStarted {
        turn_id,
        call_id: call.id.clone(),
        skill: call.tool.clone(),
        input: call.args.clone(),
    }
}
