//! The first words of a connection that is not looked into: whom its TLS names. A server for many
//! names goes by that word, so it must be the one that was granted.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_rustls::rustls::server::Acceptor;

use super::Host;

/// First byte of a TLS handshake.
const HANDSHAKE: u8 = 22;
/// Longest first message that is waited for.
const LONGEST: usize = 64 << 10;
/// Where only TLS is spoken.
const HTTPS: u16 = 443;

/// Reads as much as tells who is meant; all of it is to be passed on.
///
/// # Errors
/// Where somebody else is meant, or nobody can tell.
pub(super) async fn first(
    from: &mut (impl AsyncRead + Unpin),
    (host, port): (&Host, u16),
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let read = from.read_buf(&mut bytes).await?;
        match bytes.first() {
            Some(&HANDSHAKE) => {}
            Some(_) if port == HTTPS => {
                return Err(io::Error::other("what is sent to port 443 is not TLS"));
            }
            _ => return Ok(bytes),
        }
        match named(&bytes) {
            Ok(Named::This(name)) => return is_meant(&name, host).map(|()| bytes),
            Ok(Named::Nobody) => return Ok(bytes),
            Ok(Named::Incomplete) if read == 0 || bytes.len() >= LONGEST => {
                return Err(io::Error::other("the TLS handshake is not complete"));
            }
            Ok(Named::Incomplete) => {}
            Err(why) => return Err(io::Error::other(format!("not a TLS handshake: {why}"))),
        }
    }
}

/// Whom a `ClientHello` names.
enum Named {
    This(String),
    Nobody,
    /// More of it must come.
    Incomplete,
}

fn named(bytes: &[u8]) -> Result<Named, String> {
    let mut acceptor = Acceptor::default();
    let mut left = bytes;
    while !left.is_empty() {
        acceptor.read_tls(&mut left).map_err(|e| e.to_string())?;
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let name = hello.server_name().map(str::to_owned);
                return Ok(name.map_or(Named::Nobody, Named::This));
            }
            Ok(None) => {}
            Err((error, _)) => return Err(error.to_string()),
        }
    }
    Ok(Named::Incomplete)
}

/// An address stands for what answers there without a name, and for no other name's server.
fn is_meant(named: &str, host: &Host) -> io::Result<()> {
    let asked = match host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
    };
    if named.trim_end_matches('.').eq_ignore_ascii_case(&asked) {
        return Ok(());
    }
    let why = format!("its TLS names {named}, and {host} was asked for");
    Err(io::Error::other(why))
}
