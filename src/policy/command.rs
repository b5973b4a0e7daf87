//! Shell commands, read conservatively: what is not plainly one program with plain words is not read.

/// Programs that run what they are told, or do what cannot be taken back: each use is its own question.
const EXACT: &[&str] = &[
    "awk",
    "gawk",
    "mawk",
    "bash",
    "sh",
    "dash",
    "zsh",
    "fish",
    "ksh",
    "busybox",
    "env",
    "eval",
    "exec",
    "source",
    ".",
    "command",
    "builtin",
    "find",
    "xargs",
    "parallel",
    "sudo",
    "su",
    "doas",
    "ssh",
    "scp",
    "rsync",
    "nohup",
    "nice",
    "time",
    "timeout",
    "watch",
    "setsid",
    "strace",
    "gdb",
    "python",
    "python2",
    "python3",
    "node",
    "nodejs",
    "deno",
    "bun",
    "perl",
    "ruby",
    "php",
    "lua",
    "tclsh",
    "java",
    "go",
    "cargo",
    "rustc",
    "gcc",
    "cc",
    "g++",
    "clang",
    "make",
    "cmake",
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "pip",
    "pip3",
    "pipx",
    "uv",
    "gem",
    "docker",
    "podman",
    "kubectl",
    "helm",
    "ansible",
    "terraform",
    "vim",
    "vi",
    "nano",
    "emacs",
    "ed",
    "sed",
    "less",
    "more",
    "man",
    "tar",
    "zip",
    "unzip",
    "rm",
    "rmdir",
    "mv",
    "cp",
    "ln",
    "dd",
    "tee",
    "install",
    "chmod",
    "chown",
    "chgrp",
    "kill",
    "pkill",
    "killall",
    "truncate",
    "shred",
    "mkfs",
    "mount",
    "umount",
    "trap",
    "alias",
    "export",
    "set",
    "unset",
    "cd",
    "curl",
    "wget",
    "nc",
    "ncat",
    "socat",
    "telnet",
    "ftp",
    "sqlite3",
    "psql",
    "mysql",
    "crontab",
    "at",
    "systemctl",
    "service",
    "apt",
    "apt-get",
    "dpkg",
    "yum",
    "dnf",
    "apk",
    "brew",
    "flock",
    "script",
    "stdbuf",
    "chroot",
    "unshare",
    "nsenter",
    "openssl",
    "gpg",
    "screen",
    "tmux",
    "test",
    "[",
];
/// Programs whose first word says what they do, and the words of theirs that run something else.
const WITH_ACTIONS: &[(&str, &[&str])] = &[(
    "git",
    &[
        "config",
        "submodule",
        "bisect",
        "rebase",
        "filter-branch",
        "difftool",
        "mergetool",
        "clean",
        "reset",
    ],
)];
/// Characters that make a shell do more than run one program with words.
const SPECIAL: &[char] = &[
    '$', '`', '\\', ';', '&', '|', '<', '>', '(', ')', '{', '}', '!', '#', '\n', '\r', '\0',
];

/// The words of a simple command: one program, no pipes, redirects, substitutions or assignments.
pub(super) fn parse(text: &str) -> Option<Vec<String>> {
    if text.contains(SPECIAL) {
        return None;
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.trim().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let program = words.first()?;
    (quote.is_none() && !program.is_empty() && !program.contains(['=', '*', '?', '[', '~']))
        .then_some(words)
}

/// The words that every command like this one begins with; none where only this very command is.
pub(super) fn beginning(text: &str) -> Option<Vec<String>> {
    let words = parse(text)?;
    let program = words.first()?;
    // A program of the workspace may be another one tomorrow.
    let version = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let family = program.trim_end_matches(version);
    let named = |known: &str| known == program || known == family;
    if program.contains('/') || EXACT.iter().any(|known| named(known)) {
        return None;
    }
    match WITH_ACTIONS.iter().find(|(known, _)| known == program) {
        None => Some(vec![program.clone()]),
        Some((_, runs)) => {
            let action = words.get(1)?;
            let plain = action.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            (plain && !action.starts_with('-') && !runs.contains(&action.as_str()))
                .then(|| vec![program.clone(), action.clone()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_commands_have_a_beginning() {
        let of = |text| beginning(text).map(|words| words.join(" "));
        for (text, wanted) in [
            ("git status --short", "git status"),
            ("  ls -la 'my folder'", "ls"),
            ("grep \"two words\" notes.txt", "grep"),
            ("wc -l *.md", "wc"),
        ] {
            assert_eq!(of(text).as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "",
            "git",
            "git -c alias.x=!sh x",
            "git config core.pager sh",
            "git status; rm -rf .",
            "git status && rm x",
            "git status\nrm x",
            "git status | sh",
            "git log > out",
            "git log $(id)",
            "git log `id`",
            "ls \"$HOME\"",
            "ls \\; rm",
            "python3 -c 'print(1)'",
            "python3.11 x.py",
            "bash x.sh",
            "env ls",
            "X=1 ls",
            "./build.sh",
            "/bin/ls",
            "rm x",
            "ls 'open",
            "! ls",
            "(ls)",
            "l* x",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
