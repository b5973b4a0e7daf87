//! Strangers: who writes without being on a list gets a code, which the owner may say yes to. What a
//! stranger says is not kept, and no model is asked about it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::Rng as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    store::{
        Result, StoreError, Tx,
        audit::{self, Origin},
        inbox, outbox,
        pairings::{self, Pairing, State},
        sessions,
        users::{self, Account, Role},
    },
    types::{Address, Inbound, MessageId, PairingId, Timestamp, UserId},
};

use super::{Core, Decider};

/// Letters and digits of codes: none looks like another one.
const ALPHABET: &[u8] = b"ACDEFGHJKMNPQRTWXY34679";
/// Of a code.
const LENGTH: usize = 8;
/// How long a code is good.
const VALID: Duration = Duration::from_hours(1);
/// Codes that wait at once.
const PENDING: usize = 3;
/// A sender is told their code again after this long.
const AGAIN: Duration = Duration::from_mins(10);
/// Somebody whom the owner denied is not heard for this long.
const DENIED: Duration = Duration::from_hours(24);
/// Wrong codes that may be tried in [`TRIES_IN`].
const TRIES: u32 = 10;
/// See [`TRIES`].
const TRIES_IN: Duration = Duration::from_mins(10);

/// What is left of a letter when its code is not good any more.
const REDACTED: &str = "(a code to be let in)";
/// The first words to somebody who was let in.
const WELCOME: &str = "You are let in. What can I do for you? `/help` says what I understand.";

/// Which pairing is decided about.
#[derive(Debug, Clone)]
pub enum Asked {
    /// The one with this code.
    Code(String),
    /// The one with this id, as a list shows it.
    Id(PairingId),
}

/// Why somebody was not let in, or an account not changed.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// There is none.
    #[error("{0}")]
    Unknown(&'static str),
    /// Too many wrong codes.
    #[error("too many wrong codes were tried; try again in {} minutes", .0.as_secs().div_ceil(60))]
    TooOften(Duration),
    /// It makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Outcome<T> = std::result::Result<T, PeopleError>;

/// Wrong codes lately, so that none can be guessed.
#[derive(Debug, Default)]
pub(super) struct Tries(Mutex<Option<(Timestamp, u32)>>);

impl Tries {
    /// Passes while not too many were wrong.
    fn may(&self, now: Timestamp) -> Outcome<()> {
        let tries = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match tries {
            Some((since, wrong)) if wrong >= TRIES && now.since(since) < TRIES_IN => Err(
                PeopleError::TooOften(TRIES_IN.saturating_sub(now.since(since))),
            ),
            _ => Ok(()),
        }
    }

    fn wrong(&self, now: Timestamp) {
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *tries = match *tries {
            Some((since, wrong)) if now.since(since) < TRIES_IN => Some((since, wrong + 1)),
            _ => Some((now, 1)),
        };
    }
}

/// A stranger wrote: puts a letter with a code in the outbox, unless they have one, or too many wait.
/// Whether there is something to send.
pub(super) fn knock(tx: &Tx<'_>, inbound: &Inbound, now: Timestamp) -> Result<bool> {
    for late in pairings::overdue(tx, now)? {
        // The letter goes with its session.
        sessions::delete(tx, late.session)?;
    }
    if let Some(known) = pairings::of(tx, &inbound.from, &inbound.user)? {
        if known.state == State::Denied || now.since(known.told_at) < AGAIN {
            return Ok(false);
        }
        let Some(letter) = outbox::get(tx, known.letter)? else {
            return Ok(false);
        };
        let again = post(tx, inbound, (&known, letter.text), now)?;
        pairings::told(tx, known.id, again, now)?;
        return Ok(true);
    }
    let all = pairings::list(tx, now)?;
    let waiting = all.iter().filter(|one| one.state == State::Pending).count();
    if waiting >= PENDING {
        tracing::warn!(
            connector = inbound.from.connector,
            "a stranger wrote and got no code: {PENDING} wait already (`nexflow user list`)"
        );
        return Ok(false);
    }
    let owner = users::owner(tx, now)?.id;
    let code = new_code();
    let id = PairingId::new();
    let mut pairing = Pairing {
        id,
        from: inbound.from.clone(),
        external_user: inbound.user.clone(),
        name: inbound.name.clone(),
        code_hash: hash(id, &code),
        session: sessions::aside(tx, &inbound.from, owner, now)?,
        letter: MessageId::new(),
        state: State::Pending,
        told_at: now,
        created_at: now,
        expires_at: now.plus(VALID),
    };
    let text = format!(
        "Hello. I only talk to people whom my owner lets in, and I do not know you yet. If my owner knows \
         you, tell them this code: `{code}` It is good for an hour. What you write until then is not kept."
    );
    pairing.letter = post(tx, inbound, (&pairing, text), now)?;
    pairings::insert(tx, &pairing)?;
    note(
        tx,
        ("pairing.ask", "nexflow", &origin(&inbound.from)),
        &pairing,
        now,
    )?;
    Ok(true)
}

/// Puts a letter to a stranger in the outbox.
fn post(
    tx: &Tx<'_>,
    inbound: &Inbound,
    (pairing, text): (&Pairing, String),
    now: Timestamp,
) -> Result<MessageId> {
    let to = (inbound.from.clone(), inbound.user.clone());
    let letter = outbox::Parcel {
        in_reply_to: Some(inbound.external_id.clone()),
        ..outbox::Parcel::new((MessageId::new(), pairing.session), to, text, now)
    };
    outbox::insert(tx, &letter)?;
    Ok(letter.id)
}

fn new_code() -> String {
    let mut rng = rand::rng();
    let pick = |_| {
        let at = rng.random_range(0..ALPHABET.len());
        ALPHABET.get(at).copied().map_or('A', char::from)
    };
    (0..LENGTH).map(pick).collect()
}

/// How a code is kept. A person may write it in any case, and with spaces.
fn hash(id: PairingId, code: &str) -> Vec<u8> {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut hasher = Sha256::new();
    hasher.update(id.0.as_bytes());
    hasher.update(plain.to_ascii_uppercase().as_bytes());
    hasher.finalize().to_vec()
}

fn origin(at: &Address) -> Origin {
    Origin::from(format!("{} {}/{}", at.connector, at.account, at.chat))
}

/// Who did what about somebody who asks to be let in.
fn note(
    tx: &Tx<'_>,
    (action, by, from): (&str, &str, &Origin),
    one: &Pairing,
    now: Timestamp,
) -> Result<()> {
    let detail = json!({ "pairing": one.id, "channel": one.from.connector, "name": one.name });
    let who = inbox::account(&one.from, &one.external_user);
    audit::append_from(
        tx,
        &audit::Entry::new(now, by, action, who).with(detail),
        from,
    )
}

/// The pairing that is meant, if it waits.
fn find(tx: &Tx<'_>, asked: &Asked, now: Timestamp) -> Result<Option<Pairing>> {
    let all = pairings::list(tx, now)?.into_iter();
    let mut waiting = all.filter(|one| one.state == State::Pending);
    Ok(waiting.find(|one| match asked {
        Asked::Code(code) => hash(one.id, code) == one.code_hash,
        Asked::Id(id) => one.id == *id,
    }))
}

impl Core {
    /// The owner lets somebody in; as `owner` the account is theirs.
    pub(super) async fn pair(&self, asked: Asked, role: Role, by: Decider) -> Outcome<Account> {
        let now = self.parts.clock.now();
        self.tries.may(now)?;
        let by_code = matches!(asked, Asked::Code(_));
        let write = self.parts.store.write(move |tx| {
            let Some(pairing) = find(tx, &asked, now)? else {
                let entry = audit::Entry::new(now, &by.name, "pairing.wrong", by.user);
                audit::append_from(tx, &entry, &by.from)?;
                return Ok(None);
            };
            let_in(tx, &pairing, (role, &by), now).map(Some)
        });
        if let Some(account) = write.await? {
            self.posted.notify_one();
            return Ok(account);
        }
        if by_code {
            self.tries.wrong(now);
        }
        Err(PeopleError::Unknown(
            "nobody waits with this code: it is wrong, was used, or is older than an hour",
        ))
    }

    /// The owner does not let somebody in: they are not heard for a day.
    pub(super) async fn turn_away(&self, id: PairingId, by: Decider) -> Outcome<()> {
        let now = self.parts.clock.now();
        let write = self.parts.store.write(move |tx| {
            let Some(pairing) = find(tx, &Asked::Id(id), now)? else {
                return Ok(false);
            };
            pairings::deny(tx, pairing.id, now.plus(DENIED))?;
            outbox::reword(tx, pairing.letter, REDACTED)?;
            note(tx, ("pairing.deny", &by.name, &by.from), &pairing, now)?;
            Ok(true)
        });
        if write.await? {
            return Ok(());
        }
        Err(PeopleError::Unknown("nobody waits with this id any more"))
    }

    /// The owner gives an account a role.
    pub(super) async fn set_role(&self, id: UserId, role: Role, by: Decider) -> Outcome<Account> {
        let now = self.parts.clock.now();
        let write = self.parts.store.write(move |tx| {
            let known = users::account_of(tx, id)?;
            if known.as_ref().is_none_or(is_local) {
                return Ok(known.map(Err));
            }
            users::grant(tx, id, role, now)?;
            changed(tx, ("user.role", id), (&by, Some(role)), now)?;
            Ok(users::account_of(tx, id)?.map(Ok))
        });
        settled(write.await?)
    }

    /// The owner takes an account's rights away.
    pub(super) async fn remove(&self, id: UserId, by: Decider) -> Outcome<Account> {
        let now = self.parts.clock.now();
        let write = self.parts.store.write(move |tx| {
            let known = users::account_of(tx, id)?;
            if known.as_ref().is_none_or(is_local) {
                return Ok(known.map(Err));
            }
            users::remove(tx, id, now)?;
            changed(tx, ("user.remove", id), (&by, None), now)?;
            Ok(known.map(Ok))
        });
        settled(write.await?)
    }
}

/// An account changed, or none, or the owner's own.
fn settled(found: Option<std::result::Result<Account, Account>>) -> Outcome<Account> {
    match found {
        Some(Ok(account)) => Ok(account),
        Some(Err(_own)) => Err(PeopleError::Invalid(
            "the owner's own account stays the owner's",
        )),
        None => Err(PeopleError::Unknown("there is no such account")),
    }
}

/// Whether it is the owner's own account on this machine.
fn is_local(account: &Account) -> bool {
    account.channel == "local"
}

fn let_in(
    tx: &Tx<'_>,
    pairing: &Pairing,
    (role, by): (Role, &Decider),
    now: Timestamp,
) -> Result<Account> {
    let account = inbox::account(&pairing.from, &pairing.external_user);
    let name = if pairing.name.is_empty() {
        &pairing.external_user
    } else {
        &pairing.name
    };
    let channel = (pairing.from.connector.as_str(), account.as_str());
    let id = users::ensure(tx, channel, (name, role), now)?.id;
    users::grant(tx, id, role, now)?;
    outbox::reword(tx, pairing.letter, REDACTED)?;
    let to = (pairing.from.clone(), pairing.external_user.clone());
    let text = WELCOME.to_owned();
    let welcome = outbox::Parcel::new((MessageId::new(), pairing.session), to, text, now);
    outbox::insert(tx, &welcome)?;
    pairings::remove(tx, pairing.id)?;
    note(tx, ("pairing.approve", &by.name, &by.from), pairing, now)?;
    changed(tx, ("user.role", id), (by, Some(role)), now)?;
    let found = users::account_of(tx, id)?;
    found.ok_or(StoreError::Closed(
        "an account was not there after it was written",
    ))
}

fn changed(
    tx: &Tx<'_>,
    (action, id): (&str, UserId),
    (by, role): (&Decider, Option<Role>),
    now: Timestamp,
) -> Result<()> {
    let detail = json!({ "role": role, "via": by.via });
    let entry = audit::Entry::new(now, &by.name, action, id).with(detail);
    audit::append_from(tx, &entry, &by.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_understood_as_people_write_it_and_belongs_to_one_pairing() {
        let (id, code) = (PairingId::new(), new_code());
        assert_eq!(code.len(), LENGTH);
        assert!(code.bytes().all(|c| ALPHABET.contains(&c)), "{code}");
        let (first, last) = code.split_at(4);
        let written = format!(" {}-{} ", first.to_lowercase(), last);
        assert_eq!(hash(id, &code), hash(id, &written));
        assert_ne!(hash(id, &code), hash(PairingId::new(), &code));
        for alike in ["0O", "1IL", "2Z", "5S", "8B", "UV"] {
            let there = alike.bytes().filter(|c| ALPHABET.contains(c)).count();
            assert_eq!(there, 0, "{alike}");
        }
    }

    #[test]
    fn codes_cannot_be_guessed() {
        let tries = Tries::default();
        let now = Timestamp(1_000_000);
        for _ in 0..TRIES {
            tries.may(now).unwrap();
            tries.wrong(now);
        }
        assert!(matches!(tries.may(now), Err(PeopleError::TooOften(_))));
        tries.may(now.plus(TRIES_IN)).unwrap();
    }
}
