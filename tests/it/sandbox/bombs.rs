//! Programs that take more than they may have.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use nexflow::sandbox::{Config, End, Job, Limits, Lock, Mode, Mount, Outcome, Sandbox};
use tokio_util::sync::CancellationToken;

use super::{bash, config, ends::assert_none_left, err, forced, out, run_in};

fn small(mut job: Job) -> Job {
    job.limits = Limits {
        wall: Duration::from_secs(5),
        memory_bytes: 128 << 20,
        processes: 40,
        file_bytes: 8 << 20,
        disk_bytes: 16 << 20,
        ..Limits::default()
    };
    job
}

fn python(script: &str) -> Job {
    small(Job::new(["/usr/bin/python3", "-c", script]))
}

async fn both(job: impl Fn() -> Job, check: impl Fn(Mode, &Outcome)) {
    for mode in [Mode::Full, Mode::Degraded] {
        let outcome = run_in(forced(mode), job()).await.unwrap();
        check(mode, &outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_without_end_is_cut() {
    both(
        || bash("yes"),
        |mode, outcome| {
            assert_eq!(outcome.end, End::OutputLimit, "{mode:?}");
            assert_eq!(outcome.stdout.bytes.len(), 64 << 10);
            assert!(outcome.stdout.dropped > 7 << 20);
            assert!(
                outcome.elapsed < Duration::from_secs(3),
                "{:?}",
                outcome.elapsed
            );
        },
    )
    .await;
    let gigabyte = bash("head -c 1G /dev/zero; echo never");
    assert_eq!(
        run_in(config(), gigabyte).await.unwrap().end,
        End::OutputLimit
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn long_output_keeps_beginning_and_end() {
    let outcome = run_in(config(), bash("seq 1 100000")).await.unwrap();
    assert_eq!(outcome.end, End::Exited(0));
    let said = out(&outcome);
    assert!(said.starts_with("1\n2\n") && said.ends_with("99999\n100000\n"));
    assert_eq!(outcome.stdout.dropped, 588_895 - (64 << 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_without_end_are_stopped() {
    let marker = format!("bomb.{}", std::process::id());
    let script = format!("b() {{ b | b & }}; b 2>/dev/null; sleep 0.3; echo {marker}");
    both(
        || small(bash(&script)),
        |mode, outcome| {
            let elapsed = outcome.elapsed;
            assert!(elapsed < Duration::from_secs(8), "{mode:?} {elapsed:?}");
            assert_none_left(&marker);
        },
    )
    .await;
    both(
        || {
            small(bash(
                "for i in $(seq 100); do sleep 2 & done 2>/dev/null; jobs -r | wc -l",
            ))
        },
        |mode, outcome| {
            // Bash gives up, or has at most its share.
            let count = out(outcome).trim().parse().unwrap_or(0);
            // Without a group, the ceiling is higher: it counts all runs of the user.
            let most = if mode == Mode::Full || super::is_root() {
                40
            } else {
                400
            };
            assert!(count <= most, "{mode:?}: {count}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_without_end_is_stopped() {
    let scripts = [
        "b = []\nwhile True: b.append(bytearray(4 << 20))",
        "import os\nfor i in range(8):\n  if os.fork() == 0: b = b'x' * (40 << 20); import time; time.sleep(4); os._exit(0)\nimport time; time.sleep(4)",
    ];
    for script in scripts {
        both(
            || python(script),
            |mode, outcome| {
                let said = err(outcome);
                assert_eq!(outcome.end, End::MemoryLimit, "{mode:?} {script} {said}");
                assert!(outcome.elapsed < Duration::from_secs(4));
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_watched_where_no_group_counts_it() {
    // The group is left out by being forced to a plan without one.
    let config = Config {
        no_cgroups: true,
        ..config()
    };
    let job = python("b = []\nwhile True: b.append(bytearray(1 << 20))");
    let outcome = run_in(config.clone(), job).await.unwrap();
    assert_eq!(outcome.end, End::MemoryLimit);
    let hidden = python("import os\nfd = os.memfd_create('x')");
    let outcome = run_in(config, hidden).await.unwrap();
    assert_eq!(outcome.end, End::Exited(1), "memory that no watch sees");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_user_do_not_count_against_each_other() {
    let config = Config {
        no_cgroups: true,
        ..config()
    };
    let sandbox = Sandbox::new(config);
    let job = || {
        small(bash(
            "for i in $(seq 25); do sleep 0.5 & done; jobs -r | wc -l; wait",
        ))
    };
    let cancel = CancellationToken::new();
    let (one, two) = tokio::join!(sandbox.run(job(), &cancel), sandbox.run(job(), &cancel));
    for outcome in [one.unwrap(), two.unwrap()] {
        assert_eq!(out(&outcome), "25\n", "{}", err(&outcome));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_folders_are_small() {
    for folder in ["/tmp", "/dev/shm", "/home/skill"] {
        let mut job = bash(&format!(
            "for i in 1 2 3; do head -c 200M /dev/zero >{folder}/$i; done; du -sm {folder} | cut -f1"
        ));
        job.limits.memory_bytes = 4 << 30;
        let outcome = run_in(config(), job).await.unwrap();
        let used: u64 = out(&outcome).trim().parse().unwrap();
        assert!(used <= 64, "{folder} holds {used} MB");
    }
}

fn disk(script: &str) -> (tempfile::TempDir, Job) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let work = folder.path().canonicalize().unwrap().join("work");
    fs::create_dir(&work).unwrap();
    let mut job = small(bash(script));
    job.cwd.clone_from(&work);
    job.mounts = vec![Mount::write(work)];
    (folder, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_not_filled() {
    for script in [
        "for i in $(seq 40); do head -c 2M /dev/zero >f$i; sleep 0.05; done; echo filled",
        "exec 5>f; rm f; for i in $(seq 30); do exec {fd}>g; rm g; head -c 2M /dev/zero >&$fd; sleep 0.05; done; echo filled",
    ] {
        for mode in [Mode::Full, Mode::Degraded] {
            let (_folder, job) = disk(script);
            let outcome = run_in(forced(mode), job).await.unwrap();
            assert_eq!(outcome.end, End::DiskLimit, "{mode:?} {}", err(&outcome));
        }
    }
    let (_folder, job) = disk("head -c 20M /dev/zero >big; stat -c %s big");
    let outcome = run_in(config(), job).await.unwrap();
    assert_eq!(out(&outcome).trim(), (8 << 20).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_not_opened_without_end() {
    let script =
        "f = []\ntry:\n  while True: f.append(open('/dev/null'))\nexcept OSError: print(len(f))";
    let outcome = run_in(config(), python(script)).await.unwrap();
    assert!(out(&outcome).trim().parse::<u32>().unwrap() < 512);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_output_is_no_hang() {
    let started = Instant::now();
    let outcome = run_in(config(), bash("exec >&- 2>&-; echo x; sleep 0.1; exit 4"))
        .await
        .unwrap();
    assert_eq!(outcome.end, End::Exited(4));
    let outcome = run_in(config(), bash("yes | head -n 1")).await.unwrap();
    assert_eq!(
        (outcome.end, out(&outcome).as_str()),
        (End::Exited(0), "y\n")
    );
    assert!(started.elapsed() < Duration::from_secs(4));
}

/// Without the limits these bombs go off: the tests above are not vacuous.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_limits_the_bombs_go_off() {
    let without = |lock: Lock| Config {
        without: vec![lock],
        ..forced(Mode::Full)
    };
    let script = "b = [bytearray(4 << 20) for _ in range(64)]; print('off')";
    let outcome = run_in(without(Lock::MemoryLimit), python(script))
        .await
        .unwrap();
    assert_eq!(out(&outcome), "off\n", "{}", err(&outcome));
    let (_folder, job) =
        disk("for i in $(seq 12); do head -c 2M /dev/zero >f$i; sleep 0.05; done; echo off");
    let outcome = run_in(without(Lock::DiskLimit), job).await.unwrap();
    assert_eq!(out(&outcome), "off\n", "{}", err(&outcome));
    let (_folder, job) = disk("head -c 20M /dev/zero >big; stat -c %s big");
    let outcome = run_in(without(Lock::Rlimits), job).await.unwrap();
    assert_ne!(out(&outcome).trim(), (8 << 20).to_string());
}

#[tokio::test]
async fn a_busy_program_gets_its_share_of_a_processor() {
    let sandbox = Sandbox::new(config());
    let report = sandbox.report().await;
    let group = report.layers.iter().find(|l| l.name == "cgroup").unwrap();
    if !group.ok || group.detail.contains("/pids") {
        eprintln!("no control group of version 2 here: {}", group.detail);
        return;
    }
    let script = "
import time
end = time.monotonic() + 1.5
while time.monotonic() < end: pass
print(time.process_time())";
    let job = Job {
        limits: Limits {
            cpu_percent: 20,
            ..Limits::default()
        },
        ..Job::new(["/usr/bin/python3", "-c", script])
    };
    let done = sandbox.run(job, &CancellationToken::new()).await.unwrap();
    let used: f64 = out(&done).trim().parse().unwrap();
    assert!(used < 0.75, "{used} s of 1.5 s: {}", err(&done));
}
