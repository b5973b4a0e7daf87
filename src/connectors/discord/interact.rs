//! Slash commands and buttons: acknowledged at once, because Discord waits three seconds, then done.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

use super::{
    lanes::{Ear, QUEUE},
    rest::{Ask, Failure},
    wire::{EPHEMERAL, Id, Interaction},
};
use crate::{
    connectors::{AcceptError, PressError},
    types::{Admission, ApprovalId, Command, Inbound, Press},
};

/// Kinds of interactions.
const COMMAND: u64 = 2;
const BUTTON: u64 = 3;
/// An answer that says: wait.
const DEFERRED: u64 = 5;
/// What is given is acknowledged at once, and so many are done side by side.
const SIDE_BY_SIDE: usize = 16;
/// Waits before the commands are told again.
const AGAIN: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(15),
    Duration::from_mins(1),
    Duration::from_mins(10),
];

/// What is done besides the lanes.
#[derive(Debug)]
pub(super) enum Task {
    /// Tells Discord which commands there are.
    Register(Id),
    /// Asks for any answer: each tells the time.
    Clock,
    /// A command or a press.
    Given(Box<Interaction>),
}

/// Does them side by side.
pub(super) async fn answer(ear: &Ear<'_>, tasks: mpsc::Receiver<Task>) {
    let places = Semaphore::new(SIDE_BY_SIDE);
    let places = &places;
    let tasks = stream::unfold(tasks, |mut tasks| async move {
        Some((tasks.recv().await?, tasks))
    });
    let done = tasks.for_each_concurrent(QUEUE, |task| async move {
        match task {
            Task::Register(application) => register(ear, application).await,
            Task::Clock => drop(ear.discord.rest.tell(Ask::get("/gateway")).await),
            Task::Given(given) => interaction(ear, *given, places).await,
        }
    });
    done.await;
}

/// The id of a button.
pub(super) fn button(question: ApprovalId, choice: &str) -> String {
    format!("a:{question}:{choice}")
}

fn pressed(id: &str) -> Option<(ApprovalId, &str)> {
    let (question, choice) = id.strip_prefix("a:")?.split_once(':')?;
    Some((question.parse().ok()?, choice))
}

async fn interaction(ear: &Ear<'_>, given: Interaction, places: &Semaphore) {
    if !matches!(given.kind, COMMAND | BUTTON) {
        return;
    }
    ear.discord.pulse.event();
    let rest = &ear.discord.rest;
    let wait = json!({ "type": DEFERRED, "data": { "flags": EPHEMERAL } });
    let path = format!("/interactions/{}/{}/callback", given.id, given.token.0);
    if let Err(failure) = rest
        .tell(Ask::new(Method::POST, path).json(wait).unsigned())
        .await
    {
        tracing::warn!(
            ?failure,
            "a command or press could not be acknowledged; it is done all the same"
        );
    }
    let place = places.acquire().await;
    let said = act(ear, &given).await;
    drop(place);
    let path = format!(
        "/webhooks/{}/{}/messages/@original",
        given.application_id, given.token.0
    );
    let body = json!({ "content": said, "allowed_mentions": { "parse": [] } });
    if let Err(failure) = rest
        .tell(Ask::new(Method::PATCH, path).json(body).unsigned())
        .await
    {
        tracing::warn!(
            ?failure,
            "what came of a command or press could not be told"
        );
    }
}

/// Does it; what to tell the person.
async fn act(ear: &Ear<'_>, given: &Interaction) -> String {
    let (Some(user), Some(channel), Some(data)) = (given.giver(), given.channel_id, &given.data)
    else {
        return "This is not understood.".to_owned();
    };
    let roles = given
        .member
        .as_ref()
        .map_or(&[][..], |member| &member.roles);
    let place = if given.guild_id.is_some() {
        ear.world().place(channel)
    } else {
        Vec::new()
    };
    let admission = ear.discord.lists.admission(user.id, roles, &place);
    let nick = given
        .member
        .as_ref()
        .and_then(|member| member.nick.as_deref());
    let by = Giver {
        id: user.id,
        name: nick.unwrap_or(user.name()),
        admission,
    };
    if given.kind == BUTTON {
        return press(ear, (channel, &data.custom_id), by).await;
    }
    let mut text = format!("/{}", data.name);
    for option in &data.options {
        text.push(' ');
        match &option.value {
            Value::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
    }
    command(ear, given, (channel, text), by).await
}

/// Who gave it.
struct Giver<'a> {
    id: Id,
    name: &'a str,
    admission: Admission,
}

async fn command(
    ear: &Ear<'_>,
    given: &Interaction,
    (channel, text): (Id, String),
    by: Giver<'_>,
) -> String {
    let message = Inbound {
        name: by.name.to_owned(),
        admission: by.admission,
        room: given.guild_id.map(|_| ear.room(&ear.world(), channel)),
        ..Inbound::new(
            ear.at(channel),
            given.id.to_string(),
            by.id.to_string(),
            text.clone(),
        )
    };
    match ear.inbox.accept(message).await {
        Ok(_) => format!("`{}` was taken.", text.replace('`', "'")),
        Err(AcceptError::Stranger) => "I do not know you. Write to me in a direct message, and I tell you how the owner lets you in.".to_owned(),
        Err(error) => format!("That could not be done: {error}. Please try again."),
    }
}

async fn press(ear: &Ear<'_>, (channel, id): (Id, &str), by: Giver<'_>) -> String {
    let Some((question, choice)) = pressed(id) else {
        return "This button is not understood.".to_owned();
    };
    let press = Press {
        from: ear.at(channel),
        user: by.id.to_string(),
        name: by.name.to_owned(),
        admission: by.admission,
        question,
        choice: choice.to_owned(),
    };
    match ear.inbox.pressed(press).await {
        Ok(said) => said,
        Err(PressError::Refused(why)) => why,
        Err(error) => format!("{error}. Please press again."),
    }
}

/// Tells Discord the commands, some times if need be.
async fn register(ear: &Ear<'_>, application: Id) {
    for wait in AGAIN {
        let Err(failure) = tell_commands(ear, application).await else {
            return;
        };
        if let Failure::Refused { said, .. } = failure {
            tracing::error!(
                said,
                "Discord does not take the commands: invite the bot with the scope `applications.commands`"
            );
            return;
        }
        tracing::warn!(
            ?failure,
            wait_s = wait.as_secs(),
            "the commands were not registered; trying again"
        );
        sleep(wait).await;
    }
    tracing::error!("the commands were not registered; with the next session they are");
}

/// Tells Discord the commands, unless it knows these.
async fn tell_commands(ear: &Ear<'_>, application: Id) -> Result<(), Failure> {
    let wanted: Vec<Value> = ear.inbox.commands().iter().map(described).collect();
    let path = format!("/applications/{application}/commands");
    let rest = &ear.discord.rest;
    let known: Vec<Value> = rest.ask(Ask::get(&path)).await?;
    if same(&known, &wanted) {
        return Ok(());
    }
    rest.tell(Ask::new(Method::PUT, &path).json(Value::Array(wanted)))
        .await?;
    tracing::info!("Discord: the commands are registered");
    Ok(())
}

fn described(command: &Command) -> Value {
    let mut options = Vec::new();
    if !command.argument.is_empty() {
        options.push(json!({ "type": 3, "name": "text", "description": command.argument, "required": false }));
    }
    json!({ "type": 1, "name": command.name, "description": command.description, "options": options })
}

/// Whether Discord's list says the same: it adds much of its own.
fn same(known: &[Value], wanted: &[Value]) -> bool {
    let core = |command: &Value| {
        let options = command["options"].as_array().into_iter().flatten();
        let options: Vec<String> = options
            .map(|o| format!("{} {} {}", o["type"], o["name"], o["description"]))
            .collect();
        format!(
            "{} {} {}",
            command["name"],
            command["description"],
            options.join(" ")
        )
    };
    let sorted = |list: &[Value]| {
        let mut list: Vec<String> = list.iter().map(core).collect();
        list.sort();
        list
    };
    sorted(known) == sorted(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_names_its_question_and_choice() {
        let question = ApprovalId::new();
        let id = button(question, "session");
        assert!(id.len() <= 100, "Discord takes 100 characters");
        assert_eq!(pressed(&id), Some((question, "session")));
        for wrong in ["", "a:", "a:x:once", "b:x:once", &question.to_string()] {
            assert_eq!(pressed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn commands_are_compared_by_what_we_say_of_them() {
        let wanted = [
            described(&Command {
                name: "new",
                description: "Begins anew",
                argument: "",
            }),
            described(&Command {
                name: "remind",
                description: "Reminds",
                argument: "WHEN WHAT",
            }),
        ];
        let mut known = wanted.to_vec();
        known.reverse();
        known[0]["id"] = json!("77");
        known[0]["options"][0]
            .as_object_mut()
            .unwrap()
            .remove("required");
        known[1].as_object_mut().unwrap().remove("options");
        assert!(same(&known, &wanted));
        known[1]["description"] = json!("Another");
        assert!(!same(&known, &wanted));
        assert!(!same(&known[..1], &wanted));
    }
}
