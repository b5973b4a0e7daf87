//! Whether what a skill needs is there: its interpreter, programs, files and variables.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    Config,
    manifest::{self, Manifest, Runtime},
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) runtime: Option<Runtime>,
    pub(super) interpreter: Option<PathBuf>,
    /// Required programs outside the system's folders.
    pub(super) binaries: Vec<PathBuf>,
    /// The first thing that is missing.
    pub(super) missing: Option<String>,
}

/// Looks for everything that a skill in `dir` needs; `Err` if it could never work.
pub(super) fn look(
    manifest: &Manifest,
    dir: &Path,
    config: &Config,
    path_env: &str,
) -> Result<Found, String> {
    let mut found = Found::default();
    let mut missing = Vec::new();
    if let Some(location) = &manifest.location {
        let program = program(dir, location)?;
        let exists = program.is_file();
        if !exists {
            missing.push(format!("the file {location} is not there"));
        }
        if exists && !readable(dir, &program) {
            let dir = dir.display();
            missing.push(format!(
                "other users cannot read it; `chmod -R a+rX {dir}` lets them"
            ));
        }
        found.runtime = manifest.runtime.or_else(|| shebang(&program));
        match found.runtime {
            Some(runtime) => interpreter(runtime, path_env, &mut found, &mut missing),
            None if exists => {
                return Err(format!(
                    "what interprets {location}? say `runtime: bash`, `python` or `node`"
                ));
            }
            None => {}
        }
    }
    let wants = &manifest.requirements;
    for name in &wants.binaries {
        match which(name, path_env) {
            None => missing.push(format!("the program `{name}` is not installed")),
            Some(path) if !in_system(&path) => found.binaries.push(path),
            Some(_) => {}
        }
    }
    for file in &wants.files {
        if !program(dir, file)?.exists() {
            missing.push(format!("the file {file} is not there"));
        }
    }
    for name in &wants.env {
        if !config.env.contains_key(name) && !config.secrets.contains_key(name) {
            missing.push(format!(
                "`{name}` is set neither in skills.env nor in skills.secrets"
            ));
        }
    }
    found.missing = missing.into_iter().next();
    Ok(found)
}

/// What interprets a script of a skill's folder: which runtime, and its program.
pub(super) fn script(dir: &Path, rel: &str, path_env: &str) -> Result<(Runtime, PathBuf), String> {
    let path = program(dir, rel)?;
    if !path.is_file() {
        return Err(format!("there is no file `{rel}` in its folder"));
    }
    if !readable(dir, &path) {
        let dir = dir.display();
        return Err(format!(
            "other users cannot read `{rel}`; `chmod -R a+rX {dir}` lets them"
        ));
    }
    let runtime = manifest::by_extension(rel).or_else(|| shebang(&path));
    let runtime = runtime.ok_or_else(|| {
        format!(
            "`{rel}` is no script for Bash, Python or Node, by its extension and its first line"
        )
    })?;
    let found = runtime
        .programs()
        .iter()
        .find_map(|name| which(name, path_env));
    let found = found.ok_or_else(|| format!("{} is not installed", runtime.as_str()))?;
    Ok((runtime, found))
}

fn interpreter(runtime: Runtime, path_env: &str, found: &mut Found, missing: &mut Vec<String>) {
    found.interpreter = installed(runtime, path_env);
    if found.interpreter.is_none() {
        missing.push(format!("{} is not installed", runtime.as_str()));
    }
}

/// The program of a runtime.
pub(super) fn installed(runtime: Runtime, path_env: &str) -> Option<PathBuf> {
    let mut names = runtime.programs().iter();
    names.find_map(|name| which(name, path_env))
}

/// A path of a manifest inside the skill's folder.
pub(super) fn program(dir: &Path, rel: &str) -> Result<PathBuf, String> {
    let plain = rel.trim_start_matches("./");
    let up = plain.split('/').any(|part| part == "..");
    if plain.is_empty() || plain.starts_with('/') || up {
        return Err(format!("`{rel}` is not a path inside the skill's folder"));
    }
    Ok(dir.join(plain))
}

/// A program by its name. Version managers' shims come last: they need what a sandbox has not.
pub(super) fn which(name: &str, path_env: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|p| p.is_absolute() && runs(p));
    }
    let all = std::env::split_paths(path_env)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name));
    let (shims, real): (Vec<_>, Vec<_>) = all
        .filter(runs)
        .partition(|p| p.components().any(|c| c.as_os_str() == "shims"));
    let first = real.into_iter().chain(shims).next()?;
    first.canonicalize().ok()
}

/// Where the daemon is root, programs run as somebody else, who must be able to read them.
fn readable(dir: &Path, program: &Path) -> bool {
    let has = |path: &Path, bits| {
        path.metadata()
            .is_ok_and(|m| m.permissions().mode() & bits == bits)
    };
    !nix::unistd::geteuid().is_root() || (has(dir, 0o005) && has(program, 0o004))
}

fn in_system(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/nix"]
        .iter()
        .any(|root| path.starts_with(root))
}

fn shebang(program: &Path) -> Option<Runtime> {
    let mut start = Vec::new();
    File::open(program)
        .ok()?
        .take(200)
        .read_to_end(&mut start)
        .ok()?;
    let text = String::from_utf8_lossy(&start);
    let line = text.strip_prefix("#!")?.lines().next()?.to_owned();
    if line.contains("python") {
        Some(Runtime::Python)
    } else if line.contains("node") {
        Some(Runtime::Node)
    } else if line.contains("bash") || line.trim_end().ends_with("sh") {
        Some(Runtime::Bash)
    } else {
        None
    }
}
