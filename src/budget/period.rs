//! Days, weeks and months as the owner's calendar has them.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::{
    store::budgets::FOREVER,
    types::{Timestamp, money::Period},
};

/// Where the period that is now began, and where the next one does.
pub fn bounds(period: Period, now: Timestamp, zone: Tz) -> (Timestamp, Timestamp) {
    let today = now.utc().with_timezone(&zone).date_naive();
    let days = |first: NaiveDate, next: Option<NaiveDate>| {
        let until = next.map_or(FOREVER, |day| midnight(day, zone));
        (midnight(first, zone), until)
    };
    match period {
        Period::Total => (Timestamp(0), FOREVER),
        Period::Day => days(today, today.checked_add_days(Days::new(1))),
        Period::Week => {
            let since = u64::from(today.weekday().num_days_from_monday());
            let monday = today.checked_sub_days(Days::new(since)).unwrap_or(today);
            days(monday, monday.checked_add_days(Days::new(7)))
        }
        Period::Month => {
            let first = today.with_day(1).unwrap_or(today);
            days(first, first.checked_add_months(Months::new(1)))
        }
    }
}

/// The first moment of a day: in some places, on some days, that is one o'clock.
pub fn midnight(day: NaiveDate, zone: Tz) -> Timestamp {
    let mut local = day.and_time(chrono::NaiveTime::MIN);
    for _ in 0..96 {
        if let Some(found) = zone.from_local_datetime(&local).earliest() {
            return found.with_timezone(&Utc).into();
        }
        local += TimeDelta::minutes(15);
    }
    // A day that a zone left out altogether.
    let utc: DateTime<Utc> = day.and_time(chrono::NaiveTime::MIN).and_utc();
    utc.into()
}
