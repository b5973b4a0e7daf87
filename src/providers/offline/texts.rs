//! What the offline provider says of itself and of what it cannot do.

use std::fmt::Write as _;

use super::{args, command::COMMANDS};
use crate::{
    providers::Request,
    types::{chat::ToolSpec, text::shorten},
};

pub(super) const GREETING: &str = "Hello! I am Nexflow's built-in offline mode: no language model \
is connected, but I can run your skills, set reminders and remember things. `/help` shows how.";

pub(super) const STOPPED: &str = "Nothing runs in this conversation any more, and nothing waits.";

pub(super) const WELCOME: &str = "You are welcome.";

pub(super) const UNFINISHED: &str = "No language model is available to go on with this. What was \
found out so far:\n\n";

pub(super) const RUN_USAGE: &str = "Say which skill to run: `/run SKILL` followed by text, \
`key=value` pairs or a JSON object. `/skills` lists them.";

pub(super) const REMIND_USAGE: &str = "I need a time and a text, for example:\n\n\
- `/remind in 20 minutes drink some water`\n\
- `/remind at 18:30 call mum`\n\
- `/remind tomorrow at 9 water the plants`\n\
- `/remind every monday at 8 put the bins out`\n\n\
`/remind list` shows them, `/remind cancel ID` removes one.";

pub(super) const MEMORY_USAGE: &str = "It is one of:\n\n\
- `/memory add TEXT`\n- `/memory search WORDS`\n- `/memory list`\n- `/memory forget ID`";

const MODEL: &str = "To talk freely, connect a language model: set `llm.providers.openai.api_key` \
or `llm.providers.anthropic.api_key` in `config.yml` (or the environment variable `OPENAI_API_KEY` \
or `ANTHROPIC_API_KEY`), or start Ollama on this machine.";

const PLAINLY: &str = "\
- or plainly: “remind me at 18:30 to call mum”, “remember that …”, “what did I say about …?”, \
“what time is it?”, “run `uname -a`”";

pub(super) const START: &str = "Hello! Write to me as you would to a person. I answer, remember what \
you ask me to keep, remind you in time and run the skills that I was given. `/help` lists what can be \
said with a slash.";

pub(super) const APPROVE_USAGE: &str = "It is one of:\n\n\
- `/approve` shows what waits\n- `/approve 1` allows the first of them once\n\
- `/approve 1 session`, `/approve 1 always`\n- `/deny 1 REASON`";

pub(super) const PAIR_USAGE: &str = "Say which code somebody told you: `/pair CODE`. They are a member \
then; `/pair CODE owner` says that the account is your own, `/pair CODE viewer` that nothing is done for it.";

/// The tools of our own; everything else is a skill.
const OWN: [&str; 14] = [
    "decide",
    "pair",
    "usage",
    "choose_model",
    "remember",
    "recall",
    "forget",
    "list_memories",
    "remind",
    "list_reminders",
    "cancel_reminder",
    "list_skills",
    "status",
    "new_session",
];

/// How many skills a help text names.
const NAMED: usize = 12;

pub(super) fn help(request: &Request) -> String {
    let mut text = "What works here, also without a language model:\n\n".to_owned();
    for command in COMMANDS {
        let gap = if command.argument.is_empty() { "" } else { " " };
        let (name, argument, about) = (command.name, command.argument, command.description);
        writeln!(text, "- `/{name}{gap}{argument}`: {about}").ok();
    }
    text.push_str(PLAINLY);
    let skills = skills(request);
    if !skills.is_empty() {
        text.push_str("\n\nSkills that can be run:\n");
        for tool in skills.iter().take(NAMED) {
            let about = tool.description.lines().next().unwrap_or_default();
            write!(text, "\n- `{}`: {}", tool.name, shorten(about, 80)).ok();
        }
        if skills.len() > NAMED {
            write!(text, "\n- and {} more: `/skills`", skills.len() - NAMED).ok();
        }
    }
    write!(text, "\n\n{MODEL}").ok();
    text
}

pub(super) fn not_understood(request: &Request) -> String {
    format!(
        "I am Nexflow's built-in offline mode: no language model is connected or available right \
         now, and I did not understand that as a command.\n\n{}",
        help(request)
    )
}

pub(super) fn unknown_command(word: &str, request: &Request) -> String {
    let tool = request.tools.iter().find(|tool| tool.name == word);
    if let Some(tool) = tool.filter(|tool| !is_own(tool)) {
        return format!(
            "There is no command `/{word}`, but a skill: `/run {}`.",
            tool.name
        );
    }
    match nearest(word, COMMANDS.iter().map(|command| command.name)) {
        Some(near) => format!("There is no command `/{word}`. Did you mean `/{near}`?"),
        None => format!("There is no command `/{word}`. `/help` lists the commands."),
    }
}

pub(super) fn no_tool(name: &str, request: &Request) -> String {
    if OWN.contains(&name) {
        return format!("That needs `{name}`, which is not available here.");
    }
    let near = nearest(
        name,
        skills(request).into_iter().map(|tool| tool.name.as_str()),
    );
    let near = near.map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
    format!(
        "There is no skill `{name}` that could be run here.{near} It may be missing, disabled, or \
         waiting for your trust: `/skills` shows them all."
    )
}

/// What a tool wants, from its schema.
pub(super) fn arguments_needed(tool: &ToolSpec) -> String {
    let required = args::required(tool);
    let mut text = format!("`{}` needs:\n", tool.name);
    for (name, schema) in args::properties(tool) {
        let need = if required.contains(&name.as_str()) {
            "required"
        } else {
            "optional"
        };
        let about = schema.get("description").and_then(|d| d.as_str());
        let about = about.map_or_else(String::new, |about| format!(": {about}"));
        write!(
            text,
            "\n- `{name}` ({}, {need}){about}",
            args::type_of(schema)
        )
        .ok();
    }
    let example: Vec<String> = required.iter().map(|name| format!("{name}=…")).collect();
    write!(
        text,
        "\n\nFor example: `/run {} {}`",
        tool.name,
        example.join(" ")
    )
    .ok();
    text
}

fn is_own(tool: &ToolSpec) -> bool {
    OWN.contains(&tool.name.as_str())
}

fn skills(request: &Request) -> Vec<&ToolSpec> {
    request.tools.iter().filter(|tool| !is_own(tool)).collect()
}

fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::normalized_damerau_levenshtein(word, name), name))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}
