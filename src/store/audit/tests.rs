use serde_json::json;

use super::{chain::*, *};

fn database() -> Connection {
    let c = Connection::open_in_memory().unwrap();
    for migration in crate::store::migrate::MIGRATIONS {
        migration.apply_to(&c);
    }
    c
}

fn say(c: &mut Connection, object: &str) {
    let tx = c.transaction().unwrap();
    let entry = Entry::new(Timestamp(7), "ada", "skill.run", object);
    append_from(&tx, &entry.with(json!({ "n": 1 })), &Origin::from("web")).unwrap();
    tx.commit().unwrap();
}

fn verify(c: &Connection, head: Option<&str>) -> std::result::Result<Check, Broken> {
    let mut check = Check::against(head.map(|h| h.parse().unwrap()));
    for line in after(c, 0, u32::MAX).unwrap() {
        if !check.take(&line) {
            break;
        }
    }
    check.end()
}

/// A chain of six, changed as somebody with the file could.
fn after_doing(sql: &str) -> std::result::Result<Check, Broken> {
    let mut c = database();
    for n in 0..6 {
        say(&mut c, &format!("skill-{n}"));
    }
    let head = last(&c).unwrap().unwrap().to_string();
    assert_eq!(verify(&c, Some(&head)).unwrap().entries, 6);
    c.execute_batch("DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;")
        .unwrap();
    c.execute_batch(sql).unwrap();
    verify(&c, Some(&head))
}

#[test]
fn what_was_written_stays() {
    let mut c = database();
    say(&mut c, "x");
    for sql in ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"] {
        let refused = c.execute(sql, []).unwrap_err().to_string();
        assert!(refused.contains("append only"), "{refused}");
    }
}

#[test]
fn every_change_is_found_where_it_is() {
    let columns = [
        "actor = 'eve'",
        "action = 'x'",
        "object = 'x'",
        "origin = 'x'",
        "decided_by = ''",
        "at = 8",
        "detail = '{}'",
        "hash = NULL",
    ];
    for change in columns {
        let broken = after_doing(&format!("UPDATE audit SET {change} WHERE id = 3")).unwrap_err();
        assert_eq!((broken.id, broken.what), (3, "altered"), "{change}");
    }
    let found = |sql: &str| {
        let broken = after_doing(sql).unwrap_err();
        (broken.id, broken.what)
    };
    assert_eq!(found("DELETE FROM audit WHERE id = 3"), (4, "missing"));
    assert_eq!(found("DELETE FROM audit WHERE id = 1"), (2, "missing"));
    assert_eq!(found("DELETE FROM audit WHERE id >= 5"), (5, "truncated"));
    assert_eq!(found("DELETE FROM audit"), (1, "truncated"));
    let swap = "UPDATE audit SET id = 99 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 4;
                UPDATE audit SET id = 4 WHERE id = 99;";
    assert_eq!(found(swap), (3, "reordered"));
    assert!(after_doing("SELECT 1").is_ok());
}

#[test]
fn fields_cannot_flow_into_each_other() {
    let line = |actor: &str, action: &str| Line {
        id: 1,
        at: Timestamp(1),
        actor: actor.to_owned(),
        action: action.to_owned(),
        object: String::new(),
        origin: String::new(),
        decided_by: None,
        detail: String::new(),
        prev: None,
        hash: None,
    };
    assert_ne!(
        hash(BEGINNING, &line("ab", "c")),
        hash(BEGINNING, &line("a", "bc"))
    );
}

#[test]
fn rows_from_before_the_chain_are_bound_by_its_first_entry() {
    let mut c = database();
    let old =
        "INSERT INTO audit (at, actor, action, object, detail) VALUES (1, 'ada', 'old', 'x', '{}')";
    c.execute(old, []).unwrap();
    c.execute(old, []).unwrap();
    say(&mut c, "new");
    assert_eq!(verify(&c, None).unwrap().entries, 3);
    c.execute_batch("DROP TRIGGER audit_no_update; UPDATE audit SET actor = 'eve' WHERE id = 1")
        .unwrap();
    let broken = verify(&c, None).unwrap_err();
    assert_eq!((broken.id, broken.what), (3, "altered"));
}

#[test]
fn secrets_are_masked_before_they_are_hashed() {
    let mut c = database();
    let secret = crate::types::Secret::new("the-secret-of-the-audit");
    let tx = c.transaction().unwrap();
    let args = json!({ "text": format!("key {}", secret.expose()), "api_key": "short", "long": "x".repeat(9000) });
    let entry = Entry::new(Timestamp(1), "ada", "skill.run", secret.expose()).with(args);
    append(&tx, &entry).unwrap();
    tx.commit().unwrap();
    let kept = get(&c, 1).unwrap().unwrap();
    assert_eq!(kept.object, "[secret]");
    assert!(!kept.detail.contains("of-the-audit") && !kept.detail.contains("short\""));
    assert!(kept.detail.len() < 700, "{}", kept.detail);
    verify(&c, None).unwrap();
}

#[test]
fn entries_are_found_by_what_they_say() {
    let mut c = database();
    for n in 0..3 {
        say(&mut c, &format!("skill-{n}"));
    }
    let count = |narrow: fn(&mut Filter)| {
        let mut filter = Filter {
            limit: 10,
            ..Filter::default()
        };
        narrow(&mut filter);
        list(&c, &filter).unwrap().len()
    };
    assert_eq!(count(|_| ()), 3);
    assert_eq!(count(|f| f.action = Some("skill".to_owned())), 3);
    assert_eq!(count(|f| f.action = Some("skill.run".to_owned())), 3);
    assert_eq!(count(|f| f.action = Some("ski".to_owned())), 0);
    assert_eq!(count(|f| f.object = Some("skill-1".to_owned())), 1);
    assert_eq!(count(|f| f.actor = Some("eve".to_owned())), 0);
    assert_eq!(count(|f| f.before = Some(3)), 2);
    assert_eq!(count(|f| f.since = Some(Timestamp(8))), 0);
    assert_eq!(count(|f| f.until = Some(Timestamp(7))), 0);
}

#[test]
fn a_head_is_read_as_it_is_printed() {
    for wrong in ["", "1", "1:", "x:00", "1:zz"] {
        assert!(wrong.parse::<Given>().is_err(), "{wrong}");
    }
}
