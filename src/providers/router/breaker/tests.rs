use tokio::time::advance;

use super::*;

fn down() -> ProviderError {
    ProviderError::down("p", "HTTP 500")
}

fn limited(after: Option<u64>) -> ProviderError {
    ProviderError::RateLimited {
        provider: "p".to_owned(),
        after: after.map(Duration::from_secs),
        detail: "slow down".to_owned(),
    }
}

fn refused() -> ProviderError {
    ProviderError::Refused {
        provider: "p".to_owned(),
        detail: "a schema".to_owned(),
    }
}

fn breaker() -> Arc<Breaker> {
    Breaker::new(Rules {
        failures: 3,
        window: Span(Duration::from_mins(1)),
        open: Span(Duration::from_secs(10)),
        max_open: Span(Duration::from_secs(35)),
    })
}

fn fail(breaker: &Arc<Breaker>, error: &ProviderError) {
    breaker.admit("m", false).unwrap().failed(error);
}

/// Opens the circuit.
fn open(breaker: &Arc<Breaker>) {
    for _ in 0..3 {
        fail(breaker, &down());
    }
}

fn left_alone(breaker: &Breaker) -> Option<u64> {
    breaker
        .blocked("m")
        .map(|why| why.for_.map_or(0, |time| time.as_secs()))
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_enough_failures_within_the_window() {
    let breaker = breaker();
    fail(&breaker, &down());
    fail(&breaker, &down());
    advance(Duration::from_mins(1)).await;
    fail(&breaker, &down());
    assert_eq!(left_alone(&breaker), None, "two are forgotten");
    fail(&breaker, &down());
    fail(&breaker, &down());
    assert_eq!(left_alone(&breaker), Some(10));
    let why = breaker.admit("m", false).unwrap_err();
    assert!(why.last_error.contains("HTTP 500"), "{why:?}");
    assert!(breaker.admit("other", false).is_ok(), "of this model alone");
    assert_eq!(
        (breaker.circuits()[0].state, breaker.circuits()[0].failures),
        ("open", 3)
    );
}

#[tokio::test(start_paused = true)]
async fn only_errors_of_the_provider_count_each_for_itself() {
    let breaker = breaker();
    let too_long = ProviderError::TooLong {
        provider: "p".to_owned(),
        detail: String::new(),
    };
    for _ in 0..10 {
        fail(&breaker, &refused());
        fail(&breaker, &too_long);
        fail(&breaker, &ProviderError::garbled("p", "x"));
        drop(breaker.admit("m", false).unwrap());
    }
    assert!(breaker.circuits().is_empty());
    fail(&breaker, &down());
    fail(&breaker, &down());
    fail(&breaker, &limited(None));
    fail(&breaker, &limited(None));
    fail(&breaker, &ProviderError::credentials("p", "no"));
    fail(&breaker, &ProviderError::credentials("p", "no"));
    assert_eq!(left_alone(&breaker), None, "no kind has three");
    let kinds: Vec<_> = breaker.circuits().iter().map(|c| c.class).collect();
    assert_eq!(kinds, [Class::RateLimit, Class::Server, Class::Auth]);
    fail(&breaker, &ProviderError::credentials("p", "no"));
    assert_eq!(left_alone(&breaker), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_success_forgets_the_failures() {
    let breaker = breaker();
    fail(&breaker, &down());
    fail(&breaker, &down());
    breaker.admit("m", false).unwrap().answered();
    fail(&breaker, &down());
    fail(&breaker, &down());
    assert_eq!(left_alone(&breaker), None);
}

#[tokio::test(start_paused = true)]
async fn exactly_one_call_finds_out_whether_it_is_back() {
    let breaker = breaker();
    open(&breaker);
    advance(Duration::from_secs(10)).await;
    assert_eq!(left_alone(&breaker), None, "its time is over");
    let probe = breaker.admit("m", false).unwrap();
    for _ in 0..5 {
        let why = breaker.admit("m", false).unwrap_err();
        assert_eq!(why.for_, None, "somebody tries it");
        assert!(breaker.admit("m", true).is_err(), "also if it is urgent");
    }
    assert_eq!(breaker.circuits()[0].state, "half_open");
    probe.answered();
    assert!(breaker.circuits().is_empty());
    assert!(breaker.admit("m", false).is_ok() && breaker.admit("m", false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn each_time_it_is_left_alone_longer_up_to_a_ceiling() {
    let breaker = breaker();
    open(&breaker);
    for expected in [20, 35, 35] {
        advance(Duration::from_secs(left_alone(&breaker).unwrap())).await;
        fail(&breaker, &down());
        assert_eq!(left_alone(&breaker), Some(expected));
    }
    advance(Duration::from_secs(35)).await;
    breaker.admit("m", false).unwrap().answered();
    open(&breaker);
    assert_eq!(left_alone(&breaker), Some(10), "a success begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_stopped_says_nothing_and_the_next_finds_out() {
    let breaker = breaker();
    open(&breaker);
    advance(Duration::from_secs(10)).await;
    drop(breaker.admit("m", false).unwrap());
    let probe = breaker.admit("m", false).unwrap();
    assert!(breaker.admit("m", false).is_err());
    probe.failed(&refused());
    assert!(
        breaker.circuits().is_empty(),
        "it reads requests again, so the provider is back"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_from_before_say_nothing_new() {
    let breaker = breaker();
    let (early, late) = (
        breaker.admit("m", false).unwrap(),
        breaker.admit("m", false).unwrap(),
    );
    open(&breaker);
    early.failed(&down());
    assert_eq!(left_alone(&breaker), Some(10));
    advance(Duration::from_secs(10)).await;
    let probe = breaker.admit("m", false).unwrap();
    late.failed(&down());
    assert_eq!(breaker.circuits()[0].state, "half_open");
    probe.failed(&down());
    assert_eq!(left_alone(&breaker), Some(20));
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_the_provider_names_is_kept_also_when_it_is_urgent() {
    let breaker = breaker();
    fail(&breaker, &limited(Some(5)));
    assert_eq!(left_alone(&breaker), None, "short enough to be waited for");
    fail(&breaker, &limited(Some(90)));
    assert_eq!(left_alone(&breaker), Some(90));
    advance(Duration::from_mins(1)).await;
    assert!(breaker.admit("m", true).is_err());
    advance(Duration::from_secs(30)).await;
    assert!(breaker.admit("m", false).is_ok());
    fail(&breaker, &limited(Some(86_400)));
    assert_eq!(left_alone(&breaker), Some(3600), "within reason");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_else_is_left_one_call_goes_through_before_its_time() {
    let breaker = breaker();
    open(&breaker);
    assert!(breaker.admit("m", false).is_err());
    let probe = breaker.admit("m", true).unwrap();
    assert!(breaker.admit("m", true).is_err(), "one");
    let seen = breaker.seen();
    probe.answered();
    seen.await;
    assert!(breaker.admit("m", true).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_reset_asks_it_at_once() {
    let breaker = breaker();
    open(&breaker);
    breaker.reset();
    assert!(breaker.circuits().is_empty() && breaker.admit("m", false).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_models_take_no_more_room_than_a_few() {
    let breaker = breaker();
    for n in 0..1000 {
        let model = format!("m{n}");
        breaker
            .admit(&model, false)
            .unwrap()
            .failed(&limited(Some(60)));
    }
    assert!(breaker.circuits().len() <= MOST);
}
