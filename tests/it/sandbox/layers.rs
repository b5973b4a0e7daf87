//! Each layer is there for something: the attack that it alone stops gets through without it.

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use nexflow::sandbox::{Config, Lock, Mode, Sandbox};

use super::{
    attacks::{Attack, all_for, bash, python, wave},
    forced, is_root,
    stage::Stage,
};

fn without(mode: Mode, locks: &[Lock]) -> Config {
    Config {
        without: locks.to_vec(),
        ..forced(mode)
    }
}

/// Runs a script with and without some layers: it must be stopped with them, and only then.
async fn matters(mode: Mode, locks: &[Lock], attack: Attack) {
    let stage = Arc::new(Stage::new(
        &format!("layer-{locks:?}").replace([' ', ','], ""),
    ));
    let stopped = wave(Sandbox::new(forced(mode)), stage.clone(), vec![attack]).await;
    assert!(stopped.is_empty(), "{mode:?} {}", stopped.join("\n"));
    let through = wave(Sandbox::new(without(mode, locks)), stage, vec![attack]).await;
    let through = through.join("\n");
    assert!(
        through.contains("ESCAPED"),
        "{mode:?} without {locks:?}: {} was stopped by something else {through}",
        attack.name
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_and_landlock_hide_files() {
    let read = bash("read a file", "cat $SECRET && echo ESCAPED");
    matters(Mode::Degraded, &[Lock::Landlock], read).await;
    matters(Mode::Full, &[Lock::Root, Lock::Landlock], read).await;
    let exists = bash("see that a path exists", "[ -e $SECRET ] && echo ESCAPED");
    matters(Mode::Full, &[Lock::Root], exists).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_mounts_and_landlock_keep_from_writing() {
    // Undone at once, so that the second run finds what the first did.
    let append = bash("append", "printf '' >>$GRANTED/file && echo ESCAPED");
    matters(Mode::Full, &[Lock::ReadOnly, Lock::Landlock], append).await;
    matters(Mode::Degraded, &[Lock::Landlock], append).await;
    let chmod = bash(
        "chmod",
        "chmod 666 $GRANTED/file 2>&1 | grep -q 'Read-only' || echo ESCAPED",
    );
    matters(Mode::Full, &[Lock::ReadOnly], chmod).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_namespace_and_landlock_close_the_network() {
    let tcp = bash("TCP", "exec 9<>/dev/tcp/127.0.0.1/$TCP && echo ESCAPED");
    matters(Mode::Full, &[Lock::Network, Lock::Landlock], tcp).await;
    let udp = python(
        "UDP",
        "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b'x', ('127.0.0.1', int(env['UDP']))); print('ESCAPED')",
    );
    matters(Mode::Full, &[Lock::Network], udp).await;
    matters(Mode::Degraded, &[Lock::Seccomp], udp).await;
    let name = python(
        "abstract socket",
        "
s = socket.socket(socket.AF_UNIX); s.connect('\\0' + env['ABSTRACT']); print('ESCAPED')",
    );
    matters(Mode::Degraded, &[Lock::Seccomp, Lock::Landlock], name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_closes_the_kernel() {
    let vsock = python("nested namespace", "refused(272, 0x10000000)");
    matters(Mode::Full, &[Lock::Seccomp], vsock).await;
    matters(Mode::Degraded, &[Lock::Seccomp], vsock).await;
    let ring = python(
        "io_uring",
        "refused(425, 1, ctypes.create_string_buffer(200))",
    );
    matters(Mode::Full, &[Lock::Seccomp], ring).await;
    let set_id = bash(
        "set-user-id",
        "cp /bin/true t; chmod u+s t; [ -u t ] && echo ESCAPED",
    );
    matters(Mode::Full, &[Lock::Seccomp], set_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_namespace_hides_processes() {
    let see = bash(
        "see the daemon",
        "kill -0 $DAEMON 2>&1 | grep -q 'No such' || echo ESCAPED",
    );
    matters(Mode::Full, &[Lock::Processes], see).await;
    let init = bash("number", "[ $$ -lt 100 ] || echo ESCAPED");
    matters(Mode::Full, &[Lock::Processes], init).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_masks_cover_the_kernels_files() {
    let masks = bash(
        "kallsyms",
        "[ -s /proc/kallsyms ] || [ -n \"$(head -c 1 /proc/kallsyms)\" ] && echo ESCAPED",
    );
    matters(Mode::Full, &[Lock::ProcMasks], masks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_messages_are_the_runs_own() {
    let name = bash(
        "host name",
        "[ $(cat /proc/sys/kernel/hostname) = sandbox ] || echo ESCAPED",
    );
    matters(Mode::Full, &[Lock::Hostname], name).await;
    let own = fs::read_link("/proc/self/ns/ipc").unwrap();
    let script = format!(
        "[ $(readlink /proc/self/ns/ipc) = '{}' ] && echo ESCAPED",
        own.display()
    );
    matters(Mode::Full, &[Lock::Ipc], bash("ipc", script.leak())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_and_its_powers_are_given_up() {
    if !is_root() {
        return;
    }
    let root = bash("run as root", "[ $(id -u) = 0 ] && echo ESCAPED");
    matters(Mode::Full, &[Lock::User, Lock::Capabilities], root).await;
    matters(Mode::Degraded, &[Lock::User, Lock::Capabilities], root).await;
    let powers = bash(
        "capabilities",
        "grep -q 'CapBnd:.0000000000000000' /proc/self/status || echo ESCAPED",
    );
    matters(Mode::Full, &[Lock::Capabilities], powers).await;
    let fresh = bash(
        "new privileges",
        "grep -q 'NoNewPrivs:.0' /proc/self/status && echo ESCAPED",
    );
    // Landlock and the filter need it, so they go with it.
    let locks = [Lock::NoNewPrivileges, Lock::Landlock, Lock::Seccomp];
    matters(Mode::Full, &locks, fresh).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_the_programs_own() {
    let session = python(
        "session",
        "
if os.getsid(0) != os.getpid(): print('ESCAPED')",
    );
    matters(Mode::Full, &[Lock::Session], session).await;
}

/// The same attacks as an ordinary user, who has no rights to make namespaces with.
#[test]
fn an_ordinary_user_is_as_safe() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let copy = |from: PathBuf, name: &str| {
        let to = path.join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let tests = copy(std::env::current_exe().unwrap(), "tests");
    let helper = copy(super::helper(), "helper");
    Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(&path)
        .status()
        .unwrap();
    let ran = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(tests)
        .args([
            "sandbox::attacks",
            "sandbox::runs",
            "sandbox::ends",
            "sandbox::ends",
            "sandbox::gate",
            "sandbox::bombs",
            "--test-threads=4",
        ])
        .env("NEXFLOW_TEST_HELPER", helper)
        .env("HOME", "/nonexistent")
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    assert!(
        said.contains("no_attack_gets_through_in_full_mode ... ok"),
        "{said}"
    );
}

/// The table of `docs/security.md`: how many attacks get through when one layer is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures for the documentation: `make figures`"]
async fn figures() {
    let single = [
        Lock::Root,
        Lock::ReadOnly,
        Lock::ProcMasks,
        Lock::Processes,
        Lock::Network,
        Lock::Ipc,
        Lock::Hostname,
        Lock::Session,
        Lock::User,
        Lock::Capabilities,
        Lock::NoNewPrivileges,
        Lock::Landlock,
        Lock::Seccomp,
    ];
    let mut without_one: Vec<Vec<Lock>> = single.map(|lock| vec![lock]).into();
    without_one.push(vec![Lock::Landlock, Lock::Root]);
    without_one.push(vec![Lock::User, Lock::Capabilities]);
    for mode in [Mode::Full, Mode::Degraded] {
        for locks in &without_one {
            let attacks: Vec<Attack> = all_for(mode);
            let count = attacks.len();
            let stage = Arc::new(Stage::new("figures"));
            // The first run is given the working folder.
            let first = attacks.iter().take(1).copied().collect();
            let none = wave(Sandbox::new(forced(mode)), stage.clone(), first).await;
            assert!(none.is_empty(), "{none:?}");
            let through = wave(Sandbox::new(without(mode, locks)), stage, attacks).await;
            let escaped = through.iter().filter(|t| t.contains("ESCAPED")).count();
            println!("{} | {locks:?} | {escaped} of {count}", mode.as_str());
        }
    }
}
