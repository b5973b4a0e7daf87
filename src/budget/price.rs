//! What a model costs, and who says so.

use std::collections::{BTreeMap, BTreeSet};

use url::Url;

use super::{Budgets, Ceiling};
use crate::{
    net::is_loopback,
    providers::{About, Providers, prices_as_of},
    types::{
        Entry,
        money::{Price, PriceSource, Quote},
    },
};

/// What the configuration says of prices.
#[derive(Debug)]
pub(super) struct Prices {
    by_model: BTreeMap<String, Price>,
    /// Providers whose section has a price.
    own: BTreeSet<String>,
    /// Providers on this machine.
    local: BTreeSet<String>,
    ceiling: Price,
}

impl Prices {
    pub(super) fn new(
        by_model: &BTreeMap<String, Price>,
        providers: &[Entry],
        ceiling: &Ceiling,
    ) -> Self {
        let named = |wanted: fn(&Entry) -> bool| {
            let found = providers.iter().filter(|entry| wanted(entry));
            found.map(|entry| entry.name.clone()).collect()
        };
        Self {
            by_model: by_model.clone(),
            own: named(|entry| entry.settings.get("price").is_some_and(|p| !p.is_null())),
            local: named(is_local),
            ceiling: Price {
                input_per_mtok: ceiling.input_per_mtok,
                output_per_mtok: ceiling.output_per_mtok,
                cached_per_mtok: None,
            },
        }
    }
}

/// Whether a provider is a server on this machine.
fn is_local(entry: &Entry) -> bool {
    let address = entry.settings.get("base_url").and_then(|url| url.as_str());
    let url: Option<Url> = address.and_then(|url| url.parse().ok());
    url.as_ref().is_some_and(is_loopback)
}

impl Budgets {
    /// What a model costs with a provider: what the owner wrote, then the provider's own list, then
    /// ours; nothing for a server on this machine; the ceiling where nobody knows.
    pub fn quote(&self, providers: &Providers, about: &About) -> Quote {
        let prices = &self.inner.prices;
        let quote = |price, source| Quote {
            price,
            source,
            as_of: None,
        };
        let model = &about.model;
        let full_name = format!("{}/{model}", about.name);
        let configured = prices
            .by_model
            .get(&full_name)
            .or(prices.by_model.get(model));
        if let Some(price) = configured {
            return quote(*price, PriceSource::Configuration);
        }
        if about.offline || about.price == Some(Price::FREE) {
            return quote(Price::FREE, PriceSource::Free);
        }
        if let Some(price) = about.price {
            let source = if prices.own.contains(&about.name) {
                PriceSource::Configuration
            } else {
                PriceSource::Provider
            };
            return quote(price, source);
        }
        if prices.local.contains(&about.name) {
            return quote(Price::FREE, PriceSource::Free);
        }
        match providers.price(about) {
            Some(price) => Quote {
                as_of: Some(prices_as_of().to_owned()),
                ..quote(price, PriceSource::List)
            },
            None => self.ceiling(),
        }
    }

    /// What counts where nobody knows a price.
    pub fn ceiling(&self) -> Quote {
        Quote {
            price: self.inner.prices.ceiling,
            source: PriceSource::Ceiling,
            as_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        let local = |url: &str| {
            is_local(&Entry {
                name: "x".to_owned(),
                kind: "custom".to_owned(),
                settings: json!({ "base_url": url }).as_object().cloned().unwrap(),
            })
        };
        for url in [
            "http://127.0.0.1:8080/v1",
            "http://localhost:1/",
            "http://[::1]:11434",
            "http://llm.localhost/v1",
        ] {
            assert!(local(url), "{url}");
        }
        for url in [
            "http://192.168.1.5:8080/v1",
            "https://api.openai.com/v1",
            "http://localhost.example.org/v1",
            "no address",
        ] {
            assert!(!local(url), "{url}");
        }
    }
}
