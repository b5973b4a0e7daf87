//! What the compiler cannot check: the order of modules, the size of files, where things belong.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Files that may be longer than the limit, and why.
const LONG: &[(&str, &str)] = &[("context/wire.rs", "a property test alone")];
/// Lines of a file, tests left out.
const LIMIT: usize = 400;

/// Modules that must not know each other although the order would allow it.
const STRANGERS: &[(&str, &[&str])] = &[
    ("providers", &["connectors", "sandbox", "store"]),
    ("connectors", &["sandbox", "providers"]),
    ("tools", &["connectors", "providers"]),
    ("bus", &["net"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every source file below a folder.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text without its test module.
fn production(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// The top module that a file belongs to.
fn module_of(path: &Path) -> String {
    let inner = path.strip_prefix(root().join("src")).unwrap();
    let first = inner.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Top modules that a text imports, also from grouped imports.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let code: String = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 1 && (c.is_alphanumeric() || c == '_') {
                    name.push(c);
                } else if depth <= 1 || c == '{' {
                    if !name.is_empty() {
                        found.insert(std::mem::take(&mut name));
                    }
                    if depth == 0 {
                        break;
                    }
                }
                // Within a path only its first part counts.
                if c == ':' {
                    name.clear();
                }
            }
        } else {
            found.insert(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    found
}

fn order() -> Vec<String> {
    let lib = read(&root().join("src/lib.rs"));
    lib.lines()
        .filter_map(|l| {
            l.strip_prefix("pub mod ")?
                .strip_suffix(';')
                .map(str::to_owned)
        })
        .collect()
}

#[test]
fn imports_point_up() {
    let order = order();
    let rank: BTreeMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(n, m)| (m.as_str(), n))
        .collect();
    assert!(rank.len() > 10);
    let mut wrong = Vec::new();
    for path in sources("src") {
        let module = module_of(&path);
        let Some(own) = rank.get(module.as_str()) else {
            continue;
        };
        let text = read(&path);
        for import in imports(production(&text)) {
            let Some(other) = rank.get(import.as_str()) else {
                continue;
            };
            let strange = STRANGERS
                .iter()
                .any(|(m, no)| *m == module && no.contains(&import.as_str()));
            // A family that stores through `store::inbox` and the like knows the store, not its SQL.
            if other > own || (strange && !(module == "connectors" && import == "store")) {
                wrong.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_import_check_sees_what_it_should() {
    let text = "use crate::{store::{inbox, Result}, app, types::{Clock}};\nuse crate::api::x;\n// crate::bench\n";
    let found = imports(text);
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    for wanted in ["store", "app", "types", "api"] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    assert!(!names.contains(&"bench"));
}

#[test]
fn files_fit_in_the_head() {
    let long: Vec<String> = sources("src")
        .into_iter()
        .filter(|p| !LONG.iter().any(|(name, _)| p.ends_with(name)))
        .filter(|p| !p.ends_with("tests.rs"))
        .map(|p| (production(&read(&p)).lines().count(), p))
        .filter(|(lines, _)| *lines > LIMIT)
        .map(|(lines, p)| format!("{}: {lines} lines", p.display()))
        .collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<PathBuf> = sources("src")
        .into_iter()
        .filter(|p| !p.ends_with("tests.rs") && !read(p).starts_with("//!"))
        .filter(|p| !p.to_string_lossy().contains("/tests/"))
        .collect();
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn sql_stands_in_the_store_alone_and_unsafe_in_the_sandbox_alone() {
    let mut wrong = Vec::new();
    for path in sources("src") {
        let (module, text) = (module_of(&path), read(&path));
        let text = production(&text);
        let sql = [
            "SELECT ",
            "INSERT INTO",
            "UPDATE ",
            "DELETE FROM",
            "PRAGMA ",
        ];
        let quoted = |word: &str| {
            text.lines()
                .any(|l| !l.trim_start().starts_with("//") && l.contains(&format!("\"{word}")))
        };
        if module != "store"
            && sql.iter().any(|word| quoted(word))
            && !path.ends_with("api/health.rs")
        {
            wrong.push(format!("{}: SQL", path.display()));
        }
        if module != "sandbox" && text.contains("unsafe {") {
            wrong.push(format!("{}: unsafe", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_connector_and_provider_is_registered() {
    for (family, ignore) in [
        ("connectors", &["fuzzing", "registry", "skew"][..]),
        ("tools", &["ability", "skill"][..]),
    ] {
        let text = read(&root().join(format!("src/{family}.rs")));
        let table = text
            .split("pub const KINDS")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap();
        for path in std::fs::read_dir(root().join("src").join(family))
            .unwrap()
            .flatten()
        {
            let name = path.file_name().into_string().unwrap();
            let Some(name) = name.strip_suffix(".rs") else {
                continue;
            };
            let known = table.contains(&format!("{name}::")) || ignore.contains(&name);
            assert!(known, "src/{family}/{name}.rs is not in {family}::KINDS");
        }
    }
}

#[test]
fn every_test_file_is_declared() {
    let main = read(&root().join("tests/it/main.rs"));
    for entry in std::fs::read_dir(root().join("tests/it"))
        .unwrap()
        .flatten()
    {
        let name = entry.file_name().into_string().unwrap();
        if let Some(name) = name.strip_suffix(".rs").filter(|n| *n != "main") {
            assert!(
                main.contains(&format!("mod {name};")),
                "tests/it/{name}.rs is not run"
            );
        }
    }
}

#[test]
fn nothing_is_left_to_do_without_saying_where() {
    for path in sources("src").into_iter().chain(sources("tests")) {
        if path.ends_with("tidy.rs") {
            continue;
        }
        for (n, line) in read(&path).lines().enumerate() {
            let marker = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("]
                .iter()
                .find(|m| line.contains(**m));
            assert!(marker.is_none(), "{}:{}: {line}", path.display(), n + 1);
        }
    }
}
