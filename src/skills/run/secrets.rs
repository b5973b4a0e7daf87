//! Secrets that are bound to hosts: the program gets handles, and a certificate authority of its own
//! that vouches for the gate where the gate fills them in.

use std::{collections::BTreeMap, sync::Arc};

use super::folders::Folders;
use crate::{
    net::tls,
    sandbox::{Authority, Handle, Rule},
    skills::{
        Config, Skill,
        permission::{Grant, Permission},
    },
};

/// Where the usual clients look for the certificates that they trust.
const TRUST: &[&str] = &[
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
];

/// Before a secret's name: the variable with the hosts that its handle is good for, a space between.
const FOR: &str = "NEXFLOW_SECRET_HOSTS_";

/// What stands for the secrets of one run.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) handles: Vec<Handle>,
    pub(super) authority: Option<Arc<Authority>>,
    env: Vec<(String, String)>,
}

impl Bound {
    /// Handles for the secrets that the skill was granted for certain hosts. One that it was
    /// granted as it is as well, it gets as it is.
    ///
    /// # Errors
    /// When the authority or its file cannot be made.
    pub(super) fn new(
        skill: &Skill,
        config: &Config,
        folders: &mut Folders,
    ) -> Result<Self, String> {
        let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let grants = || skill.granted.iter().map(Permission::grant);
        for grant in grants() {
            if let Grant::Secret {
                name,
                host: Some(host),
            } = grant
            {
                hosts.entry(name).or_default().push(host);
            }
        }
        for grant in grants() {
            if let Grant::Secret { name, host: None } = grant {
                hosts.remove(name.as_str());
            }
        }
        let mut bound = Self::default();
        for (name, hosts) in hosts {
            let Some(value) = config.secrets.get(name) else {
                continue;
            };
            let rules = hosts.iter().map(|host| Rule::parse(&format!(":{host}:*")));
            let handle = Handle::new(value.clone(), rules.collect::<Result<_, _>>()?);
            let variable = (name.to_owned(), handle.as_str().to_owned());
            // So that a program can tell whom to show it to.
            let shown_to = (format!("{FOR}{name}"), hosts.join(" "));
            bound.env.extend([variable, shown_to]);
            bound.handles.push(handle);
        }
        if !bound.handles.is_empty() {
            bound.vouch(folders)?;
        }
        Ok(bound)
    }

    fn vouch(&mut self, folders: &mut Folders) -> Result<(), String> {
        let failed = |why: String| format!("the certificates of this run cannot be made: {why}");
        let authority = Authority::new().map_err(failed)?;
        let bundle = format!("{}{}", tls::bundle(), authority.pem());
        let path = folders.add_bundle(&bundle);
        let path = path.map_err(|e| failed(e.to_string()))?;
        let path = path.display().to_string();
        let names = TRUST.iter().map(|name| (*name).to_owned());
        self.env.extend(names.map(|name| (name, path.clone())));
        self.authority = Some(Arc::new(authority));
        Ok(())
    }

    /// Variables: the handles, and where to find whom to trust.
    pub(super) fn environment(&self) -> impl Iterator<Item = (String, String)> {
        self.env.iter().cloned()
    }
}
