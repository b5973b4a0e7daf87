//! One useful command for each runtime, run as a skill would be: what a trial of the layers alone
//! cannot show is that a program still works inside.

use std::{path::PathBuf, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{End, Job, Layer, Limits, Mode, Mount, Sandbox, files::interpreter_mounts};

/// An interpreter to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// `bash`, `python` or `node`.
    pub name: &'static str,
    /// The program, without links in its path.
    pub program: PathBuf,
}

/// Writes a file, reads it, computes; then tries what no sandbox may let through. Says `42`.
fn script(name: &str, confined: bool) -> Option<(&'static str, &'static str)> {
    Some(match (name, confined) {
        ("bash", true) => (
            "-c",
            r#"echo 6 > "$TMPDIR/n"; read -r n < "$TMPDIR/n"
               if read -r x < /etc/shadow || echo x > /usr/nexflow-trial; then echo escaped; exit; fi 2>/dev/null
               echo $((n * 7))"#,
        ),
        ("python", true) => (
            "-c",
            r#"
import json, os
path = os.environ["TMPDIR"] + "/n"
open(path, "w").write(json.dumps({"n": 6}))
for name, mode in [("/etc/shadow", "r"), ("/usr/nexflow-trial", "w")]:
    try:
        open(name, mode)
        raise SystemExit(print("escaped"))
    except OSError:
        pass
print(json.load(open(path))["n"] * 7)"#,
        ),
        ("node", true) => (
            "-e",
            r#"
const fs = require("fs"), path = process.env.TMPDIR + "/n";
fs.writeFileSync(path, JSON.stringify({ n: 6 }));
for (const [name, mode] of [["/etc/shadow", "r"], ["/usr/nexflow-trial", "w"]]) {
  try { fs.openSync(name, mode); console.log("escaped"); process.exit(); } catch {}
}
console.log(JSON.parse(fs.readFileSync(path)).n * 7);"#,
        ),
        ("bash", false) => ("-c", "echo 42"),
        ("python", false) => ("-c", "print(42)"),
        ("node", false) => ("-e", "console.log(42)"),
        _ => return None,
    })
}

/// Tries each; a layer's name is `runtime NAME`.
pub(super) async fn try_all(sandbox: &Sandbox, runtimes: &[Runtime], mode: Mode) -> Vec<Layer> {
    let mut found = Vec::new();
    for runtime in runtimes {
        let Some((flag, code)) = script(runtime.name, mode != Mode::Unconfined) else {
            continue;
        };
        let mounts = interpreter_mounts(&runtime.program)
            .into_iter()
            .map(Mount::read);
        let program = runtime.program.display().to_string();
        let job = Job {
            mounts: mounts.collect(),
            limits: Limits {
                wall: Duration::from_secs(10),
                ..Limits::default()
            },
            label: format!("self-test {}", runtime.name),
            ..Job::new([program.as_str(), flag, code])
        };
        let outcome = sandbox.run(job, &CancellationToken::new()).await;
        let result = match outcome {
            Ok(outcome) if outcome.end == End::Exited(0) => {
                match String::from_utf8_lossy(&outcome.stdout.bytes).trim() {
                    "42" => Ok(format!("{program} works")),
                    other => Err(format!("{program} said {other:?} instead of 42")),
                }
            }
            Ok(outcome) => Err(format!(
                "{program} ended with {:?}: {}",
                outcome.end,
                String::from_utf8_lossy(&outcome.stderr.bytes).trim()
            )),
            Err(error) => Err(error.to_string()),
        };
        let ok = result.is_ok();
        let detail = result.unwrap_or_else(|why| why);
        found.push(Layer::new(&format!("runtime {}", runtime.name), ok, detail));
    }
    found
}
