//! Plain TCP to a granted host and port, for programs that know nothing of proxies: inside, the name
//! stands in `/etc/hosts` with an address of its own, a granted address is the sandbox's own, and
//! something listens there. What connects comes out at the gate, which decides as for every other.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Host, request::Request};
use crate::sandbox::{Rule, policy::GATE_PORT, rule::Ports};

/// Most listeners of a run.
const MOST: usize = 32;

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Forward {
    /// Where it listens inside.
    pub(in crate::sandbox) at: Ipv4Addr,
    pub(in crate::sandbox) port: u16,
    /// The name that stands for this address inside; none where the address itself was granted.
    pub(in crate::sandbox) name: Option<String>,
}

impl Forward {
    /// What is asked for by connecting to it.
    pub(super) fn request(&self) -> Request {
        let host = self
            .name
            .clone()
            .map_or(Host::Address(self.at.into()), Host::Name);
        Request::direct(host, self.port)
    }
}

/// One for each port of a host that is granted exactly. Others are reached by the proxy only.
pub(in crate::sandbox) fn forwards(rules: &[Rule]) -> Vec<Forward> {
    let mut places: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
    let mut all: Vec<Forward> = Vec::new();
    for rule in rules {
        let (name, ports) = match rule {
            Rule::Name(name, Ports::These(ports)) => (Some(name.clone()), ports),
            Rule::Address(std::net::IpAddr::V4(_), Ports::These(ports)) => (None, ports),
            _ => continue,
        };
        let at = match (&name, rule) {
            (Some(name), _) => {
                let next = u8::try_from(places.len() + 1).unwrap_or(u8::MAX);
                *places
                    .entry(name.clone())
                    .or_insert(Ipv4Addr::new(127, 64, 0, next))
            }
            (None, Rule::Address(std::net::IpAddr::V4(at), _)) => *at,
            (None, _) => continue,
        };
        for port in ports {
            let forward = Forward {
                at,
                port: *port,
                name: name.clone(),
            };
            let gate = at == Ipv4Addr::LOCALHOST && *port == GATE_PORT;
            if !gate && !all.contains(&forward) && all.len() < MOST {
                all.push(forward);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_grants_have_a_listener_for_each_port() {
        let rules = [
            ":db.example.org:5432,5433",
            ":10.0.0.5:8080",
            ":*.example.org:443",
            ":10.0.0.0/8:80",
            ":mail.example.org:*",
            ":db.example.org:5432",
            ":mail.example.org:993",
            ":127.0.0.1:3128",
            "",
        ];
        let rules: Vec<Rule> = rules.iter().map(|r| Rule::parse(r).unwrap()).collect();
        let all: Vec<String> = forwards(&rules)
            .iter()
            .map(|f| format!("{}:{} {}", f.at, f.port, f.name.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            all,
            [
                "127.64.0.1:5432 db.example.org",
                "127.64.0.1:5433 db.example.org",
                "10.0.0.5:8080 -",
                "127.64.0.2:993 mail.example.org",
            ]
        );
    }
}
