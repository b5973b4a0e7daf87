//! A changed configuration: read again when its file changes or on SIGHUP. What cannot be read leaves
//! the last good one in force.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Facts, live};
use crate::{
    api::Shared,
    config::{self, Loaded, Source},
    connectors::Registry,
    logging,
    net::Http,
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
        apply(&shared, (&next, &facts, &http));
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

fn apply(shared: &Shared, (next, facts, http): (&Loaded, &Facts, &Http)) {
    logging::start(&next.config.logging);
    let parts = shared.agent.parts();
    parts
        .replaceable
        .store(Arc::new(live(&next.config, http, &parts.clock)));
    parts.store.set_floor(next.config.storage.min_free_mb << 20);
    facts.problems.store(Arc::new(next.problems.clone()));
    tracing::info!(
        problems = next.problems.len(),
        "the configuration was read again; server, database, skills and scheduler take effect with the next start"
    );
    for problem in &next.problems {
        tracing::warn!("configuration: {problem}");
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
