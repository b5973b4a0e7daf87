use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    bus::Bus,
    store::{
        Store, Tx,
        budgets::{self, FOREVER},
        reservations::{self, Verdict, Wanted},
        usage::{self, Ended, Spent},
    },
    types::{
        AttemptId, Clock, SessionId, TurnId, UserId,
        chat::Usage,
        money::{PriceSource, Quote},
    },
};

const BERLIN: Tz = Tz::Europe__Berlin;

fn at(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text)
        .unwrap()
        .with_timezone(&chrono::Utc)
        .into()
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

fn config(value: serde_json::Value) -> Config {
    serde_json::from_value(value).unwrap()
}

fn budgets_of(value: serde_json::Value) -> Budgets {
    Budgets::new(config(value), &BTreeMap::new(), &[])
}

fn bill() -> Bill {
    let user = UserId::new();
    Bill {
        step: None,
        turn: Some(TurnId::new()),
        session: SessionId::new(),
        user,
        person: user,
        agent: "default".to_owned(),
        channel: "web".to_owned(),
        schedule: None,
        purpose: "chat".to_owned(),
    }
}

fn price(input: &str, output: &str) -> Price {
    Price {
        input_per_mtok: usd(input),
        output_per_mtok: usd(output),
        cached_per_mtok: None,
    }
}

fn wanted(budgets: &Budgets, bill: &Bill, price: Price, now: Timestamp) -> Wanted {
    Wanted {
        id: AttemptId::new(),
        bill: bill.clone(),
        attempt: 1,
        provider: "p".to_owned(),
        model: "m".to_owned(),
        quote: Quote {
            price,
            source: PriceSource::Configuration,
            as_of: None,
        },
        input_tokens: 100,
        max_output_tokens: 1000,
        least_output_tokens: 256,
        windows: budgets.windows(bill, (now, Tz::UTC)),
    }
}

fn spent(wanted: &Wanted, input_tokens: u64, output_tokens: u64) -> Spent {
    let usage = Usage {
        input_tokens,
        output_tokens,
        ..Usage::default()
    };
    Spent {
        id: wanted.id,
        bill: wanted.bill.clone(),
        attempt: 1,
        provider: "p".to_owned(),
        model: "m".to_owned(),
        usage,
        cost: wanted.quote.price.of(usage),
        source: PriceSource::Configuration,
        ended: Ended::Ok,
        error: None,
        detail: None,
        task: None,
        started_at: at("2026-07-01T12:00:00Z"),
    }
}

/// Runs a query on a new database, in one transaction.
fn in_store<T: Send + 'static>(
    query: impl FnOnce(&Tx<'_>) -> crate::store::Result<T> + Send + 'static,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(&folder.path().join("t.db"), &Bus::new(Clock::system())).unwrap();
        let result = store.write(query).await.unwrap();
        store.close().await;
        result
    })
}

fn granted(verdict: &Verdict) -> Option<u64> {
    match verdict {
        Verdict::Reserved {
            max_output_tokens, ..
        } => Some(*max_output_tokens),
        Verdict::Refused(_) => None,
    }
}

#[test]
fn periods_follow_the_calendar_of_the_zone() {
    let is = |period, now: &str, since: &str, until: &str| {
        assert_eq!(
            bounds(period, at(now), BERLIN),
            (at(since), at(until)),
            "{now}"
        );
    };
    // 23:30 UTC is the next day in Berlin.
    is(
        Period::Day,
        "2026-07-01T23:30:00Z",
        "2026-07-01T22:00:00Z",
        "2026-07-02T22:00:00Z",
    );
    // The day on which clocks go forward has 23 hours.
    is(
        Period::Day,
        "2026-03-29T12:00:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
    );
    is(
        Period::Week,
        "2026-07-05T12:00:00Z",
        "2026-06-28T22:00:00Z",
        "2026-07-05T22:00:00Z",
    );
    is(
        Period::Month,
        "2026-10-31T12:00:00Z",
        "2026-09-30T22:00:00Z",
        "2026-10-31T23:00:00Z",
    );
    assert_eq!(
        bounds(Period::Total, at("2026-07-01T00:00:00Z"), BERLIN).1,
        FOREVER
    );
    // Midnight that does not exist is the first moment after it.
    let beirut = bounds(Period::Day, at("2026-03-29T12:00:00Z"), Tz::Asia__Beirut);
    assert_eq!(beirut.0, at("2026-03-28T22:00:00Z"));
}

#[test]
fn limits_are_read_from_every_section_and_soft_is_four_fifths() {
    let budgets = budgets_of(json!({
        "hard": "5", "per_turn": { "hard": "0.10", "soft": "0.01" }, "per_user": { "hard": "1", "period": "day" },
        "per_schedule": { "hard": "1" },
    }));
    let windows = budgets.windows(&bill(), (at("2026-07-01T12:00:00Z"), Tz::UTC));
    let shown: Vec<_> = windows
        .iter()
        .map(|w| {
            (
                w.scope,
                w.period,
                w.soft.unwrap().to_string(),
                w.hard.unwrap().to_string(),
            )
        })
        .collect();
    let row =
        |scope, period, soft: &str, hard: &str| (scope, period, soft.to_owned(), hard.to_owned());
    // No schedule asked, so its limit does not hold.
    assert_eq!(
        shown,
        [
            row(Scope::Turn, Period::Total, "0.01", "0.1"),
            row(Scope::User, Period::Day, "0.8", "1.0"),
            row(Scope::All, Period::Month, "4.0", "5.0"),
        ]
    );
}

#[test]
fn another_currency_needs_a_rate_and_is_counted_in_dollars() {
    let wrong = config(json!({ "currency": "EUR", "hard": "5" }));
    let problems = wrong.problems();
    assert_eq!(problems[0].0, ["usd_per_unit"]);
    assert_eq!(
        config(json!({ "currency": "euro" })).problems()[0].0,
        ["currency"]
    );
    let soft = config(json!({ "per_day": { "soft": "2", "hard": "1" } }));
    assert_eq!(soft.problems()[0].0, ["per_day", "soft"]);
    let right = config(json!({ "currency": "EUR", "usd_per_unit": "1.10", "hard": "5" }));
    assert!(right.problems().is_empty());
    let budgets = Budgets::new(right, &BTreeMap::new(), &[]);
    let windows = budgets.windows(&bill(), (Timestamp(0), Tz::UTC));
    assert_eq!(windows[0].hard, Some(usd("5.5")));
    assert_eq!(budgets.currency().show(usd("5.5")), "5.00 EUR");
}

#[test]
fn an_answer_is_made_shorter_before_it_is_refused() {
    let now = at("2026-07-01T12:00:00Z");
    let budgets = budgets_of(json!({ "hard": "0.002" }));
    let bill = bill();
    // 100 tokens in cost 0.0001; a token out costs 0.000002.
    let price = price("1", "2");
    let first = wanted(&budgets, &bill, price, now);
    let second = wanted(&budgets, &bill, price, now);
    let (one, two) = in_store(move |tx| {
        let one = reservations::reserve(tx, &first, now)?;
        let two = reservations::reserve(tx, &second, now)?;
        Ok((one, two))
    });
    assert_eq!(granted(&one), Some(950));
    let Verdict::Refused(short) = two else {
        panic!("it was granted");
    };
    assert_eq!(short.standing.reserved, usd("0.002"));
    assert_eq!(short.needed, usd("0.000612"));
    let text = budgets.currency().refusal(&short, BERLIN);
    for part in [
        "for this month is 0.002",
        "in a moment",
        "/help",
        "reminders",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_soft_limit_is_told_once_in_a_period() {
    let budgets = budgets_of(json!({ "hard": "0.01", "period": "day" }));
    let told = |days: Vec<i64>| {
        let (budgets, bill) = (budgets.clone(), bill());
        in_store(move |tx| {
            let mut told = Vec::new();
            for day in days {
                let now = Timestamp(day * 24 * 3600 * 1_000_000);
                let wanted = wanted(&budgets, &bill, price("1", "1"), now);
                reservations::reserve(tx, &wanted, now)?;
                // 0.003 each.
                let passed =
                    reservations::settle(tx, &spent(&wanted, 3000, 0), &wanted.windows, now)?;
                told.push(passed.len());
            }
            Ok(told)
        })
    };
    assert_eq!(told(vec![1, 1, 1, 1]), [0, 0, 1, 0]);
    assert_eq!(told(vec![1, 1, 1, 2, 2, 2]), [0, 0, 1, 0, 0, 1]);
}

#[test]
fn what_costs_nothing_passes_a_budget_that_is_used_up() {
    let budgets = budgets_of(json!({ "hard": "0" }));
    let bill = bill();
    let free = wanted(&budgets, &bill, Price::FREE, Timestamp(0));
    let paid = wanted(&budgets, &bill, price("1", "1"), Timestamp(0));
    let (free, paid) = in_store(move |tx| {
        let now = Timestamp(0);
        Ok((
            reservations::reserve(tx, &free, now)?,
            reservations::reserve(tx, &paid, now)?,
        ))
    });
    assert_eq!((granted(&free), granted(&paid)), (Some(1000), None));
}

#[test]
fn a_killed_call_is_charged_in_full_once() {
    let now = at("2026-07-01T12:00:00Z");
    let budgets = budgets_of(json!({ "hard": "1" }));
    let bill = bill();
    let turn = bill.turn.unwrap();
    let lost = wanted(&budgets, &bill, price("1", "1"), now);
    let (first, second, (used, cost), pending) = in_store(move |tx| {
        reservations::reserve(tx, &lost, now)?;
        Ok((
            reservations::recover(tx, now)?,
            reservations::recover(tx, now)?,
            usage::of_turn(tx, turn)?,
            reservations::pending(tx)?,
        ))
    });
    assert_eq!((first, second, pending), (1, 0, (0, Usd(0))));
    assert!(used.estimated);
    assert_eq!(cost, Some(usd("0.0011")));
}

#[test]
fn settled_reservations_go_after_a_month_and_usage_stays() {
    let (budgets, bill) = (budgets_of(json!({})), bill());
    let day = |n: i64| Timestamp(n * 24 * 3600 * 1_000_000);
    let (kept, lines) = in_store(move |tx| {
        let mut all = Vec::new();
        for n in [1, 40] {
            let wanted = wanted(&budgets, &bill, price("1", "1"), day(n));
            reservations::reserve(tx, &wanted, day(n))?;
            reservations::settle(tx, &spent(&wanted, 1, 1), &[], day(n))?;
            all.push(wanted);
        }
        reservations::recover(tx, day(41))?;
        // An id that is there is not taken twice.
        let kept = all
            .iter()
            .map(|wanted| reservations::reserve(tx, wanted, day(41)).is_err());
        let lines = usage::report(tx, usage::By::Day, (Timestamp(0), Tz::UTC))?;
        Ok((kept.collect::<Vec<_>>(), lines.len()))
    });
    assert_eq!((kept, lines), (vec![false, true], 2));
}

#[derive(Debug, Clone)]
enum Act {
    Reserve { price: i64 },
    Settle { which: usize, share: u64 },
    Release { which: usize },
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_i64..20_000_000_000).prop_map(|price| Act::Reserve { price }),
        4 => (0_usize..8, 0_u64..=100).prop_map(|(which, share)| Act::Settle { which, share }),
        1 => (0_usize..8).prop_map(|which| Act::Release { which }),
        1 => Just(Act::Restart),
    ]
}

/// Plays a sequence and tells how the global limit stood at the end: spent and reserved by the
/// counters, by the rows, and the sum of what was settled here.
fn play(acts: Vec<Act>) -> (budgets::Standing, Usd, Usd) {
    let budgets = budgets_of(json!({ "hard": "0.05", "per_user": { "hard": "0.04" } }));
    in_store(move |tx| {
        let (now, bill) = (Timestamp(1_000_000), bill());
        let (mut open, mut settled) = (Vec::<(Wanted, u64)>::new(), Usd(0));
        for act in acts {
            match act {
                Act::Reserve { price } => {
                    let price = Price {
                        output_per_mtok: Usd(price),
                        ..price_of(price)
                    };
                    let wanted = wanted(&budgets, &bill, price, now);
                    if let Some(output) = granted(&reservations::reserve(tx, &wanted, now)?) {
                        open.push((wanted, output));
                    }
                }
                Act::Settle { which, share } if which < open.len() => {
                    let (wanted, output) = open.remove(which);
                    let spent = spent(&wanted, 100, output * share / 100);
                    settled = settled.plus(spent.cost);
                    reservations::settle(tx, &spent, &wanted.windows, now)?;
                    // A second time changes nothing.
                    reservations::settle(tx, &spent, &wanted.windows, now)?;
                }
                Act::Release { which } if which < open.len() => {
                    let (wanted, _) = open.remove(which);
                    reservations::settle(tx, &spent(&wanted, 0, 0), &[], now)?;
                }
                Act::Settle { .. } | Act::Release { .. } => {}
                Act::Restart => {
                    for (wanted, output) in open.drain(..) {
                        settled = settled.plus(spent(&wanted, 100, output).cost);
                    }
                    reservations::recover(tx, now)?;
                }
            }
        }
        let window = budgets.windows(&bill, (now, Tz::UTC)).pop().unwrap();
        let lines = usage::report(tx, usage::By::User, (Timestamp(0), Tz::UTC))?;
        let rows = lines
            .iter()
            .fold(Usd(0), |sum, line| sum.plus(line.cost_usd));
        Ok((budgets::standing(tx, &window)?, rows, settled))
    })
}

fn price_of(price: i64) -> Price {
    Price {
        input_per_mtok: Usd(price / 4),
        output_per_mtok: Usd(price),
        cached_per_mtok: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_sequence_passes_a_limit_and_counters_are_the_rows(acts in proptest::collection::vec(act(), 1..60)) {
        let (standing, rows, settled) = play(acts);
        prop_assert!(standing.spent.plus(standing.reserved) <= usd("0.04"), "{standing:?}");
        prop_assert_eq!(standing.spent, rows);
        prop_assert_eq!(standing.spent, settled);
    }

    #[test]
    fn what_is_affordable_costs_no_more_and_one_token_more_does(
        amount in 0_i64..2_000_000_000, input in 0_u64..200_000,
        input_price in 0_i64..50_000_000_000, output_price in 1_i64..200_000_000_000,
    ) {
        let price = Price { input_per_mtok: Usd(input_price), output_per_mtok: Usd(output_price), cached_per_mtok: None };
        let cost = |output_tokens| price.of(Usage { input_tokens: input, output_tokens, ..Usage::default() });
        let fits = price.affordable_output(Usd(amount), input);
        if fits > 0 {
            prop_assert!(cost(fits) <= Usd(amount));
        }
        prop_assert!(cost(fits + 1) > Usd(amount) || fits == 0 && cost(0) > Usd(amount));
    }

    #[test]
    fn parts_of_a_call_never_cost_less_than_the_whole(
        a in 0_u64..1_000_000, b in 0_u64..1_000_000, price in 0_i64..200_000_000_000,
    ) {
        let price = price_of(price);
        let of = |output_tokens| price.of(Usage { output_tokens, ..Usage::default() });
        let (parts, whole) = (of(a).plus(of(b)), of(a + b));
        prop_assert!(parts >= whole && parts.0 - whole.0 <= 1);
    }

    #[test]
    fn an_amount_survives_its_text_and_its_currency(nano in 0_i64..1_000_000_000_000, rate in 1_000_000_i64..9_000_000_000) {
        let amount = Usd(nano);
        prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
        // Never more dollars than were meant, and back to the same units.
        let counted = amount.at_rate(Usd(rate));
        prop_assert!(i128::from(counted.0) * 1_000_000_000 <= i128::from(nano) * i128::from(rate));
        prop_assert!(counted.in_units_of(Usd(rate)) <= amount);
    }
}
