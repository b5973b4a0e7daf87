//! Writes what the egress gate decided into the audit.

use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};

use crate::{
    config::Config,
    sandbox::{self, Egress, Sandbox},
    store::{Store, StoreError, audit},
    supervisor::Supervisor,
    types::{Clock, Timestamp},
};

/// Records that may wait to be written; more are lost, which is told.
pub(super) const WAITING: usize = 4096;
/// Records of one transaction.
const AT_ONCE: usize = 256;

/// The sandbox, and the task that writes what its gate decides. That must end after all that runs
/// programs: then nothing comes any more, and what waits is written first.
pub(super) fn sandbox(config: &Config, (store, clock): (&Store, &Clock)) -> (Sandbox, Supervisor) {
    let (egress, records) = mpsc::channel(WAITING);
    let sandbox = Sandbox::new(sandbox::Config {
        egress: Some(egress),
        ..config.skills.sandbox()
    });
    let mut last = Supervisor::new();
    record(&mut last, records, (store.clone(), clock.clone()));
    (sandbox, last)
}

fn record(last: &mut Supervisor, mut records: Receiver<Egress>, (store, clock): (Store, Clock)) {
    last.vital("egress records", |cancel| async move {
        let mut waiting = Vec::new();
        loop {
            let came = tokio::select! {
                biased;
                came = records.recv_many(&mut waiting, AT_ONCE) => came,
                () = cancel.cancelled() => 0,
            };
            if came == 0 {
                return Ok::<(), String>(());
            }
            let entries = waiting.drain(..).map(|e| entry(&e, clock.now())).collect();
            write(&store, entries).await;
        }
    });
}

async fn write(store: &Store, entries: Vec<audit::Entry>) {
    let count = entries.len();
    let written = store
        .write(move |tx| {
            for entry in &entries {
                audit::append(tx, entry)?;
            }
            Ok::<_, StoreError>(())
        })
        .await;
    if let Err(error) = written {
        tracing::error!("{count} egress records could not be written: {error}");
    }
}

fn entry(egress: &Egress, at: Timestamp) -> audit::Entry {
    audit::Entry {
        at,
        actor: format!("skill:{}", egress.label),
        action: "egress".to_owned(),
        object: format!("{}:{}", egress.host, egress.port),
        detail: json!({
            "allowed": egress.allowed, "reason": egress.reason, "handle": egress.handle,
            "bytes_up": egress.bytes_up, "bytes_down": egress.bytes_down,
        }),
    }
}
