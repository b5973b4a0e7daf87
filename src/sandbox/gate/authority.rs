//! The certificate authority of one run. Its key lives in the daemon's memory and ends with the
//! run, so its dates say nothing and are fixed.

use std::{fmt, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};

use super::Host;
use crate::net::tls;

/// Makes certificates that one run trusts, and nobody else.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one with a key of its own; well below a millisecond.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn new() -> Result<Self, String> {
        let made = || {
            let mut params = params("Nexflow, one run of a skill")?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        let issuer = made().map_err(|e: Error| e.to_string())?;
        Ok(Self { issuer })
    }

    /// Its certificate, for the run to trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// How to be this host towards the run.
    pub(super) fn server(&self, host: &Host) -> Result<Arc<ServerConfig>, String> {
        let leaf = || {
            let mut params = params("Nexflow's gate")?;
            params.subject_alt_names = vec![match host {
                Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
                Host::Address(ip) => SanType::IpAddress(*ip),
            }];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok((certificate, key))
        };
        let (certificate, key) = leaf().map_err(|e: Error| e.to_string())?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(tls::crypto())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|e| e.to_string())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn params(name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    params.distinguished_name = distinguished;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use tokio_rustls::{
        TlsAcceptor, TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            pki_types::{CertificateDer, ServerName, pem::PemObject as _},
        },
    };

    use super::{super::host, *};

    async fn believed(of: &Authority, by: &Authority, place: &str, asked: &str) -> bool {
        let mut roots = RootCertStore::empty();
        let pem = by.pem();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let client = ClientConfig::builder_with_provider(tls::crypto())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(16 << 10);
        let server = of.server(&host(place).unwrap()).unwrap();
        let name = ServerName::try_from(asked.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::new(client)).connect(name, near);
        let accepting = TlsAcceptor::from(server).accept(far);
        let (connected, _) = tokio::join!(connecting, accepting);
        connected.is_ok()
    }

    #[tokio::test]
    async fn it_vouches_for_one_host_within_its_run() {
        let (one, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        assert!(believed(&one, &one, "api.example.org", "api.example.org").await);
        assert!(believed(&one, &one, "127.0.0.1", "127.0.0.1").await);
        assert!(believed(&one, &one, "[fd00::1]", "fd00::1").await);
        assert!(!believed(&one, &one, "api.example.org", "example.org").await);
        assert!(!believed(&one, &other, "api.example.org", "api.example.org").await);
        assert!(!one.pem().contains("PRIVATE") && !format!("{one:?}").contains("key"));
    }

    #[test]
    fn making_one_takes_no_time_to_speak_of() {
        let began = std::time::Instant::now();
        for _ in 0..20 {
            Authority::new().unwrap();
        }
        let each = began.elapsed() / 20;
        eprintln!("an authority: {each:?}");
        assert!(each < std::time::Duration::from_millis(50), "{each:?}");
    }
}
