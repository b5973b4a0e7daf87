//! What a skill says it needs on this machine, in our own words and in those of other agents, and
//! whether it is there. It says what may be lacking; it grants nothing.

use serde::Serialize;
use serde_json::Value;

use super::{Config, available, manifest::Manifest};

/// One thing that a skill needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// `program`, `variable`, `system` or `package`.
    pub kind: &'static str,
    /// Its name; several names of which one is enough are joined by ` or `.
    pub name: String,
    /// Whether it is there; none where that cannot be seen from here.
    pub met: Option<bool>,
}

impl Need {
    /// What is lacking, and how to add it.
    pub fn lacking(&self) -> Option<String> {
        if self.met != Some(false) {
            return None;
        }
        let name = &self.name;
        Some(match self.kind {
            "program" => format!("the program {name}, which is not installed"),
            "variable" => format!(
                "the variable {name}: set it in skills.secrets (or skills.env) and grant `secret:{name}` (or `env:{name}`)"
            ),
            _ => format!("the system {name}; this is {}", system()),
        })
    }
}

/// Everything that a manifest names.
pub(super) fn needs(manifest: &Manifest, config: &Config, path_env: &str) -> Vec<Need> {
    let mut all = Vec::new();
    let requires = manifest.metadata.pointer("/openclaw/requires");
    let requires = requires.or_else(|| manifest.metadata.pointer("/nanobot/requires"));
    let other = |key: &str| manifest.other.get(key);
    let prerequisites = other("prerequisites");
    let of =
        |place: Option<&Value>, key: &str| place.map(|p| names(p.get(key))).unwrap_or_default();
    let program = |name: &String| available::which(name, path_env).is_some();
    let mut programs = manifest.requirements.binaries.clone();
    programs.extend(of(requires, "bins"));
    programs.extend(of(prerequisites, "commands"));
    for name in programs {
        let met = Some(program(&name));
        add(&mut all, "program", name, met);
    }
    let any = of(requires, "anyBins");
    if !any.is_empty() {
        let met = Some(any.iter().any(program));
        add(&mut all, "program", any.join(" or "), met);
    }
    let mut variables = manifest.requirements.env.clone();
    variables.extend(of(requires, "env"));
    variables.extend(of(prerequisites, "env_vars"));
    variables.extend(names(other("required_environment_variables")));
    for name in variables {
        let met = config.env.contains_key(&name) || config.secrets.contains_key(&name);
        add(&mut all, "variable", name, Some(met));
    }
    let mut systems = names(other("platforms"));
    systems.extend(names(manifest.metadata.pointer("/openclaw/os")));
    if !systems.is_empty() {
        let met = systems.iter().any(|s| s.eq_ignore_ascii_case(system()));
        add(&mut all, "system", systems.join(" or "), Some(met));
    }
    for name in names(other("dependencies")) {
        add(&mut all, "package", name, None);
    }
    all
}

fn system() -> &'static str {
    std::env::consts::OS
}

fn add(all: &mut Vec<Need>, kind: &'static str, name: String, met: Option<bool>) {
    if !all.iter().any(|n| n.kind == kind && n.name == name) {
        all.push(Need { kind, name, met });
    }
}

/// Names in a list of texts or of objects with a name, or in one text.
fn names(value: Option<&Value>) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Object(map) => map.get("name").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    match value {
        Some(Value::Array(all)) => all.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_other_agents_are_understood() {
        let of = |text: &str| {
            let document = super::super::manifest::parse(text.as_bytes(), "a").unwrap();
            needs(&document.manifest, &Config::default(), "/usr/bin:/bin")
        };
        let claw = of(
            "---\nname: a\ndescription: b\nmetadata: {\"openclaw\": {\"os\": [\"darwin\"], \"requires\": {\"bins\": [\"sh\", \"no-such\"], \"anyBins\": [\"x1\", \"sh\"], \"env\": [\"KEY\"]}}}\n---\n",
        );
        let lacking: Vec<String> = claw.iter().filter_map(Need::lacking).collect();
        assert_eq!(lacking.len(), 3, "{lacking:?}");
        assert!(lacking[0].contains("no-such") && lacking[1].contains("secret:KEY"));
        assert!(lacking[2].contains("darwin"));
        let hermes = of(
            "---\nname: a\ndescription: b\nprerequisites: {commands: [no-such], env_vars: [KEY]}\nplatforms: [linux, macos]\ndependencies: [requests]\n---\n",
        );
        let lacking: Vec<String> = hermes.iter().filter_map(Need::lacking).collect();
        assert_eq!(lacking.len(), 2, "{lacking:?}");
        assert!(
            hermes
                .iter()
                .any(|n| n.kind == "package" && n.met.is_none())
        );
    }
}
