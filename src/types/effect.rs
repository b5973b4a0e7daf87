//! What a tool does to the flow of data, and where what is said came from. The flow gate decides on
//! these alone.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a tool may do: any of four effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u8);

impl Effects {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Its result holds something of the person's own.
    pub const READS_PRIVATE: Self = Self(1);
    /// Its result holds what somebody else wrote.
    pub const INGESTS_UNTRUSTED: Self = Self(2);
    /// What it is given may leave the machine.
    pub const SENDS_OUT: Self = Self(4);
    /// It changes something that stays.
    pub const CHANGES_STATE: Self = Self(8);
    /// All of them: what a tool that says nothing counts as.
    pub const ALL: Self = Self(15);

    const NAMES: [(Self, &'static str); 4] = [
        (Self::READS_PRIVATE, "reads_private"),
        (Self::INGESTS_UNTRUSTED, "ingests_untrusted"),
        (Self::SENDS_OUT, "sends_out"),
        (Self::CHANGES_STATE, "changes_state"),
    ];

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has any of `other`.
    pub const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Their names, in a fixed order.
    pub fn names(self) -> Vec<&'static str> {
        let own = Self::NAMES.iter().filter(|(effect, _)| self.any(*effect));
        own.map(|(_, name)| *name).collect()
    }

    /// From names: nothing said, or a word that nobody knows, counts as all; `none` is none.
    pub fn declared<S: AsRef<str>>(names: &[S]) -> Self {
        if names.is_empty() {
            return Self::ALL;
        }
        names.iter().fold(Self::NONE, |all, name| {
            let name = name.as_ref().trim();
            let known = Self::NAMES.iter().find(|(_, known)| *known == name);
            match known {
                Some((effect, _)) => all.and(*effect),
                None if name == "none" => all,
                None => Self::ALL,
            }
        })
    }
}

impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names() {
            names if names.is_empty() => f.write_str("none"),
            names => f.write_str(&names.join(" ")),
        }
    }
}

impl Serialize for Effects {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        Ok(if names.is_empty() {
            Self::NONE
        } else {
            Self::declared(&names)
        })
    }
}

/// Where what is said came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The owner.
    Owner,
    /// Somebody who signed in, in a conversation of their own.
    Member,
    /// Anybody else.
    Stranger,
    /// Outside: a page, a mail, a repository.
    Web,
    /// A file or a kept fact.
    File,
    /// A skill that neither reads files nor brings in anything from outside.
    Skill,
}

impl Provenance {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Owner, "owner"),
        (Self::Member, "member"),
        (Self::Stranger, "stranger"),
        (Self::Web, "web"),
        (Self::File, "file"),
        (Self::Skill, "skill"),
    ];

    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(one, _)| *one == self);
        found.map_or("stranger", |(_, name)| name)
    }

    /// From what is stored; anything unknown counts as a stranger's.
    pub fn parse(text: &str) -> Self {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text);
        found.map_or(Self::Stranger, |(one, _)| *one)
    }

    /// Of the result of a tool with these effects.
    pub fn of_result(effects: Effects) -> Self {
        if effects.any(Effects::INGESTS_UNTRUSTED) {
            Self::Web
        } else if effects.any(Effects::READS_PRIVATE) {
            Self::File
        } else {
            Self::Skill
        }
    }

    /// Whether somebody other than the person may have written it.
    pub fn is_untrusted(self) -> bool {
        matches!(self, Self::Stranger | Self::Web)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_or_something_unknown_counts_as_all() {
        assert_eq!(Effects::declared::<&str>(&[]), Effects::ALL);
        assert_eq!(Effects::declared(&["reads_privat"]), Effects::ALL);
        assert_eq!(Effects::declared(&["none"]), Effects::NONE);
        let two = Effects::declared(&["sends_out", "reads_private"]);
        assert_eq!(two.to_string(), "reads_private sends_out");
        assert!(two.any(Effects::SENDS_OUT) && !two.any(Effects::CHANGES_STATE));
    }

    #[test]
    fn words_survive_being_stored() {
        for (one, _) in Provenance::NAMES {
            assert_eq!(Provenance::parse(one.as_str()), one);
        }
        assert!(Provenance::parse("?").is_untrusted());
    }
}
