//! Bodies on their way through the gate.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};

use super::mask::Mask;

/// Any body.
pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// One that is there.
pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// One that streams through a mask. What comes behind its data (trailers) is left out.
#[derive(Debug)]
pub(super) struct Masked {
    incoming: Incoming,
    mask: Mask,
    done: bool,
}

impl Masked {
    pub(super) fn new(incoming: Incoming, mask: Mask) -> Self {
        Self {
            incoming,
            mask,
            done: false,
        }
    }
}

impl hyper::body::Body for Masked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        while !self.done {
            let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
            let piece = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.mask.push(&data),
                    Err(_trailers) => continue,
                },
                Some(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.done = true;
                    self.mask.finish()
                }
            };
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
        }
        Poll::Ready(None)
    }
}
