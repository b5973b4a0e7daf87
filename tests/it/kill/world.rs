//! The daemon under fire, with a model that thinks, a skill with side effects and a receiving end.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{count::Counts, receiver::Receiver, senders};
use crate::support::{
    Daemon, eventually,
    model::{Act, Model},
    string, write_skill,
};

pub const SECRET: &str = "the-secret-of-the-webhook";

/// Each message may be answered for this long after the last kill.
const DRAIN: Duration = Duration::from_mins(2);

/// So many starts are on purpose.
pub fn many_starts() -> (String, String) {
    let name = "NEXFLOW__SERVER__SAFE_MODE_AFTER";
    (name.to_owned(), "0".to_owned())
}

/// What the senders and the counting share.
pub struct Shared {
    /// Where the daemon is now.
    pub url: RwLock<String>,
    pub token: String,
    /// Messages that were acknowledged: their name, id and session.
    pub accepted: Mutex<HashMap<String, (String, String)>>,
    pub receiver: Receiver,
    /// Lines that somebody has said yes to, and how many decisions there were.
    pub allowed: Mutex<HashSet<String>>,
    pub decisions: AtomicUsize,
    pub stop: AtomicBool,
}

impl Shared {
    pub fn url(&self) -> String {
        self.url.read().unwrap().clone()
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn accept(&self, name: &str, message: String, session: String) {
        let known = self
            .accepted
            .lock()
            .unwrap()
            .insert(name.to_owned(), (message.clone(), session.clone()));
        if let Some(known) = known {
            assert_eq!(known, (message, session), "{name} was accepted as two");
        }
    }
}

pub struct World {
    pub daemon: Daemon,
    pub shared: Arc<Shared>,
    _model: Model,
    seed: u64,
}

impl World {
    pub async fn start(seed: u64) -> Self {
        let model = Model::start([Act::Think(think)]).await;
        let receiver = Receiver::start(seed).await;
        let config = format!(
            "{}channels:\n  webhook:\n    endpoints:\n      home: {{ notices: true, secret: {SECRET}, reply_url: '{}' }}\ndelivery: {{ max_attempts: 1000 }}\nturns: {{ when_busy: queue }}\napprovals:\n  rules:\n    - {{ skill: ledger, when: {{ line: '*/ask' }}, decision: ask }}\n    - {{ skill: ledger, when: {{ line: '*/no' }}, decision: ask }}\nlogging: {{ level: warn }}\n",
            // It costs something, so that what calls may cost is reserved.
            model.config().replace(
                "model: scripted,",
                "model: scripted, price: { input_per_mtok: 1, output_per_mtok: 2 },"
            ),
            receiver.url,
        );
        let mut daemon = Daemon::with(&config).await;
        daemon.environment = vec![many_starts()];
        // Appends its own line, then takes a little so that it is met while it runs.
        let script = "#!/bin/bash\necho \"$NEXFLOW_INPUT_LINE\" >> ledger.txt\nsleep 0.02\necho \"wrote $NEXFLOW_INPUT_LINE\"\n";
        write_skill(
            daemon.folder.path(),
            "ledger",
            "permissions: [shell, filesystem]\neffects: [changes_state]\n",
            ("run.sh", script),
        );
        let owner = daemon.owner();
        eventually("the skill is found", || async {
            owner.get("/api/v1/skills/ledger").await.status == 200
        })
        .await;
        let trust = owner.request("PATCH", "/api/v1/skills/ledger");
        owner
            .send(trust.json(&json!({ "trusted": true })))
            .await
            .ok();
        let token = daemon
            .cli_ok(&["token", "create", "--name", "pages", "--role", "owner"])
            .await;
        let shared = Arc::new(Shared {
            url: RwLock::new(daemon.url.clone()),
            token: token.trim().to_owned(),
            accepted: Mutex::default(),
            receiver,
            allowed: Mutex::default(),
            decisions: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        Self {
            daemon,
            shared,
            _model: model,
            seed,
        }
    }

    /// Starts the daemon again and tells the senders where it is.
    pub async fn launch(&mut self) {
        self.daemon.launch().await;
        *self.shared.url.write().unwrap() = self.daemon.url.clone();
    }

    pub fn send_until_stopped(&self, (hooks, pages): (usize, usize)) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for n in 0..hooks {
            let random = StdRng::seed_from_u64(self.seed ^ (1000 + n as u64));
            tasks.spawn(senders::at_the_webhook(Arc::clone(&self.shared), n, random));
        }
        for n in 0..pages {
            let random = StdRng::seed_from_u64(self.seed ^ (2000 + n as u64));
            tasks.spawn(senders::at_a_page(Arc::clone(&self.shared), n, random));
        }
        tasks
    }

    /// Somebody who decides what is asked, through another door, until this is dropped.
    pub fn decide(&self) -> JoinSet<()> {
        let mut task = JoinSet::new();
        task.spawn(senders::at_the_approvals(Arc::clone(&self.shared)));
        task
    }

    /// Waits a little for one more answer.
    pub async fn something_arrives(&self) {
        let (before, began) = (self.shared.receiver.answered(), Instant::now());
        while self.shared.receiver.answered() <= before + 1
            && began.elapsed() < Duration::from_millis(1500)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The senders finish the message that they are at: a real sender does not give up on it.
    pub async fn stop_sending(&self, mut tasks: JoinSet<()>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let all = async {
            while let Some(ended) = tasks.join_next().await {
                ended.unwrap();
            }
        };
        let ended = tokio::time::timeout(DRAIN, all).await;
        assert!(ended.is_ok(), "a message was never acknowledged");
    }

    /// Waits until everything has its end, and counts.
    pub async fn settle(&self) -> Counts {
        self.shared.receiver.behave();
        let began = Instant::now();
        let mut last;
        loop {
            last = Counts::of(self).await;
            if last.open == 0 {
                break;
            }
            if began.elapsed() > DRAIN {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // What comes twice, comes soon.
        tokio::time::sleep(Duration::from_millis(500)).await;
        last = Counts::of(self).await;
        let usage = self.daemon.owner().get("/api/v1/usage?by=model").await.ok();
        assert_eq!(
            usage["running"]["calls"], 0,
            "money stays reserved: {usage}"
        );
        last
    }
}

/// The lines that a message asks for.
pub fn lines_of(name: &str, verb: &str) -> Vec<String> {
    match verb {
        "say" => Vec::new(),
        "asks" => vec![format!("{name}/ask"), format!("{name}/no")],
        _ => vec![format!("{name}/a"), format!("{name}/b")],
    }
}

/// The model: `say NAME` is answered at once, `both NAME` asks for two calls side by side, `chain
/// NAME` for one after the other, `asks NAME` for two that somebody decides about, `planned NAME` proposes
/// a plan where one is wanted. In the end it tells what its calls came to, as it was told.
fn think(request: &Value) -> Act {
    let messages = request["messages"].as_array().unwrap();
    let verbs = ["say", "both", "chain", "asks", "planned"];
    let has_verb = |m: &Value| {
        let content = &m["content"];
        let text = content.to_string().replace("\\n", " ");
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        words.any(|w| verbs.contains(&w))
    };
    // Not what the daemon adds of itself.
    let asked = messages
        .iter()
        .rposition(|m| m["role"] == "user" && has_verb(m))
        .unwrap();
    let tools = request["tools"].as_array();
    let plan = tools.is_some_and(|t| t.len() == 1 && t[0]["function"]["name"] == "propose_plan");
    if plan {
        let steps = json!([{ "title": "Write two lines", "tool": "ledger" }]);
        let call = ("propose_plan".to_owned(), json!({ "steps": steps }));
        return Act::Call(vec![call]);
    }
    let content = &messages[asked]["content"];
    let text = content
        .as_str()
        .map_or_else(|| content.to_string(), str::to_owned);
    // The last is meant: what stands before it is what the daemon tells of itself.
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = words.iter().rposition(|w| verbs.contains(w));
    let Some([verb, name, ..]) = at.and_then(|at| words.get(at..)) else {
        return Act::Say(format!("I do not understand {text}"));
    };
    let (verb, name) = (*verb, *name);
    let mut outcomes: Vec<(String, &str)> = Vec::new();
    for message in &messages[asked..] {
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            if call["function"]["name"] != "ledger" {
                continue;
            }
            let id = &call["id"];
            let args: Value =
                serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
            let told = messages[asked..].iter().find(|m| m["tool_call_id"] == *id);
            let told = told.map(|m| m["content"].to_string()).unwrap_or_default();
            let line = string(&args, "line");
            let outcome = if told.contains(&format!("wrote {line}")) {
                "done"
            } else if told.contains("not run again") {
                "unknown"
            } else if told.contains("the person said no") {
                "denied"
            } else {
                "failed"
            };
            outcomes.push((line, outcome));
        }
    }
    let call = |line: &String| ("ledger".to_owned(), json!({ "line": line }));
    let wanted = lines_of(name, verb);
    match (verb, outcomes.len()) {
        ("both" | "asks" | "planned", 0) => Act::Call(wanted.iter().map(call).collect()),
        ("chain", n) if n < wanted.len() => Act::Call(vec![call(&wanted[n])]),
        _ => {
            let told: Vec<String> = outcomes.iter().map(|(l, o)| format!("{l}={o}")).collect();
            let text = format!("answer to {name} : {}", told.join(" "));
            Act::Slowly(text, Duration::from_millis(2))
        }
    }
}
