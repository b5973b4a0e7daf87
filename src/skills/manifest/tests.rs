//! Files as they are in the wild.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SHELL_RUN: &str = r#"---
name: shell-run
description: Safely run shell commands on the local machine
emoji: 🐚
version: 1.0.0
author: nexflow
location: ./run.sh
tags: [system, shell, cli]
category: system
permissions: [shell, filesystem]
env_required: false
metadata: {"timeoutSec": 30, "maxOutputKb": 64}
requirements:
  binaries: [bash]
  files: [./run.sh]
  env: []
---

# Shell Run Skill

## Purpose
This skill lets you safely execute simple shell commands.

## Input schema
- command (string, required): Shell command
- cwd (string, optional): Working directory

## Output schema
- exit_code (integer): Process exit code
- stdout (string): Standard output
- stderr (string): Standard error
"#;

fn read(text: &str) -> Document {
    parse(text.as_bytes(), "folder").unwrap()
}

#[test]
fn the_example_of_the_plan_loads_exactly() {
    let Document {
        manifest, warnings, ..
    } = parse(SHELL_RUN.as_bytes(), "shell-run").unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(manifest.name, "shell-run");
    assert_eq!(manifest.emoji.as_deref(), Some("🐚"));
    assert_eq!(manifest.version.as_deref(), Some("1.0.0"));
    assert_eq!(manifest.location.as_deref(), Some("./run.sh"));
    assert_eq!(manifest.runtime, Some(Runtime::Bash));
    assert_eq!(manifest.tags, ["system", "shell", "cli"]);
    let permissions: Vec<&str> = manifest
        .permissions
        .iter()
        .map(Permission::as_str)
        .collect();
    assert_eq!(permissions, ["shell", "filesystem"]);
    assert_eq!(manifest.wanted.timeout, Some(Duration::from_secs(30)));
    assert_eq!(manifest.wanted.output_kb, Some(64));
    assert_eq!(manifest.requirements.binaries, ["bash"]);
    assert_eq!(manifest.requirements.files, ["./run.sh"]);
    assert!(manifest.other.is_empty(), "{:?}", manifest.other);
}

#[test]
fn the_lists_of_the_example_are_schemas() {
    let Document { manifest, body, .. } = parse(SHELL_RUN.as_bytes(), "shell-run").unwrap();
    assert!(body.starts_with("# Shell Run Skill"));
    assert_eq!(
        manifest.input_schema,
        Some(json!({
            "type": "object",
            "properties": {
                "command": { "type": "string", "description": "Shell command" },
                "cwd": { "type": "string", "description": "Working directory" },
            },
            "required": ["command"],
        }))
    );
    let output = manifest.output_schema.unwrap();
    assert_eq!(output["properties"]["exit_code"]["type"], "integer");
    assert_eq!(output.get("required"), None);
}

#[test]
fn values_of_any_type_are_read() {
    let doc = read(
        "---\nname: a\ndescription: [one, two]\nversion: 1.0\ntags: x, y\nallowed-tools: Bash(git:*) Read\n\
         metadata: '{\"timeoutSec\": 5}'\nmy-own: {deep: [1, 2]}\nidempotent: \"true\"\nrequirements: git\n---\nText",
    );
    let m = doc.manifest;
    assert_eq!(m.version.as_deref(), Some("1.0"));
    assert_eq!(m.description, "one, two");
    assert_eq!(m.tags, ["x", "y"]);
    assert_eq!(m.wanted.timeout, Some(Duration::from_secs(5)));
    assert!(m.idempotent);
    assert_eq!(m.other["my-own"], json!({ "deep": [1, 2] }));
    assert_eq!(m.other["allowed-tools"], json!("Bash(git:*) Read"));
    assert_eq!(m.other["requirements"], json!("git"));
    let listed =
        read("---\nname: a\ndescription: b\nallowed-tools:\n  - Bash\nmetadata: [a]\n---\n");
    assert_eq!(listed.manifest.other["allowed-tools"], json!(["Bash"]));
    assert_eq!(listed.manifest.metadata, json!(["a"]));
}

#[test]
fn broken_yaml_is_read_key_by_key() {
    let doc = read(
        "---\nname: odd\ndescription: **Bold** first: then more\n  and a second line\ntags:\n\t- one\n\t- two\n\
         metadata:\n  note: a: b\n  other: `tick`\nversion: 2\n---\n# Body\n",
    );
    let m = &doc.manifest;
    assert_eq!(m.name, "odd");
    assert_eq!(m.description, "**Bold** first: then more and a second line");
    assert_eq!(m.tags, ["one", "two"]);
    assert_eq!(m.metadata, json!({ "note": "a: b", "other": "`tick`" }));
    assert_eq!(m.version.as_deref(), Some("2"));
    assert!(
        doc.warnings.iter().any(|w| w.contains("SKILL.md:3:")),
        "{:?}",
        doc.warnings
    );
}

#[test]
fn a_broken_file_never_grants_more() {
    let twice = "---\nname: a\ndescription: x: y\npermissions: []\npermissions: [shell]\n---\nb";
    assert!(
        parse(twice.as_bytes(), "a")
            .unwrap_err()
            .text
            .contains("twice")
    );
    let bad = "---\nname: a\ndescription: x: y\npermissions: [shell\n---\nb";
    assert_eq!(parse(bad.as_bytes(), "a").unwrap_err().line, 4);
    let unknown = "---\nname: a\ndescription: b\npermissions:\n  - root\n---\n";
    let fault = parse(unknown.as_bytes(), "a").unwrap_err();
    assert_eq!((fault.line, fault.column), (4, 1));
    assert!(fault.text.contains("`root`"), "{fault}");
    let text = "---\nname: a\ndescription: b\npermissions: shell\n---\n";
    assert!(parse(text.as_bytes(), "a").is_err());
}

#[test]
fn bytes_of_every_kind_are_text() {
    let doc = parse(
        b"\xef\xbb\xbf---\r\nname: a\r\ndescription: b\0c \xff\r\n---\r\nOne\r\nTwo",
        "a",
    )
    .unwrap();
    assert_eq!(doc.manifest.description, "bc \u{fffd}");
    assert_eq!(doc.body, "One\nTwo");
    assert_eq!(doc.warnings.len(), 2, "{:?}", doc.warnings);
}

#[test]
fn a_missing_or_open_head_is_no_reason_to_refuse() {
    let none = read("# Title\n\nWhat it *does*, briefly.\n\nMore.");
    assert_eq!(none.manifest.description, "What it does, briefly.");
    assert!(none.warnings.iter().any(|w| w.contains("no frontmatter")));
    let open = read("---\nname: a\ndescription: b\n\n# Title\nText");
    assert_eq!(open.manifest.description, "b");
    assert!(open.body.contains("# Title"), "{:?}", open.body);
    assert!(open.warnings.iter().any(|w| w.contains("not closed")));
    assert!(parse(b"", "a").is_err());
    assert!(parse(b"---\nname: a\n---\n", "a").is_err());
}

#[test]
fn what_is_too_large_says_so() {
    let mut text = b"---\nname: a\ndescription: b\n---\n".to_vec();
    text.resize(LONGEST, b'x');
    assert!(parse(&text, "a").is_ok());
    text.push(b'x');
    assert!(parse(&text, "a").unwrap_err().text.contains("1048577"));
    let long = format!(
        "---\nname: folder\ndescription: {}\n---\n",
        "word ".repeat(400)
    );
    let doc = read(&long);
    assert_eq!(doc.manifest.description.len(), 1999);
    assert_eq!(doc.warnings.len(), 1);
}

#[test]
fn a_hostile_file_takes_no_time() {
    let began = std::time::Instant::now();
    for unit in [
        "[", "{", "- ", "&a ", "*", "> ", "#", "a: ", "`", "![", "(", "\t", "? ", "!",
    ] {
        let many = unit.repeat(LONGEST / unit.len() / 16);
        drop(parse(
            format!("---\nname: a\nx: {many}\n---\nb").as_bytes(),
            "a",
        ));
        drop(parse(format!("---\n{many}\n---\nb").as_bytes(), "a"));
        drop(parse(
            format!("---\nname: a\ndescription: b\n---\n{many}").as_bytes(),
            "a",
        ));
    }
    let bomb = "---\nname: a\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n\
                c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n---\nb";
    drop(parse(bomb.as_bytes(), "a"));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn a_location_of_others_is_not_a_program() {
    let doc = read("---\nname: a\ndescription: b\nlocation: managed\nruntime: claude\n---\n");
    assert_eq!(doc.manifest.location, None);
    assert_eq!(doc.manifest.other["location"], "managed");
    assert_eq!(doc.manifest.other["runtime"], "claude");
    assert!(
        parse(
            b"---\nname: a\ndescription: b\nlocation: ./a\nruntime: perl\n---\n",
            "a"
        )
        .is_err()
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(parse(&bytes, "x"));
    }

    #[test]
    fn no_head_panics(head in "[a-z:*|>\\-\\[\\]{}\"'#&!%@` \t\n\r\u{e9}0-9]{0,200}", body in ".{0,60}") {
        drop(parse(format!("---\n{head}\n---\n{body}").as_bytes(), "x"));
        drop(parse(format!("---\n{head}\n{body}").as_bytes(), "x"));
    }
}
