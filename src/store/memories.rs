//! Kept facts and past messages, found by their words.

use rusqlite::{Connection, Transaction, params};
use serde::Serialize;

use super::Result;
use crate::types::{MemoryId, MessageId, SessionId, Timestamp, UserId};

/// A kept fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Id.
    pub id: MemoryId,
    /// What was kept.
    pub text: String,
    /// The message it came from.
    pub source: Option<MessageId>,
    /// When.
    pub created_at: Timestamp,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// `fact` or `message`.
    pub kind: &'static str,
    /// Id of the fact or message.
    pub id: String,
    /// Its text, or the part around the words.
    pub text: String,
    /// The session of a message.
    pub session_id: Option<SessionId>,
    /// When.
    pub at: Timestamp,
    /// Smaller is better.
    pub rank: f64,
}

/// Keeps a fact.
pub fn insert(tx: &Transaction<'_>, person: UserId, fact: &Fact) -> Result<()> {
    let sql = "INSERT INTO memories (id, person_id, text, source, created_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.prepare_cached(sql)?.execute(params![
        fact.id,
        person,
        fact.text,
        fact.source,
        fact.created_at
    ])?;
    Ok(())
}

/// A person's facts, newest first.
pub fn list(c: &Connection, person: UserId, limit: u32) -> Result<Vec<Fact>> {
    let sql = "SELECT id, text, source, created_at FROM memories
               WHERE person_id = ?1 ORDER BY id DESC LIMIT ?2";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![person, limit], |row| {
        Ok(Fact {
            id: row.get("id")?,
            text: row.get("text")?,
            source: row.get("source")?,
            created_at: row.get("created_at")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Forgets a fact; `false` if the person has no such fact.
pub fn forget(tx: &Transaction<'_>, person: UserId, id: MemoryId) -> Result<bool> {
    let sql = "DELETE FROM memories WHERE id = ?1 AND person_id = ?2";
    Ok(tx.prepare_cached(sql)?.execute(params![id, person])? > 0)
}

/// Where to search, and for what.
#[derive(Debug, Clone)]
pub struct Search {
    /// Whose memory.
    pub person: UserId,
    /// Words; any of them counts, rare ones more.
    pub words: String,
    /// Leave out this message (the one being answered).
    pub except: Option<MessageId>,
    /// Leave out messages of this session (they are in the context already).
    pub except_session: Option<SessionId>,
    /// How many at most, of each kind.
    pub limit: u32,
}

/// Facts that have some of the words, best first.
pub fn search_facts(c: &Connection, search: &Search) -> Result<Vec<Hit>> {
    let Some(words) = match_any(&search.words) else {
        return Ok(Vec::new());
    };
    let sql = "SELECT m.id, m.text, m.created_at, bm25(memories_words) AS rank
               FROM memories_words w CROSS JOIN memories m ON m.n = w.rowid
               WHERE memories_words MATCH ?1 AND m.person_id = ?2 ORDER BY rank LIMIT ?3";
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(params![words, search.person, search.limit], |row| {
        Ok(Hit {
            kind: "fact",
            id: row.get("id")?,
            text: row.get("text")?,
            session_id: None,
            at: row.get("created_at")?,
            rank: row.get("rank")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Things the person said that have some of the words, best first.
pub fn search_messages(c: &Connection, search: &Search) -> Result<Vec<Hit>> {
    let Some(words) = match_any(&search.words) else {
        return Ok(Vec::new());
    };
    // The newest that match are weighed, each once and apart from whose they are; only what is found is
    // read. CROSS JOIN keeps that order: SQLite would search the words anew for every conversation.
    let sql = "WITH near AS MATERIALIZED (
                 SELECT rowid AS n, bm25(messages_words) AS rank FROM messages_words
                 WHERE messages_words MATCH ?1 ORDER BY rowid DESC LIMIT ?6),
               best AS MATERIALIZED (
                 SELECT m.n, m.id, m.session_id, m.created_at, near.rank
                 FROM near CROSS JOIN messages m ON m.n = near.n
                 CROSS JOIN sessions s ON s.id = m.session_id CROSS JOIN users u ON u.id = s.user_id
                 WHERE u.person_id = ?2 AND m.role = 'user'
                   AND m.id IS NOT ?3 AND m.session_id IS NOT ?4
                   AND s.room IS NULL AND m.deleted_at IS NULL
                 ORDER BY near.rank LIMIT ?5)
               SELECT id, session_id, created_at, rank,
                      (SELECT snippet(messages_words, 0, '', '', '…', 48) FROM messages_words
                       WHERE messages_words MATCH ?1 AND rowid = best.n) AS text
               FROM best ORDER BY rank";
    let mut query = c.prepare_cached(sql)?;
    let wanted = params![
        words,
        search.person,
        search.except,
        search.except_session,
        search.limit,
        WEIGHED
    ];
    let rows = query.query_map(wanted, |row| {
        Ok(Hit {
            kind: "message",
            id: row.get("id")?,
            text: row.get("text")?,
            session_id: row.get("session_id")?,
            at: row.get("created_at")?,
            rank: row.get("rank")?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Messages with some of the words that are weighed against each other, the newest of them.
const WEIGHED: u32 = 2000;

/// Words too common to tell anything.
const COMMON: &[&str] = &[
    "the", "and", "are", "was", "were", "for", "you", "your", "that", "this", "with", "what",
    "when", "where", "who", "how", "did", "does", "can", "could", "have", "has", "had", "about",
    "say", "said", "tell", "please", "from", "not", "but", "all", "any", "its", "our", "out",
    "get", "got", "know", "remember", "remind", "is", "it", "in", "on", "of", "to", "do", "me",
    "my", "we", "be", "an", "as", "at", "by", "if", "or", "so", "up", "no", "he", "she", "they",
    "them", "there", "then", "than",
];

/// Text as a query for any of its telling words; none if there are none.
fn match_any(text: &str) -> Option<String> {
    let telling = words(text)
        .filter(|w| !COMMON.contains(&w.as_str()))
        .take(24);
    let quoted: Vec<String> = telling.map(|w| format!("\"{w}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

/// Text as a query for all of its words, the last as a prefix; none if there are none.
pub(super) fn match_all(text: &str) -> Option<String> {
    let quoted: Vec<String> = words(text).take(16).map(|w| format!("\"{w}\"")).collect();
    (!quoted.is_empty()).then(|| format!("{}*", quoted.join(" ")))
}

/// Quoted, letters and digits alone have no meaning in the query language.
fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        bus::Bus,
        store::{
            Store, messages, sessions,
            users::{self, Role},
        },
        types::Clock,
    };

    #[test]
    fn only_telling_words_are_searched() {
        assert_eq!(
            match_any("What did I say about the Boat?"),
            Some("\"i\" OR \"boat\"".to_owned())
        );
        assert_eq!(match_any("what is it"), None);
        assert_eq!(match_all("red bo"), Some("\"red\" \"bo\"*".to_owned()));
    }

    #[tokio::test]
    async fn what_was_said_elsewhere_is_found_among_thousands_of_newer_messages() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("t.db"), &Bus::new(Clock::system())).unwrap();
        let write = store.write(|tx| {
            let at = Timestamp(1);
            let owner = users::owner(tx, at)?;
            let stranger = users::ensure(tx, ("web", "x"), ("x", Role::Member), at)?;
            let mut sessions = Vec::new();
            for user in [owner.id, owner.id, stranger.id] {
                sessions.push(sessions::create(tx, "web", user, at)?);
            }
            let say = |session: usize, text: &str| {
                let message = messages::Message {
                    id: MessageId::new(),
                    session: sessions[session],
                    turn: None,
                    author: messages::Author::User,
                    origin: "turn".to_owned(),
                    status: "ok".to_owned(),
                    text: text.to_owned(),
                    provenance: None,
                    at,
                };
                messages::insert(tx, &message)
            };
            say(0, "the boat is called Mathilda and lies in the harbour")?;
            say(2, "a stranger has a boat too")?;
            for _ in 0..WEIGHED / 2 {
                say(1, "the harbour was full today")?;
            }
            Ok((owner.person, sessions[1]))
        });
        let (person, here) = write.await.unwrap();
        let search = Search {
            person,
            words: "which boat is in the harbour?".to_owned(),
            except: None,
            except_session: Some(here),
            limit: 4,
        };
        let found = store
            .read(move |c| search_messages(c, &search))
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("Mathilda"));
    }

    proptest! {
        #[test]
        fn no_text_is_a_syntax_error(text in any::<String>()) {
            let c = Connection::open_in_memory().unwrap();
            c.execute_batch("CREATE VIRTUAL TABLE t USING fts5 (x)").unwrap();
            for words in [match_any(&text), match_all(&text)].into_iter().flatten() {
                let found: i64 = c
                    .query_row("SELECT count(*) FROM t WHERE t MATCH ?1", [words], |r| r.get(0))
                    .unwrap();
                prop_assert_eq!(found, 0);
            }
        }
    }
}
