//! The tools of a turn: built-in ones and every skill that may run now. Runs calls side by side, and
//! writes each result as it comes.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Core, choose, events, operate, status, work::Work};
use crate::{
    fail::{self, Point},
    policy::words,
    skills::{Skill, run::LiveOutput},
    store::{Result, Tx, parking, sessions, turns},
    tools::{self, Done, Scope, Tool},
    types::{
        Room, SessionId, StepId,
        chat::{Call, ToolSpec, estimate_tokens},
        effect::{Effects, Provenance},
        frame::{Body, CallStatus},
        secret::mask,
        text::head_and_tail,
    },
};

/// A result is cut to this many bytes for the model.
const RESULT: usize = 16_000;

/// There in every room, whatever its list names: they do nothing by themselves.
const PLUMBING: &[&str] = &[
    "new_session",
    "propose_plan",
    "choose_model",
    "decide",
    "usage",
];
/// There in a room that may read instructions.
const READERS: &[&str] = &["skill", "list_skills"];

/// A call that ended: its result, and where that came from.
pub(super) type Finished = (StepId, Done, Provenance);

/// The tools of one turn. Cheap to clone.
#[derive(Clone)]
pub(super) struct Toolbox {
    inner: Arc<Inner>,
}

/// What there is while no skill changes.
struct Inner {
    tools: BTreeMap<String, Arc<dyn Tool>>,
    /// How each is shown, and whether models are shown it.
    specs: Vec<(ToolSpec, bool)>,
    /// What those for models take of a window.
    tokens: u64,
    instructions: Arc<[(String, String)]>,
}

/// The toolbox of the skills as they last were: it is built once for each change of them.
#[derive(Default)]
pub(super) struct Built(Mutex<Option<(Skills, Toolbox)>>);

type Skills = Arc<Vec<Arc<Skill>>>;

impl Toolbox {
    /// What there is now: skills come and go while the daemon runs.
    pub(super) fn now(core: &Core) -> Self {
        let skills = core.parts.kit.catalog.snapshot();
        let mut built = core.built.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*built {
            Some((known, toolbox)) if Arc::ptr_eq(known, &skills) => toolbox.clone(),
            _ => {
                let toolbox = Self::build(core);
                *built = Some((skills, toolbox.clone()));
                toolbox
            }
        }
    }

    fn build(core: &Core) -> Self {
        let kit = &core.parts.kit;
        let built_in = tools::KINDS.iter().map(|make| make(kit));
        let status: Arc<dyn Tool> = Arc::new(status::Status::new(Arc::clone(&core.parts.facts)));
        let choose: Arc<dyn Tool> = Arc::new(choose::Choose::new(&core.parts));
        let mut all: BTreeMap<String, Arc<dyn Tool>> = built_in
            .chain([status, choose])
            .chain(operate::tools(&core.me))
            .map(|tool| (tool.spec().name, tool))
            .collect();
        for tool in tools::skill::usable(kit) {
            // A skill cannot take the place of a built-in tool.
            all.entry(tool.spec().name).or_insert(tool);
        }
        let specs: Vec<(ToolSpec, bool)> =
            all.values().map(|t| (t.spec(), t.for_models())).collect();
        Self {
            inner: Arc::new(Inner {
                tools: all,
                tokens: tokens(&specs),
                specs,
                instructions: tools::skill::instructions(kit).into(),
            }),
        }
    }

    /// What of it there is in a room: nothing that belongs to one person, and where the room has a list
    /// of its own, what that names.
    pub(super) fn in_room(&self, room: Option<&Room>) -> Self {
        let Some(room) = room else {
            return self.clone();
        };
        let named = |name: &str| {
            let list = room.skills.as_ref();
            list.is_none_or(|list| list.iter().any(|one| one == name))
        };
        let texts: Arc<[(String, String)]> = if room.skills.is_some() {
            let all = self.inner.instructions.iter();
            all.filter(|(name, _)| named(name)).cloned().collect()
        } else {
            Arc::clone(&self.inner.instructions)
        };
        let there = |name: &str, tool: &dyn Tool| {
            let reads = READERS.contains(&name) && !texts.is_empty();
            !tool.personal() && (named(name) || PLUMBING.contains(&name) || reads)
        };
        let tools = self.inner.tools.iter();
        let tools: BTreeMap<String, Arc<dyn Tool>> = tools
            .filter(|(name, tool)| there(name, tool.as_ref()))
            .map(|(name, tool)| (name.clone(), Arc::clone(tool)))
            .collect();
        let specs = self.inner.specs.iter();
        let specs: Vec<(ToolSpec, bool)> = specs
            .filter(|(spec, _)| tools.contains_key(&spec.name))
            .cloned()
            .collect();
        Self {
            inner: Arc::new(Inner {
                tokens: tokens(&specs),
                tools,
                specs,
                instructions: texts,
            }),
        }
    }

    /// How they are shown to a model, or to the provider of commands.
    pub(super) fn specs(&self, commands: bool) -> Vec<ToolSpec> {
        let specs = self.inner.specs.iter();
        let shown = specs.filter(|(_, for_models)| commands || *for_models);
        shown.map(|(spec, _)| spec.clone()).collect()
    }

    /// One of them.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.inner.tools.get(name)
    }

    /// What one of them may do to the flow of data; what is not there does nothing.
    pub(super) fn effects(&self, name: &str) -> Effects {
        self.get(name).map_or(Effects::NONE, |tool| tool.effects())
    }

    /// What they take of a model's window.
    pub(super) fn tokens(&self) -> u64 {
        self.inner.tokens
    }

    /// Instructions that can be read: name and description.
    pub(super) fn instructions(&self) -> &Arc<[(String, String)]> {
        &self.inner.instructions
    }

    /// Whether a call of it may change something.
    fn changes(&self, name: &str) -> bool {
        self.effects(name).any(Effects::CHANGES_STATE)
    }

    /// Names of those that may run again after a crash.
    pub(super) fn idempotent(&self) -> HashSet<String> {
        let tools = self.inner.tools.iter();
        tools
            .filter(|(_, t)| t.idempotent())
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Runs calls side by side; each result is on disk before the next step.
    pub(super) async fn run(
        &self,
        work: &Work,
        calls: Vec<(StepId, Call)>,
    ) -> Result<Vec<Finished>> {
        let side_by_side = work.core.parts.live().turns.max_parallel_tools.max(1);
        let runs = stream::iter(calls).map(|(step, call)| async move {
            let began = work.core.parts.clock.now();
            let store = &work.core.parts.store;
            let allowed = store.read(move |c| parking::allowed_by(c, step)).await?;
            let done = self.call(work, &call, allowed).await;
            let took = work.core.parts.clock.now().since(began);
            let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let provenance = write(work, (step, &call), &done, took).await?;
            Ok((step, done, provenance))
        });
        let results: Vec<Result<Finished>> = runs.buffer_unordered(side_by_side).collect().await;
        results.into_iter().collect()
    }

    async fn call(&self, work: &Work, call: &Call, allowed: Option<String>) -> Done {
        if work.cancel.is_cancelled() {
            return Done {
                status: CallStatus::Cancelled,
                ..Done::text("Stopped before it began.")
            };
        }
        let Some(tool) = self.inner.tools.get(&call.tool) else {
            return Done::failed(format!(
                "There is no tool `{}`.{}",
                call.tool,
                self.near(&call.tool)
            ));
        };
        if !call.args.is_object() {
            return Done::failed(
                "The arguments are not a JSON object; call again with valid ones.",
            );
        }
        let (live, pieces) = mpsc::channel(256);
        let scope = Scope {
            place: work.place.clone(),
            message: Some(work.asked.id),
            turn: Some(work.turn.id),
            schedule: work.schedule(),
            cancel: work.cancel.clone(),
            live: Some(live),
            allowed,
        };
        let show = show_live(work, call, pieces);
        let ((), done) = tokio::join!(show, tool.call(scope, call.args.clone()));
        Done {
            text: head_and_tail(&mask(&done.text), RESULT),
            detail: masked(done.detail),
            ..done
        }
    }

    /// A hint for a name that is nearly right.
    fn near(&self, name: &str) -> String {
        let best =
            self.inner.tools.keys().max_by(|a, b| {
                strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name))
            });
        match best {
            Some(best) if strsim::jaro_winkler(best, name) > 0.8 => {
                format!(" Did you mean `{best}`?")
            }
            _ => String::new(),
        }
    }
}

/// What those for models take of a window.
fn tokens(specs: &[(ToolSpec, bool)]) -> u64 {
    let text = |s: &ToolSpec| {
        estimate_tokens(&s.description) + estimate_tokens(&s.input_schema.to_string()) + 8
    };
    let shown = specs.iter().filter(|(_, for_models)| *for_models);
    shown.map(|(spec, _)| text(spec)).sum()
}

/// Shows output until the tool lets go of its sender.
async fn show_live(work: &Work, call: &Call, mut pieces: mpsc::Receiver<LiveOutput>) {
    while let Some(piece) = pieces.recv().await {
        let body = Body::ToolOutput {
            turn_id: work.turn.id,
            call_id: call.id.clone(),
            text: mask(&piece.text).into_owned(),
            progress: piece.progress,
        };
        work.core.parts.bus.live(work.turn.session, body);
    }
}

fn masked(detail: Value) -> Value {
    let text = detail.to_string();
    match mask(&text) {
        std::borrow::Cow::Borrowed(_) => detail,
        std::borrow::Cow::Owned(clean) => {
            serde_json::from_str(&clean).unwrap_or(Value::String(clean))
        }
    }
}

/// Writes a result, and where it came from.
pub(super) async fn write(
    work: &Work,
    (step, call): (StepId, &Call),
    done: &Done,
    took_ms: u64,
) -> Result<Provenance> {
    let (session, now) = (work.turn.session, work.core.parts.clock.now());
    let frame = Body::ToolFinished {
        turn_id: work.turn.id,
        call_id: call.id.clone(),
        skill: call.tool.clone(),
        status: done.status,
        output: done.detail.clone(),
        duration_ms: took_ms,
    };
    tracing::info!(
        tool = call.tool,
        status = done.status.as_str(),
        duration_ms = took_ms,
        "tool ended"
    );
    let (done, call_made, about) = (done.clone(), call.clone(), work.about());
    let applied = work.toolbox.changes(&call.tool);
    let origin = Origin::of(work, call);
    let provenance = work
        .core
        .parts
        .store
        .keep(move |tx| {
            turns::finish_tool(tx, step, (done.status, &done.text, &done.detail), now)?;
            if applied {
                events::applied(tx, about, (&call_made, &done, took_ms), now)?;
            }
            let provenance = origin.write(tx, (session, step))?;
            tx.show(session, frame.clone())?;
            fail::point(Point::ResultWritten);
            Ok(provenance)
        })
        .await?;
    fail::point(Point::ResultCommitted);
    Ok(provenance)
}

/// What a call brings into the conversation and into its workspace.
#[derive(Clone)]
struct Origin {
    effects: Effects,
    on_files: bool,
    /// What of the context it may have written into files.
    carried: Option<String>,
}

impl Origin {
    fn of(work: &Work, call: &Call) -> Self {
        let effects = work.toolbox.effects(&call.tool);
        let tool = work.toolbox.get(&call.tool);
        let outside = effects.any(Effects::INGESTS_UNTRUSTED);
        let carried = if outside {
            Some(words::origin(&call.tool, &call.args))
        } else if effects.any(Effects::CHANGES_STATE) {
            work.flow_now().untrusted
        } else {
            None
        };
        Self {
            effects,
            on_files: tool.is_some_and(|tool| tool.works_on_files()),
            carried,
        }
    }

    fn write(&self, tx: &Tx<'_>, (session, step): (SessionId, StepId)) -> Result<Provenance> {
        let mut provenance = Provenance::of_result(self.effects);
        if self.on_files {
            let reads = self.effects.any(Effects::READS_PRIVATE);
            if reads && sessions::tainted(tx, session)?.is_some() {
                provenance = Provenance::Web;
            }
            if let Some(source) = &self.carried {
                sessions::taint(tx, session, source)?;
            }
        }
        parking::set_provenance(tx, step, provenance)?;
        Ok(provenance)
    }
}
