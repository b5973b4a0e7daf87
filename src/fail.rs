//! Named places on a message's way at which a test stops the whole process, as a crash would: nothing
//! unwinds, nothing is flushed. Without the feature `failpoints` there is none of it in the program.

/// A boundary that a message passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A message is written, not committed.
    AcceptWritten,
    /// A message is on disk, its sender does not know it yet.
    AcceptCommitted,
    /// Turn and first step are written, not committed.
    ClaimWritten,
    /// They are on disk.
    ClaimCommitted,
    /// A turn that was cut off is taken up, not committed.
    ResumeWritten,
    /// That is on disk.
    ResumeCommitted,
    /// A further model step is on disk.
    StepCommitted,
    /// What a model call may cost is reserved on disk, the model is not asked yet.
    MoneyReserved,
    /// The model answered; that is nowhere yet.
    ModelAnswered,
    /// Its calls are written, not committed.
    CallsWritten,
    /// They are on disk, none has begun.
    CallsCommitted,
    /// An execution of a skill is on disk, its process does not run yet.
    ToolStarted,
    /// Its process ended; that is nowhere yet.
    ToolEnded,
    /// The execution is settled on disk, the step is not.
    TaskCommitted,
    /// A result is written, not committed.
    ResultWritten,
    /// It is on disk.
    ResultCommitted,
    /// The answer is written, not committed.
    FinishWritten,
    /// Answer and outbox row are on disk.
    FinishCommitted,
    /// An answer is marked as being sent.
    OutboxTaken,
    /// It was sent; that is nowhere yet.
    OutboxSent,
    /// That it arrived is written, not committed.
    OutboxWritten,
    /// That it arrived is on disk.
    OutboxCommitted,
    /// A part of an answer was posted; that is nowhere yet.
    PartPosted,
    /// It is written, not committed.
    PartWritten,
    /// It is on disk; the next part was not sent.
    PartCommitted,
    /// That a draft of a turn is about to be posted is on disk.
    DraftBegun,
    /// It was posted; that is nowhere yet.
    DraftPosted,
    /// That is on disk.
    DraftCommitted,
    /// A turn is parked, not committed.
    ParkWritten,
    /// That is on disk.
    ParkCommitted,
    /// A decision about a call or a plan is written, not committed.
    DecideWritten,
    /// It is on disk; nobody was woken, the person does not know.
    DecideCommitted,
    /// A parked turn is taken up after a decision, not committed.
    UnparkWritten,
    /// That is on disk.
    UnparkCommitted,
    /// An approval is taken for its call, not committed.
    TakeWritten,
    /// That is on disk, the call has not begun.
    TakeCommitted,
    /// A proposed plan is written, not committed.
    PlanWritten,
    /// It is on disk.
    PlanCommitted,
    /// The model is told that its plan is approved, not committed.
    PlanTakenWritten,
    /// That is on disk.
    PlanTakenCommitted,
    /// A schedule fired, not committed.
    FireWritten,
    /// That is on disk.
    FireCommitted,
}

impl Point {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::AcceptWritten,
        Self::AcceptCommitted,
        Self::ClaimWritten,
        Self::ClaimCommitted,
        Self::ResumeWritten,
        Self::ResumeCommitted,
        Self::StepCommitted,
        Self::MoneyReserved,
        Self::ModelAnswered,
        Self::CallsWritten,
        Self::CallsCommitted,
        Self::ToolStarted,
        Self::ToolEnded,
        Self::TaskCommitted,
        Self::ResultWritten,
        Self::ResultCommitted,
        Self::FinishWritten,
        Self::FinishCommitted,
        Self::OutboxTaken,
        Self::OutboxSent,
        Self::OutboxWritten,
        Self::OutboxCommitted,
        Self::PartPosted,
        Self::PartWritten,
        Self::PartCommitted,
        Self::DraftBegun,
        Self::DraftPosted,
        Self::DraftCommitted,
        Self::ParkWritten,
        Self::ParkCommitted,
        Self::DecideWritten,
        Self::DecideCommitted,
        Self::UnparkWritten,
        Self::UnparkCommitted,
        Self::TakeWritten,
        Self::TakeCommitted,
        Self::PlanWritten,
        Self::PlanCommitted,
        Self::PlanTakenWritten,
        Self::PlanTakenCommitted,
        Self::FireWritten,
        Self::FireCommitted,
    ];

    /// Whether it is only passed where answers are posts, which have ids and can be changed.
    pub fn is_of_posts(self) -> bool {
        matches!(
            self,
            Self::PartPosted
                | Self::PartWritten
                | Self::PartCommitted
                | Self::DraftBegun
                | Self::DraftPosted
                | Self::DraftCommitted
        )
    }

    /// As `NEXFLOW_FAILPOINT` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AcceptWritten => "accept.written",
            Self::AcceptCommitted => "accept.committed",
            Self::ClaimWritten => "claim.written",
            Self::ClaimCommitted => "claim.committed",
            Self::ResumeWritten => "resume.written",
            Self::ResumeCommitted => "resume.committed",
            Self::StepCommitted => "step.committed",
            Self::MoneyReserved => "money.reserved",
            Self::ModelAnswered => "model.answered",
            Self::CallsWritten => "calls.written",
            Self::CallsCommitted => "calls.committed",
            Self::ToolStarted => "tool.started",
            Self::ToolEnded => "tool.ended",
            Self::TaskCommitted => "task.committed",
            Self::ResultWritten => "result.written",
            Self::ResultCommitted => "result.committed",
            Self::FinishWritten => "finish.written",
            Self::FinishCommitted => "finish.committed",
            Self::OutboxTaken => "outbox.taken",
            Self::OutboxSent => "outbox.sent",
            Self::OutboxWritten => "outbox.written",
            Self::OutboxCommitted => "outbox.committed",
            Self::PartPosted => "part.posted",
            Self::PartWritten => "part.written",
            Self::PartCommitted => "part.committed",
            Self::DraftBegun => "draft.begun",
            Self::DraftPosted => "draft.posted",
            Self::DraftCommitted => "draft.committed",
            Self::ParkWritten => "park.written",
            Self::ParkCommitted => "park.committed",
            Self::DecideWritten => "decide.written",
            Self::DecideCommitted => "decide.committed",
            Self::UnparkWritten => "unpark.written",
            Self::UnparkCommitted => "unpark.committed",
            Self::TakeWritten => "take.written",
            Self::TakeCommitted => "take.committed",
            Self::PlanWritten => "plan.written",
            Self::PlanCommitted => "plan.committed",
            Self::PlanTakenWritten => "plan.taken.written",
            Self::PlanTakenCommitted => "plan.taken.committed",
            Self::FireWritten => "fire.written",
            Self::FireCommitted => "fire.committed",
        }
    }
}

/// The process passes here.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "there must be nothing of it")]
pub fn point(_point: Point) {}

#[cfg(feature = "failpoints")]
pub use armed::{arm, point};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::Point;

    /// What is to happen where.
    struct Armed {
        point: Point,
        /// Passes until it happens.
        left: AtomicU32,
        /// Stops the process until somebody continues it, instead of ending it.
        pause: bool,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Takes `NAME`, `NAME:NTH` or `NAME:NTH:pause`; an error says what is wrong.
    pub fn arm(wanted: &str) -> Result<(), String> {
        let mut parts = wanted.split(':');
        let name = parts.next().unwrap_or_default();
        let point = Point::ALL.iter().find(|point| point.name() == name);
        let nth = parts.next().map_or(Ok(1), str::parse);
        let pause = parts.next();
        let (Some(point), Ok(nth), true) = (point, nth, pause.is_none_or(|p| p == "pause")) else {
            let names: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
            return Err(format!(
                "NEXFLOW_FAILPOINT is NAME[:NTH[:pause]], not `{wanted}`; names are {}",
                names.join(", ")
            ));
        };
        let armed = Armed {
            point: *point,
            left: AtomicU32::new(nth),
            pause: pause.is_some(),
        };
        ARMED
            .set(armed)
            .map_err(|_armed| "a failpoint is armed already".to_owned())
    }

    /// The process passes here, and perhaps no further.
    pub fn point(point: Point) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else {
            return;
        };
        if armed.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        if !armed.pause {
            std::process::abort();
        }
        if let Err(error) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP) {
            tracing::error!(%error, "a failpoint could not stop the process");
        }
    }
}
