//! What programs can do, and what they are refused.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::Path,
    process::Command,
};

use nexflow::sandbox::{
    Access, Config, End, Job, Mode, Mount, Network, Open, Sandbox, SandboxError,
    interpreter_mounts, open_beneath,
};
use tokio_util::sync::CancellationToken;

use super::{bash, config, err, forced, out, run, run_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_says_something_and_ends() {
    for mode in [Mode::Full, Mode::Degraded] {
        let job = bash("echo hello; echo oops >/dev/stderr; uname -a >/dev/null && exit 3");
        let outcome = run_in(forced(mode), job).await.unwrap();
        assert_eq!(out(&outcome), "hello\n", "{mode:?} {}", err(&outcome));
        assert_eq!(err(&outcome), "oops\n");
        assert_eq!(outcome.end, End::Exited(3));
        assert_eq!(outcome.mode, mode);
    }
}

#[tokio::test]
async fn input_arrives_whole() {
    for size in [0, 1, 100_000, 5_000_000] {
        let mut job = bash("wc -c");
        job.stdin = vec![b'x'; size];
        assert_eq!(out(&run(job).await).trim(), size.to_string());
    }
    let mut job = bash("cat /dev/stdin; read -r x </proc/self/fd/0; echo $x");
    job.stdin = b"line\n".to_vec();
    assert_eq!(out(&run(job).await), "line\nline\n");
}

#[tokio::test]
async fn a_signal_is_told_from_an_exit() {
    assert_eq!(run(bash("kill -SEGV $$")).await.end, End::Signalled(11));
    assert_eq!(run(bash("exit 139")).await.end, End::Exited(139));
}

#[tokio::test]
async fn what_is_not_there_cannot_be_started() {
    let error = run_in(config(), Job::new(["/no/such/program"])).await;
    match error {
        Err(SandboxError::Start { stage, source }) => {
            assert_eq!(stage, "exec /no/such/program");
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_environment_is_built_from_nothing() {
    let mut job = Job::new(["/usr/bin/env"]);
    job.env = vec![("MINE".to_owned(), "a=b c".to_owned())];
    let said = out(&run(job).await);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "HOME=/home/skill",
            "LANG=C.UTF-8",
            "MINE=a=b c",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TMPDIR=/tmp",
        ]
    );
}

#[tokio::test]
async fn extra_descriptors_arrive_under_their_numbers() {
    for mode in [Mode::Full, Mode::Degraded] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut job = bash("echo progress >&3; ls /proc/self/fd | tr '\\n' ' '");
        job.fds = vec![(3, OwnedFd::from(writer))];
        let outcome = run_in(forced(mode), job).await.unwrap();
        // Where there is no `/proc` of its own, the listing itself is refused; `tr` ends well.
        assert_eq!(outcome.end, End::Exited(0));
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "progress\n");
        if mode == Mode::Full {
            // 4 is the listing's own.
            assert_eq!(out(&outcome), "0 1 2 3 4 ");
        }
    }
}

#[tokio::test]
async fn a_workspace_can_be_written_and_kept() {
    for mode in [Mode::Full, Mode::Degraded] {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let work = folder.path().join("work");
        fs::create_dir(&work).unwrap();
        fs::set_permissions(&work, fs::Permissions::from_mode(0o700)).unwrap();
        let mut job = bash("pwd; mkdir a && echo kept >a/b && mv a/b c && ln -s c l && cat l");
        job.cwd = work.clone();
        job.mounts = vec![Mount::write(&work)];
        let outcome = run_in(forced(mode), job).await.unwrap();
        let said = format!("{}\nkept\n", work.display());
        assert_eq!(out(&outcome), said, "{}", err(&outcome));
        let mut kept = String::new();
        open_beneath(&work, Path::new("c"), Open::Read)
            .unwrap()
            .read_to_string(&mut kept)
            .unwrap();
        assert_eq!(kept, "kept\n");
        // A link that a program made leads the daemon nowhere.
        assert!(open_beneath(&work, Path::new("l"), Open::Read).is_err());
        assert!(open_beneath(&work, Path::new("l"), Open::Write).is_err());
        assert!(open_beneath(&work, Path::new("../other"), Open::Create).is_err());
        assert!(open_beneath(&work, Path::new("a"), Open::Read).is_err());
        let mut new = open_beneath(&work, Path::new("a/new"), Open::Create).unwrap();
        new.write_all(b"x").unwrap();
        assert!(open_beneath(&work, Path::new("a/new"), Open::Create).is_err());
    }
}

#[tokio::test]
async fn a_link_is_not_mounted() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    for path in [link.clone(), link.join("ssl")] {
        let mut job = bash("true");
        job.mounts = vec![Mount::read(path)];
        assert!(matches!(
            run_in(config(), job).await,
            Err(SandboxError::Start { .. })
        ));
    }
}

#[tokio::test]
async fn jobs_that_ask_for_too_much_are_refused() {
    let refused = async |change: fn(&mut Job)| {
        let mut job = bash("true");
        change(&mut job);
        let answer = run_in(config(), job).await;
        assert!(
            matches!(answer, Err(SandboxError::Refused(_))),
            "{answer:?}"
        );
    };
    refused(|j| j.argv = vec!["true".to_owned()]).await;
    refused(|j| j.argv = vec![]).await;
    refused(|j| j.argv.push("a\0b".to_owned())).await;
    refused(|j| j.env = vec![("A=B".to_owned(), String::new())]).await;
    refused(|j| j.cwd = "/root".into()).await;
    refused(|j| j.cwd = "relative".into()).await;
    refused(|j| j.uid = Some(0)).await;
    for path in [
        "/",
        "/proc",
        "/proc/1/root",
        "/sys/kernel",
        "/dev",
        "/run",
        "a",
        "/tmp/../etc",
        "/tmp/./x",
    ] {
        let mut job = bash("true");
        job.mounts = vec![Mount {
            path: path.into(),
            access: Access::Write,
        }];
        let answer = run_in(config(), job).await;
        assert!(
            matches!(answer, Err(SandboxError::Refused(_))),
            "{path}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_run_side_by_side() {
    let sandbox = Sandbox::new(config());
    let mut running = tokio::task::JoinSet::new();
    for number in 0..64 {
        let sandbox = sandbox.clone();
        running.spawn(async move {
            let job = bash(&format!("echo {number}; sleep 0.2"));
            let outcome = sandbox.run(job, &CancellationToken::new()).await.unwrap();
            assert_eq!(out(&outcome), format!("{number}\n"), "{}", err(&outcome));
        });
    }
    running.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_runtimes_work() {
    for mode in [Mode::Full, Mode::Degraded] {
        let sandbox = Sandbox::new(forced(mode));
        for (argv, expected) in [
            (
                vec![
                    "/usr/bin/python3",
                    "-c",
                    "import json, ssl, subprocess, tempfile, threading
t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()
with tempfile.NamedTemporaryFile('w') as f: print('x', file=f)
print(subprocess.run(['/bin/echo', 'child'], capture_output=True, text=True).stdout.strip())",
                ],
                "thread\nchild\n",
            ),
            (
                vec![
                    "/usr/bin/node",
                    "-e",
                    "const { Worker } = require('worker_threads');
require('child_process').exec('echo child', (e, o) => console.log(o.trim()));
require('fs').writeFileSync(require('os').tmpdir() + '/x', 'y');
new Worker('process.memoryUsage()', { eval: true })",
                ],
                "child\n",
            ),
            (
                vec![
                    "/bin/bash",
                    "-c",
                    "cd $TMPDIR && git init -q . && echo a >a && git add a &&
git -c user.name=x -c user.email=x@y commit -qm m && git log --format=%s && tar c a | tar tf -",
                ],
                "m\na\n",
            ),
        ] {
            let outcome = sandbox
                .run(Job::new(argv.clone()), &CancellationToken::new())
                .await
                .unwrap();
            assert_eq!(
                out(&outcome),
                expected,
                "{mode:?} {argv:?} {}",
                err(&outcome)
            );
        }
    }
}

#[tokio::test]
async fn an_interpreter_from_elsewhere_can_be_had() {
    let found = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    let Ok(found) = found else { return };
    let program = String::from_utf8(found.stdout).unwrap();
    let program = fs::canonicalize(program.trim()).unwrap();
    let mut job = Job::new([
        program.to_str().unwrap(),
        "-c",
        "import json, ssl; print('works')",
    ]);
    job.mounts = interpreter_mounts(&program)
        .into_iter()
        .map(Mount::read)
        .collect();
    let outcome = run(job).await;
    assert_eq!(out(&outcome), "works\n", "{}", err(&outcome));
}

#[tokio::test]
async fn without_anything_to_confine_with_nothing_runs() {
    let switched_off = Config {
        enabled: false,
        ..config()
    };
    for config in [forced(Mode::None), switched_off] {
        let sandbox = Sandbox::new(config);
        assert_eq!(sandbox.report().await.mode, Mode::None);
        let answer = sandbox.run(bash("true"), &CancellationToken::new()).await;
        assert!(matches!(answer, Err(SandboxError::Unsupported { .. })));
    }
    let mut job = bash("true");
    job.network = Network::Loopback;
    let answer = run_in(forced(Mode::Degraded), job).await;
    assert!(matches!(answer, Err(SandboxError::Unsupported { .. })));
}

#[tokio::test]
async fn a_helper_that_is_not_one_is_an_error() {
    for helper in ["/bin/true", "/bin/false", "/no/such/file", "/bin/cat"] {
        let config = Config {
            helper: Some(helper.into()),
            ..Config::default()
        };
        let sandbox = Sandbox::new(config);
        assert_eq!(sandbox.report().await.mode, Mode::None, "{helper}");
    }
}
