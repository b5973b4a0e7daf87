//! `nexflow init`: a configuration, the data directory, a login link.

use std::{
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::{
    Setup,
    client::{self, Client},
    out::{field, line},
};
use crate::config::{EXAMPLE, Source};

/// Writes what is missing; what is there stays as it is.
pub(super) async fn run(setup: &Setup) -> Result<()> {
    let file = write_config(&setup.source)?;
    let source = Source {
        file,
        data_dir: setup.source.data_dir.clone(),
    };
    let setup = Setup {
        source,
        style: setup.style,
    };
    let loaded = setup.load()?;
    if let Some(file) = &loaded.file {
        line(&format!("Configuration: {}", file.display()))?;
    }
    make_folder(&loaded.config.data_dir)?;
    line(&format!(
        "Data directory: {}",
        loaded.config.data_dir.display()
    ))?;
    client::with(&setup, async |client| link(client).await).await
}

async fn link(client: &Client) -> Result<()> {
    let made = client.post("/api/v1/auth/link", &json!({})).await?;
    let when = if client.running() {
        ""
    } else {
        ", after `nexflow run`"
    };
    line(&format!(
        "Sign in (once, within ten minutes{when}): {}",
        field(&made, "url")
    ))
}

/// Writes the example where there is no file; answers the file to use.
fn write_config(source: &Source) -> Result<Option<PathBuf>> {
    let wanted = match &source.file {
        Some(file) if file.exists() => return Ok(Some(file.clone())),
        Some(file) => file.clone(),
        None => match crate::config::load(source) {
            Ok(loaded) if loaded.file.is_none() => PathBuf::from("config.yml"),
            _ => return Ok(None),
        },
    };
    if let Some(folder) = wanted.parent().filter(|f| !f.as_os_str().is_empty()) {
        make_folder(folder)?;
    }
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(&wanted);
    match file {
        Ok(mut file) => {
            let written = file.write_all(EXAMPLE.as_bytes());
            written.with_context(|| format!("cannot write {}", wanted.display()))?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write {}", wanted.display()));
        }
    }
    Ok(Some(wanted))
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_written_once_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sub/config.yml");
        let source = Source {
            file: Some(file.clone()),
            data_dir: None,
        };
        assert_eq!(write_config(&source).unwrap(), Some(file.clone()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), EXAMPLE);
        std::fs::write(&file, "mine: true\n").unwrap();
        assert_eq!(write_config(&source).unwrap(), Some(file.clone()));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine: true\n");
    }
}
