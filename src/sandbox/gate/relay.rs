//! Passing bytes between a program and a server, counted and bounded.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    super::either_way,
    Host, hello,
    meter::{Meter, Way},
    request::{Kind, Request},
};

/// Passes what it does not look into.
pub(super) struct Relay<'a> {
    pub(super) meter: &'a Meter,
}

impl Relay<'_> {
    /// Until both sides are done. Either may end first: a server may answer before it has read all.
    pub(super) async fn run(
        &self,
        request: Request,
        client: TcpStream,
        server: TcpStream,
    ) -> io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let (from_server, mut to_server) = server.into_split();
        let early = io::Cursor::new(request.rest);
        match request.kind {
            Kind::Tunnel | Kind::Direct => {
                if request.kind == Kind::Tunnel {
                    let said = b"HTTP/1.1 200 Connection established\r\n\r\n";
                    to_client.write_all(said).await?;
                }
                let meant = (&request.host, request.port);
                let up = self.up(early.chain(from_client), &mut to_server, meant);
                let down = self.pump(from_server, &mut to_client, Way::Down);
                let (up, down) = tokio::join!(up, down);
                up.and(down)
            }
            Kind::Forward { head, body } => {
                // One request, one host: nothing behind the announced body goes out.
                let all = io::Cursor::new(head).chain(early.chain(&mut from_client).take(body));
                let up = self.pass(all, &mut to_server, Way::Up);
                let down = self.pump(from_server, &mut to_client, Way::Down);
                let (up, down) = tokio::join!(up, down);
                linger(from_client).await;
                up.and(down)
            }
        }
    }

    /// What the program sends, once its first words are for the host that was asked for.
    async fn up(
        &self,
        mut from: impl AsyncRead + Unpin,
        to: &mut (impl AsyncWrite + Unpin),
        meant: (&Host, u16),
    ) -> io::Result<()> {
        match hello::first(&mut from, meant).await {
            Ok(bytes) => {
                self.meter.take(Way::Up, bytes.len() as u64)?;
                to.write_all(&bytes).await?;
                self.pump(from, to, Way::Up).await
            }
            Err(error) => {
                self.meter.refuse(&error.to_string());
                // The server ends then too.
                either_way(to.shutdown().await);
                Err(error)
            }
        }
    }

    /// To the end, which is passed on.
    async fn pump(
        &self,
        from: impl AsyncRead + Unpin,
        to: &mut (impl AsyncWrite + Unpin),
        way: Way,
    ) -> io::Result<()> {
        self.pass(from, to, way).await?;
        to.shutdown().await
    }

    async fn pass(
        &self,
        mut from: impl AsyncRead + Unpin,
        to: &mut (impl AsyncWrite + Unpin),
        way: Way,
    ) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(16 << 10);
        loop {
            buffer.clear();
            let read = from.read_buf(&mut buffer).await? as u64;
            if read == 0 {
                return Ok(());
            }
            self.meter.take(way, read)?;
            to.write_all(&buffer).await?;
        }
    }
}

/// Reads what a client still sends, for a moment: closing on unread bytes would cut off the answer
/// that is on its way.
pub(super) async fn linger(mut client: impl AsyncRead + Unpin) {
    let all = async {
        let mut buffer = [0; 4096];
        while client.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    };
    either_way(timeout(Duration::from_secs(1), all).await);
}
