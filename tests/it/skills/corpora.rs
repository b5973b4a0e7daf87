//! Skills that were written for other agents.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use nexflow::skills::{Config, State, catalog::Catalog};

use super::PATH;

/// Every SKILL.md below a folder.
fn find(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            find(&entry.path(), found);
        } else if entry.file_name() == "SKILL.md" {
            found.push(dir.to_owned());
        }
    }
}

#[test]
fn the_skills_of_other_agents_load() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/corpora");
    let mut found = Vec::new();
    for name in ["openclaw", "hermes-agent", "nanobot-ai"] {
        let before = found.len();
        let dir = corpora.join(name);
        assert!(
            dir.is_dir(),
            "tests/tools/corpora/{name} is missing: run `make test`, it fetches them"
        );
        find(&dir, &mut found);
        assert!(
            found.len() > before,
            "no SKILL.md in tests/tools/corpora/{name}"
        );
    }
    let (mut usable, mut broken) = (0, Vec::new());
    let parents: BTreeSet<&Path> = found.iter().filter_map(|dir| dir.parent()).collect();
    for parent in parents {
        let config = Config {
            directory: parent.to_owned(),
            ..Config::default()
        };
        let catalog = Catalog::new(&config, PATH);
        catalog.load();
        let all = catalog.snapshot();
        for dir in found.iter().filter(|dir| dir.parent() == Some(parent)) {
            let real = dir.canonicalize().unwrap();
            let skill = all.iter().find(|s| s.dir == real);
            let skill = skill.unwrap_or_else(|| panic!("{} is not listed", dir.display()));
            if skill.state == State::Broken {
                assert!(!skill.reason.is_empty());
                broken.push(format!("{}: {}", dir.display(), skill.reason));
            } else {
                assert!(!skill.manifest.description.is_empty());
                usable += 1;
            }
        }
    }
    println!(
        "{usable} skills of other agents load; not so:\n{}",
        broken.join("\n")
    );
    assert!(
        broken.len() * 20 <= found.len(),
        "too many are broken:\n{}",
        broken.join("\n")
    );
}
