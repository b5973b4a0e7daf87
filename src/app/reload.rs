//! A changed configuration: read again when its file changes or on SIGHUP. What cannot be read leaves
//! the last good one in force.

use std::{path::Path, sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Facts, live};
use crate::{
    api::Shared,
    config::{self, Loaded, Source},
    connectors::Registry,
    logging,
    net::Http,
    store::{
        analytics,
        audit::{self, Entry, Origin},
    },
    supervisor::Supervisor,
};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Starts what listens: connectors, the skills folder, the configuration.
pub(super) fn watch(
    intake: &mut Supervisor,
    shared: &Arc<Shared>,
    (loaded, facts, http): (Loaded, Arc<Facts>, Http),
) {
    if loaded.config.skills.watch {
        let catalog = shared.agent.parts().kit.catalog.clone();
        intake.restarting("skills folder", move |cancel| {
            let catalog = catalog.clone();
            async move { catalog.watch(cancel).await }
        });
    }
    let shared = Arc::clone(shared);
    intake.vital("configuration", move |cancel| {
        run(shared, (loaded, facts, http), cancel)
    });
}

/// Runs the connectors of a configuration, until it changes and those of the next one run.
async fn run(
    shared: Arc<Shared>,
    (mut loaded, facts, http): (Loaded, Arc<Facts>, Http),
    cancel: CancellationToken,
) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        let group = connectors(&shared, &shared.agent.parts().live().connectors);
        let next = loop {
            let seen = stamp(loaded.file.as_deref());
            tokio::select! {
                () = cancel.cancelled() => break None,
                _ = hangup.recv() => {}
                () = changed(loaded.file.as_deref(), seen) => {}
            }
            if let Some(next) = read(&loaded) {
                break Some(next);
            }
        };
        group.stop(Duration::from_secs(2)).await;
        let Some(next) = next else { return Ok(()) };
        apply(&shared, (&next, &facts, &http)).await;
        note_change(&shared, &loaded, &next).await;
        loaded = next;
    }
}

/// Each connector under its own supervision.
fn connectors(shared: &Arc<Shared>, registry: &Registry) -> Supervisor {
    let mut group = Supervisor::new();
    for (name, connector) in registry.iter() {
        let (connector, agent) = (Arc::clone(connector), shared.agent.clone());
        group.restarting(name, move |cancel| {
            let (connector, agent) = (Arc::clone(&connector), agent.clone());
            async move { connector.run(&agent, cancel).await }
        });
    }
    group
}

fn read(before: &Loaded) -> Option<Loaded> {
    let source = Source {
        file: before.file.clone(),
        data_dir: Some(before.config.data_dir.clone()),
    };
    match config::load(&source) {
        Ok(next) => Some(next),
        Err(error) => {
            tracing::error!(
                "the changed configuration cannot be read, so the last one stays in force: {error}"
            );
            None
        }
    }
}

async fn keep_events(shared: &Shared, days: u32) {
    let parts = shared.agent.parts();
    let now = parts.clock.now();
    let write = parts.store.write(move |tx| analytics::keep(tx, days, now));
    if let Err(error) = write.await {
        tracing::error!(%error, "how long events are kept could not be changed");
    }
}

async fn apply(shared: &Shared, (next, facts, http): (&Loaded, &Facts, &Http)) {
    logging::start(&next.config.logging);
    let parts = shared.agent.parts();
    let earlier = parts.live();
    let known = (http, &parts.clock);
    let renewed = live(&next.config, Some(&earlier.providers), known);
    parts.replaceable.store(Arc::new(renewed));
    parts.store.set_floor(next.config.storage.min_free_mb << 20);
    facts.problems.store(Arc::new(next.problems.clone()));
    keep_events(shared, next.config.privacy.days()).await;
    tracing::info!(
        problems = next.problems.len(),
        "the configuration was read again; server, database, skills and scheduler take effect with the next start"
    );
    for problem in &next.problems {
        tracing::warn!("configuration: {problem}");
    }
}

/// Which keys changed goes into the audit, not their values.
async fn note_change(shared: &Shared, before: &Loaded, after: &Loaded) {
    let mut keys = Vec::new();
    differences(&before.config.show(), &after.config.show(), ("", &mut keys));
    let parts = shared.agent.parts();
    let file = after.file.as_ref().map(|file| file.display().to_string());
    let entry = Entry::new(parts.clock.now(), "owner", "config.change", "");
    let entry = entry.with(json!({ "keys": keys, "problems": after.problems.len() }));
    let origin = Origin::from(file.unwrap_or_default());
    let write = parts
        .store
        .write(move |tx| audit::append_from(tx, &entry, &origin));
    if let Err(error) = write.await {
        tracing::error!(%error, "a change of the configuration could not be noted in the audit");
    }
}

/// Keys whose values differ.
fn differences(before: &Value, after: &Value, (path, keys): (&str, &mut Vec<String>)) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            keys.push(path.to_owned());
        }
        return;
    };
    let added = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(added) {
        let below = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let at = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        differences(&at(old), &at(new), (&below, keys));
    }
}

type Stamp = Option<(std::time::SystemTime, u64)>;

fn stamp(file: Option<&Path>) -> Stamp {
    let data = std::fs::metadata(file?).ok()?;
    Some((data.modified().ok()?, data.len()))
}

async fn changed(file: Option<&Path>, seen: Stamp) {
    loop {
        tokio::time::sleep(LOOK).await;
        let now = stamp(file);
        if now.is_some() && now != seen {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_named_and_their_values_are_not() {
        let mut keys = Vec::new();
        let before = json!({ "a": { "b": 1, "c": 2 }, "gone": true });
        let after = json!({ "a": { "b": 1, "c": 3 }, "new": [] });
        differences(&before, &after, ("", &mut keys));
        assert_eq!(keys, ["a.c", "gone", "new"]);
    }
}
