//! Numbers of the connectors: whether each hears its platform, and when it last did.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{
    connectors::{Condition, State},
    types::Timestamp,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    connector: String,
}

/// What is known of the connectors.
#[derive(Debug, Clone, Default)]
pub(super) struct Connectors {
    up: Family<Of, Gauge>,
    heard: Family<Of, Gauge>,
    event: Family<Of, Gauge>,
}

impl Connectors {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "connector_up",
            "1 while the connector hears its platform",
            own.up.clone(),
        );
        registry.register(
            "connector_heard_timestamp_seconds",
            "When something was last heard from the platform",
            own.heard.clone(),
        );
        registry.register(
            "connector_event_timestamp_seconds",
            "When the last message or press came",
            own.event.clone(),
        );
        own
    }

    /// As they stand now. One that is switched off is not down.
    pub(super) fn set(&self, states: &[State]) {
        for family in [&self.up, &self.heard, &self.event] {
            family.clear();
        }
        let wanted = states.iter().filter(|state| !state.is_switched_off());
        for state in wanted {
            let of = Of {
                connector: state.name.clone(),
            };
            let up = state.state == Condition::Ok.as_str();
            self.up.get_or_create(&of).set(i64::from(up));
            let seconds = |at: Timestamp| at.0.div_euclid(1_000_000);
            if let Some(at) = state.heard_at {
                self.heard.get_or_create(&of).set(seconds(at));
            }
            if let Some(at) = state.event_at {
                self.event.get_or_create(&of).set(seconds(at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn each_connector_has_a_line_unless_it_is_switched_off() {
        let mut registry = Registry::with_prefix("nexflow");
        let connectors = Connectors::register(&mut registry);
        let state = |name: &str, state, detail: &str| State {
            name: name.to_owned(),
            state,
            detail: detail.to_owned(),
            heard_at: Some(Timestamp(7_900_000)),
            event_at: None,
            clock: None,
        };
        let told = |states: &[State]| {
            connectors.set(states);
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        let text = told(&[
            state("telegram", "failing", "cannot reach it"),
            state("web", "ok", ""),
            state("mail", "off", "switched off"),
            state("discord", "off", "channels.discord: no token"),
        ]);
        for line in [
            "nexflow_connector_up{connector=\"telegram\"} 0",
            "nexflow_connector_up{connector=\"web\"} 1",
            "nexflow_connector_up{connector=\"discord\"} 0",
            "nexflow_connector_heard_timestamp_seconds{connector=\"telegram\"} 7",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("mail"), "{text}");
        // One that is gone from the configuration leaves nothing behind.
        assert!(!told(&[]).contains("telegram"));
    }
}
