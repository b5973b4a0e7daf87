use std::sync::Mutex;

use async_trait::async_trait;

use super::{send::send, *};
use crate::{
    connectors::{Abilities, Condition, Connector, Found, Inbox, Posts, Resend},
    orchestrator::rig::{Rig, Wrong, later, until},
    types::{Address, MessageId, Outgoing, SessionId},
};

/// A platform that keeps what it is sent.
struct Platform {
    resend: Resend,
    found: Option<String>,
    sent: Mutex<Vec<Outgoing>>,
}

/// What was posted.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

#[async_trait]
impl Posts for Seen {
    async fn add(&self, post: &str) -> std::result::Result<(), ConnectorError> {
        self.0.lock().unwrap().push(post.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Connector for Platform {
    async fn run(
        &self,
        _inbox: &dyn Inbox,
        _cancel: CancellationToken,
    ) -> std::result::Result<(), ConnectorError> {
        Ok(())
    }

    async fn send(
        &self,
        _to: &Address,
        what: &Outgoing,
        posts: &dyn Posts,
    ) -> std::result::Result<(), ConnectorError> {
        self.sent.lock().unwrap().push(what.clone());
        for part in ["1", "2"].iter().skip(what.posted.len()) {
            posts.add(part).await?;
        }
        Ok(())
    }

    async fn find(
        &self,
        _to: &Address,
        _what: &Outgoing,
    ) -> std::result::Result<Found, ConnectorError> {
        Ok(self.found.clone().into())
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            resend: self.resend,
            ..Abilities::default()
        }
    }
}

fn parcel(unsure: bool) -> Parcel {
    let to = (Address::new("platform", "", "c"), "u".to_owned());
    let ids = (MessageId::new(), SessionId::new());
    Parcel {
        unsure,
        ..Parcel::new(ids, to, "the answer".to_owned(), Timestamp(0))
    }
}

/// What was posted in one try, and whether it said that it may be there already.
async fn sent(resend: Resend, found: Option<&str>, unsure: bool) -> (Vec<String>, bool) {
    let platform = Platform {
        resend,
        found: found.map(str::to_owned),
        sent: Mutex::default(),
    };
    let (parcel, seen) = (parcel(unsure), Seen::default());
    let what = send::outgoing(&parcel);
    send(&platform, &parcel, what, &seen).await.unwrap();
    let sent = platform.sent.into_inner().unwrap();
    assert_eq!(sent[0].idempotency_key, parcel.id.to_string());
    (seen.0.into_inner().unwrap(), sent[0].again)
}

#[tokio::test]
async fn what_may_have_arrived_is_settled_as_the_platform_lets_us() {
    let both = vec!["1".to_owned(), "2".to_owned()];
    for resend in [Resend::Marked, Resend::WithKey, Resend::ReadBack] {
        assert_eq!(sent(resend, None, false).await, (both.clone(), false));
    }
    assert_eq!(
        sent(Resend::WithKey, None, true).await,
        (both.clone(), false)
    );
    assert_eq!(sent(Resend::Marked, None, true).await, (both.clone(), true));
    // Read back: only what is not there is sent.
    assert_eq!(sent(Resend::ReadBack, None, true).await, (both, false));
    let (posts, again) = sent(Resend::ReadBack, Some("17"), true).await;
    assert_eq!((posts.join(" "), again), ("17 2".to_owned(), false));
}

/// Three parts, and a kill after each of them was posted and before that was written down.
async fn killed_between_parts(resend: Resend) -> Vec<String> {
    let rig = Rig::new(resend, Duration::from_millis(50));
    let turn = rig.turn("c").await;
    rig.platform.breaks("c", [Wrong::Hangs]);
    let mut tasks = rig.runs();
    let id = rig.answers(&turn, "one\n---\ntwo\n---\nthree").await;
    for n in 0..3 {
        until("a part is posted", || rig.platform.posts().len() > n).await;
        drop(tasks);
        let more = if n < 2 {
            vec![Wrong::Hangs]
        } else {
            Vec::new()
        };
        rig.platform.breaks("c", more);
        tasks = rig.runs();
    }
    while rig.parcel(id).await.state != "delivered" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let parcel = rig.parcel(id).await;
    assert_eq!(parcel.posts.len(), 3, "{:?}", parcel.posts);
    rig.platform.texts()
}

#[tokio::test]
async fn only_the_part_that_was_not_written_down_is_unsure() {
    assert_eq!(
        killed_between_parts(Resend::ReadBack).await,
        ["one", "two", "three"]
    );
}

#[tokio::test]
async fn what_goes_to_one_chat_goes_in_order_and_a_slow_one_holds_up_nobody() {
    let rig = Rig::new(Resend::WithKey, Duration::from_millis(50));
    rig.platform.breaks(
        "slow",
        [
            Wrong::Fails(later(Duration::from_millis(300))),
            Wrong::Fails(later(Duration::from_millis(300))),
        ],
    );
    rig.platform.breaks("stuck", [Wrong::Hangs]);
    let _tasks = rig.runs();
    for (chat, text) in [("stuck", "0"), ("slow", "1"), ("slow", "2"), ("slow", "3")] {
        let turn = rig.turn(chat).await;
        rig.answers(&turn, text).await;
    }
    for n in 0..64 {
        let turn = rig.turn(&format!("quick-{n}")).await;
        rig.answers(&turn, "quick").await;
    }
    let of = |chat: &str| {
        let posts = rig.platform.posts().into_iter();
        let those = posts.filter(|p| p.chat.starts_with(chat)).map(|p| p.text);
        those.collect::<Vec<_>>()
    };
    until("the others have theirs", || of("quick").len() == 64).await;
    until("all is there", || of("slow").len() == 3).await;
    assert_eq!(of("slow"), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_word_is_added_where_nothing_can_tell() {
    let rig = Rig::new(Resend::Marked, Duration::from_millis(50));
    rig.platform.breaks("c", [Wrong::Lost]);
    let _tasks = rig.runs();
    let turn = rig.turn("c").await;
    rig.answers(&turn, "the answer").await;
    until("it is sent again", || rig.platform.posts().len() == 2).await;
    let said = "the answer\n\n*(sent again after a restart: you may have this already)*";
    assert_eq!(rig.platform.texts(), ["the answer", said]);
}

/// The tries of a parcel, once it is delivered.
async fn settled(rig: &Rig, id: MessageId) -> Vec<attempts::Attempt> {
    while rig.parcel(id).await.state != "delivered" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let read = rig.core.parts.store.read(move |c| attempts::of(c, id));
    read.await.unwrap()
}

#[tokio::test]
async fn while_a_platform_is_not_heard_no_try_counts_and_then_all_goes_at_once() {
    let rig = Rig::new(Resend::WithKey, Duration::from_millis(50));
    rig.platform.state().stands = Condition::Failing;
    let away = ConnectorError::Later {
        reason: "it is not reached".to_owned(),
        after: None,
    };
    rig.platform.breaks("c", [Wrong::Fails(away)]);
    let _tasks = rig.runs();
    let turn = rig.turn("c").await;
    let id = rig.answers(&turn, "the answer").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let parcel = rig.parcel(id).await;
    assert_eq!((parcel.state.as_str(), parcel.attempts), ("retry", 0));
    assert!(rig.platform.texts().is_empty());
    rig.platform.state().stands = Condition::Ok;
    until("it is there", || rig.platform.texts() == ["the answer"]).await;
    let tries: Vec<(u32, String)> = settled(&rig, id)
        .await
        .into_iter()
        .map(|t| (t.n, t.outcome))
        .collect();
    assert_eq!(
        tries,
        [(1, "retry".to_owned()), (2, "delivered".to_owned())]
    );
}

#[tokio::test]
async fn a_platform_that_says_when_to_come_again_is_not_given_up() {
    let rig = Rig::new(Resend::WithKey, Duration::from_millis(50));
    let soon = || Wrong::Fails(later(Duration::from_millis(5)));
    rig.platform
        .breaks("c", std::iter::repeat_with(soon).take(30));
    let _tasks = rig.runs();
    let turn = rig.turn("c").await;
    let id = rig.answers(&turn, "the answer").await;
    until("it is there", || rig.platform.texts() == ["the answer"]).await;
    assert_eq!(settled(&rig, id).await.len(), 31);
}
