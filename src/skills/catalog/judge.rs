//! In which state a skill is, and what it is granted: what it asks for, as far as a person allowed it.

use super::super::{
    Record, Skill, State,
    permission::{Grant, Permission},
};

/// What is known about a skill besides its files.
pub(super) struct Known<'a> {
    /// What was decided about it.
    pub(super) record: Option<&'a Record>,
    /// It stood here once as it comes with the program, so it was trusted.
    pub(super) was_shipped: bool,
}

/// Puts a skill in its state.
pub(super) fn judge(mut skill: Skill, known: &Known<'_>) -> Skill {
    let record = known.record;
    let trusted = record.filter(|r| r.trusted_hash.is_some());
    let same = trusted.filter(|r| r.trusted_hash.as_deref() == Some(skill.hash.as_str()));
    let (state, reason) = if let Some(why) = &skill.broken {
        (State::Broken, why.clone())
    } else if record.is_some_and(|r| !r.enabled) {
        (State::Disabled, "it was switched off".to_owned())
    } else if skill.shipped || same.is_some() {
        match &skill.missing {
            Some(what) => (State::Unavailable, what.clone()),
            None => (State::Trusted, String::new()),
        }
    } else if trusted.is_some() {
        let text = "its files are not those that were trusted; look at what is different, then trust it again";
        (State::Quarantined, text.to_owned())
    } else if known.was_shipped {
        let text = "it is not as it came with nexflow; look at what is different, then trust it";
        (State::Quarantined, text.to_owned())
    } else {
        (State::Discovered, discovered(&skill))
    };
    skill.granted = match state {
        State::Trusted | State::Unavailable => granted(&skill, same),
        _ => Vec::new(),
    };
    (skill.state, skill.reason) = (state, reason);
    skill
}

/// Request and grant, and what the configuration adds to it.
fn granted(skill: &Skill, record: Option<&Record>) -> Vec<Permission> {
    let allowed = record.map_or(&[][..], |r| r.permissions.as_slice());
    let asks = skill.manifest.permissions.iter();
    let given = asks.filter_map(|p| given(p, allowed).or_else(|| skill.shipped.then(|| p.clone())));
    let mut all: Vec<Permission> = given.collect();
    for more in &skill.configured {
        if !all.contains(more) {
            all.push(more.clone());
        }
    }
    all
}

/// What a request becomes with these grants: itself, or the raw value of a secret that it asks for as
/// a stand-in. Nothing else is ever wider than what was asked.
pub(in crate::skills) fn given(asked: &Permission, allowed: &[String]) -> Option<Permission> {
    let has = |p: &Permission| allowed.iter().any(|g| g == p.as_str());
    if has(asked) {
        return Some(asked.clone());
    }
    raw(asked).filter(has)
}

/// The permission for the raw value of a secret that is asked for as a stand-in.
pub(in crate::skills) fn raw(asked: &Permission) -> Option<Permission> {
    match asked.grant() {
        Grant::Secret {
            name,
            host: Some(_),
        } => Permission::parse(&format!("secret:{name}")).ok(),
        _ => None,
    }
}

fn discovered(skill: &Skill) -> String {
    let asks: Vec<&str> = skill
        .manifest
        .permissions
        .iter()
        .map(Permission::as_str)
        .collect();
    let other = if skill.differs {
        "it differs from the one of this name that comes with nexflow"
    } else {
        "it is new"
    };
    if asks.is_empty() {
        format!("{other}; trust it to use it")
    } else {
        format!(
            "{other} and asks for {}; trust it to use it",
            asks.join(", ")
        )
    }
}
