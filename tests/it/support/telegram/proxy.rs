//! A wire that can be cut: connections go through while it is whole.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Whole,
    /// Connections are closed, and new ones are closed at once.
    Cut,
    /// Connections are closed, and nobody listens any more.
    Refused,
    /// Nothing moves, and nothing is closed.
    Deaf,
}

pub struct Wire {
    state: watch::Sender<State>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    #[expect(clippy::disallowed_methods, reason = "the wire ends with the test")]
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, seen) = watch::channel(State::Whole);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let (mut listener, mut now) = (Some(listener), seen.clone());
            loop {
                let refuses = *now.borrow_and_update() == State::Refused;
                if refuses {
                    listener = None;
                } else if listener.is_none() {
                    listener = TcpListener::bind(address).await.ok();
                }
                let Some(there) = &listener else {
                    // Until somebody says otherwise; a port that is not free yet is tried again.
                    tokio::select! {
                        _ = now.changed() => {}
                        () = tokio::time::sleep(Duration::from_millis(50)), if !refuses => {}
                    }
                    continue;
                };
                tokio::select! {
                    _ = now.changed() => {}
                    Ok((stream, _)) = there.accept() => {
                        connections.spawn(carry(stream, server, seen.clone()));
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            state,
            address,
            task,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn carry(mut stream: TcpStream, server: SocketAddr, mut state: watch::Receiver<State>) {
    // A connection that came while nothing moved is not carried afterwards either.
    if *state.borrow() == State::Whole {
        let Ok(mut onward) = TcpStream::connect(server).await else {
            return;
        };
        tokio::select! {
            _ = copy_bidirectional(&mut stream, &mut onward) => return,
            _ = state.wait_for(|s| *s != State::Whole) => {}
        }
        drop(state.wait_for(|s| *s != State::Deaf).await);
    } else {
        drop(state.wait_for(|s| *s != State::Deaf).await);
    }
}
