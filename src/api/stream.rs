//! Following a session: what was missed out of the store, then what happens, in order and once.

use std::sync::Arc;

use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{App, error::ApiResult};
use crate::{
    store::frames,
    types::{SessionId, frame::Frame},
};

/// Missed frames that are replayed; a page that missed more loads the session anew.
const REPLAY: u32 = 5000;

/// A place in a session from which it is followed.
pub(super) struct Following {
    missed: std::vec::IntoIter<Arc<Frame>>,
    live: Receiver<Arc<Frame>>,
    seen: i64,
}

/// Follows a session from after `seq`; with none, from now on.
pub(super) async fn follow(
    app: &App,
    session: SessionId,
    seq: Option<i64>,
) -> ApiResult<Following> {
    let joined = app.agent.parts().bus.watch(session);
    let Some(after) = seq else {
        return Ok(Following {
            missed: Vec::new().into_iter(),
            live: joined.live,
            seen: 0,
        });
    };
    let upto = joined.upto;
    let kept = app
        .store()
        .read(move |c| frames::between(c, session, (after, upto), REPLAY))
        .await?;
    let mut missed: Vec<Arc<Frame>> = kept.into_iter().map(Arc::new).collect();
    missed.extend(joined.pieces.into_iter().filter(|piece| piece.seq > after));
    missed.sort_by_key(|frame| frame.seq);
    Ok(Following {
        missed: missed.into_iter(),
        live: joined.live,
        seen: after,
    })
}

impl Following {
    /// The next frame; none when the follower fell too far behind and has to come again.
    pub(super) async fn next(&mut self) -> Option<Arc<Frame>> {
        loop {
            let frame = match self.missed.next() {
                Some(frame) => frame,
                None => match self.live.recv().await {
                    Ok(frame) => frame,
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                },
            };
            if frame.seq > self.seen {
                self.seen = frame.seq;
                return Some(frame);
            }
        }
    }

    /// As a stream.
    pub(super) fn into_stream(self) -> impl Stream<Item = Arc<Frame>> {
        stream::unfold(self, |mut following| async move {
            following.next().await.map(|frame| (frame, following))
        })
    }
}
