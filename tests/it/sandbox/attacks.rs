//! Attacks on files, processes and descriptors, in the languages that skills use.
//!
//! A script prints `ESCAPED` if it got through and `tried` when it is done, so that a script that
//! does not even run is not taken for an attack that was stopped. Those marked [`bare`] are also
//! run without the sandbox, where they must succeed.

use std::{process::Command, sync::Arc};

use nexflow::sandbox::{Mode, Sandbox};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{err, forced, kernel, out, sockets, stage::Stage};

#[derive(Debug, Clone, Copy)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    language: Language,
    script: &'static str,
    /// Works without the sandbox: run there as a control.
    bare: bool,
    /// Not stopped in degraded mode, and said to be so by the report.
    full_only: bool,
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Bash,
    Python,
    Node,
}

const fn attack(language: Language, name: &'static str, script: &'static str) -> Attack {
    Attack {
        name,
        language,
        script,
        bare: false,
        full_only: false,
    }
}

pub(super) const fn bash(name: &'static str, script: &'static str) -> Attack {
    attack(Language::Bash, name, script)
}

pub(super) const fn python(name: &'static str, script: &'static str) -> Attack {
    attack(Language::Python, name, script)
}

pub(super) const fn node(name: &'static str, script: &'static str) -> Attack {
    attack(Language::Node, name, script)
}

/// The same, which works without the sandbox.
pub(super) const fn bare(attack: Attack) -> Attack {
    Attack {
        bare: true,
        ..attack
    }
}

/// The same, which only namespaces stop.
pub(super) const fn full_only(attack: Attack) -> Attack {
    Attack {
        full_only: true,
        ..attack
    }
}

const FILES: &[Attack] = &[
    bare(bash("read a file", "cat $SECRET && echo ESCAPED")),
    bare(bash(
        "read by a link",
        "ln -s $SECRET l; cat l && echo ESCAPED",
    )),
    bare(bash("hard link", "ln $SECRET h && cat h && echo ESCAPED")),
    bare(bash("list a folder", "ls $PRIVATE && echo ESCAPED")),
    bash("proc root", "cat /proc/1/root$SECRET && echo ESCAPED"),
    bare(bash(
        "own proc root",
        "cat /proc/self/root$SECRET && echo ESCAPED",
    )),
    bare(bash("dots", "cat $WORK/../private/secret && echo ESCAPED")),
    bare(bash(
        "cwd of another",
        "cat /proc/$DAEMON/cwd/Cargo.toml && echo ESCAPED",
    )),
    bare(bash(
        "write to a read mount",
        "echo x >$GRANTED/new && rm $GRANTED/new && echo ESCAPED",
    )),
    bare(bash(
        "append to a read mount",
        "printf '' >>$GRANTED/file && echo ESCAPED",
    )),
    bare(bash(
        "move out of a read mount",
        "mv $GRANTED/file moved && mv moved $GRANTED/file && echo ESCAPED",
    )),
    bare(bash(
        "chmod a read mount",
        "chmod 600 $GRANTED/file
        [ $(stat -c %a $GRANTED/file) = 600 ] && chmod 666 $GRANTED/file && echo ESCAPED",
    )),
    bare(bash(
        "write to /usr",
        "touch /usr/nexflow-x && rm /usr/nexflow-x && echo ESCAPED",
    )),
    bare(bash(
        "write to /etc",
        "touch /etc/nexflow-x && rm /etc/nexflow-x && echo ESCAPED",
    )),
    bare(bash(
        "write to /",
        "touch /nexflow-x && rm /nexflow-x && echo ESCAPED",
    )),
    bare(bash(
        "shadow",
        "[ -s /etc/shadow ] && cat /etc/shadow >/dev/null && echo ESCAPED",
    )),
    bare(bash("shared memory file", "cat $SHM && echo ESCAPED")),
    bare(bash(
        "set-user-id",
        "cp /bin/true t; chmod u+s t; [ -u t ] && echo ESCAPED",
    )),
    bare(bash(
        "set-group-id folder",
        "mkdir -m 2755 d; [ -g d ] && echo ESCAPED",
    )),
    bare(python(
        "set-user-id at creation",
        "fd = os.open('c', os.O_CREAT | os.O_WRONLY, 0o4755)
if os.fstat(fd).st_mode & 0o4000: print('ESCAPED')",
    )),
    bare(bash("block device", "mknod b b 8 0 && echo ESCAPED")),
    bare(bash("character device", "mknod chr c 1 1 && echo ESCAPED")),
    bare(bash("kernel log", "dmesg >/dev/null && echo ESCAPED")),
    bash(
        "disk",
        "head -c 1 /dev/sda || head -c 1 /dev/vda && echo ESCAPED",
    ),
    bash(
        "memory",
        "head -c 1 /dev/mem || head -c 1 /proc/kcore && echo ESCAPED",
    ),
    bare(python(
        "truncate a read mount",
        "os.truncate(env['GRANTED'] + '/file', 7); print('ESCAPED')",
    )),
    bare(python(
        "times of a read mount",
        "os.utime(env['GRANTED'] + '/file', (1, 1))
if os.stat(env['GRANTED'] + '/file').st_mtime == 1: print('ESCAPED')",
    )),
    bare(python(
        "extended attribute",
        "os.setxattr(env['GRANTED'] + '/file', 'user.x', b'1')
os.removexattr(env['GRANTED'] + '/file', 'user.x'); print('ESCAPED')",
    )),
    bare(python(
        "read in python",
        "print('ESCAPED' if 'CANARY' in open(env['SECRET']).read() else '')",
    )),
    bare(node(
        "read in node",
        "if (fs.readFileSync(env.SECRET).includes('CANARY')) console.log('ESCAPED')",
    )),
    bare(node(
        "write in node",
        "fs.writeFileSync(env.PRIVATE + '/n', ''); fs.unlinkSync(env.PRIVATE + '/n'); console.log('ESCAPED')",
    )),
    bare(node(
        "read by a child of node",
        "if (require('child_process').execSync('cat $SECRET').includes('CANARY')) console.log('ESCAPED')",
    )),
    full_only(bare(bash(
        "see that a path exists",
        "[ -e $SECRET ] && echo ESCAPED",
    ))),
];

const PROCESSES: &[Attack] = &[
    bare(bash("signal the daemon", "kill -0 $DAEMON && echo ESCAPED")),
    bare(bash(
        "environment of the daemon",
        "cat /proc/$DAEMON/environ >/dev/null && echo ESCAPED",
    )),
    bare(bash(
        "memory of the daemon",
        "exec 9</proc/$DAEMON/mem && echo ESCAPED",
    )),
    bare(bash(
        "descriptors of the daemon",
        "ls /proc/$DAEMON/fd && echo ESCAPED",
    )),
    full_only(bare(bash(
        "see the daemon",
        "[ -d /proc/$DAEMON ] && echo ESCAPED",
    ))),
    bash(
        "descriptors of the first process",
        "ls /proc/1/fd/ | grep . && echo ESCAPED",
    ),
    bash(
        "memory of the first process",
        "exec 9</proc/1/mem && echo ESCAPED",
    ),
    bash(
        "kill everything",
        "trap '' TERM; kill -TERM -1; kill -9 1; kill -0 $DAEMON && echo ESCAPED",
    ),
    bare(python(
        "foreign descriptors",
        "
for fd in range(3, 1000):
    try: os.fstat(fd)
    except OSError: continue
    print('ESCAPED', fd)",
    )),
    bare(bash(
        "inherited environment",
        "env | grep -q ^CARGO && echo ESCAPED",
    )),
    bare(bash(
        "terminal",
        "[ -e /dev/ptmx ] && exec 9<>/dev/ptmx && echo ESCAPED",
    )),
    bare(python(
        "priority of the daemon",
        "os.setpriority(os.PRIO_PROCESS, int(env['DAEMON']), 0); print('ESCAPED')",
    )),
    bare(python(
        "limits of the daemon",
        "import resource
r = resource.prlimit(int(env['DAEMON']), resource.RLIMIT_CORE); print('ESCAPED')",
    )),
    bare(node(
        "signal in node",
        "process.kill(Number(env.DAEMON), 0); console.log('ESCAPED')",
    )),
    bash("run as root", "[ $(id -u) = 0 ] && echo ESCAPED"),
    bash(
        "become root",
        "su root -c id </dev/null && echo ESCAPED; sudo -n id && echo ESCAPED",
    ),
    bash(
        "capabilities",
        "grep -E '^Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | grep -qv 0000000000000000 && echo ESCAPED",
    ),
    bash(
        "new privileges",
        "grep -q 'NoNewPrivs:.0' /proc/self/status && echo ESCAPED",
    ),
];

/// What would be there for the next run, or for somebody else.
const PERSISTENCE: &[Attack] = &[
    bare(bash(
        "a job of cron",
        "touch /etc/cron.d/nexflow-x && rm /etc/cron.d/nexflow-x && echo ESCAPED",
    )),
    bare(bash(
        "a login script",
        "touch /etc/profile.d/nexflow-x.sh && rm /etc/profile.d/nexflow-x.sh && echo ESCAPED",
    )),
    bare(bash(
        "a library in front of all others",
        "[ ! -e /etc/ld.so.preload ] && touch /etc/ld.so.preload && rm /etc/ld.so.preload && echo ESCAPED",
    )),
    bare(bash(
        "the daemon's home",
        "touch /root/.nexflow-x && rm /root/.nexflow-x && echo ESCAPED",
    )),
    bare(python(
        "a module for every python",
        "
import sysconfig
path = sysconfig.get_paths()['stdlib'] + '/nexflow_x.py'
open(path, 'w').close(); os.remove(path); print('ESCAPED')",
    )),
    bare(bash(
        "a program in the path",
        "touch /usr/local/bin/nexflow-x && rm /usr/local/bin/nexflow-x && echo ESCAPED",
    )),
    bare(bash(
        "settings of git for all",
        "touch /etc/gitconfig.nexflow && rm /etc/gitconfig.nexflow && echo ESCAPED",
    )),
    bare(node(
        "a module for every node",
        "fs.mkdirSync('/usr/lib/node_modules/nexflow-x', { recursive: true });
        fs.rmdirSync('/usr/lib/node_modules/nexflow-x'); console.log('ESCAPED')",
    )),
    bash(
        "write the kernel's core handler",
        "echo '|/bin/x' >/proc/sys/kernel/core_pattern && echo ESCAPED",
    ),
];

fn all() -> Vec<Attack> {
    [
        FILES,
        PROCESSES,
        PERSISTENCE,
        sockets::SOCKETS,
        kernel::CALLS,
    ]
    .concat()
}

/// The attacks that a mode must stop.
pub(super) fn all_for(mode: Mode) -> Vec<Attack> {
    let here = |attack: &Attack| mode == Mode::Full || !attack.full_only;
    all().into_iter().filter(here).collect()
}

fn argv(attack: &Attack) -> Vec<String> {
    let script = attack.script;
    let (program, flag, script) = match attack.language {
        Language::Bash => ("/bin/bash", "-c", format!("{script}\necho tried")),
        Language::Python => (
            "/usr/bin/python3",
            "-c",
            format!(
                "{}\ntry:\n    {}\nexcept BaseException as e: print(repr(e))\nprint('tried')",
                kernel::PRELUDE,
                script.replace('\n', "\n    ")
            ),
        ),
        Language::Node => (
            "/usr/bin/node",
            "-e",
            format!(
                "const fs = require('fs'), env = process.env;
                (async () => {{ {script} }})().catch(e => console.log(String(e)))
                .finally(() => {{ console.log('tried'); setTimeout(() => process.exit(), 5) }})"
            ),
        ),
    };
    vec![program.into(), flag.into(), script]
}

/// Runs all attacks by one sandbox and returns what got through or did not run.
pub(super) async fn wave(sandbox: Sandbox, stage: Arc<Stage>, attacks: Vec<Attack>) -> Vec<String> {
    let few = Arc::new(Semaphore::new(4));
    let mut running = JoinSet::new();
    for attack in attacks {
        let (sandbox, stage, few) = (sandbox.clone(), stage.clone(), few.clone());
        running.spawn(async move {
            let _turn = few.acquire_owned().await.unwrap();
            let argv = argv(&attack);
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let ran = sandbox
                .run(stage.job(&argv), &CancellationToken::new())
                .await;
            let ran = match ran {
                Ok(ran) => ran,
                Err(error) => return Some(format!("{}: {error}", attack.name)),
            };
            let said = out(&ran);
            if ran.elapsed > std::time::Duration::from_secs(25) {
                return Some(format!("{}: took {:?}", attack.name, ran.elapsed));
            }
            let ended = said.contains("tried") || attack.name == "kill everything";
            let stopped = ended && !said.contains("ESCAPED");
            (!stopped).then(|| format!("{}: {:?}\n{said}{}", attack.name, ran.end, err(&ran)))
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_gets_through_in_full_mode() {
    let stage = Arc::new(Stage::new("full"));
    let sandbox = Sandbox::new(forced(Mode::Full));
    let report = sandbox.report().await;
    assert_eq!(report.mode, Mode::Full, "{report:#?}");
    let through = wave(sandbox, stage.clone(), all()).await;
    assert!(through.is_empty(), "{}", through.join("\n"));
    stage.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_gets_through_in_degraded_mode() {
    let stage = Arc::new(Stage::new("degraded"));
    let sandbox = Sandbox::new(forced(Mode::Degraded));
    let report = sandbox.report().await;
    assert_eq!(report.mode, Mode::Degraded, "{report:#?}");
    let through = wave(sandbox, stage.clone(), all_for(Mode::Degraded)).await;
    assert!(through.is_empty(), "{}", through.join("\n"));
    stage.assert_untouched();
}

/// The attacks are real: without the sandbox they succeed.
#[test]
fn without_the_sandbox_the_attacks_get_through() {
    if !super::is_root() {
        return;
    }
    let stage = Stage::new("bare");
    let mut failed = Vec::new();
    for attack in all().iter().filter(|a| a.bare) {
        let argv = argv(attack);
        let ran = Command::new(&argv[0])
            .args(&argv[1..])
            .envs(stage.env())
            .current_dir(stage.work())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        if !said.contains("ESCAPED") {
            let more = String::from_utf8_lossy(&ran.stderr);
            failed.push(format!("{}: {said}{more}", attack.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
