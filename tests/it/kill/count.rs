//! What came of it all, counted at the receiving end, in the sessions and in the ledgers.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::atomic::Ordering,
};

use serde_json::Value;

use super::world::{World, lines_of};
use crate::support::string;

/// The result of a run.
#[derive(Default)]
pub struct Counts {
    pub accepted: usize,
    /// Accepted and without a final answer.
    pub open: usize,
    /// Answers that say that the daemon gave up after too many restarts.
    pub given_up: usize,
    /// Posts to the receiver, also repeated ones.
    pub posts: usize,
    /// Side effects that happened.
    pub effects: usize,
    /// Calls of which the model was told that their outcome is unknown.
    pub unknown: usize,
    /// Calls of which the model was told that somebody said no.
    pub denied: usize,
    /// Messages whose senders were told that the answer waits.
    pub noticed: usize,
    /// Decisions that were confirmed.
    pub decisions: usize,
    /// What must not be.
    pub wrong: Vec<String>,
    names_open: Vec<String>,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} lost, {} given up visibly, {} webhook posts, {} side effects, {} told as unknown, {} decisions, {} denied, {} notices, {} wrong",
            self.accepted,
            self.open,
            self.given_up,
            self.posts,
            self.effects,
            self.unknown,
            self.decisions,
            self.denied,
            self.noticed,
            self.wrong.len()
        )
    }
}

impl Counts {
    pub fn must_be_right(&self) {
        assert!(self.wrong.is_empty(), "{self}: {:#?}", self.wrong);
        assert!(self.open == 0, "{self}: no answer to {:?}", self.names_open);
        assert!(self.accepted > 0, "{self}");
    }

    pub async fn of(world: &World) -> Self {
        let accepted = world.shared.accepted.lock().unwrap().clone();
        let got = world.shared.receiver.got();
        let mut counts = Self {
            accepted: accepted.len(),
            posts: got.posts,
            ..Self::default()
        };
        let ledger = ledger(world);
        let mut sessions: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (name, (message, session)) in &accepted {
            sessions.entry(session).or_default().push((name, message));
        }
        let mut asked_for: HashSet<String> = HashSet::new();
        for (session, messages) in sessions {
            let said = said_in(world, session).await;
            counts.each_once(session, &said);
            for (name, message) in messages {
                let answers = said.answers_to(message);
                let verb = said.verb(message);
                asked_for.extend(lines_of(name, &verb));
                if answers.len() > 1 {
                    counts
                        .wrong
                        .push(format!("{name} has {} answers", answers.len()));
                }
                let Some(answer) = answers.first() else {
                    counts.left(name);
                    continue;
                };
                counts.effects_of((name, &verb), answer, &ledger);
                if name.starts_with('w') {
                    counts.arrived(name, answer, got.answers.get(name));
                }
            }
        }
        counts.effects = ledger.values().sum();
        counts.decisions = world.shared.decisions.load(Ordering::Relaxed);
        counts.noticed = got.notices.len();
        for (name, notices) in got.notices.iter().filter(|(_, all)| all.len() > 1) {
            let told = notices.len();
            counts
                .wrong
                .push(format!("{name} was told {told} times that it waits"));
        }
        let allowed = world.shared.allowed.lock().unwrap().clone();
        for line in ledger.keys() {
            if line.ends_with("/no") || line.ends_with("/ask") && !allowed.contains(line) {
                counts
                    .wrong
                    .push(format!("{line} was written and nobody had said yes"));
            }
        }
        for (line, times) in &ledger {
            if *times > 1 {
                counts
                    .wrong
                    .push(format!("{line} was written {times} times"));
            }
        }
        for name in got
            .answers
            .keys()
            .filter(|name| !accepted.contains_key(*name))
        {
            counts
                .wrong
                .push(format!("an answer to {name}, which was not acknowledged"));
        }
        counts
    }

    fn left(&mut self, name: &str) {
        self.open += 1;
        self.names_open.push(name.to_owned());
    }

    /// No message stands twice in a session.
    fn each_once(&mut self, session: &str, said: &Said) {
        let mut seen = HashSet::new();
        for text in said.asked.values() {
            if !seen.insert(text) {
                self.wrong
                    .push(format!("`{text}` stands twice in {session}"));
            }
        }
    }

    /// One answer arrived, the one that stands in the session.
    fn arrived(&mut self, name: &str, answer: &Value, got: Option<&Vec<(String, String)>>) {
        match got.map(Vec::as_slice) {
            None | Some([]) => self.left(name),
            Some([(key, text)]) => {
                if *key != answer["id"] || *text != answer["text"] {
                    self.wrong.push(format!(
                        "{name} got another answer than stands in its session"
                    ));
                }
            }
            Some(several) => {
                self.wrong
                    .push(format!("{name} got {} answers", several.len()));
            }
        }
    }

    /// What the answer says of its calls is what the ledger says.
    fn effects_of(
        &mut self,
        (name, verb): (&str, &str),
        answer: &Value,
        ledger: &HashMap<String, usize>,
    ) {
        let text = answer["text"].as_str().unwrap();
        if answer["status"] == "failed" {
            if text.contains("stopped several times") {
                self.given_up += 1;
            } else {
                self.wrong.push(format!("{name} failed: {text}"));
            }
            return;
        }
        if !text.contains(&format!("answer to {name} ")) {
            self.wrong.push(format!("{name} was answered with: {text}"));
        }
        for line in lines_of(name, verb) {
            let written = ledger.get(&line).copied().unwrap_or_default();
            let said = |outcome: &str| text.contains(&format!("{line}={outcome}"));
            if said("unknown") {
                self.unknown += 1;
            } else if line.ends_with("/no") && said("denied") {
                self.denied += 1;
            } else if !said("done") || written != 1 {
                self.wrong.push(format!(
                    "{line} was written {written} times, and the answer is: {text}"
                ));
            }
        }
    }
}

/// Every line that a skill wrote, and how often.
fn ledger(world: &World) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
    let folders = std::fs::read_dir(world.daemon.path("data/workspaces")).unwrap();
    for folder in folders.flatten() {
        let text = std::fs::read_to_string(folder.path().join("ledger.txt")).unwrap_or_default();
        for line in text.lines() {
            *lines.entry(line.to_owned()).or_default() += 1;
        }
    }
    lines
}

/// A session: what was asked, by message, and all answers.
struct Said {
    asked: HashMap<String, String>,
    turns: HashMap<String, String>,
    answers: Vec<Value>,
}

impl Said {
    fn verb(&self, message: &str) -> String {
        let text = self.asked.get(message).cloned().unwrap_or_default();
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    fn answers_to(&self, message: &str) -> Vec<&Value> {
        let Some(turn) = self.turns.get(message) else {
            return Vec::new();
        };
        self.answers
            .iter()
            .filter(|a| a["turn_id"] == **turn)
            .collect()
    }
}

async fn said_in(world: &World, session: &str) -> Said {
    let mut said = Said {
        asked: HashMap::new(),
        turns: HashMap::new(),
        answers: Vec::new(),
    };
    let mut before = String::new();
    loop {
        let path = format!("/api/v1/sessions/{session}/messages?limit=500{before}");
        let page = world.daemon.owner().get(&path).await.ok();
        for message in page["messages"].as_array().unwrap() {
            if message["role"] == "assistant" {
                said.answers.push(message.clone());
                continue;
            }
            let id = string(message, "id");
            if let Some(turn) = message["turn_id"].as_str() {
                said.turns.insert(id.clone(), turn.to_owned());
            }
            said.asked.insert(id, string(message, "text"));
        }
        match page["next_cursor"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => return said,
        }
    }
}
