//! Listening: long polling or a webhook, and what to do when that fails.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Telegram,
    batch::{self, Raw},
    client::{Fault, PATIENCE, refused},
    read::Me,
    take::Taken,
    wire::User,
};
use crate::{
    connectors::{AcceptError, Condition, HookError, Hooked, Inbox},
    types::{Address, Cursor},
};

/// What we want to be told.
const WANTED: &[&str] = &["message", "edited_message", "callback_query"];
/// A poll that neither answered nor failed this long after its time is given up: connected, but deaf.
const GRACE: Duration = Duration::from_secs(15);
/// Chats whose messages are taken in side by side, so that they are committed together.
const SIDE_BY_SIDE: usize = 32;
/// Updates in one answer.
const BATCH: usize = 100;
/// How long to wait for more of an album, and how often.
const ALBUM: (Duration, usize) = (Duration::from_millis(500), 6);
/// An update this far below the position is a new one: Telegram numbers anew after a quiet week.
const NUMBERED_ANEW: i64 = 100_000;
/// Waits after a failure, doubling, of what mends itself and of what the owner has to mend.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
const PROBES: (Duration, Duration) = (Duration::from_secs(3), Duration::from_mins(1));
/// How often a webhook is looked after.
const CHECK: Duration = Duration::from_mins(1);

/// Why listening stopped.
enum Trouble {
    Fault(Fault),
    Store(AcceptError),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<AcceptError> for Trouble {
    fn from(error: AcceptError) -> Self {
        Self::Store(error)
    }
}

/// What a failure means for the owner.
fn meaning(fault: &Fault) -> (Condition, String) {
    let owner = |what: &str| (Condition::NeedsOwner, format!("{fault}. {what}"));
    let Fault::Refused(refusal) = fault else {
        return (Condition::Failing, fault.to_string());
    };
    match refusal.code {
        401 | 404 => owner(
            "The token is wrong or was revoked: @BotFather shows it (/mybots, your bot, API Token); put it in channels.telegram.bot_token. If channels.telegram.api_url is set, that address must be a Bot API server.",
        ),
        409 => owner(
            "Another program listens with this bot's token: stop it, or give Nexflow a bot of its own.",
        ),
        400 if fault.says(400, &["webhook"]) => {
            owner("Telegram does not take channels.telegram.webhook.")
        }
        _ => (Condition::Failing, fault.to_string()),
    }
}

/// How long to wait after so many failures in a row.
fn pause(state: Condition, failures: u32) -> Duration {
    let (first, most) = match state {
        Condition::NeedsOwner => PROBES,
        _ => WAITS,
    };
    (first * 2_u32.saturating_pow(failures.min(10))).min(most)
}

impl Telegram {
    /// Listens until cancelled, whatever happens.
    pub(super) async fn listen(&self, inbox: &dyn Inbox, cancel: &CancellationToken) {
        let mut failures = 0;
        loop {
            let trouble = tokio::select! {
                trouble = self.session(inbox, &mut failures) => trouble,
                () = cancel.cancelled() => return,
            };
            let pause = self.troubled(&trouble, failures);
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// Says how it stands; how long to wait.
    fn troubled(&self, trouble: &Trouble, failures: u32) -> Duration {
        let (state, detail) = match trouble {
            Trouble::Fault(fault) => meaning(fault),
            Trouble::Store(error) => (Condition::Failing, error.to_string()),
        };
        let asked = match trouble {
            Trouble::Fault(Fault::Refused(refusal)) => refusal.after,
            _ => None,
        };
        self.stands(state, detail);
        asked.unwrap_or_else(|| pause(state, failures))
    }

    /// Listens until something fails.
    async fn session(&self, inbox: &dyn Inbox, failures: &mut u32) -> Trouble {
        let listened = match self.begin(inbox).await {
            Err(fault) => Err(fault.into()),
            Ok(me) if self.config.webhook.is_some() => self.look_after(&me, failures).await,
            Ok(me) => self.poll(inbox, &me, failures).await,
        };
        match listened {
            Err(trouble) => trouble,
            Ok(never) => match never {},
        }
    }

    /// Asks who we are.
    pub(super) async fn introduce(&self) -> Result<Arc<Me>, Fault> {
        let me: User = self.api_call("getMe", &json!({}), PATIENCE).await?;
        let me = Arc::new(Me {
            id: me.id,
            username: me.username.unwrap_or_default(),
        });
        self.me.store(Some(Arc::clone(&me)));
        Ok(me)
    }

    /// Says hello and how we want to hear. Updates that wait stay.
    async fn begin(&self, inbox: &dyn Inbox) -> Result<Arc<Me>, Fault> {
        let me = self.introduce().await?;
        let _: bool = match &self.config.webhook {
            None => {
                let body = json!({ "drop_pending_updates": false });
                self.api_call("deleteWebhook", &body, PATIENCE).await?
            }
            Some(webhook) => {
                let body = json!({
                    "url": webhook.url,
                    "secret_token": webhook.secret.expose(),
                    "allowed_updates": WANTED,
                    "drop_pending_updates": false,
                });
                self.api_call("setWebhook", &body, PATIENCE).await?
            }
        };
        let commands: Vec<Value> = inbox
            .commands()
            .iter()
            .map(|c| {
                let usage = [c.argument, c.description].join(" ");
                json!({ "command": c.name, "description": usage.trim() })
            })
            .collect();
        let listed = json!({ "commands": commands });
        let told: Result<bool, Fault> = self.api_call("setMyCommands", &listed, PATIENCE).await;
        if let Err(fault) = told {
            tracing::warn!(%fault, "the bot's menu of commands could not be set");
        }
        Ok(me)
    }

    async fn poll(
        &self,
        inbox: &dyn Inbox,
        me: &Me,
        failures: &mut u32,
    ) -> Result<Infallible, Trouble> {
        let here = Address::new("telegram", me.id.to_string(), "");
        let stored = inbox.position(&here, "").await?;
        let mut taken: Option<i64> = stored.and_then(|position| position.parse().ok());
        // Nothing is named where nothing is to be confirmed: then the server gives what it has, also when
        // it has begun to number anew.
        let mut confirm = None;
        loop {
            let (updates, full) = self.updates(confirm).await?;
            *failures = 0;
            self.stands(Condition::Ok, String::new());
            confirm = updates.last().map(|update| update.id + 1);
            let known = |id: i64| taken.is_some_and(|t| id <= t && id > t - NUMBERED_ANEW);
            let new: Vec<Raw> = updates.into_iter().filter(|u| !known(u.id)).collect();
            for run in batch::runs(batch::units(new, full)) {
                let Some(position) = run.last().map(|unit| unit.position) else {
                    continue;
                };
                self.take_run(inbox, me, (run, position)).await?;
                taken = Some(position);
                confirm = Some(position + 1);
            }
        }
    }

    /// Takes in a run of updates, and the position with the last of them or after all of them.
    async fn take_run(
        &self,
        inbox: &dyn Inbox,
        me: &Me,
        (run, position): (batch::Run, i64),
    ) -> Result<(), AcceptError> {
        let cursor = Cursor {
            of: String::new(),
            position: position.to_string(),
        };
        if let [unit] = run.as_slice() {
            self.take(inbox, me, (&unit.parts, Some(cursor))).await?;
            return Ok(());
        }
        let each = |units: Vec<batch::Unit>| async move {
            for unit in units {
                self.take(inbox, me, (&unit.parts, None)).await?;
            }
            Ok::<(), AcceptError>(())
        };
        let chats = batch::by_chat(run).into_iter().map(each);
        let mut taken = futures_util::stream::iter(chats).buffer_unordered(SIDE_BY_SIDE);
        while let Some(done) = taken.next().await {
            done?;
        }
        let here = Address::new("telegram", me.id.to_string(), "");
        inbox.passed(&here, cursor).await
    }

    /// What happened since; waits for it. Whether there may be more.
    async fn updates(&self, confirm: Option<i64>) -> Result<(Vec<Raw>, bool), Fault> {
        let mut updates = self.ask(confirm, self.config.poll_sec).await?;
        for _ in 0..ALBUM.1 {
            if updates.len() >= BATCH || !batch::has_album(&updates) {
                break;
            }
            tokio::time::sleep(ALBUM.0).await;
            // Nothing is confirmed by that: the same comes again, and what came meanwhile.
            let more = self.ask(confirm, 0).await?;
            let grown = more.len() > updates.len();
            updates = more;
            if !grown {
                break;
            }
        }
        let full = updates.len() >= BATCH;
        Ok((updates, full))
    }

    async fn ask(&self, offset: Option<i64>, wait: u64) -> Result<Vec<Raw>, Fault> {
        let mut body = json!({ "timeout": wait, "limit": BATCH, "allowed_updates": WANTED });
        if let (Some(offset), Some(body)) = (offset, body.as_object_mut()) {
            body.insert("offset".to_owned(), offset.into());
        }
        let patience = Duration::from_secs(wait) + GRACE;
        let updates: Vec<Value> = self.api_call("getUpdates", &body, patience).await?;
        Ok(batch::raw(updates))
    }

    /// Looks after the webhook: that it is still ours, and that Telegram reaches us.
    async fn look_after(&self, me: &Me, failures: &mut u32) -> Result<Infallible, Trouble> {
        loop {
            let info: Value = self
                .api_call("getWebhookInfo", &json!({}), PATIENCE)
                .await?;
            *failures = 0;
            let ours = self.config.webhook.as_ref().map(|w| w.url.as_str());
            let waiting = info.get("pending_update_count").and_then(Value::as_u64);
            let error = info.get("last_error_message").and_then(Value::as_str);
            if info.get("url").and_then(Value::as_str) != ours {
                let why = format!("Conflict: @{} has another webhook now", me.username);
                return Err(refused(409, &why).into());
            }
            match error.filter(|_| waiting.is_some_and(|n| n > 0)) {
                Some(error) => self.stands(
                    Condition::Failing,
                    format!("Telegram cannot reach channels.telegram.webhook.url: {error}"),
                ),
                None => self.stands(Condition::Ok, String::new()),
            }
            tokio::time::sleep(CHECK).await;
        }
    }

    /// Takes an update that Telegram pushed. It is sent again until it was taken.
    pub(super) async fn called(&self, inbox: &dyn Inbox, body: &[u8]) -> Result<Hooked, HookError> {
        let body: Value =
            serde_json::from_slice(body).map_err(|e| HookError::Invalid(e.to_string()))?;
        let known = self.known().await;
        let me = known.map_err(|fault| HookError::Invalid(fault.to_string()))?;
        let update = Raw {
            id: body.get("update_id").and_then(Value::as_i64).unwrap_or(0),
            body,
        };
        self.with_health(|health, now| health.heard_at = Some(now));
        match self.take(inbox, &me, (&[update], None)).await? {
            Taken::Message(accepted) => Ok(Hooked::Message(accepted)),
            Taken::Other => Ok(Hooked::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_long_cut_it_is_back_within_a_minute_and_a_half() {
        // A call into a network that swallows everything is the longest that a try takes.
        for (state, each) in [
            (Condition::Failing, Duration::ZERO),
            (Condition::Failing, PATIENCE),
            (Condition::NeedsOwner, PATIENCE),
        ] {
            let (mut cut, mut failures, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
            while cut < Duration::from_mins(10) {
                let gap = each + pause(state, failures);
                longest = longest.max(gap);
                cut += gap;
                failures += 1;
            }
            assert!(longest <= Duration::from_secs(90), "{longest:?}");
            assert!(failures < 30, "it does not hammer: {failures} tries");
        }
        assert_eq!(pause(Condition::Failing, 0), Duration::from_secs(1));
        assert_eq!(pause(Condition::Failing, u32::MAX), Duration::from_mins(1));
    }
}
