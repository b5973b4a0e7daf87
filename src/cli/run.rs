//! `nexflow run`: the daemon.

use anyhow::Result;

use super::{Setup, out};
use crate::app;

/// Serves until a signal ends it. Standard output gets the address and a login link, once; the log
/// goes to standard error.
pub(super) async fn run(setup: &Setup) -> Result<()> {
    let loaded = setup.load()?;
    let announce = |ready: &app::Ready| {
        // The daemon serves whether or not anybody reads this.
        drop(out::raw(&format!(
            "nexflow is at {}\nsign in (once, within ten minutes): {}\n",
            ready.url, ready.login_url
        )));
    };
    Box::pin(app::serve(loaded, announce)).await
}
