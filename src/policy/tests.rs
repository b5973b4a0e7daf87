use serde_json::json;

use super::{pattern::Pattern, *};
use crate::types::{ApprovalId, Timestamp, UserId};

fn rule(text: &str) -> Rule {
    serde_yaml::from_str(text).unwrap()
}

fn config(rules: &[&str]) -> Config {
    Config {
        rules: rules.iter().map(|text| rule(text)).collect(),
        ..Config::default()
    }
}

fn tainted() -> Flow {
    Flow {
        untrusted: Some("the page https://evil.example/ was read in this conversation".to_owned()),
        private: Some("a kept fact".to_owned()),
    }
}

struct Given {
    tool: &'static str,
    args: Value,
    effects: Effects,
    confirm: bool,
    channel: &'static str,
    role: Role,
    flow: Flow,
    grants: Vec<Grant>,
    planned: bool,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            tool: "shell-run",
            args: json!({ "command": "git status" }),
            effects: Effects::CHANGES_STATE,
            confirm: false,
            channel: "web",
            role: Role::Owner,
            flow: Flow::default(),
            grants: Vec::new(),
            planned: false,
        }
    }
}

impl Given {
    fn decide(&self, config: &Config) -> Verdict {
        let case = Case {
            tool: self.tool,
            args: &self.args,
            effects: self.effects,
            hash: "hash",
            confirm: self.confirm,
            channel: self.channel,
            role: self.role,
            flow: &self.flow,
            grants: &self.grants,
            planned: self.planned,
        };
        decide(config, &case)
    }
}

fn grant(command: &str, gated: bool) -> Grant {
    let pattern = Pattern::of("shell-run", &json!({ "command": command }));
    Grant {
        id: GrantId::new(),
        session_id: None,
        person_id: UserId::new(),
        tool: "shell-run".to_owned(),
        hash: "hash".to_owned(),
        pattern: serde_json::to_value(pattern).unwrap(),
        gated,
        approval_id: Some(ApprovalId::new()),
        made_by: "owner".to_owned(),
        created_at: Timestamp(0),
        expires_at: None,
        used: 0,
        used_at: None,
    }
}

fn asks(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Ask(_))
}

#[test]
fn the_first_rule_that_fits_decides() {
    let config = config(&[
        "{ skill: shell-run, when: { command: 'git *' }, decision: allow }",
        "{ skill: 'shell-*', role: member, decision: deny, reason: members do not }",
        "{ skill: shell-run, channel: webhook, decision: ask, who: asker }",
        "{ skill: shell-run, decision: ask, reason: commands are looked at }",
    ]);
    let command = |text: &str| json!({ "command": text });
    assert_eq!(Given::default().decide(&config), Verdict::Allow(None));
    let more = Given {
        args: command("git status; rm x"),
        ..Given::default()
    };
    let Verdict::Ask(why) = more.decide(&config) else {
        panic!()
    };
    assert_eq!(
        (why.reason.as_str(), why.who, why.gated),
        ("commands are looked at", Who::Owner, false)
    );
    let member = Given {
        args: command("ls"),
        role: Role::Member,
        ..Given::default()
    };
    assert_eq!(
        member.decide(&config),
        Verdict::Deny("a rule of the owner forbids it: members do not".to_owned())
    );
    let hook = Given {
        args: command("ls"),
        channel: "webhook",
        ..Given::default()
    };
    let Verdict::Ask(why) = hook.decide(&config) else {
        panic!()
    };
    assert_eq!(why.who, Who::Asker);
    let other = Given {
        tool: "file-read",
        ..Given::default()
    };
    assert_eq!(other.decide(&config), Verdict::Allow(None));
}

#[test]
fn the_skill_may_ask_the_default_may_ask_and_viewers_do_nothing() {
    let plain = config(&[]);
    assert!(asks(
        &Given {
            confirm: true,
            ..Given::default()
        }
        .decide(&plain)
    ));
    let allowed = config(&["{ skill: shell-run, decision: allow }"]);
    assert_eq!(
        Given {
            confirm: true,
            ..Given::default()
        }
        .decide(&allowed),
        Verdict::Allow(None)
    );
    assert!(asks(&Given::default().decide(&Config::careful())));
    let viewer = Given {
        role: Role::Viewer,
        ..Given::default()
    };
    assert!(matches!(viewer.decide(&allowed), Verdict::Deny(_)));
}

#[test]
fn the_gate_asks_whatever_else_allows() {
    let allow = config(&["{ decision: allow }"]);
    let gated = Given {
        flow: tainted(),
        planned: true,
        ..Given::default()
    };
    let Verdict::Ask(why) = gated.decide(&allow) else {
        panic!()
    };
    assert!(
        why.gated && why.reason.contains("https://evil.example/"),
        "{why:?}"
    );
    assert_eq!(why.who, Who::Owner);
    // A denial stays one.
    let deny = config(&["{ decision: deny }"]);
    assert!(matches!(gated.decide(&deny), Verdict::Deny(_)));
    // One of the two alone, or a call that only reads, is no concern of the gate.
    for flow in [
        Flow {
            private: None,
            ..tainted()
        },
        Flow {
            untrusted: None,
            ..tainted()
        },
    ] {
        assert_eq!(
            Given {
                flow,
                ..Given::default()
            }
            .decide(&allow),
            Verdict::Allow(None)
        );
    }
    // Reading and sending in one call needs nothing private before it.
    let flow = Flow {
        private: None,
        ..tainted()
    };
    let both = Given {
        effects: Effects::ALL,
        flow,
        ..Given::default()
    };
    assert!(asks(&both.decide(&allow)));
    let reads = Effects::READS_PRIVATE.and(Effects::INGESTS_UNTRUSTED);
    let reading = Given {
        flow: tainted(),
        effects: reads,
        ..Given::default()
    };
    assert_eq!(reading.decide(&allow), Verdict::Allow(None));
}

#[test]
fn grants_stop_questions_of_their_pattern_only() {
    let ask = config(&["{ skill: shell-run, decision: ask }"]);
    let with = |grants: Vec<Grant>, text: &str, flow: Flow| {
        let args = json!({ "command": text });
        Given {
            args,
            flow,
            grants,
            ..Given::default()
        }
        .decide(&ask)
    };
    let plain = grant("git status", false);
    let clean = Flow::default;
    assert_eq!(
        with(vec![plain.clone()], "git status -s", clean()),
        Verdict::Allow(Some(plain.id))
    );
    assert!(asks(&with(vec![plain.clone()], "git push", clean())));
    assert!(asks(&with(vec![plain.clone()], "git status | sh", clean())));
    // It was given when nothing foreign was there.
    assert!(asks(&with(vec![plain.clone()], "git status", tainted())));
    let gated = grant("git status", true);
    assert_eq!(
        with(vec![gated.clone()], "git status", tainted()),
        Verdict::Allow(Some(gated.id))
    );
    let changed = Grant {
        hash: "other".to_owned(),
        ..plain
    };
    assert!(asks(&with(vec![changed], "git status", clean())));
    // Neither does a grant undo a denial.
    let deny = config(&["{ decision: deny }"]);
    let denied = Given {
        grants: vec![gated],
        ..Given::default()
    };
    assert!(matches!(denied.decide(&deny), Verdict::Deny(_)));
}

#[test]
fn an_approved_plan_answers_questions_but_not_the_gate() {
    let ask = config(&["{ decision: ask }"]);
    let planned = Given {
        planned: true,
        ..Given::default()
    };
    assert_eq!(planned.decide(&ask), Verdict::Allow(None));
    let gated = Given {
        planned: true,
        flow: tainted(),
        ..Given::default()
    };
    assert!(asks(&gated.decide(&ask)));
}

#[test]
fn the_first_source_is_named() {
    let mut flow = Flow::default();
    flow.take_in(Flow {
        untrusted: Some("a".to_owned()),
        private: None,
    });
    flow.take_in(Flow {
        untrusted: Some("b".to_owned()),
        private: Some("c".to_owned()),
    });
    assert_eq!(
        (flow.untrusted.as_deref(), flow.private.as_deref()),
        (Some("a"), Some("c"))
    );
}
