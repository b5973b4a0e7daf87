//! The words of `permissions:` in a SKILL.md. What cannot be read exactly grants nothing: the skill
//! is broken, and says why.

use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::sandbox::Rule;

/// Most permissions of a skill.
const MOST: usize = 64;
/// Longest permission in bytes.
const LONGEST: usize = 512;
/// Trees that nobody can grant.
const NEVER: &[&str] = &["/proc", "/sys", "/dev", "/run", "/boot"];
/// Folders that nobody can grant as a whole.
const NOT_WHOLE: &[&str] = &["/", "/home", "/etc", "/root", "/usr", "/var"];
/// Places below home that hold keys.
const KEYS: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".kube",
    ".docker",
    ".config/nexflow",
];

/// One permission that a skill asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    text: String,
    grant: Grant,
}

/// What a permission grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Programs of the system.
    Shell,
    /// One more program.
    Exec(PathBuf),
    /// Files.
    Files {
        /// Which.
        place: Place,
        /// Whether they may be changed.
        write: bool,
    },
    /// Hosts.
    Network(Rule),
    /// A variable of the configuration.
    Env(String),
    /// A secret of the configuration.
    Secret {
        /// Its name.
        name: String,
        /// The only host that gets it: the skill itself has a handle instead.
        host: Option<String>,
    },
    /// Something that the daemon does for the skill.
    Ability(String),
}

/// Where granted files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the workspace of the run.
    Workspace(PathBuf),
    /// In the skill's own folder.
    Skill(PathBuf),
    /// In the home directory of the daemon's user.
    Home(PathBuf),
    /// Anywhere.
    Absolute(PathBuf),
}

impl Permission {
    /// Reads one permission.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!(
                "permission of {} bytes; at most {LONGEST}",
                text.len()
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(format!("permission {text:?} holds a control character"));
        }
        let grant = grant(text).map_err(|why| format!("permission `{text}`: {why}"))?;
        Ok(Self {
            text: text.to_owned(),
            grant,
        })
    }

    /// What it grants.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Permission {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Permission".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// Reads all permissions of a skill; the same twice is an error, like every other doubt.
pub(super) fn parse_all(texts: &[String]) -> Result<Vec<Permission>, String> {
    if texts.len() > MOST {
        return Err(format!("{} permissions; at most {MOST}", texts.len()));
    }
    let mut all: Vec<Permission> = Vec::with_capacity(texts.len());
    for text in texts {
        let one = Permission::parse(text)?;
        if all.contains(&one) {
            return Err(format!("permission `{text}` is listed twice"));
        }
        all.push(one);
    }
    Ok(all)
}

fn grant(text: &str) -> Result<Grant, String> {
    let (word, rest) = match text.split_once(':') {
        Some((word, rest)) => (word, Some(rest)),
        None => (text, None),
    };
    match (word, rest) {
        ("shell", None) => Ok(Grant::Shell),
        ("exec", Some(path)) => exec(path),
        ("filesystem", None) => Ok(Grant::Files {
            place: Place::Workspace(PathBuf::new()),
            write: true,
        }),
        ("filesystem", Some(rest)) => files(rest),
        ("network", rest) => {
            let target = rest.map(|r| format!(":{r}")).unwrap_or_default();
            Rule::parse(&target).map(Grant::Network)
        }
        ("env", Some(name)) => variable(name).map(Grant::Env),
        ("secret", Some(rest)) => secret(rest),
        ("memory", Some("read" | "write"))
        | ("message", Some("send"))
        | ("schedule" | "llm", None) => Ok(Grant::Ability(text.to_owned())),
        ("llm", Some(task)) if !task.is_empty() && task.chars().all(is_word) => {
            Ok(Grant::Ability(text.to_owned()))
        }
        _ => Err("there is no such permission: the words are shell, exec, filesystem, network, env, secret, memory, schedule, message and llm".to_owned()),
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn exec(path: &str) -> Result<Grant, String> {
    if !path.starts_with('/') {
        return Err("write the program as an absolute path".to_owned());
    }
    plain(path)?;
    Ok(Grant::Exec(PathBuf::from(path)))
}

fn files(rest: &str) -> Result<Grant, String> {
    let (how, path) = rest
        .split_once(':')
        .ok_or("write filesystem:read:PATH or filesystem:write:PATH")?;
    let write = match how {
        "read" => false,
        "write" => true,
        other => return Err(format!("`{other}` is neither read nor write")),
    };
    let place = place(path)?;
    if write && matches!(place, Place::Skill(_)) {
        return Err(
            "a skill cannot change its own folder: it would not be trusted any more".to_owned(),
        );
    }
    Ok(Grant::Files { place, write })
}

fn place(path: &str) -> Result<Place, String> {
    plain(path)?;
    let below = |root: &str| {
        let rest = path.strip_prefix(root)?;
        let inside = rest.is_empty() || rest.starts_with('/');
        inside.then(|| PathBuf::from(rest.trim_start_matches('/')))
    };
    if let Some(rest) = below("workspace") {
        return Ok(Place::Workspace(rest));
    }
    if let Some(rest) = below("skill") {
        return Ok(Place::Skill(rest));
    }
    if let Some(rest) = below("~") {
        if rest.as_os_str().is_empty() {
            return Err("the whole home directory is never granted".to_owned());
        }
        if KEYS.iter().any(|keys| overlap(&rest, Path::new(keys))) {
            return Err("what holds keys is never granted".to_owned());
        }
        return Ok(Place::Home(rest));
    }
    if !path.starts_with('/') {
        return Err("a path starts with workspace, skill, ~/ or /".to_owned());
    }
    let whole = PathBuf::from(path);
    if NOT_WHOLE.iter().any(|n| whole == Path::new(n)) || NEVER.iter().any(|n| whole.starts_with(n))
    {
        return Err("this path is never granted".to_owned());
    }
    Ok(Place::Absolute(whole))
}

/// One of the paths contains the other.
pub(super) fn overlap(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// No `..`, no pattern, nothing that reads differently from what it is.
fn plain(path: &str) -> Result<(), String> {
    if path.trim() != path || path.is_empty() {
        return Err("the path is empty, or begins or ends with a space".to_owned());
    }
    if path.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return Err("a path has no patterns".to_owned());
    }
    let up = |c: Component<'_>| matches!(c, Component::ParentDir);
    let dots = path.split('/').any(|part| part == "." || part == "..");
    if dots || path.contains("//") || Path::new(path).components().any(up) {
        return Err("a path has no `.`, `..` or `//`".to_owned());
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    let first = name.starts_with(|c: char| c.is_ascii_uppercase());
    let rest = name
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if first && rest && name.len() <= 64 {
        Ok(name.to_owned())
    } else {
        Err("a name is capital letters, digits and _, at most 64".to_owned())
    }
}

fn secret(rest: &str) -> Result<Grant, String> {
    let (name, host) = match rest.split_once('@') {
        Some((name, host)) => (name, Some(host)),
        None => (rest, None),
    };
    if let Some(host) = host {
        if host.contains(['*', '/']) {
            return Err("a secret is for one host, written in full".to_owned());
        }
        Rule::parse(&format!(":{host}:443"))?;
    }
    Ok(Grant::Secret {
        name: variable(name)?,
        host: host.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_grammar_is_read() {
        for text in [
            "shell",
            "exec:/opt/x/bin/y",
            "filesystem",
            "filesystem:read:workspace",
            "filesystem:write:workspace/out",
            "filesystem:read:skill/data",
            "filesystem:read:~/notes",
            "filesystem:write:/srv/files",
            "network",
            "network:loopback",
            "network:api.github.com:443",
            "network:*.example.org:443,8443",
            "network:10.0.0.5:8080",
            "env:TZ",
            "secret:GITHUB_TOKEN",
            "memory:read",
            "memory:write",
            "schedule",
            "message:send",
            "llm",
            "llm:summarize",
        ] {
            let parsed = Permission::parse(text);
            assert!(parsed.is_ok(), "{text}: {parsed:?}");
            assert_eq!(parsed.unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_is_in_doubt_is_refused() {
        for text in [
            "",
            "Shell",
            "shell ",
            "shell:",
            "sudo",
            "filesystem:",
            "filesystem:read",
            "filesystem:read:",
            "filesystem:read:/",
            "filesystem:write:/etc",
            "filesystem:read:/proc/1",
            "filesystem:read:/a/../b",
            "filesystem:read:/a/*",
            "filesystem:read:notes",
            "filesystem:read:workspaces",
            "filesystem:read:~",
            "filesystem:read:~/.ssh/id",
            "filesystem:read:~/.config",
            "filesystem:write:skill",
            "filesystem:exec:/a",
            "network:",
            "network:host",
            "network:EXAMPLE.org:443",
            "env:",
            "env:lower",
            "env:A B",
            "secret:",
            "secret:X@",
            "memory",
            "memory:all",
            "message",
            "exec:bash",
            "llm:",
            "shell\n",
            "network:example.org:0",
        ] {
            assert!(Permission::parse(text).is_err(), "{text:?} was read");
        }
    }

    #[test]
    fn a_bound_secret_names_a_host_that_has_one_reading() {
        let host = |text: &str| match Permission::parse(text).map(|p| p.grant().clone()) {
            Ok(Grant::Secret { host, .. }) => host,
            other => panic!("{text}: {other:?}"),
        };
        let bound = host("secret:TOKEN@api.github.com");
        assert_eq!(bound.as_deref(), Some("api.github.com"));
        assert_eq!(host("secret:TOKEN"), None);
        for text in [
            "secret:T@localhost",
            "secret:T@a.org:443",
            "secret:T@A.org",
            "secret:T@a@b.org",
            "secret:T@*.a.org",
            "secret:T@10.0.0.0/8",
        ] {
            assert!(Permission::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_same_twice_is_refused() {
        let twice = ["network".to_owned(), "network".to_owned()];
        assert!(parse_all(&twice).is_err());
    }
}
