//! `nexflow skill new`: a skill that works, to begin from.

use std::{
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::cli::{Setup, out::line, trouble::Trouble};

/// What to make.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Its name: small letters, digits and hyphens
    name: String,
    /// What its script is written in
    #[arg(long, default_value = "bash")]
    runtime: Runtime,
    /// In this folder instead of `skills.directory`
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Runtime {
    /// A shell script
    Bash,
    /// A Python script
    Python,
    /// A script for Node.js
    Node,
}

impl Runtime {
    fn word(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    fn script(self) -> (&'static str, &'static str) {
        match self {
            Self::Bash => ("run.sh", include_str!("new/run.sh")),
            Self::Python => ("run.py", include_str!("new/run.py")),
            Self::Node => ("run.mjs", include_str!("new/run.mjs")),
        }
    }
}

/// Makes it.
pub(super) fn run(setup: &Setup, args: &Args) -> Result<()> {
    check(&args.name)?;
    let parent = match &args.directory {
        Some(folder) => folder.clone(),
        None => setup.load()?.config.skills.directory,
    };
    let folder = parent.join(&args.name);
    write(&folder, &args.name, args.runtime)?;
    let shown = folder.display();
    line(&format!("Made {shown}."))?;
    line(&format!("  nexflow skill validate {shown}"))?;
    line(&format!("  nexflow skill trust {}", args.name))?;
    line(&format!("  nexflow skill run {} text=hello", args.name))?;
    line(&format!("  nexflow skill test {shown}"))
}

fn check(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let hyphens = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    if name.is_empty() || name.len() > 64 || hyphens || !name.chars().all(fine) {
        let hint = "use up to 64 small letters, digits and single hyphens, for example word-count";
        let what = format!("`{name}` cannot be the name of a skill");
        return Err(Trouble::usage(what).hint(hint).into());
    }
    Ok(())
}

fn write(folder: &Path, name: &str, runtime: Runtime) -> Result<()> {
    let failed = || format!("cannot make {}", folder.display());
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let what = format!("{} exists already; nothing was changed", folder.display());
            return Err(Trouble::new(what).hint("choose another name").into());
        }
        made => made.with_context(failed)?,
    }
    let (file, script) = runtime.script();
    let manifest = include_str!("new/SKILL.md")
        .replace("NAME", name)
        .replace("SCRIPT", file)
        .replace("RUNTIME", runtime.word());
    std::fs::write(folder.join("SKILL.md"), manifest).with_context(failed)?;
    let path = folder.join(file);
    std::fs::write(&path, script).with_context(failed)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).with_context(failed)?;
    std::fs::create_dir(folder.join("tests")).with_context(failed)?;
    let case = include_str!("new/basic.json");
    std::fs::write(folder.join("tests/basic.json"), case).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::skill::{test, validate};

    #[test]
    fn a_new_skill_is_whole_and_never_overwrites() {
        let parent = tempfile::tempdir().unwrap();
        for runtime in [Runtime::Bash, Runtime::Python, Runtime::Node] {
            let folder = parent.path().join(runtime.word());
            write(&folder, runtime.word(), runtime).unwrap();
            let text = std::fs::read_to_string(folder.join("SKILL.md")).unwrap();
            assert!(
                text.starts_with(&format!("---\nname: {}\n", runtime.word())),
                "{text}"
            );
            assert!(
                text.contains(&format!("location: ./{}\n", runtime.script().0)),
                "{text}"
            );
            let config = crate::skills::Config::default();
            let found = validate::review(&folder, (&config, "/usr/bin:/bin")).unwrap();
            assert!(found.iter().all(|r| r.mistakes.is_empty()), "{found:?}");
            assert!(test::cases(&folder).unwrap().len() == 2);
            assert!(
                write(&folder, "again", runtime)
                    .unwrap_err()
                    .is::<Trouble>()
            );
        }
    }

    #[test]
    fn names_that_would_not_load_are_refused() {
        for name in [
            "",
            "Big",
            "a--b",
            "-a",
            "a-",
            "../x",
            "a/b",
            "a_b",
            &"x".repeat(65),
        ] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check("word-count-2").is_ok());
    }
}
