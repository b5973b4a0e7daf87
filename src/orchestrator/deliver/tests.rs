use std::sync::Mutex;

use async_trait::async_trait;

use super::{send::send, *};
use crate::{
    connectors::{Abilities, Connector, Inbox, Posts, Resend},
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
    ) -> std::result::Result<Option<String>, ConnectorError> {
        Ok(self.found.clone())
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
