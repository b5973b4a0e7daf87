use super::*;
use crate::types::{Clock, Timestamp, frame::Body};

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("t.db"), &Bus::new(Clock::system())).unwrap()
}

fn complaint<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_write_that_fails_keeps_nothing_and_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let good = store.write(|tx| settings::set(tx, "good", "1"));
    let bad = store.write(|tx| {
        settings::set(tx, "bad", "1")?;
        Err::<(), _>(StoreError::Closed("on purpose"))
    });
    let panicking = store.write(|tx| {
        settings::set(tx, "worse", "1")?;
        panic!("on purpose");
        #[expect(unreachable_code, reason = "gives the closure its type")]
        Ok(())
    });
    let (good, bad, panicking) = tokio::join!(good, bad, panicking);
    assert!(good.is_ok() && bad.is_err() && panicking.is_err());
    let kept = store
        .read(|c| {
            Ok((
                settings::get(c, "good")?,
                settings::get(c, "bad")?,
                settings::get(c, "worse")?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(kept, (Some("1".to_owned()), None, None));
}

#[tokio::test]
async fn a_read_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let tried = store
        .read(|c| Ok(c.execute("INSERT INTO settings (key, value) VALUES ('a', 'b')", [])?))
        .await;
    assert!(complaint(tried).contains("readonly"));
}

#[tokio::test]
async fn close_waits_for_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..50 {
        let store = store.clone();
        asked.spawn(async move {
            store
                .write(move |tx| settings::set(tx, &n.to_string(), ""))
                .await
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap().unwrap();
    }
    store.close().await;
    assert!(
        store
            .write(|tx| settings::set(tx, "late", ""))
            .await
            .is_err()
    );
    drop(store);
    let again = open(folder.path());
    let kept = again
        .read(|c| Ok(c.query_row("SELECT count(*) FROM settings", [], |r| r.get::<_, i64>(0))?))
        .await;
    assert_eq!(kept.unwrap(), 50);
}

#[tokio::test]
async fn frames_are_shown_after_the_commit_only() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::new(Clock::system());
    let store = Store::open(&folder.path().join("t.db"), &bus).unwrap();
    let session = store
        .write(|tx| {
            let owner = users::owner(tx, Timestamp(1))?;
            sessions::create(tx, "web", owner.id, Timestamp(1))
        })
        .await
        .unwrap();
    let mut seen = bus.watch(session);
    let notice = |text: &str| Body::Notice {
        turn_id: None,
        code: "x".to_owned(),
        text: text.to_owned(),
    };
    let (lost, kept) = (notice("lost"), notice("kept"));
    let failed = store
        .write(move |tx| {
            tx.show(session, lost)?;
            Err::<(), _>(StoreError::Closed("on purpose"))
        })
        .await;
    assert!(failed.is_err());
    store.write(move |tx| tx.show(session, kept)).await.unwrap();
    let frame = seen.live.recv().await.unwrap();
    assert_eq!(frame.body, notice("kept"));
    let stored = store
        .read(move |c| frames::between(c, session, (0, i64::MAX), 10))
        .await
        .unwrap();
    assert_eq!(stored, vec![(*frame).clone()]);
    assert!(
        tokio::time::timeout(Duration::from_millis(20), seen.live.recv())
            .await
            .is_err()
    );
}

#[test]
fn files_that_cannot_be_used_are_left_alone_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let bus = Bus::new(Clock::system());
    std::fs::write(&path, "this is no database, it is a diary".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(complaint(Store::open(&path, &bus)).contains("nexflow db restore"));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    assert!(complaint(Store::open(&path, &bus)).contains("version 999"));

    std::fs::remove_file(&path).unwrap();
    let _holder = lock(&path).unwrap();
    assert!(complaint(Store::open(&path, &bus)).contains("another nexflow"));
}

#[test]
fn a_backup_comes_back_and_what_it_replaces_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("t.db"), folder.path().join("copy.db"));
    admin::migrate(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO settings VALUES ('a', '1')", [])
        .unwrap();
    admin::backup(&path, &copy).unwrap();
    assert!(complaint(admin::backup(&path, &copy)).contains("exists already"));
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE settings SET value = '2'", [])
        .unwrap();
    let aside = admin::restore(&path, &copy).unwrap().unwrap();
    let value = |file: &Path| {
        settings::get(&Connection::open(file).unwrap(), "a")
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        (value(&path), value(&aside)),
        ("1".to_owned(), "2".to_owned())
    );
    assert!(admin::check(&path).unwrap().is_empty());
    let (undone, snapshot) = admin::rollback(&path).unwrap().unwrap();
    let last = migrate::MIGRATIONS.last().unwrap();
    assert!(undone == last.name && snapshot.exists());
    let status = admin::status(&path).unwrap();
    assert_eq!(
        (status.version, status.messages),
        (last.version - 1, Some(0))
    );
}
