//! A wire that can be cut: connections go through while it is whole.

use std::net::SocketAddr;

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
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, server, seen.clone()));
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
