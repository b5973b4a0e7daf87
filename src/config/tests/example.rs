//! `config.example.yml` holds every key, fits the schema, and works as it is.

use super::*;

#[test]
fn the_example_fits_the_schema() {
    let example: Value = serde_yaml::from_str(EXAMPLE).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&example)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
}

#[test]
fn the_example_works_without_variables() {
    let loaded = load_yaml(EXAMPLE);
    for problem in &loaded.problems {
        assert_eq!(problem.severity, Severity::Warning, "{problem}");
        assert!(
            problem.message.ends_with("is not set, so this is off"),
            "{problem}"
        );
        assert!(problem.line.is_some(), "{problem}");
    }
    assert_eq!(loaded.problems.len(), 9, "{:?}", told(&loaded));
    assert_eq!(loaded.config.server, api::Config::default());
}

#[test]
fn the_example_works_with_its_variables() {
    let env = [
        ("ANTHROPIC_API_KEY", "k"),
        ("OPENAI_API_KEY", "k"),
        ("GEMINI_API_KEY", "k"),
        ("ZAI_API_KEY", "k"),
        ("OPENROUTER_API_KEY", "k"),
        ("CUSTOM_LLM_URL", "http://127.0.0.1:1/v1"),
        ("DISCORD_BOT_TOKEN", "k"),
        ("WEBHOOK_HOME_SECRET", "k"),
        ("TELEGRAM_BOT_TOKEN", "1:k"),
        ("WEBHOOK_HOME_REPLY_URL", "http://127.0.0.1:1/"),
    ];
    let loaded = load_with(EXAMPLE, &env);
    assert_eq!(told(&loaded), [""; 0]);
    assert_eq!(loaded.config.llm.providers.len(), 6);
}

#[test]
fn every_key_is_in_the_example() {
    let example: Value = serde_yaml::from_str(EXAMPLE).unwrap();
    let schema = schema();
    for section in schema::SECTIONS {
        let section = *section;
        let shown = example.get(section);
        assert!(shown.is_some(), "{section} is missing");
        for key in shape::properties(&schema["properties"][section]) {
            let there = shown.and_then(|s| s.get(key)).is_some();
            assert!(there, "{section}.{key} is missing");
        }
    }
}

#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/configuration.md");
    let schema = schema();
    for section in schema::SECTIONS {
        for key in shape::properties(&schema["properties"][*section]) {
            let forms = [
                format!("`{key}`"),
                format!("`{section}.{key}`"),
                format!("`{key}."),
            ];
            let there = forms.iter().any(|form| text.contains(form));
            assert!(there, "{section}.{key} is missing");
        }
    }
    for kind in crate::providers::KINDS {
        for key in shape::properties(&(kind.schema)()) {
            assert!(
                text.contains(&format!("`{key}`")),
                "{}.{key} is missing",
                kind.name
            );
        }
    }
}
