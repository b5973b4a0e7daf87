//! How fast requests may follow each other: what Discord says in `X-RateLimit-*`, kept for each route,
//! what a bot may ask altogether, and a stop long before its ban for too many refused requests.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::Method;
use tokio::time::Instant;

/// Discord bans an address for an hour after 10,000 refused requests in ten minutes.
const REFUSED: (u32, Duration) = (500, Duration::from_mins(10));
/// Discord takes 50 requests of a bot in a second, over all routes. Some may be held up on their way and
/// arrive in one second with those after them.
const TOGETHER: (usize, Duration) = (40, Duration::from_secs(1));
/// So many of them may be for what is only shown for a while: answers do not stand behind it.
const SHOWN: usize = 25;
/// Routes that are remembered; above that those whose window is over are forgotten.
const ROUTES: usize = 512;

/// What may be asked when.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Limits>);

#[derive(Debug, Default)]
struct Limits {
    routes: HashMap<String, Window>,
    /// Nothing may be asked before this.
    all: Option<Instant>,
    /// When something was last asked; at most as many as may be asked together.
    asked: VecDeque<Instant>,
    /// Refused requests since a moment.
    refused: Option<(Instant, u32)>,
}

/// A route's window.
#[derive(Debug, Clone, Copy)]
struct Window {
    remaining: u32,
    ends: Instant,
    /// Discord refused a request in it: it is not only used up.
    refused: bool,
}

/// What an answer says about the pace.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Said {
    /// `X-RateLimit-Remaining`.
    pub(super) remaining: Option<u32>,
    /// `X-RateLimit-Reset-After`.
    pub(super) reset_after: Option<Duration>,
    /// How long a 429 says to wait.
    pub(super) retry_after: Option<Duration>,
    /// Whether that holds for every route.
    pub(super) global: bool,
    /// Whether it counts towards the ban: 401, 403, and 429 except for a limit that others used up.
    pub(super) refused: bool,
}

/// The limit that a request counts towards: its path with the ids left out that are not its first.
pub(super) fn route(method: &Method, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts: Vec<&str> = Vec::new();
    for (at, part) in path.split('/').enumerate() {
        let id = part.len() > 15 && part.bytes().all(|b| b.is_ascii_digit());
        parts.push(if id && at > 2 { "*" } else { part });
    }
    // What follows is a token: it is not for logs.
    if path.starts_with("/interactions/") || path.starts_with("/webhooks/") {
        parts.truncate(2);
    }
    format!("{method} {}", parts.join("/"))
}

impl Pace {
    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place in a route's window, or tells how long there is none.
    pub(super) fn take(&self, route: &str) -> Result<(), Duration> {
        self.place(route, TOGETHER.0)
    }

    /// The same for what is only shown for a while.
    pub(super) fn take_to_show(&self, route: &str) -> Result<(), Duration> {
        self.place(route, SHOWN)
    }

    fn place(&self, route: &str, most: usize) -> Result<(), Duration> {
        let now = Instant::now();
        let mut limits = self.limits();
        if let Some(until) = limits.all
            && until > now
        {
            return Err(until - now);
        }
        if let Some((since, count)) = limits.refused {
            let ends = since + REFUSED.1;
            if ends <= now {
                limits.refused = None;
            } else if count >= REFUSED.0 {
                return Err(ends - now);
            }
        }
        if let Some(last) = limits.asked.iter().rev().nth(most.saturating_sub(1)) {
            let free = *last + TOGETHER.1;
            if free > now {
                return Err(free - now);
            }
        }
        match limits.routes.get_mut(route) {
            Some(window) if window.ends > now => {
                if window.remaining == 0 {
                    return Err(window.ends - now);
                }
                window.remaining -= 1;
            }
            _ => {}
        }
        if limits.asked.len() >= TOGETHER.0 {
            limits.asked.pop_front();
        }
        limits.asked.push_back(now);
        Ok(())
    }

    /// How long Discord refuses what is asked, on all routes or on one; none where it refused nothing.
    pub(super) fn held(&self) -> Option<Duration> {
        let now = Instant::now();
        let limits = self.limits();
        let refused = limits.refused.filter(|(_, count)| *count >= REFUSED.0);
        let refused = refused.map(|(since, _)| since + REFUSED.1);
        let routes = limits.routes.values();
        let routes = routes.filter(|w| w.refused).map(|w| w.ends);
        let until = routes.chain(limits.all).chain(refused).max();
        until.map(|until| until.saturating_duration_since(now))
    }

    /// Notes what an answer said.
    pub(super) fn heard(&self, route: &str, said: &Said) {
        let now = Instant::now();
        let mut limits = self.limits();
        if said.refused {
            let (since, count) = limits.refused.unwrap_or((now, 0));
            limits.refused = Some((since, count.saturating_add(1)));
        }
        if let Some(wait) = said.retry_after {
            let until = now + wait;
            if said.global {
                limits.all = limits.all.max(Some(until));
            } else {
                limits.set(
                    route,
                    Window {
                        remaining: 0,
                        ends: until,
                        refused: true,
                    },
                );
            }
        } else if let (Some(remaining), Some(after)) = (said.remaining, said.reset_after) {
            limits.set(
                route,
                Window {
                    remaining,
                    ends: now + after,
                    refused: false,
                },
            );
        }
    }
}

impl Limits {
    fn set(&mut self, route: &str, heard: Window) {
        let now = Instant::now();
        if self.routes.len() >= ROUTES {
            self.routes.retain(|_, window| window.ends > now);
        }
        let window = self.routes.entry(route.to_owned()).or_insert(heard);
        // Answers overtake each other: within a window the smaller number is the newer one.
        let same = window.ends > now && heard.ends <= window.ends + Duration::from_millis(250);
        let remaining = if same {
            window.remaining.min(heard.remaining)
        } else {
            heard.remaining
        };
        *window = Window {
            remaining,
            ends: window.ends.max(heard.ends),
            refused: heard.refused || same && window.refused,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "POST /channels/1/messages";

    fn left(remaining: u32, seconds: u64) -> Said {
        Said {
            remaining: Some(remaining),
            reset_after: Some(Duration::from_secs(seconds)),
            ..Said::default()
        }
    }

    #[test]
    fn a_route_keeps_its_first_id_alone() {
        let of = |path: &str| route(&Method::PATCH, path);
        assert_eq!(
            of("/channels/100000000000000001/messages/100000000000000002"),
            "PATCH /channels/100000000000000001/messages/*"
        );
        assert_eq!(
            of("/channels/1/messages?after=3"),
            "PATCH /channels/1/messages"
        );
        let token = of("/webhooks/100000000000000001/a-secret-token/messages/@original");
        assert_eq!(token, "PATCH /webhooks", "no token is remembered");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_is_used_up_is_waited_for() {
        let pace = Pace::default();
        assert_eq!(pace.take(ROUTE), Ok(()));
        pace.heard(ROUTE, &left(2, 5));
        assert_eq!((pace.take(ROUTE), pace.take(ROUTE)), (Ok(()), Ok(())));
        assert_eq!(pace.take(ROUTE), Err(Duration::from_secs(5)));
        assert_eq!(pace.held(), None, "nothing was refused");
        let refused = Said {
            retry_after: Some(Duration::from_secs(9)),
            ..Said::default()
        };
        pace.heard("PUT /x", &refused);
        assert_eq!(pace.held(), Some(Duration::from_secs(9)));
        // An answer that was overtaken does not give places back.
        pace.heard(ROUTE, &left(1, 5));
        assert!(pace.take(ROUTE).is_err());
        assert_eq!(pace.take("POST /channels/2/messages"), Ok(()));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(pace.take(ROUTE), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_global_limit_holds_for_every_route() {
        let pace = Pace::default();
        let global = Said {
            retry_after: Some(Duration::from_secs(3)),
            global: true,
            ..Said::default()
        };
        pace.heard(ROUTE, &global);
        assert_eq!(pace.take("GET /x"), Err(Duration::from_secs(3)));
        assert_eq!(pace.held(), Some(Duration::from_secs(3)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pace.take("GET /x"), Ok(()));
        assert_eq!(pace.held(), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn all_routes_together_stay_below_what_a_bot_may_ask() {
        let pace = Pace::default();
        let (mut taken, began) = (Vec::new(), Instant::now());
        // A thousand channels at once, each of which comes again when it is told to.
        while began.elapsed() < Duration::from_secs(10) {
            match pace.take(&format!("POST /channels/{}/messages", taken.len() % 1000)) {
                Ok(()) => taken.push(Instant::now()),
                Err(wait) => tokio::time::advance(wait).await,
            }
        }
        assert_eq!(taken.len(), 10 * TOGETHER.0);
        for pair in taken.windows(TOGETHER.0 + 1) {
            assert!(pair[TOGETHER.0] - pair[0] >= TOGETHER.1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn drafts_and_typing_leave_room_for_answers() {
        let pace = Pace::default();
        for _ in 0..SHOWN {
            assert_eq!(pace.take_to_show("POST /typing"), Ok(()));
        }
        assert_eq!(pace.take_to_show("POST /typing"), Err(TOGETHER.1));
        for _ in SHOWN..TOGETHER.0 {
            assert_eq!(pace.take(ROUTE), Ok(()));
        }
        assert_eq!(pace.take(ROUTE), Err(TOGETHER.1));
        tokio::time::advance(TOGETHER.1).await;
        assert_eq!(pace.take_to_show("POST /typing"), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_stops_long_before_a_ban() {
        let pace = Pace::default();
        let refused = Said {
            refused: true,
            ..Said::default()
        };
        for _ in 0..REFUSED.0 {
            while let Err(wait) = pace.take("GET /x") {
                assert!(wait <= TOGETHER.1, "{wait:?}");
                tokio::time::advance(wait).await;
            }
            pace.heard("GET /x", &refused);
        }
        let wait = pace.take("GET /y").unwrap_err();
        assert!(wait > REFUSED.1 / 2, "{wait:?}");
        tokio::time::advance(wait).await;
        assert_eq!(pace.take("GET /y"), Ok(()));
    }
}
