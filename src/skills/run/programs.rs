//! Which of the system's programs a skill may start. With `shell` all of them; without, its
//! interpreter and what it requires, and for a bash skill the usual text and file tools, which are
//! to bash what a standard library is to Python.

use std::path::{Path, PathBuf};

use crate::skills::{Skill, manifest::Runtime, permission::Grant};

/// Where the system's programs are.
pub(super) const FOLDERS: &[&str] = &[
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
];

/// Tools of POSIX and GNU for text and files, and `jq`. Nothing that reaches a network, another
/// language or another process.
const TOOLS: &[&str] = &[
    "[",
    "awk",
    "base32",
    "base64",
    "basename",
    "bash",
    "bc",
    "bunzip2",
    "bzip2",
    "cat",
    "chmod",
    "cksum",
    "cmp",
    "column",
    "comm",
    "cp",
    "csplit",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expand",
    "expr",
    "factor",
    "false",
    "fgrep",
    "file",
    "find",
    "fmt",
    "fold",
    "free",
    "getconf",
    "getopt",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hexdump",
    "hostname",
    "iconv",
    "id",
    "install",
    "join",
    "jq",
    "link",
    "ln",
    "locale",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "nice",
    "nl",
    "nohup",
    "nproc",
    "numfmt",
    "od",
    "paste",
    "patch",
    "pathchk",
    "pr",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rev",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shuf",
    "sleep",
    "sort",
    "split",
    "stat",
    "stdbuf",
    "sum",
    "sync",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "touch",
    "tput",
    "tr",
    "true",
    "truncate",
    "tsort",
    "tty",
    "uname",
    "unexpand",
    "uniq",
    "unlink",
    "unxz",
    "unzip",
    "uptime",
    "uuidgen",
    "wc",
    "which",
    "whoami",
    "xargs",
    "xxd",
    "xz",
    "yes",
    "zcat",
    "zip",
];

/// `None` where the skill may start every program of the system.
pub(super) fn allowed(skill: &Skill, interpreter: &Path) -> Option<Vec<PathBuf>> {
    if skill.granted.iter().any(|p| *p.grant() == Grant::Shell) {
        return None;
    }
    let tools = if skill.runtime == Some(Runtime::Bash) {
        TOOLS
    } else {
        &[]
    };
    let required = skill.manifest.requirements.binaries.iter();
    let named = tools
        .iter()
        .copied()
        .chain(required.map(String::as_str))
        .filter_map(find);
    let granted = skill.granted.iter().filter_map(|p| match p.grant() {
        Grant::Exec(path) => path.canonicalize().ok(),
        _ => None,
    });
    let mut all: Vec<PathBuf> = named
        .chain(granted)
        .chain([interpreter.to_owned()])
        .collect();
    all.sort();
    all.dedup();
    Some(all)
}

/// A program of the system by its name or path, without links.
fn find(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Path::new(name).canonicalize().ok();
    }
    let plain = !name.contains('/');
    let mut places = FOLDERS.iter().filter(|_| plain);
    places.find_map(|dir| Path::new(dir).join(name).canonicalize().ok())
}
