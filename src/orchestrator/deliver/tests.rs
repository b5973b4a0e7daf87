use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::{
    connectors::{Abilities, Inbox},
    types::{Address, MessageId, SessionId},
};

/// A platform that keeps what it is sent.
struct Platform {
    resend: Resend,
    found: Option<Receipt>,
    sent: Mutex<Vec<Outgoing>>,
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
    ) -> std::result::Result<Receipt, ConnectorError> {
        self.sent.lock().unwrap().push(what.clone());
        Ok(Receipt::default())
    }

    async fn find(
        &self,
        _to: &Address,
        _what: &Outgoing,
    ) -> std::result::Result<Option<Receipt>, ConnectorError> {
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
    Parcel {
        id: MessageId::new(),
        session: SessionId::new(),
        turn: None,
        in_reply_to: None,
        also_in_reply_to: Vec::new(),
        to: Address::new("platform", "", "c"),
        external_user: "u".to_owned(),
        text: "the answer".to_owned(),
        state: "sending".to_owned(),
        attempts: 1,
        next_at: Timestamp(0),
        last_error: None,
        unsure,
        created_at: Timestamp(0),
        decided_at: None,
        notice: false,
        finished_at: None,
    }
}

async fn sent(resend: Resend, found: Option<Receipt>, unsure: bool) -> (Receipt, Vec<String>) {
    let platform = Platform {
        resend,
        found,
        sent: Mutex::default(),
    };
    let parcel = parcel(unsure);
    let receipt = send(&platform, &parcel).await.unwrap();
    let sent = platform.sent.into_inner().unwrap();
    assert!(
        sent.iter()
            .all(|what| what.idempotency_key == parcel.id.to_string())
    );
    (receipt, sent.into_iter().map(|what| what.text).collect())
}

#[tokio::test]
async fn what_may_have_arrived_is_settled_as_the_platform_lets_us() {
    let plain = ["the answer".to_owned()];
    for resend in [Resend::Marked, Resend::WithKey, Resend::ReadBack] {
        assert_eq!(sent(resend, None, false).await.1, plain);
    }
    assert_eq!(sent(Resend::WithKey, None, true).await.1, plain);
    let marked = sent(Resend::Marked, None, true).await.1;
    assert_eq!(marked, [format!("the answer{AGAIN}")]);
    // Read back: sent again only if it is not there.
    assert_eq!(sent(Resend::ReadBack, None, true).await.1, plain);
    let there = Receipt {
        post: Some("17".to_owned()),
    };
    let (receipt, again) = sent(Resend::ReadBack, Some(there.clone()), true).await;
    assert_eq!((receipt, again.len()), (there, 0));
}
