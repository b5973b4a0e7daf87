//! Files of the workspace that go out with the answer.

use std::{
    io::Read as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Done, Kit, Scope, Tool, arguments, skill::workspace};
use crate::{
    sandbox::{Open, open_beneath},
    store::files,
    types::{TurnId, chat::ToolSpec, effect::Effects},
};

/// Its name.
pub const NAME: &str = "send_file";
/// The largest file, in bytes, and the most that one answer brings along.
const LARGEST: u64 = 20 << 20;
/// Files of one answer at most.
const MOST: u64 = 10;
/// What a file is by the end of its name; anything else is bytes.
const KINDS: &[(&str, &str)] = &[
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("md", "text/markdown"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

struct SendFile {
    kit: Kit,
}

pub(super) fn send(kit: &Kit) -> Arc<dyn Tool> {
    Arc::new(SendFile { kit: kit.clone() })
}

/// What is wanted.
#[derive(Deserialize)]
struct Wanted {
    path: String,
}

#[async_trait]
impl Tool for SendFile {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.to_owned(),
            description: "Send a file of the workspace to the person, together with your answer."
                .to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "path": { "type": "string", "description": "The file, relative to the workspace" },
                    "caption": { "type": "string", "description": "A line about it" }
                },
                "required": ["path"],
                "additionalProperties": false
            }),
        }
    }

    /// The same path again is the same file.
    fn idempotent(&self) -> bool {
        true
    }

    /// It goes where the answer goes, which goes there anyway.
    fn effects(&self) -> Effects {
        Effects::NONE
    }

    async fn call(&self, scope: Scope, args: Value) -> Done {
        let wanted = match arguments::<Wanted>(args) {
            Ok(wanted) => wanted,
            Err(failed) => return failed,
        };
        let Some(turn) = scope.turn else {
            return Done::failed("A file goes out with an answer, and there is none here.");
        };
        let root = workspace(&self.kit, scope.place.session);
        match self.keep(turn, root, &wanted.path).await {
            Ok((path, bytes)) => Done::text(format!(
                "`{path}` ({bytes} bytes) goes out with your answer."
            )),
            Err(why) => Done::failed(format!("`{}` was not sent: {why}", wanted.path)),
        }
    }
}

impl SendFile {
    async fn keep(
        &self,
        turn: TurnId,
        root: PathBuf,
        path: &str,
    ) -> Result<(String, usize), String> {
        let path = plain(path)?;
        let opened = path.clone();
        let read = tokio::task::spawn_blocking(move || read(&root, &opened)).await;
        let data = read.map_err(|e| e.to_string())??;
        let length = data.len();
        let kept = path.clone();
        let write = self.kit.store.write(move |tx| {
            let (count, bytes) = files::besides(tx, turn, &kept)?;
            if count >= MOST || bytes + length as u64 > LARGEST {
                return Ok(false);
            }
            files::put(tx, turn, (&kept, kind(&kept), &data))?;
            Ok(true)
        });
        match write.await {
            Ok(true) => Ok((path, length)),
            Ok(false) => Err(format!(
                "an answer brings at most {MOST} files along, of {} MB together",
                LARGEST >> 20
            )),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A path as one of the workspace's: models write `./a` and `/workspace/a` as well.
fn plain(path: &str) -> Result<String, String> {
    let path = Path::new(path);
    let path = path.strip_prefix("/workspace").unwrap_or(path);
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            _ => return Err("it is not in the workspace".to_owned()),
        }
    }
    if parts.is_empty() {
        return Err("no file is named".to_owned());
    }
    Ok(parts.join("/"))
}

fn read(root: &Path, path: &str) -> Result<Vec<u8>, String> {
    let file =
        open_beneath(root, Path::new(path), Open::Read).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file in the workspace".to_owned(),
            _ => error.to_string(),
        })?;
    let mut data = Vec::new();
    let length = file.take(LARGEST + 1).read_to_end(&mut data);
    let length = length.map_err(|e| e.to_string())?;
    match length {
        0 => Err("it is empty".to_owned()),
        length if length as u64 > LARGEST => Err(format!("it is larger than {} MB", LARGEST >> 20)),
        _ => Ok(data),
    }
}

fn kind(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map(|(_, end)| end.to_lowercase());
    let known = KINDS.iter().find(|(name, _)| Some(*name) == end.as_deref());
    known.map_or("application/octet-stream", |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_workspace_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("w");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("sub/a.TXT"), "hello").unwrap();
        std::fs::write(root.join("empty"), "").unwrap();
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        let large = std::fs::File::create(root.join("large")).unwrap();
        large.set_len(LARGEST + 1).unwrap();
        let read = |path: &str| plain(path).and_then(|path| read(&root, &path));
        for path in ["sub/a.TXT", "./sub/a.TXT", "/workspace/sub/a.TXT"] {
            assert_eq!(read(path).unwrap(), b"hello", "{path}");
        }
        for (path, why) in [
            ("../secret", "not in the workspace"),
            ("/etc/passwd", "not in the workspace"),
            ("sub/../../secret", "not in the workspace"),
            ("link", "symbolic"),
            ("up/secret", "symbolic"),
            ("none", "no such file"),
            ("sub", "regular"),
            ("empty", "empty"),
            ("large", "larger"),
            ("", "named"),
        ] {
            let error = read(path).unwrap_err();
            assert!(error.contains(why), "{path}: {error}");
        }
        assert_eq!(kind("sub/a.TXT"), "text/plain");
        assert_eq!(kind("png"), "application/octet-stream");
    }
}
