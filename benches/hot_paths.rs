//! What runs for every message or every streamed piece: `cargo bench`. Whole processes are measured by
//! `nexflow bench`.

use divan::{Bencher, black_box};
use nexflow::{
    net::sse::Parser,
    schedule::When,
    skills::manifest,
    types::{Clock, Secret, chat::estimate_tokens, secret::mask, text::clean},
};

fn main() {
    divan::main();
}

/// Ten thousand words of output.
fn words() -> String {
    "the quick brown fox jumps over the lazy dog \u{1b}[31mred\u{1b}[0m\n".repeat(1000)
}

#[divan::bench]
fn mask_with_twenty_secrets(bencher: Bencher<'_, '_>) {
    let _secrets: Vec<Secret> = (0..20)
        .map(|n| Secret::new(format!("a-secret-of-the-benchmark-{n}")))
        .collect();
    let text = words();
    bencher.bench(|| mask(black_box(&text)).len());
}

#[divan::bench]
fn clean_output(bencher: Bencher<'_, '_>) {
    let text = words();
    bencher.bench(|| clean(black_box(&text)).len());
}

#[divan::bench]
fn estimate(bencher: Bencher<'_, '_>) {
    let text = words();
    bencher.bench(|| estimate_tokens(black_box(&text)));
}

#[divan::bench]
fn understand_a_time(bencher: Bencher<'_, '_>) {
    let now = Clock::system().now();
    bencher.bench(|| When::parse(black_box("tomorrow at 9"), now, chrono_tz::Europe::Berlin));
}

#[divan::bench]
fn read_a_manifest(bencher: Bencher<'_, '_>) {
    let text = include_bytes!("../skills/shell-run/SKILL.md");
    bencher.bench(|| manifest::parse(black_box(text), "shell-run"));
}

#[divan::bench]
fn split_a_stream(bencher: Bencher<'_, '_>) {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"word \"}}]}\n\n".repeat(1000);
    bencher.bench(|| {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in stream.as_bytes().chunks(1400) {
            parser.push(black_box(piece), &mut events).ok();
        }
        events.len()
    });
}
