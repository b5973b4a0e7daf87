//! What may be used, in every state.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use super::*;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn catalog(dir: &Path) -> Catalog {
    let config = Config {
        directory: dir.join("skills"),
        ..Config::default()
    };
    Catalog::new(&config, PATH)
}

fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join("skills").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn skill(dir: &Path, name: &str, keys: &str) {
    let text = format!("---\nname: {name}\ndescription: Does {name}.\n{keys}---\nText\n");
    write(dir, &format!("{name}/SKILL.md"), &text);
}

fn states(catalog: &Catalog) -> Vec<(String, State)> {
    catalog
        .snapshot()
        .iter()
        .map(|s| (s.name.clone(), s.state))
        .collect()
}

fn decide(catalog: &Catalog, name: &str, what: (Option<bool>, Option<bool>)) {
    let record = catalog.decide(name, what, ("me", Timestamp(7))).unwrap();
    catalog.set_records(vec![record]);
}

#[test]
fn shipped_skills_are_unpacked_and_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path());
    catalog.load();
    let all = catalog.snapshot();
    assert!(!all.is_empty());
    for skill in all.iter() {
        let known = matches!(skill.state, State::Trusted | State::Unavailable);
        assert!(
            skill.shipped && known,
            "{}: {:?} {}",
            skill.name,
            skill.state,
            skill.reason
        );
        assert_eq!(skill.granted, skill.manifest.permissions);
        assert_eq!(skill.warnings, Vec::<String>::new(), "{}", skill.name);
    }
    let first = &all[0];
    assert!(
        catalog
            .decide(&first.name, (Some(false), None), ("me", Timestamp(1)))
            .is_err()
    );
    fs::write(
        first.dir.join("SKILL.md"),
        fs::read_to_string(first.dir.join("SKILL.md")).unwrap() + "\nmore",
    )
    .unwrap();
    catalog.load();
    let edited = catalog.get(&first.name).unwrap();
    assert_eq!((edited.state, edited.differs), (State::Quarantined, true));
    assert!(edited.reason.contains("as it came"), "{}", edited.reason);
    let began = Instant::now();
    catalog.load();
    assert!(began.elapsed().as_millis() < 100, "{:?}", began.elapsed());
}

#[test]
fn trust_is_for_content_and_permissions() {
    let dir = tempfile::tempdir().unwrap();
    skill(dir.path(), "mine", "permissions: [network]\n");
    let catalog = catalog(dir.path());
    catalog.load();
    assert_eq!(states(&catalog), [("mine".to_owned(), State::Discovered)]);
    assert!(catalog.get("mine").unwrap().reason.contains("network"));
    decide(&catalog, "mine", (Some(true), None));
    let trusted = catalog.get("mine").unwrap();
    assert_eq!((trusted.state, trusted.granted.len()), (State::Trusted, 1));

    write(dir.path(), "mine/extra.txt", "new");
    catalog.load();
    assert_eq!(catalog.get("mine").unwrap().state, State::Quarantined);
    assert!(catalog.get("mine").unwrap().granted.is_empty());
    fs::remove_file(dir.path().join("skills/mine/extra.txt")).unwrap();
    catalog.load();
    assert_eq!(catalog.get("mine").unwrap().state, State::Trusted);

    let file = dir.path().join("skills/mine/SKILL.md");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    catalog.load();
    assert_eq!(catalog.get("mine").unwrap().state, State::Quarantined);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    catalog.load();

    let mut record = catalog
        .decide("mine", (None, None), ("me", Timestamp(8)))
        .unwrap();
    record.permissions = vec!["shell".to_owned()];
    catalog.set_records(vec![record]);
    assert!(
        catalog.get("mine").unwrap().granted.is_empty(),
        "granted what was not trusted"
    );
    decide(&catalog, "mine", (None, Some(false)));
    assert_eq!(catalog.get("mine").unwrap().state, State::Disabled);
    decide(&catalog, "mine", (Some(false), Some(true)));
    assert_eq!(catalog.get("mine").unwrap().state, State::Discovered);
}

#[test]
fn an_old_copy_of_ours_is_renewed_and_an_edited_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    catalog(dir.path()).load();
    let all = catalog(dir.path());
    all.load();
    let (old, edited) = (all.snapshot()[0].clone(), all.snapshot()[1].clone());
    for skill in [&old, &edited] {
        fs::write(skill.dir.join("note.txt"), "of an earlier version").unwrap();
    }
    // As an earlier version would have left it behind, and remembered it.
    let hash = |skill: &Skill| skill.copy().unwrap().0;
    let mut history = vec![(old.folder(), hash(&old)), (edited.folder(), hash(&edited))];
    fs::write(edited.dir.join("note.txt"), "edited").unwrap();
    history.push(("gone".to_owned(), "0".to_owned()));
    let later = catalog(dir.path());
    later.renew(history);
    later.load();
    let renewed = later.get(&old.name).unwrap();
    assert!(renewed.shipped && renewed.hash == old.hash);
    assert!(!old.dir.join("note.txt").exists());
    let kept = later.get(&edited.name).unwrap();
    assert_eq!((kept.state, kept.differs), (State::Quarantined, true));
    assert!(edited.dir.join("note.txt").exists());
    let names = fs::read_dir(dir.path().join("skills")).unwrap();
    let left = names
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0, "copies stay behind");
}

#[test]
fn a_stale_look_trusts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    skill(dir.path(), "mine", "");
    let catalog = catalog(dir.path());
    catalog.load();
    let seen = catalog.get("mine").unwrap().hash.clone();
    let wish = |hash: &str| Wish {
        trusted: Some(true),
        hash: Some(hash.to_owned()),
        ..Wish::default()
    };
    write(dir.path(), "mine/extra.txt", "new");
    catalog.load();
    let stale = catalog.decide("mine", wish(&seen), ("me", Timestamp(1)));
    assert_eq!(stale.unwrap_err(), Refusal::Stale("mine".to_owned()));
    let now = catalog.get("mine").unwrap().hash.clone();
    assert!(
        catalog
            .decide("mine", wish(&now), ("me", Timestamp(1)))
            .is_ok()
    );
}

#[test]
fn only_a_secret_that_is_asked_for_is_granted_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let asks = "permissions: ['secret:TOKEN@api.github.com', 'network:api.github.com:443']\n";
    skill(dir.path(), "mine", asks);
    let catalog = catalog(dir.path());
    catalog.load();
    let wish = |name: &str| Wish {
        trusted: Some(true),
        raw_secrets: vec![name.to_owned()],
        ..Wish::default()
    };
    let refused = catalog.decide("mine", wish("OTHER"), ("me", Timestamp(1)));
    assert!(refused.unwrap_err().to_string().contains("`OTHER`"));
    decide(&catalog, "mine", (Some(true), None));
    let granted = |catalog: &Catalog| {
        let skill = catalog.get("mine").unwrap();
        let granted = skill.granted.iter().map(ToString::to_string);
        (granted.collect::<Vec<_>>(), skill.raw_secrets().join(","))
    };
    let (all, raw) = granted(&catalog);
    assert_eq!(
        (all[0].as_str(), raw.as_str()),
        ("secret:TOKEN@api.github.com", "")
    );
    let record = catalog
        .decide("mine", wish("TOKEN"), ("me", Timestamp(2)))
        .unwrap();
    assert_eq!(record.permissions[0], "secret:TOKEN");
    // A record that holds more widens nothing else.
    let mut wide = record.clone();
    wide.permissions.push("network".to_owned());
    catalog.set_records(vec![wide]);
    let (all, raw) = granted(&catalog);
    assert_eq!(all, ["secret:TOKEN", "network:api.github.com:443"]);
    assert_eq!(raw, "TOKEN");
    // One that holds less grants no secret in any form.
    let mut narrow = record;
    narrow.permissions = vec!["network:api.github.com:443".to_owned()];
    catalog.set_records(vec![narrow]);
    assert_eq!(granted(&catalog).0, ["network:api.github.com:443"]);
}

fn permission(text: &str) -> Permission {
    Permission::parse(text).unwrap()
}

#[test]
fn the_configuration_grants_more_and_nothing_senseless() {
    let dir = tempfile::tempdir().unwrap();
    skill(dir.path(), "theirs", "permissions: [schedule]\n");
    let mut config = Config {
        directory: dir.path().join("skills"),
        ..Config::default()
    };
    config.grants.insert(
        "theirs".into(),
        ["filesystem", "schedule"].map(permission).into(),
    );
    let catalog = Catalog::new(&config, PATH);
    catalog.load();
    assert!(
        catalog.get("theirs").unwrap().granted.is_empty(),
        "granted before it is trusted"
    );
    decide(&catalog, "theirs", (Some(true), None));
    let skill = catalog.get("theirs").unwrap();
    let granted: Vec<&str> = skill.granted.iter().map(Permission::as_str).collect();
    assert_eq!(granted, ["schedule", "filesystem"]);
    let many = (0..65).map(|n| permission(&format!("env:A{n}")));
    config.grants.insert("theirs".into(), many.collect());
    let catalog = Catalog::new(&config, PATH);
    catalog.load();
    let broken = catalog.get("theirs").unwrap();
    assert_eq!(broken.state, State::Broken);
    assert!(
        broken.reason.starts_with("skills.grants.theirs"),
        "{}",
        broken.reason
    );
}

#[test]
fn a_broken_skill_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    skill(dir.path(), "good", "");
    skill(dir.path(), "greedy", "permissions: [everything]\n");
    skill(dir.path(), "outside", "location: ../../run.sh\n");
    skill(dir.path(), "unclear", "location: ./run\n");
    write(dir.path(), "unclear/run", "echo");
    skill(
        dir.path(),
        "schema",
        "location: ./run.sh\ninput_schema: {properties: {a: {type: 7}}}\n",
    );
    write(
        dir.path(),
        "deep/er/and/good/SKILL.md",
        "---\nname: good\ndescription: b\n---\n",
    );
    write(dir.path(), "empty/SKILL.md", "");
    let catalog = catalog(dir.path());
    catalog.load();
    let broken = |s: &&Arc<Skill>| s.state == State::Broken;
    let all = catalog.snapshot();
    assert_eq!(all.len(), 7);
    assert_eq!(
        all.iter().filter(broken).count(),
        6,
        "{:?}",
        states(&catalog)
    );
    assert!(all.iter().filter(broken).all(|s| !s.reason.is_empty()));
    assert_eq!(catalog.get("good").unwrap().state, State::Discovered);
    assert!(
        catalog
            .get("greedy")
            .unwrap()
            .reason
            .contains("SKILL.md:4:1")
    );
    assert!(
        catalog
            .decide("greedy", (Some(true), None), ("me", Timestamp(1)))
            .is_err()
    );
}

#[test]
fn links_are_not_followed_out_or_round() {
    let dir = tempfile::tempdir().unwrap();
    skill(dir.path(), "good", "");
    let skills = dir.path().join("skills");
    let away = dir.path().join("away");
    fs::create_dir_all(&away).unwrap();
    fs::write(
        away.join("SKILL.md"),
        "---\nname: away\ndescription: b\n---\n",
    )
    .unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, skills.join(name)).unwrap();
    link(&away, "leaves");
    link(&skills, "round");
    link(Path::new("/nowhere/at/all"), "dangling");
    skill(dir.path(), "sly", "");
    link(&away.join("SKILL.md"), "sly/inner.md");
    let catalog = catalog(dir.path());
    catalog.load();
    let reason = |name: &str| catalog.get(name).unwrap().reason.clone();
    assert!(reason("leaves").contains("leaves the skills directory"));
    assert!(reason("round").contains("leads back"));
    assert!(reason("dangling").contains("nowhere"));
    assert!(reason("sly").contains("leaves the folder"));
    assert_eq!(catalog.get("good").unwrap().state, State::Discovered);
    assert!(catalog.get("away").is_none());
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    skill(
        dir.path(),
        "needs",
        "requirements: {binaries: [no-such-program]}\n",
    );
    skill(dir.path(), "secret", "requirements: {env: [API_KEY]}\n");
    skill(dir.path(), "file", "location: ./gone.sh\n");
    let catalog = catalog(dir.path());
    catalog.load();
    let trust = |name: &str| {
        catalog
            .decide(name, (Some(true), None), ("me", Timestamp(7)))
            .unwrap()
    };
    catalog.set_records(vec![trust("needs"), trust("secret"), trust("file")]);
    for (name, word) in [
        ("needs", "no-such-program"),
        ("secret", "API_KEY"),
        ("file", "gone.sh"),
    ] {
        let skill = catalog.get(name).unwrap();
        assert_eq!(skill.state, State::Unavailable, "{name}: {}", skill.reason);
        assert!(skill.reason.contains(word), "{}", skill.reason);
    }
}

#[test]
fn input_is_checked_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let text = "---\nname: a\ndescription: b\nlocation: ./run.sh\n---\n## Input schema\n\
                - **city** (string, required): Where\n- `days` (integer, optional): How many\n";
    write(dir.path(), "a/SKILL.md", text);
    write(dir.path(), "a/run.sh", "echo");
    write(dir.path(), "a/notes/more.md", "more");
    let catalog = catalog(dir.path());
    catalog.load();
    let skill = catalog.get("a").unwrap();
    assert!(skill.check_input(&json!({ "city": "Rome" })).is_ok());
    assert!(skill.check_input(&json!({})).unwrap_err().contains("city"));
    assert!(
        skill
            .check_input(&json!({ "city": "x", "days": "2" }))
            .unwrap_err()
            .contains("`days`")
    );
    assert!(skill.check_input(&json!([])).is_err());
    assert_eq!(skill.files(), ["notes/more.md", "run.sh"]);
    assert_eq!(skill.describe()["kind"], "executable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_while_the_daemon_runs() {
    let dir = tempfile::tempdir().unwrap();
    skill(dir.path(), "one", "");
    let catalog = catalog(dir.path());
    catalog.load();
    let cancel = CancellationToken::new();
    let watched = catalog.clone();
    let change = async {
        for name in ["two", "three"] {
            skill(dir.path(), name, "");
            seen(&watched, name).await;
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(catalog.watch(cancel.clone()), change);
    ended.unwrap();
}

async fn seen(catalog: &Catalog, name: &str) {
    for _ in 0..100 {
        if catalog.get(name).is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} was not seen");
}
