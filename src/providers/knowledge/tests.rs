use serde_json::json;

use super::*;

#[test]
fn the_longest_beginning_counts_and_unknown_is_unknown() {
    let input = |kind, model| {
        let price = listed(kind, model).price;
        price.map(|price| price.input_per_mtok.to_string())
    };
    let is = |kind, model, price: &str| {
        assert_eq!(input(kind, model).as_deref(), Some(price), "{model}");
    };
    is("openai", "gpt-4o-2024-08-06", "2.5");
    is("openai", "gpt-4o-mini", "0.15");
    is("anthropic", "claude-sonnet-4-5-20250929", "3.0");
    is("anthropic", "claude-opus-4-5", "5.0");
    is("anthropic", "claude-opus-4-1-20250805", "15.0");
    for (kind, model) in [
        ("openai", "o3-pro-x"),
        ("openai", "gpt-99"),
        ("custom", "gpt-4o"),
        ("openai", ""),
    ] {
        assert_eq!(input(kind, model), None, "{kind} {model}");
    }
}

#[test]
fn the_file_can_be_read_and_says_when_and_where_it_is_from() {
    let file: Value = serde_json::from_str(include_str!("../models.json")).unwrap();
    assert!(file["date"].as_str().unwrap().starts_with("20"));
    assert!(file["source"].as_str().unwrap().len() > 10);
    let rows = &File::get().models;
    assert_eq!(as_of(), file["date"]);
    assert_eq!(rows.len(), file["models"].as_array().unwrap().len());
    for row in rows {
        assert!(
            crate::providers::Kind::named(&row.kind).is_some(),
            "{}",
            row.kind
        );
        assert!(row.facts.context_tokens.is_some_and(|n| n >= 8_000));
    }
}

#[test]
fn the_owner_goes_first_then_the_provider_then_the_file() {
    let stated = Facts {
        context_tokens: Some(5),
        ..Facts::default()
    };
    let knowledge = Knowledge::new("openai", "gpt-4o", stated);
    let unknown = Facts {
        tools: Some(false),
        ..Facts::default()
    };
    let before = knowledge.about("p", "gpt-4o", unknown);
    assert_eq!((before.context_tokens, before.images), (5, true));
    assert!(before.tools);
    // A price of the file is told as such, elsewhere.
    assert!(before.price.is_none() && knowledge.of("gpt-4o").price.is_some());
    let told = Facts {
        context_tokens: Some(7),
        images: Some(false),
        ..Facts::default()
    };
    knowledge.tell("gpt-4o", told);
    knowledge.tell("other", told);
    let after = knowledge.about("p", "gpt-4o", unknown);
    assert_eq!((after.context_tokens, after.images), (5, false));
    assert_eq!(knowledge.about("p", "other", unknown).context_tokens, 7);
    assert!(!knowledge.about("p", "third", unknown).tools);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_asked_once_and_again_only_after_a_while() {
    let knowledge = Knowledge::new("custom", "m", Facts::default());
    assert!(knowledge.wants("m") && !knowledge.wants("m") && knowledge.wants("n"));
    tokio::time::advance(AGAIN).await;
    assert!(knowledge.wants("m"));
    knowledge.tell("m", Facts::default());
    tokio::time::advance(AGAIN).await;
    assert!(!knowledge.wants("m"));
    let everything: Facts = serde_json::from_value(json!({
        "context_tokens": 1, "max_output_tokens": 1, "tools": true, "images": true,
        "price": { "input_per_mtok": 1, "output_per_mtok": 1 },
    }))
    .unwrap();
    assert!(!Knowledge::new("custom", "m", everything).wants("m"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_wait_for_what_is_learnt() {
    let answer = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        7
    };
    assert_eq!(meanwhile(answer, std::future::pending()).await, 7);
    let mut learnt = false;
    let learn = async { learnt = true };
    assert_eq!(
        meanwhile(
            async {
                tokio::task::yield_now().await;
                7
            },
            learn
        )
        .await,
        7
    );
    assert!(learnt);
}
