//! Much at once, and much for long: in order, without loss, and never faster than Discord lets a bot.

use std::time::{Duration, Instant};

use super::{Stage, said};
use crate::support::{
    discord::{FRIEND, FRIEND_DM, GARDEN, OWNER, OWNER_DM},
    eventually,
    model::{Act, echo},
};

/// The messages that a channel's posts answer, in their order.
fn answered(stage: &Stage, channel: &str) -> Vec<String> {
    let texts: Vec<String> = stage.discord.posts(channel).iter().map(said).collect();
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    let names = words.filter(|word| word.starts_with("msg"));
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_are_answered_in_order() {
    let places: Vec<(String, String)> = (0..50)
        .map(|n| {
            (
                format!("8400000000000{n:05}"),
                format!("7400000000000{n:05}"),
            )
        })
        .collect();
    let people: Vec<String> = places.iter().map(|(_, who)| format!("'{who}'")).collect();
    let lists = format!("allowed_users: [{}]", people.join(", "));
    let stage = Stage::new([Act::Think(echo)], &lists).await;
    let began = Instant::now();
    for n in 0..20 {
        for (channel, who) in &places {
            stage.discord.say(channel, who, &format!("msg{n:02}"));
        }
    }
    let there = || -> usize { places.iter().map(|(c, _)| answered(&stage, c).len()).sum() };
    while there() < 1000 {
        assert!(
            began.elapsed() < Duration::from_mins(4),
            "{} of 1000 were answered",
            there()
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let took = began.elapsed();
    // What comes twice, comes soon.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let wanted: Vec<String> = (0..20).map(|n| format!("msg{n:02}")).collect();
    for (channel, _) in &places {
        assert_eq!(answered(&stage, channel), wanted, "in {channel}");
    }
    let asked = stage.discord.seen().len();
    eprintln!("Discord: 1000 messages in {took:.1?}, {asked} requests");
    assert_eq!(stage.discord.too_fast(), 0);
    assert_eq!(
        stage.discord.sessions(),
        (1, 0),
        "the connection did not last"
    );
    assert!(!stage.daemon.log().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn long_streams_stay_under_the_rate_and_heed_a_global_limit() {
    const WORDS: usize = 180;
    let words: Vec<String> = (0..WORDS).map(|n| format!("w{n}")).collect();
    let answer = words.join(" ");
    let slow = Act::Slowly(answer.clone(), Duration::from_millis(100));
    let rooms = format!("rooms: {{ '{GARDEN}': {{ always_answer: true }} }}");
    let stage = Stage::new([slow], &rooms).await;
    // What Discord really lets a bot do in a channel.
    stage
        .discord
        .mood(|mood| mood.window = (5, Duration::from_secs(5)));
    let places = [(OWNER_DM, OWNER), (FRIEND_DM, FRIEND), (GARDEN, FRIEND)];
    for (channel, user) in places {
        stage.discord.say(channel, user, "count");
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    // In the middle of it Discord asks for three seconds of silence, on every route.
    stage.discord.mood(|mood| mood.storm = (1, 3.0, true));
    for (channel, _) in places {
        eventually(&format!("{channel} has it all"), || async {
            let posts = stage.discord.posts(channel);
            posts.len() == 1 && said(&posts[0]) == answer && posts[0]["flags"] == 0
        })
        .await;
    }
    let seen = stage.discord.seen();
    let stop = seen.iter().find(|s| s.status == 429).unwrap().at;
    // What was on its way already is no fault.
    let silence = Duration::from_millis(200)..Duration::from_millis(2900);
    let early = seen
        .iter()
        .filter(|s| s.at > stop && silence.contains(&s.at.duration_since(stop)));
    assert_eq!(early.count(), 0, "it was asked in spite of a global limit");
    let edits = seen.iter().filter(|s| s.method == "PATCH").count();
    eprintln!("Discord: {edits} edits in {} channels", places.len());
    assert!((24..=60).contains(&edits), "{edits} edits");
    assert_eq!(seen.iter().filter(|s| s.status == 429).count(), 1);
    assert_eq!(stage.discord.too_fast(), 0);
}
