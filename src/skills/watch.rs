//! Sees changes of the skills directory: a moment after the last one it is read again.

use std::{path::Path, time::Duration};

use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, new_debouncer, notify::RecursiveMode,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::catalog::Catalog;

/// How long nothing must have changed.
const QUIET: Duration = Duration::from_millis(300);

/// Reads the catalog again whenever its directory changed.
pub(super) async fn follow(
    catalog: &Catalog,
    directory: &Path,
    cancel: CancellationToken,
) -> Result<(), String> {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let error = |e: notify::Error| format!("cannot watch {}: {e}", directory.display());
    let tell = move |events: DebounceEventResult| {
        let read = |e: &DebouncedEvent| e.kind.is_access();
        if !events.is_ok_and(|all| all.iter().all(read)) {
            // If one is waiting already, it will see this change as well.
            changed.try_send(()).ok();
        }
    };
    let mut debouncer = new_debouncer(QUIET, Some(QUIET), tell).map_err(error)?;
    debouncer
        .watch(directory, RecursiveMode::Recursive)
        .map_err(error)?;
    // What happened before the watch began.
    read(catalog).await?;
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            change = changes.recv() => match change {
                Some(()) => read(catalog).await?,
                None => return Err("the watcher of the skills directory ended".to_owned()),
            },
        }
    }
    debouncer.stop_nonblocking();
    Ok(())
}

async fn read(catalog: &Catalog) -> Result<(), String> {
    let catalog = catalog.clone();
    tokio::task::spawn_blocking(move || catalog.load())
        .await
        .map_err(|e| e.to_string())
}
