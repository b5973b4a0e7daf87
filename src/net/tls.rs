//! What the daemon trusts when it speaks TLS by itself: Mozilla's roots and the system's, as every
//! client of [`super::Http`] does. `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio_rustls::rustls::{
    ClientConfig, Error, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
};

/// The system's certificates, read once.
static SYSTEM: LazyLock<Vec<CertificateDer<'static>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!("certificates of the system: {error}");
    }
    found.certs
});

static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(SYSTEM.iter().cloned());
    Arc::new(roots)
});

static BUNDLE: LazyLock<String> = LazyLock::new(|| SYSTEM.iter().map(|c| pem(c)).collect());

/// The one implementation of ciphers and signatures.
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// For connections to servers that are verified; speaks HTTP/1.1 and nothing else. The first call
/// reads files.
///
/// # Errors
/// Never on a working build.
pub fn client() -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(&ROOTS))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's certificates as a PEM file. The first call reads files.
pub fn bundle() -> &'static str {
    &BUNDLE
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        writeln!(out, "{}", String::from_utf8_lossy(line)).ok();
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}
