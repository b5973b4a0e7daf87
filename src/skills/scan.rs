//! Finds skills in a directory. Whatever is wrong with one is written into it; the others are found
//! all the same.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Config, Skill, State, available, folder, manifest, needs,
    permission::{self, Permission},
    shipped,
};

/// Deepest folder in which a skill is looked for.
const DEEPEST: usize = 4;
/// Folders that are never looked into.
const SKIPPED: &[&str] = &["node_modules", "__pycache__", ".git", ".venv"];
/// Most folders that are looked into.
const MOST: usize = 20_000;

/// A folder that is a skill, or what stands in its place.
struct Place {
    dir: PathBuf,
    depth: usize,
    broken: Option<String>,
}

/// Every skill below the configured directory, in a fixed order.
pub(super) fn scan(config: &Config, path_env: &str) -> Result<Vec<Skill>, String> {
    let shown = config.directory.display();
    let root = config
        .directory
        .canonicalize()
        .map_err(|e| format!("cannot read {shown}: {e}"))?;
    let mut walk = Walk {
        root: root.clone(),
        left: MOST,
        places: Vec::new(),
    };
    walk.folder(&root, 0);
    let mut places = walk.places;
    // A skill at the top goes before one of the same name further down.
    places.sort_by(|a, b| (a.depth, &a.dir).cmp(&(b.depth, &b.dir)));
    let mut names = BTreeSet::new();
    let mut all: Vec<Skill> = Vec::with_capacity(places.len());
    for place in places {
        let mut skill = load(place, config, path_env);
        if !names.insert(skill.name.clone()) {
            let first = all
                .iter()
                .find(|s| s.name == skill.name)
                .map(|s| s.dir.display().to_string());
            let first = first.unwrap_or_default();
            skill.broken = Some(format!("there is another skill of this name in {first}"));
        }
        all.push(skill);
    }
    Ok(all)
}

struct Walk {
    root: PathBuf,
    left: usize,
    places: Vec<Place>,
}

impl Walk {
    fn folder(&mut self, dir: &Path, depth: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let is_skill = file_of(dir).is_some();
        if is_skill {
            self.places.push(Place {
                dir: dir.to_owned(),
                depth,
                broken: None,
            });
        }
        if depth == DEEPEST {
            return;
        }
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries.flatten() {
            let skipped = SKIPPED.iter().any(|s| entry.file_name() == *s);
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && !skipped => self.folder(&entry.path(), depth + 1),
                // Links in a skill are a matter of its own content.
                Ok(kind) if kind.is_symlink() && !is_skill => self.link(&entry.path(), depth + 1),
                _ => {}
            }
        }
    }

    /// A link is followed if it stays in the directory and does not lead back up.
    fn link(&mut self, link: &Path, depth: usize) {
        let real = match link.canonicalize() {
            Ok(real) if real.is_dir() => real,
            Ok(_) => return,
            Err(error) => {
                return self.broken(link, depth, format!("the link leads nowhere: {error}"));
            }
        };
        if !real.starts_with(&self.root) {
            let text = format!(
                "the link leaves the skills directory, to {}; copy the folder instead",
                real.display()
            );
            self.broken(link, depth, text);
        } else if link.starts_with(&real) {
            self.broken(
                link,
                depth,
                format!("the link leads back to {}", real.display()),
            );
        } else {
            self.folder(&real, depth);
        }
    }

    fn broken(&mut self, dir: &Path, depth: usize, why: String) {
        self.places.push(Place {
            dir: dir.to_owned(),
            depth,
            broken: Some(why),
        });
    }
}

/// The file that makes a folder a skill.
fn file_of(dir: &Path) -> Option<PathBuf> {
    let names = ["SKILL.md", "skill.md", "Skill.md"];
    names
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
}

fn load(place: Place, config: &Config, path_env: &str) -> Skill {
    let folder_name = place
        .dir
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut skill = empty(name("", &folder_name), place.dir);
    skill.broken = place.broken;
    if skill.broken.is_none() {
        skill.broken = fill(&mut skill, &folder_name, config, path_env).err();
    }
    skill
}

fn empty(name: String, dir: PathBuf) -> Skill {
    Skill {
        name,
        dir,
        manifest: manifest::Manifest::default(),
        state: State::Broken,
        reason: String::new(),
        body: String::new(),
        warnings: Vec::new(),
        shipped: false,
        differs: false,
        hash: String::new(),
        granted: Vec::new(),
        configured: Vec::new(),
        runtime: None,
        interpreter: None,
        binaries: Vec::new(),
        needs: Vec::new(),
        files: Vec::new(),
        missing: None,
        broken: None,
        validator: None,
        output_validator: None,
    }
}

fn fill(
    skill: &mut Skill,
    folder_name: &str,
    config: &Config,
    path_env: &str,
) -> Result<(), String> {
    let content = folder::read(&skill.dir)?;
    skill.shipped = shipped::is_shipped(&content.hash);
    skill.differs = !skill.shipped && shipped::has(folder_name);
    skill.hash = content.hash;
    skill.files = content.files;
    let file = file_of(&skill.dir).ok_or("its SKILL.md is gone")?;
    skill.files.retain(|f| !file.ends_with(f));
    let bytes = read(&file)?;
    let document = manifest::parse(&bytes, folder_name).map_err(|fault| fault.to_string())?;
    skill.warnings = document.warnings;
    skill.body = document.body;
    skill.name = name(&document.manifest.name, folder_name);
    if !document.manifest.name.is_empty() && skill.name != document.manifest.name {
        let text = format!(
            "the name `{}` cannot be used: letters, digits, - and _, at most 64",
            document.manifest.name
        );
        skill.warnings.push(text);
    }
    skill.manifest = document.manifest;
    let found = available::look(&skill.manifest, &skill.dir, config, path_env)?;
    skill.needs = needs::needs(&skill.manifest, config, path_env);
    skill.runtime = found.runtime;
    skill.interpreter = found.interpreter;
    skill.binaries = found.binaries;
    skill.missing = found.missing;
    skill.configured = configured(skill, config)?;
    let (input, output) = (&skill.manifest.input_schema, &skill.manifest.output_schema);
    skill.validator = validator(input.as_ref(), "input_schema")?;
    skill.output_validator = validator(output.as_ref(), "output_schema")?;
    Ok(())
}

fn validator(
    schema: Option<&serde_json::Value>,
    key: &str,
) -> Result<Option<Arc<jsonschema::Validator>>, String> {
    let made = schema.map(jsonschema::validator_for).transpose();
    Ok(made.map_err(|e| format!("{key}: {e}"))?.map(Arc::new))
}

/// What `skills.grants` adds; together with what it asks for it must make sense.
fn configured(skill: &Skill, config: &Config) -> Result<Vec<Permission>, String> {
    let Some(more) = config.grants.get(&skill.name) else {
        return Ok(Vec::new());
    };
    let asked = &skill.manifest.permissions;
    let mut all: Vec<String> = asked.iter().map(Permission::to_string).collect();
    let more = more.iter().filter(|m| !asked.contains(m));
    all.extend(more.map(Permission::to_string));
    let all = permission::parse_all(&all);
    let all = all.map_err(|e| format!("skills.grants.{}: {e}", skill.name))?;
    Ok(all.into_iter().skip(asked.len()).collect())
}

/// At most a little more than is allowed: the parser says that it is too much.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let most = manifest::LONGEST as u64 + 1;
    let open = fs::File::open(file).and_then(|f| f.take(most).read_to_end(&mut bytes));
    open.map_err(|e| format!("SKILL.md: {e}"))?;
    Ok(bytes)
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

/// The manifest's name, else the folder's, else something that can be shown.
fn name(wanted: &str, folder: &str) -> String {
    if is_name(wanted) {
        return wanted.to_owned();
    }
    if is_name(folder) {
        return folder.to_owned();
    }
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let text: String = folder.chars().map(allowed).take(64).collect();
    if text.is_empty() {
        "unnamed".to_owned()
    } else {
        text
    }
}
