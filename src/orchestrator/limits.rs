//! What ends a turn that does not end by itself: ceilings, and going round in circles.

use crate::{
    store::turns::{Step, StepKind},
    types::frame::CallStatus,
};

/// Rounds in a row with the same calls and the same results.
const SAME: usize = 3;
/// Rounds of a ping-pong: A, B, A, B.
const PING_PONG: usize = 4;
/// Rounds in a row in which every call failed.
const FAILING: usize = 6;

/// Why a turn gets one closing answer without tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Steps,
    Time,
    Money,
    /// The same calls gave the same results again and again.
    Repeated,
    /// Two sets of calls took turns, with the same results.
    PingPong,
    /// Everything that was tried failed.
    NoProgress,
}

impl Limit {
    /// For programs.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Steps | Self::Time | Self::Money => "limit",
            Self::Repeated | Self::PingPong | Self::NoProgress => "loop",
        }
    }

    /// What people are told.
    pub(super) fn notice(self) -> &'static str {
        match self {
            Self::Steps => "This turn reached its limit on steps (turns.max_steps).",
            Self::Time => "This turn reached its limit on time (turns.max_seconds).",
            Self::Money => "This turn reached its limit on money (turns.max_cost_usd).",
            Self::Repeated => {
                "Stopped going in circles: the same call gave the same result three times."
            }
            Self::PingPong => {
                "Stopped going in circles: two calls took turns and gave the same results again."
            }
            Self::NoProgress => "Stopped without progress: every call of the last steps failed.",
        }
    }

    /// What the model is told.
    pub(super) fn last_word(self) -> String {
        let why = match self {
            Self::Steps => "this turn reached its limit on number of steps",
            Self::Time => "this turn reached its limit on time",
            Self::Money => "this turn reached its limit on money",
            Self::Repeated => "the same call gave the same result three times",
            Self::PingPong => "two calls take turns and give the same results",
            Self::NoProgress => "every call of the last steps failed",
        };
        format!(
            "(From Nexflow: {why}. No more tools can be called. Answer now with what you have, and say what is left undone.)"
        )
    }
}

/// A call and what came of it.
#[derive(Debug, Clone, PartialEq)]
struct Call<'a> {
    tool: &'a str,
    args: &'a serde_json::Value,
    result: &'a str,
    status: CallStatus,
}

/// Whether a turn goes round in circles, by what it did so far.
pub(super) fn circles(steps: &[Step]) -> Option<Limit> {
    let rounds = rounds(steps);
    let last = |n: usize| rounds.len().checked_sub(n).and_then(|at| rounds.get(at..));
    if last(SAME).is_some_and(|rounds| rounds.windows(2).all(same)) {
        return Some(Limit::Repeated);
    }
    if let Some([a, b, c, d]) = last(PING_PONG)
        && a == c
        && b == d
    {
        return Some(Limit::PingPong);
    }
    let failed = |call: &Call<'_>| matches!(call.status, CallStatus::Failed | CallStatus::Refused);
    let hopeless = last(FAILING).is_some_and(|rounds| rounds.iter().flatten().all(failed));
    hopeless.then_some(Limit::NoProgress)
}

fn same(pair: &[Vec<Call<'_>>]) -> bool {
    matches!(pair, [a, b] if a == b)
}

/// The calls of each answer of the model, in an order that does not matter.
fn rounds(steps: &[Step]) -> Vec<Vec<Call<'_>>> {
    let mut rounds: Vec<Vec<Call<'_>>> = Vec::new();
    let mut new = true;
    for step in steps {
        match &step.kind {
            StepKind::Model { .. } => new = true,
            StepKind::Tool { call, output, .. } => {
                if new {
                    rounds.push(Vec::new());
                    new = false;
                }
                if let Some(round) = rounds.last_mut() {
                    round.push(Call {
                        tool: &call.tool,
                        args: &call.args,
                        result: output,
                        status: step.status,
                    });
                }
            }
        }
    }
    for round in &mut rounds {
        round.sort_by_cached_key(|call| (call.tool.to_owned(), call.args.to_string()));
    }
    rounds
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::{StepId, Timestamp, chat, effect::Effects};

    fn step(kind: StepKind, status: CallStatus) -> Step {
        Step {
            id: StepId::new(),
            ordinal: 0,
            kind,
            status,
            started_at: Timestamp(0),
            first_token_at: None,
            finished_at: None,
        }
    }

    /// Rounds of calls, each `tool args result`, `!` before a failed one.
    fn turn(rounds: &[&[&str]]) -> Vec<Step> {
        let mut steps = Vec::new();
        for round in rounds {
            let model = StepKind::Model {
                name: String::new(),
                text: String::new(),
                calls: Vec::new(),
                reasoning: None,
                usage: chat::Usage::default(),
            };
            steps.push(step(model, CallStatus::Ok));
            for (n, call) in round.iter().enumerate() {
                let mut words = call.trim_start_matches('!').splitn(3, ' ');
                let mut word = || words.next().unwrap_or_default().to_owned();
                let call_of = chat::Call {
                    tool: word(),
                    args: json!({ "a": word() }),
                    id: format!("{}_{n}", steps.len()),
                };
                let kind = StepKind::Tool {
                    call: call_of,
                    effects: Effects::NONE,
                    provenance: None,
                    output: word(),
                    detail: json!(null),
                };
                let status = if call.starts_with('!') {
                    CallStatus::Failed
                } else {
                    CallStatus::Ok
                };
                steps.push(step(kind, status));
            }
        }
        steps
    }

    #[test]
    fn the_same_call_with_the_same_result_is_a_circle_the_third_time() {
        assert_eq!(circles(&turn(&[&["read x same"], &["read x same"]])), None);
        let three = turn(&[&["read x same"], &["read x same"], &["read x same"]]);
        assert_eq!(circles(&three), Some(Limit::Repeated));
        // Polling something that changes is none.
        let polled = turn(&[
            &["get x 1 %"],
            &["get x 2 %"],
            &["get x 3 %"],
            &["get x 3 %"],
        ]);
        assert_eq!(circles(&polled), None);
        // Nor is the same tool with other arguments.
        assert_eq!(
            circles(&turn(&[&["read x s"], &["read y s"], &["read z s"]])),
            None
        );
        // The order of calls of one answer does not matter.
        let pairs = turn(&[
            &["a 1 r", "b 1 r"],
            &["b 1 r", "a 1 r"],
            &["a 1 r", "b 1 r"],
        ]);
        assert_eq!(circles(&pairs), Some(Limit::Repeated));
    }

    #[test]
    fn two_calls_that_take_turns_are_a_circle() {
        let (a, b): (&[&str], &[&str]) = (&["list d files"], &["read f text"]);
        assert_eq!(circles(&turn(&[a, b, a])), None);
        assert_eq!(circles(&turn(&[a, b, a, b])), Some(Limit::PingPong));
        let changed: &[&str] = &["read f other"];
        assert_eq!(circles(&turn(&[a, b, a, changed])), None);
    }

    #[test]
    fn only_failures_are_no_progress() {
        let failing = ["!a 1 x", "!b 2 x", "!c 3 x", "!d 4 x", "!e 5 x", "!f 6 x"];
        let rounds: Vec<&[&str]> = failing.iter().map(std::slice::from_ref).collect();
        assert_eq!(circles(&turn(&rounds)), Some(Limit::NoProgress));
        assert_eq!(circles(&turn(&rounds[..5])), None);
        let mut mended = rounds.clone();
        mended[3] = &["!d 4 x", "ok 4 x"];
        assert_eq!(circles(&turn(&mended)), None);
    }
}
