use super::*;

fn limited(after: Option<u64>) -> ProviderError {
    ProviderError::RateLimited {
        provider: "p".to_owned(),
        after: after.map(Duration::from_secs),
        detail: String::new(),
    }
}

fn down() -> ProviderError {
    ProviderError::Down {
        provider: "p".to_owned(),
        detail: String::new(),
    }
}

fn unreachable() -> ProviderError {
    ProviderError::Unreachable {
        provider: "p".to_owned(),
        detail: String::new(),
    }
}

const QUICK: Duration = Duration::from_millis(50);

/// Milliseconds until the same one is asked again, with and without another that could be asked.
fn waits(error: &ProviderError, calls: u32) -> [Option<u128>; 2] {
    [true, false].map(|more| pause(error, (calls, false, QUICK), more).map(|w| w.as_millis()))
}

fn within(wait: Option<u128>, range: std::ops::Range<u128>) -> bool {
    wait.is_some_and(|wait| range.contains(&wait))
}

#[test]
fn who_refuses_a_connection_is_asked_again_only_where_nobody_else_is() {
    let [more, last] = waits(&unreachable(), 1);
    assert!(more.is_none() && within(last, 240..361), "{last:?}");
    assert!(within(waits(&unreachable(), 2)[1], 480..721), "doubled");
    assert_eq!(
        waits(&unreachable(), 3),
        [None, None],
        "three calls at most"
    );
}

#[test]
fn what_broke_off_is_begun_again_unless_that_keeps_a_person_waiting() {
    let [more, last] = waits(&down(), 1);
    assert!(within(more, 240..361) && within(last, 240..361));
    assert!(waits(&down(), 2)[0].is_none(), "then the next is asked");
    assert!(
        pause(&down(), (1, true, QUICK), true).is_none(),
        "text was shown"
    );
    assert!(pause(&down(), (1, true, QUICK), false).is_some());
    assert!(pause(&down(), (1, false, SLOW), true).is_none(), "it hung");
    assert!(pause(&down(), (1, false, SLOW), false).is_some());
}

#[test]
fn a_short_wait_that_is_asked_for_is_kept_and_a_long_one_is_not_waited_for() {
    let [more, last] = waits(&limited(Some(2)), 1);
    assert!(
        within(more, 2000..2401) && within(last, 2000..2401),
        "never less"
    );
    let [more, last] = waits(&limited(Some(9)), 1);
    assert!(more.is_none() && within(last, 9000..10_801));
    assert_eq!(waits(&limited(Some(60)), 1), [None, None]);
    assert!(within(waits(&limited(None), 1)[0], 1000..1201));
}

#[test]
fn what_will_not_change_is_not_asked_again() {
    let text = String::new;
    let errors = [
        ProviderError::TooLong {
            provider: text(),
            detail: text(),
        },
        ProviderError::Credentials {
            provider: text(),
            detail: text(),
        },
        ProviderError::Refused {
            provider: text(),
            detail: text(),
        },
        ProviderError::Garbled {
            provider: text(),
            detail: text(),
        },
    ];
    for error in errors {
        assert_eq!(waits(&error, 1), [None, None], "{error}");
    }
}
