//! What a file, the environment and flags come to.

use super::*;

/// A file, the environment around it, and what was found.
fn load_file(name: &str, text: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let file = folder.path().join("etc").join(name);
    std::fs::write(&file, text).unwrap();
    let source = Source {
        file: Some(file),
        data_dir: None,
    };
    read::load(&source, &Environment::made(env, Path::new("/somewhere")))
}

fn load_with(text: &str, env: &[(&str, &str)]) -> Loaded {
    load_file("config.yml", text, env).unwrap()
}

fn load_yaml(text: &str) -> Loaded {
    load_with(text, &[])
}

/// Problems as a person sees them.
fn told(loaded: &Loaded) -> Vec<String> {
    loaded.problems.iter().map(ToString::to_string).collect()
}

fn fails(name: &str, text: &str) -> String {
    load_file(name, text, &[]).unwrap_err().to_string()
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.name.as_str()).collect()
}

#[test]
fn secrets_are_masked_by_the_names_of_their_keys() {
    let loaded = load_yaml(
        "llm: { providers: { openai: { api_key: abc } } }\n\
         channels: { webhook: { endpoints: { home: { secret: xy, reply_url: 'http://me:pw@h/' } } } }\n\
         skills: { env: { GITHUB_TOKEN: t, PLAIN: visible } }\n",
    );
    assert_eq!(told(&loaded), [""; 0]);
    let shown = loaded.config.show();
    assert_eq!(shown["llm"]["providers"]["openai"]["api_key"], "[secret]");
    let home = &shown["channels"]["webhook"]["endpoints"]["home"];
    assert_eq!(home["secret"], "[secret]");
    assert_eq!(home["reply_url"], "http://me:[secret]@h/");
    assert_eq!(shown["skills"]["env"]["GITHUB_TOKEN"], "[secret]");
    assert_eq!(shown["skills"]["env"]["PLAIN"], "visible");
}

#[test]
fn no_problem_tells_a_secret() {
    let text = [
        "skills: { secrets: hunter2hunter2 }",
        "skills: { secrets: { A: [hunter2] } }",
        "skills: { secrets: [hunter2] }",
        "llm: { providers: { openai: { api_key: [hunter2] } } }",
        "llm: { providers: { openai: { api_key: 31337 } } }",
        "llm: { providers: { openai: { base_url: 'http://me:hunter2@h h/' } } }",
        "channels: { webhook: { endpoints: { home: { secret: hunter2, reply_url: hunter2 } } } }",
    ];
    for text in text {
        let told = told(&load_yaml(text)).join("\n");
        assert!(!told.is_empty(), "{text}");
        let leaks = told.contains("hunter2") || told.contains("31337");
        assert!(!leaks, "{text}: {told}");
    }
    for text in [
        "llm:\n  providers:\n    openai:\n      api_key: [hunter2\n",
        "skills:\n  secrets:\n    GITHUB: \"hunter2\n",
        "skills:\n  secrets:\n    GITHUB: hunter2: x\n",
    ] {
        let told = fails("config.yml", text);
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn wrong_types_in_a_provider_or_connector_are_told_and_leave_it_out() {
    let loaded = load_yaml(
        "llm:\n  providers:\n    openai:\n      api_key: k\n      model: [a]\n    anthropic:\n      api_key: k\n      \
         context_tokens: -5\n    gemini:\n      api_key: k\n      base_url: nowhere\n    zai: 7\n\
         channels:\n  webhook:\n    endpoints:\n      home: { secret: s }\n  web:\n    enabled: maybe\n",
    );
    let told = told(&loaded);
    assert!(
        told[0].starts_with("line 5: llm.providers.openai: `model`: text"),
        "{told:?}"
    );
    assert!(
        told[1].starts_with("line 6: llm.providers.anthropic: "),
        "{told:?}"
    );
    assert!(
        told[2].starts_with("line 9: llm.providers.gemini: "),
        "{told:?}"
    );
    assert!(
        told[3].contains("llm.providers.zai: is not a mapping"),
        "{told:?}"
    );
    assert!(
        told[4].contains("channels.webhook: ") && told[4].contains("reply_url"),
        "{told:?}"
    );
    assert!(
        told[5].contains("channels.web: `enabled`: true or false is expected"),
        "{told:?}"
    );
    assert_eq!(told.len(), 6);
    assert!(
        loaded
            .problems
            .iter()
            .all(|p| p.severity == Severity::Error)
    );
    assert_eq!(names(&loaded.config.llm.providers), [""; 0]);
    assert_eq!(loaded.config.channels.len(), 1);
    assert_eq!(loaded.config.channels[0].settings["enabled"], false);
}

#[test]
fn a_wrong_key_leaves_the_rest_of_its_section() {
    let loaded = load_yaml("server:\n  port: 70000\n  host: here\n  max_body_bytes: 5\n");
    let told = told(&loaded);
    assert!(told[0].starts_with("line 2: server.port: "), "{told:?}");
    assert!(told[1].starts_with("line 3: server.host: "), "{told:?}");
    assert_eq!(loaded.config.server.port, 8080);
    assert_eq!(loaded.config.server.max_body_bytes, 5);
}

#[test]
fn a_variable_takes_the_type_that_is_wanted() {
    let text = "server: { port: '${PORT:-9000}' }\nmemory: { enabled: '${MEMORY}' }\n\
                llm: { providers: { openai: { api_key: '${KEY}', context_tokens: '${WINDOW}' } } }\n\
                database: { path: '${DB:-null}' }\n";
    let env = [("MEMORY", "false"), ("KEY", "123456789"), ("WINDOW", "9")];
    let loaded = load_with(text, &env);
    assert_eq!(told(&loaded), [""; 0]);
    assert_eq!(loaded.config.server.port, 9000);
    assert!(!loaded.config.memory.enabled);
    let openai = &loaded.config.llm.providers[0].settings;
    assert_eq!(openai["api_key"], "123456789");
    assert_eq!(openai["context_tokens"], 9);
    assert_eq!(loaded.config.database.path, None);
    let loaded = load_with(
        text,
        &[
            ("PORT", "http"),
            ("MEMORY", "no"),
            ("KEY", "k"),
            ("WINDOW", "1"),
        ],
    );
    assert!(told(&loaded)[0].contains("server.port: a whole number is expected, not text"));
}

#[test]
fn names_with_dots_are_one_key() {
    let loaded = load_yaml(
        "llm:\n  prices:\n    gpt-4.1: { input_per_mtok: '${UNSET}', output_per_mtok: 1 }\n    \
         own: { input_per_mtok: 1, output_per_mtok: 2.5 }\n    bad: { input_per_mtok: x, output_per_mtok: 1 }\n",
    );
    assert_eq!(loaded.config.llm.prices.keys().collect::<Vec<_>>(), ["own"]);
    let told = told(&loaded);
    assert!(
        told[0].starts_with("line 3: llm.prices.gpt-4.1: ${UNSET} is not set"),
        "{told:?}"
    );
    assert!(told[1].starts_with("line 5: llm.prices.bad: "), "{told:?}");
}

#[test]
fn unknown_keys_are_told_at_any_depth() {
    let loaded = load_yaml(
        "sever: {}\nserver: { prot: 1 }\nllm:\n  falback: []\n  prices: { m: { input_per_mtok: 1, output_per_mtok: 1, outputs: 2 } }\n  \
         providers: { openai: { api_key: k, modle: x } }\n\
         channels: { webhook: { endpoints: { home: { secret: s, reply_url: 'http://h/', sercet: x } } } }\n\
         skills: { env: { ANY: x }, secrets: { ANY: x } }\n",
    );
    let told = told(&loaded);
    for (path, meant) in [
        ("sever", "server"),
        ("server.prot", "port"),
        ("llm.falback", "fallback"),
        ("llm.prices.m.outputs", "output_per_mtok"),
        ("llm.providers.openai.modle", "model"),
        ("channels.webhook.endpoints.home.sercet", "secret"),
    ] {
        let found = told
            .iter()
            .any(|t| t.contains(&format!("{path}: ")) && t.contains(&format!("`{meant}`")));
        assert!(found, "{path}: {told:?}");
    }
    assert_eq!(told.len(), 6, "{told:?}");
    assert_eq!(names(&loaded.config.llm.providers), ["openai"]);
}

#[test]
fn words_that_mean_nothing_are_told() {
    let loaded = load_yaml("logging: { level: warning }\n");
    assert_eq!(told(&loaded), [""; 0]);
    let loaded = load_yaml(
        "logging: { level: loud }\nscheduler: { time_zone: Mars/Olympus }\n\
         llm: { default_provider: opnai, fallback: [anthropic, ollama, nobody], providers: { openai: { api_key: k }, anthropic: { api_key: '${UNSET}' } } }\n",
    );
    let told = told(&loaded);
    let has = |text: &str| assert!(told.iter().any(|t| t.contains(text)), "{text}: {told:?}");
    has("logging.level: `loud` is not one of error, warn");
    has("scheduler.time_zone: `Mars/Olympus` is no IANA name");
    has("llm.default_provider: there is no provider `opnai`, did you mean `openai`?");
    has("llm.fallback: the provider `anthropic` is off");
    has("llm.fallback: there is no provider `nobody`");
    assert_eq!(told.len(), 6, "{told:?}");
}

#[test]
fn merge_keys_are_applied() {
    let loaded = load_yaml(
        "llm:\n  providers:\n    openai: &base { api_key: k, model: one }\n    second: { <<: *base, kind: openai, model: two }\n    \
         third: { <<: [{ model: three }, *base], kind: openai }\n",
    );
    assert_eq!(told(&loaded), [""; 0]);
    let providers = &loaded.config.llm.providers;
    assert_eq!(providers[1].settings["model"], "two");
    assert_eq!(providers[1].settings["api_key"], "k");
    assert_eq!(providers[2].settings["model"], "three");
}

#[test]
fn keys_that_stand_twice_are_an_error_with_its_place() {
    let told = fails("config.json", "{\n  \"server\": {},\n  \"server\": {}\n}");
    assert!(
        told.contains("config.json:3:") && told.contains("`server` stands here twice"),
        "{told}"
    );
    let told = fails("config.yml", "server:\n  port: 1\n  port: 2\n");
    assert!(
        told.contains("config.yml:3:3: the key `port` stands here twice")
            || told.contains("stands here twice"),
        "{told}"
    );
    assert!(told.contains("config.yml:3:"), "{told}");
}

#[test]
fn aliases_cannot_multiply() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let many = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{many}]\n"));
    }
    assert!(fails("config.yml", &bomb).contains("its aliases multiply"));
    let long = "x".repeat(200_000);
    let text = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 500].join(", "));
    assert!(fails("config.yml", &text).contains("its aliases multiply"));
    assert!(fails("config.yml", &"#\n".repeat(600_000)).contains("larger than 1 MB"));
}

#[test]
fn overrides_are_typed_by_the_schema_and_keep_the_case_of_variables() {
    let env = [
        ("NEXFLOW__SERVER__PORT", "9001"),
        ("NEXFLOW__SKILLS__SECRETS__GITHUB_TOKEN", "ghp_x"),
        ("NEXFLOW__LLM__PROVIDERS__OPENAI__API_KEY", "12345678901"),
        ("NEXFLOW__LLM__PROVIDERS__OPENAI__MODEL", "a${HOME}$$b"),
        ("NEXFLOW__LLM__PROVIDERS__WORK__KIND", "openai"),
        ("NEXFLOW__LLM__PROVIDERS__WORK__CONTEXT_TOKENS", "77"),
        ("NEXFLOW__LLM__FALLBACK", "[work]"),
        ("NEXFLOW__DATA_DIR", "mine"),
        ("NEXFLOW__DATABASE__PATH", "null"),
        ("HOME", "/home/x"),
    ];
    let loaded = load_with(
        "llm: { providers: { openai: { api_key: '${UNSET}' } } }\n",
        &env,
    );
    let config = &loaded.config;
    assert_eq!(told(&loaded), [""; 0]);
    assert_eq!(config.server.port, 9001);
    assert_eq!(config.skills.secrets["GITHUB_TOKEN"].expose(), "ghp_x");
    assert_eq!(names(&config.llm.providers), ["openai", "work"]);
    let openai = &config.llm.providers[0].settings;
    assert_eq!(openai["api_key"], "12345678901");
    assert_eq!(openai["model"], "a${HOME}$$b");
    assert_eq!(config.llm.providers[1].settings["context_tokens"], 77);
    assert_eq!(config.llm.fallback, ["work"]);
    assert_eq!(config.data_dir, Path::new("/somewhere/mine"));
    assert_eq!(config.database.path, None);
    assert!(config.skills.directory.ends_with("etc/./skills"));
}

#[test]
fn a_provider_that_is_switched_off_is_left_out_in_silence() {
    let loaded = load_with(
        "llm:\n  providers:\n    openai: { enabled: false, api_key: '${UNSET}', modle: 1 }\n    \
         zai: { enabled: '${ZAI_ON}', api_key: k }\n    gemini: { enabled: true, api_key: k }\n\
         channels:\n  web: { enabled: false }\n  webhook: { enabled: false, endpoints: { a: { secret: '${UNSET}' } } }\n",
        &[("ZAI_ON", "false")],
    );
    assert_eq!(told(&loaded), [""; 0]);
    assert_eq!(names(&loaded.config.llm.providers), ["gemini"]);
    assert_eq!(names(&loaded.config.channels), ["web", "webhook"]);
    assert!(
        loaded
            .config
            .channels
            .iter()
            .all(|c| c.settings["enabled"] == false)
    );
}

#[test]
fn only_real_secrets_are_masked_by_value() {
    let mask = |text| crate::types::secret::mask(text).into_owned();
    let loaded = load_yaml(
        "llm: { providers: { a: { kind: openai, api_key: ollama }, b: { kind: openai, api_key: bench, base_url: 'http://u:pa55wordx@127.0.0.1/v1' } } }",
    );
    drop(loaded);
    assert_eq!(mask("ollama and bench"), "ollama and bench");
    assert_eq!(mask("it said pa55wordx"), "it said [secret]");
}

#[test]
fn a_secret_spoils_nothing_that_is_shown() {
    let loaded = load_yaml(
        "server: { max_body_bytes: 7654321, public_url: 'http://h/0penSesame' }\n\
         llm: { providers: { openai: { api_key: '7654321' }, zai: { api_key: 0penSesame } } }\n\
         skills: { secrets: { A: server } }\n",
    );
    let shown = loaded.config.show();
    assert_eq!(shown["server"]["max_body_bytes"], 7_654_321);
    assert_eq!(shown["server"]["public_url"], "http://h/[secret]");
    assert_eq!(shown["llm"]["providers"]["openai"]["api_key"], "[secret]");
}

#[test]
fn a_very_long_number_under_a_key_is_text() {
    let loaded =
        load_yaml("llm: { providers: { openai: { api_key: 1234567890123456789012345 } } }\n");
    assert_eq!(told(&loaded), [""; 0]);
    assert_eq!(names(&loaded.config.llm.providers), ["openai"]);
}

#[test]
fn a_long_line_is_not_repeated_as_a_whole() {
    let text = format!("{{\"a\": \"{}\", \"b\": ]}}", "x".repeat(5000));
    let told = fails("config.json", &text);
    assert!(told.len() < 600 && told.contains(']'), "{told}");
}

#[test]
fn order_is_kept_when_one_is_off() {
    let loaded = load_yaml(
        "llm: { providers: { anthropic: { api_key: '${UNSET}' }, openai: { api_key: k }, gemini: { api_key: k }, zai: { api_key: k } } }",
    );
    assert_eq!(
        names(&loaded.config.llm.providers),
        ["openai", "gemini", "zai"]
    );
}

#[test]
fn an_empty_file_is_the_defaults() {
    for (name, text) in [
        ("c.yml", ""),
        ("c.yml", "# nothing\n"),
        ("c.yml", "---\n"),
        ("c.json", " "),
    ] {
        let loaded = load_file(name, text, &[]).unwrap();
        assert_eq!(told(&loaded), [""; 0], "{text:?}");
        assert_eq!(loaded.config.server.port, 8080);
    }
    assert!(fails("c.yml", "just text").contains("a mapping of sections"));
}

#[test]
fn approvals_that_are_not_understood_in_full_ask_about_everything() {
    use crate::policy::Choice;
    let good = "approvals:\n  rules:\n    - { skill: a, decision: allow }\n";
    let loaded = load_yaml(good);
    assert_eq!(loaded.config.approvals.rules.len(), 1);
    assert_eq!(loaded.config.approvals.default, Choice::Allow);
    for bad in [
        // A misspelt key would make a rule fit everything.
        "approvals:\n  rules:\n    - { skil: a, decision: allow }\n",
        "approvals:\n  rules:\n    - { skill: a, decision: alow }\n",
        "approvals:\n  rules:\n    - { skill: a }\n",
        "approvals: { defualt: deny }\n",
        "approvals: deny\n",
        "approvals:\n  rules:\n    - { skill: a, when: { path: '${NOT_SET}' }, decision: allow }\n",
    ] {
        let loaded = load_yaml(bad);
        assert_eq!(loaded.config.approvals.default, Choice::Ask, "{bad}");
        assert!(loaded.config.approvals.rules.is_empty(), "{bad}");
        let told = told(&loaded).join("\n");
        assert!(told.contains("every call asks"), "{told}");
    }
}

mod example;

#[test]
fn a_grant_that_cannot_be_read_is_told_with_its_place() {
    let loaded = load_yaml(
        "skills: { grants: { a: ['network:example.org:443', 'secret:KEY@example.org'] } }\n",
    );
    assert_eq!(told(&loaded), Vec::<String>::new());
    assert_eq!(loaded.config.skills.grants["a"].len(), 2);
    let loaded = load_yaml("skills:\n  grants:\n    a: [shell, 'network:here']\n");
    let told = told(&loaded);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("skills.grants: "), "{told:?}");
    assert!(told[0].contains("`network:here`"), "{told:?}");
}
