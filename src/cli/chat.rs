//! `nexflow chat`: one message, or a conversation, with the answer as it comes.

mod view;

use std::io::IsTerminal as _;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Stdin};

use super::{
    Setup, approval, ask,
    client::{self, Client, path},
    out::{self, clean, field, items, line},
    trouble::Trouble,
};
use view::{End, View};

const EXAMPLES: &str = "\
Examples:
  nexflow chat \"what is in my calendar today?\"
  nexflow chat                      talk; /quit or Ctrl-D ends it, Ctrl-C stops an answer
  git diff | nexflow chat -         the message from standard input";

/// What to say, and where.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The message; `-` reads it from standard input, none begins a conversation
    text: Vec<String>,
    /// Go on with this conversation
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Speak to this agent
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// See and approve a plan before anything is done
    #[arg(long)]
    plan: bool,
    /// Use this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Allow, once each, what the agent asks to be allowed
    #[arg(long, short)]
    yes: bool,
    /// The whole answer as JSON, when it is there
    #[arg(long)]
    json: bool,
}

/// Sends one message, or talks.
pub(super) async fn run(setup: &Setup, args: Args) -> Result<()> {
    let text = match args.text.as_slice() {
        [dash] if dash == "-" => {
            let mut text = String::new();
            tokio::io::stdin().read_to_string(&mut text).await?;
            text
        }
        words => words.join(" "),
    };
    if text.trim().is_empty() && (args.json || !args.text.is_empty()) {
        let hint = "nexflow chat \"hello\" sends one, `nexflow chat` talks";
        return Err(Trouble::usage("there is no message to send")
            .hint(hint)
            .into());
    }
    client::with(setup, async |client| {
        let mut talk = Talk {
            setup,
            client,
            args: &args,
            session: args.session.clone(),
        };
        if args.json {
            return talk.whole(&text).await;
        }
        if text.is_empty() {
            talk.converse().await
        } else {
            talk.say(&text).await
        }
    })
    .await
}

/// A conversation.
struct Talk<'a> {
    setup: &'a Setup,
    client: &'a Client,
    args: &'a Args,
    session: Option<String>,
}

impl Talk<'_> {
    fn body(&self, text: &str, stream: bool) -> Value {
        let mut body = json!({ "message": text, "stream": stream, "plan": self.args.plan });
        let given = [
            ("session_id", &self.session),
            ("agent", &self.args.agent),
            ("model", &self.args.model),
        ];
        if let Some(body) = body.as_object_mut() {
            for (key, value) in given {
                if let Some(value) = value {
                    body.insert(key.to_owned(), value.as_str().into());
                }
            }
        }
        body
    }

    /// The answer as JSON, when it is there.
    async fn whole(&self, text: &str) -> Result<()> {
        let mut answer = self
            .client
            .post("/api/v1/chat", &self.body(text, false))
            .await?;
        if let Some(asked) = answer.get("approval").filter(|a| a.is_object()) {
            self.decide(asked).await?;
            answer = self.decided(&answer).await?;
        }
        out::json(&answer)?;
        match answer.get("error") {
            None | Some(Value::Null) => Ok(()),
            Some(error) => Err(Trouble::new(out::cell(Some(error))).into()),
        }
    }

    /// The answer as it comes.
    async fn say(&mut self, text: &str) -> Result<()> {
        let mut events = self
            .client
            .events("/api/v1/chat", &self.body(text, true))
            .await?;
        let mut view = View::new(self.setup.style);
        let mut turn: Option<String> = None;
        let mut stopped = false;
        loop {
            let frame = tokio::select! {
                frame = events.next() => frame?,
                interrupt = tokio::signal::ctrl_c() => {
                    interrupt?;
                    let Some(turn) = turn.as_deref().filter(|_| !stopped) else {
                        return Err(Trouble::new("interrupted").into());
                    };
                    stopped = true;
                    self.client.delete(&path(&["turns", turn], &[])?).await?;
                    continue;
                }
            };
            let Some(frame) = frame else {
                let hint = "the message is kept and answered when nexflow runs; `nexflow session show ID` has the answer";
                return Err(Trouble::new("the answer broke off").hint(hint).into());
            };
            self.session = Some(field(&frame, "session_id").to_owned());
            if matches!(field(&frame, "type"), "turn.started" | "message.joined") {
                turn = Some(field(&frame, "turn_id").to_owned());
            }
            if let Some(asked) = question(&frame) {
                view.pause()?;
                self.decide(asked).await?;
                continue;
            }
            match view.show(&frame)? {
                End::NotYet => {}
                End::Done => return Ok(()),
                End::Failed(text) => return Err(Trouble::new(text).into()),
            }
        }
    }

    /// The answer of a turn that had asked something, and may ask more.
    async fn decided(&self, asked: &Value) -> Result<Value> {
        let (turn, session) = (field(asked, "turn_id"), field(asked, "session_id"));
        let waiting = path(
            &["approvals"],
            &[("session_id", session), ("state", "pending")],
        )?;
        let said = path(&["sessions", session, "messages"], &[("limit", "4")])?;
        loop {
            for one in items(&self.client.get(&waiting).await?, "approvals") {
                if field(one, "turn_id") == turn {
                    self.decide(one).await?;
                }
            }
            let messages = self.client.get(&said).await?;
            let answer = items(&messages, "messages")
                .iter()
                .find(|m| field(m, "role") == "assistant" && field(m, "turn_id") == turn);
            if let Some(answer) = answer {
                return Ok(json!({
                    "session_id": session, "message_id": asked.get("message_id"), "turn_id": turn,
                    "reply": answer.get("text"), "status": answer.get("status"),
                    "tool_calls": answer.get("tool_calls"),
                }));
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    /// Asks the person at the keyboard, or says yes where that was said before.
    async fn decide(&self, asked: &Value) -> Result<()> {
        let id = field(asked, "id");
        let decision = if self.args.yes {
            json!({ "decision": "once" })
        } else if ask::watched() {
            out::aside(&approval::described(self.setup.style, asked));
            ask::decision(asked.get("pattern").is_some_and(Value::is_object))?
        } else {
            let what = clean(field(asked, "summary"));
            let hint = format!(
                "`nexflow approval approve {id}` lets it go on, `nexflow approval deny {id}` does not; --yes approves at once"
            );
            let told = format!("this waits for a decision: {what}");
            return Err(Trouble::new(told).hint(hint).into());
        };
        self.client
            .post(&path(&["approvals", id], &[])?, &decision)
            .await?;
        Ok(())
    }

    /// Line by line until the end of input.
    async fn converse(&mut self) -> Result<()> {
        let watched = std::io::stdin().is_terminal();
        if watched {
            line(
                &self
                    .setup
                    .style
                    .dim("/quit or Ctrl-D ends, Ctrl-C stops an answer"),
            )?;
        }
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(said) = next_line(&mut lines, watched).await? {
            match said.trim() {
                "" => {}
                "/quit" | "/exit" => break,
                text => self.exchange(text, watched).await?,
            }
        }
        if let Some(session) = self.session.as_deref().filter(|_| watched) {
            let words = format!("Go on with: nexflow chat --session {session}");
            line(&self.setup.style.dim(&words))?;
        }
        Ok(())
    }

    /// One question in a conversation: a person is told what failed and goes on, a script ends.
    async fn exchange(&mut self, text: &str, watched: bool) -> Result<()> {
        match self.say(text).await {
            Err(error) if watched => {
                out::aside(&super::trouble::tell(&error).0);
                Ok(())
            }
            done => done,
        }
    }
}

/// What a frame asks.
fn question(frame: &Value) -> Option<&Value> {
    let asks = matches!(field(frame, "type"), "approval.requested" | "plan.proposed");
    frame.get("approval").filter(|_| asks)
}

async fn next_line(lines: &mut Lines<BufReader<Stdin>>, watched: bool) -> Result<Option<String>> {
    if watched {
        out::raw("› ")?;
    }
    tokio::select! {
        line = lines.next_line() => Ok(line?),
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            out::raw("\n")?;
            Ok(None)
        }
    }
}
