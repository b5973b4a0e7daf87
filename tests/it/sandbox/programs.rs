//! Which programs may be started.

use std::path::PathBuf;

use nexflow::sandbox::{Job, Mode};
use tokio_util::sync::CancellationToken;

use super::{err, forced, out, run_in};

/// Without links, if it is there.
fn real(path: &str) -> Option<PathBuf> {
    PathBuf::from(path).canonicalize().ok()
}

fn job(script: &str, programs: &[&str]) -> Job {
    Job {
        programs: Some(programs.iter().filter_map(|p| real(p)).collect()),
        ..Job::new(["/bin/bash", "-c", script])
    }
}

#[tokio::test]
async fn only_what_is_listed_can_be_started() {
    let script = "cat /etc/hostname; id && echo ESCAPED; python3 -c 'print(\"ESCAPED\")'; echo end";
    for mode in [Mode::Full, Mode::Degraded] {
        let all = Job::new(["/bin/bash", "-c", script]);
        let free = run_in(forced(mode), all).await.unwrap();
        assert!(out(&free).contains("ESCAPED"), "{}", err(&free));
        let some = run_in(forced(mode), job(script, &["/bin/bash", "/bin/cat"])).await;
        let some = some.unwrap();
        assert!(out(&some).ends_with("end\n"), "{}", err(&some));
        assert!(!out(&some).contains("ESCAPED"), "{}", out(&some));
        assert!(
            err(&some).contains("id: Permission denied"),
            "{}",
            err(&some)
        );
        assert!(
            !err(&some).contains("cat:") || mode == Mode::Degraded,
            "{}",
            err(&some)
        );
    }
}

#[tokio::test]
async fn libraries_and_helpers_still_work() {
    let script = "set -e; cd /tmp; git init -q a; cd a; git -c user.name=a -c user.email=a@b.c commit \
                  -q --allow-empty -m x; git log --format=%s; git submodule status; echo end";
    for mode in [Mode::Full, Mode::Degraded] {
        let script = script.replace("/tmp", "$TMPDIR");
        let tools = [
            "/bin/bash",
            "/bin/sh",
            "/usr/bin/git",
            "/usr/local/bin/git",
            "/usr/bin/env",
            "/bin/sed",
            "/usr/bin/basename",
            "/bin/uname",
        ];
        let done = run_in(forced(mode), job(&script, &tools)).await.unwrap();
        assert_eq!(out(&done), "x\nend\n", "{}", err(&done));
    }
}

/// What a run made itself can be started: the list is for what the system has.
#[tokio::test]
async fn a_script_of_its_own_can_be_started() {
    let script = "printf '#!/bin/bash\\necho mine\\n' > $TMPDIR/s; chmod +x $TMPDIR/s; $TMPDIR/s";
    let done = nexflow::sandbox::Sandbox::new(forced(Mode::Full))
        .run(
            job(script, &["/bin/bash", "/bin/chmod"]),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    assert_eq!(out(&done), "mine\n", "{}", err(&done));
}
