//! The receiving end of the webhook: knows each answer by its idempotency key alone, counts every post,
//! and is as unreliable as the real ones.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::string;

pub struct Receiver {
    pub url: String,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

struct Inner {
    got: Mutex<Got>,
    random: Mutex<StdRng>,
    calm: AtomicBool,
}

/// What arrived.
#[derive(Default, Clone)]
pub struct Got {
    /// Posts, also those of an answer that was there already.
    pub posts: usize,
    /// By the message that is answered: idempotency keys and texts.
    pub answers: HashMap<String, Vec<(String, String)>>,
    /// The same of notices, which are no answers.
    pub notices: HashMap<String, Vec<(String, String)>>,
    /// Keys that failed once on purpose.
    failed: HashSet<String>,
}

impl Receiver {
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test")]
    pub async fn start(seed: u64) -> Self {
        let inner = Arc::new(Inner {
            got: Mutex::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed ^ 0xbbb)),
            calm: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/reply", post(take))
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/reply", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inner, task }
    }

    pub fn got(&self) -> Got {
        self.inner.got.lock().unwrap().clone()
    }

    pub fn has(&self, name: &str) -> bool {
        self.inner.got.lock().unwrap().answers.contains_key(name)
    }

    /// Messages that got an answer.
    pub fn answered(&self) -> usize {
        self.inner.got.lock().unwrap().answers.len()
    }

    /// From now on everything is taken and confirmed.
    pub fn behave(&self) {
        self.inner.calm.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mood = if inner.calm.load(Ordering::Relaxed) {
        1.0
    } else {
        inner.random.lock().unwrap().random_range(0.0..1.0)
    };
    {
        let mut got = inner.got.lock().unwrap();
        got.posts += 1;
        // Refused, once: it comes again.
        if mood < 0.03 && got.failed.insert(key.clone()) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let name = string(&body, "in_reply_to");
        let notice = body["kind"] == "notice";
        let kind = if notice {
            &mut got.notices
        } else {
            &mut got.answers
        };
        let answers = kind.entry(name).or_default();
        if !answers.iter().any(|(known, _)| *known == key) {
            answers.push((key, string(&body, "text")));
        }
    }
    if mood < 0.08 {
        // Taken, and not confirmed while anybody waits for it.
        while !inner.calm.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    if mood < 0.3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    StatusCode::OK
}
