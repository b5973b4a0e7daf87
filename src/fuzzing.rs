//! The parsers of what strangers send and models write, for the fuzzer (`make fuzz`), each with what must hold.

use crate::{
    connectors,
    render::{discord, telegram},
    sandbox,
    skills::manifest,
};

/// Any bytes as a SKILL.md: a document, or a fault with a line of the file.
pub fn manifest(bytes: &[u8]) {
    match manifest::parse(bytes, "folder") {
        Ok(document) => assert!(document.manifest.permissions.len() <= 64),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

/// Any bytes as what the launcher is told.
pub fn policy(bytes: &[u8]) {
    sandbox::fuzzing::policy(bytes);
}

/// Any bytes as a request to the gate.
pub fn request(bytes: &[u8]) {
    sandbox::fuzzing::request(bytes);
}

/// Any bytes as an update of Telegram.
pub fn telegram(bytes: &[u8]) {
    connectors::fuzzing::telegram(bytes);
}

/// Any bytes as what the gateway of Discord sends.
pub fn discord(bytes: &[u8]) {
    connectors::fuzzing::discord(bytes);
}

/// Any text as an answer to render: posts within limits, entities within their text.
pub fn render(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut posts = telegram::posts(&text);
    posts.push(telegram::draft(&text, "status"));
    for post in posts {
        let units: Vec<u16> = post.text.encode_utf16().collect();
        assert!(!post.text.trim().is_empty() && units.len() <= 4096);
        assert!(post.entities.len() <= 100);
        for entity in &post.entities {
            let within = units.get(entity.offset..entity.offset + entity.length);
            assert!(within.is_some_and(|u| !u.is_empty() && String::from_utf16(u).is_ok()));
        }
    }
    let mut messages = discord::posts(&text);
    messages.push(discord::draft(&text, "status"));
    for message in messages {
        assert!(!message.trim().is_empty() && message.chars().count() <= 2000);
    }
}
