//! Times and their units: every instant becomes seconds since 1970, with fractions.
//!
//! A typed column states its unit. The size of a bare number reveals its unit, because the ranges of today's logs do
//! not overlap:
//!
//! | number, without its sign | unit | range |
//! |---|---|---|
//! | below 1e11 | seconds | up to the year 5138 |
//! | from 1e11, below 1e14 | milliseconds | from 1973 |
//! | from 1e14, below 1e17 | microseconds | from 1973 |
//! | from 1e17, below 1e20 | nanoseconds | from 1973 |
//!
//! Instants outside 1900 to 2100 are not accepted. [`calendar`] decides what depends on the whole column.
use crate::format::row::Record;
use crate::{DataError, Result};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use std::borrow::Cow;

pub(crate) mod calendar;

/// The supported forms, for messages about times that cannot be read.
const FORMS: &str = "accepted are seconds, milliseconds, microseconds and nanoseconds since 1970, 2014-03-01, \
                     20140301, 2014-03-01 10:00[:00[.5]] with Z or +02:00, and Sat Mar 01 10:00:00 -0800 2014 (in a \
                     spreadsheet, format the column as yyyy-mm-dd hh:mm)";

/// Names of time columns that hold an order without clock time.
const ORDER_ONLY: [&str; 3] = ["pos", "position", "place in the file"];

/// From this many seconds since 1970 (in 1973) on, a number is a calendar instant and not a place in an order.
pub(crate) const CLOCK: f64 = 1e8;

/// The first second of 1900 and of 2101.
const YEARS: [f64; 2] = [-2_208_988_800.0, 4_133_980_800.0];

/// Returns whether a column of this name only orders each user's interactions.
pub(crate) fn is_order(column: &str) -> bool {
    ORDER_ONLY.contains(&column)
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    /// A date, or a value of a typed column.
    Date,
    /// A place in an order, unchanged.
    Order,
}

/// The units of bare numbers: the end of each range, and the units per second.
const UNITS: [(Form, f64, f64); 4] = [
    (Form::Seconds, 1e11, 1.0),
    (Form::Milliseconds, 1e14, 1e3),
    (Form::Microseconds, 1e17, 1e6),
    (Form::Nanoseconds, 1e20, 1e9),
];

impl Record<'_> {
    /// Returns the value of a field that must hold a time, in seconds since 1970 or as a place in an order, and how it
    /// was written.
    pub(crate) fn time(&self, column: usize) -> Result<(f64, Form)> {
        let (name, text) = (&self.names[column], self.fields[column].trim());
        if is_order(name) {
            return Ok((self.number(column)?, Form::Order));
        }
        let broken = |problem: String| DataError::row(self.path, self.row, format!("`{name}` {problem}"));
        if text.is_empty() {
            return Err(broken("is empty".into()));
        }
        let (time, form) = instant(text).ok_or_else(|| broken(format!("is \"{text}\", not a time; {FORMS}")))?;
        if (YEARS[0]..YEARS[1]).contains(&time) && !is_never(time, form) {
            Ok((time, form))
        } else {
            Err(broken(format!("is \"{text}\", which is not a time between 1900 and 2100")))
        }
    }
}

/// Parses a time in any supported form, as seconds since 1970.
pub(crate) fn instant(text: &str) -> Option<(f64, Form)> {
    let text = text.trim();
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().ok().filter(|seconds: &f64| seconds.is_finite()).map(|seconds| (seconds, Form::Date));
    }
    match text.parse::<f64>() {
        Ok(number) => of_number(number),
        Err(_) => date(text).map(|seconds| (seconds, Form::Date)),
    }
}

/// Interprets a bare number in the unit that its size reveals.
fn of_number(number: f64) -> Option<(f64, Form)> {
    let unit = UNITS.iter().find(|(_, end, _)| number.abs() < *end);
    unit.map(|&(form, _, per_second)| (number / per_second, form))
}

/// Interprets a number that a user gives as a point in time.
pub(crate) fn point(number: f64) -> Option<f64> {
    day_number(number).or_else(|| of_number(number).map(|(seconds, _)| seconds))
}

/// The last second and the last day of the year 9999, which databases write for "never". Their size suggests the next
/// finer unit, so they are read as these instants of 1978.
const NEVER: [f64; 2] = [253_402_300.0, 253_402_214.0];

fn is_never(time: f64, form: Form) -> bool {
    matches!(form, Form::Milliseconds | Form::Microseconds | Form::Nanoseconds) && NEVER.contains(&time.floor())
}

/// Returns the first second of a day written as a number, as in `20140101`.
pub(crate) fn day_number(number: f64) -> Option<f64> {
    if number.fract() != 0.0 || !(19_000_101.0..21_010_101.0).contains(&number) {
        return None;
    }
    NaiveDate::parse_from_str(&number.to_string(), "%Y%m%d")
        .ok()
        .map(|day| day.and_time(NaiveTime::MIN).and_utc().timestamp() as f64)
}

/// Returns whether a time was read from a number such as `2014010109` or `201401010930`, which mean a day with hour and
/// minute.
pub(crate) fn is_stamp(time: f64, form: Form) -> bool {
    let (day, hour, minute) = match form {
        Form::Seconds => ((time / 1e2).floor(), time % 1e2, 0.0),
        Form::Milliseconds => {
            let number = (time * 1e3).round();
            ((number / 1e4).floor(), (number / 1e2).floor() % 1e2, number % 1e2)
        }
        _ => return false,
    };
    hour < 24.0 && minute < 60.0 && day_number(day).is_some()
}

/// Returns how many seconds the last digit of a number such as `1.39E+09` stands for.
pub(crate) fn last_digit(text: &str, form: Form) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let (_, _, per_second) = UNITS.iter().find(|(unit, ..)| *unit == form)?;
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    Some(10f64.powi(exponent.parse::<i32>().ok()? - decimals as i32) / per_second)
}

/// The formats of a day, in the notation of [`chrono`].
const DAYS: [&str; 3] = ["%Y-%m-%d", "%B %d, %Y", "%d %b %Y"];

/// The formats of a day and a time in UTC.
const TIMES: [&str; 6] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y%m%dT%H%M%S",
    "%a %b %d %H:%M:%S %Y",
];

/// The formats of a day, a time and its offset from UTC.
const TIMES_WITH_OFFSET: [&str; 7] = [
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M%#z",
    "%Y-%m-%dT%H:%M%#z",
    "%Y%m%dT%H%M%S%#z",
    "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S %z",
];

/// Parses a date, or a date and time, as seconds since 1970; without an offset it is UTC. Dates with an ambiguous order
/// of day and month, such as `03/01/2014`, are refused.
fn date(text: &str) -> Option<f64> {
    let text = plainly(text);
    let day = |form| NaiveDate::parse_from_str(&text, form).ok().map(|day| day.and_time(NaiveTime::MIN));
    let time = |form| NaiveDateTime::parse_from_str(&text, form).ok();
    let with_offset = |form| DateTime::parse_from_str(&text, form).ok().map(|time| time.naive_utc());
    let timed = || TIMES.into_iter().find_map(time).or_else(|| TIMES_WITH_OFFSET.into_iter().find_map(with_offset));
    let found = if text.contains(':') { timed() } else { DAYS.into_iter().find_map(day).or_else(timed) };
    let found = found?.and_utc();
    Some(found.timestamp() as f64 + f64::from(found.timestamp_subsec_nanos()) / 1e9)
}

/// Replaces `/` by `-` in a date with a leading year, and a name of UTC by a numeric offset.
fn plainly(text: &str) -> Cow<'_, str> {
    let year_first =
        text.as_bytes().get(..5).is_some_and(|start| start[..4].iter().all(u8::is_ascii_digit) && start[4] == b'/');
    let text = if year_first { Cow::from(text.replacen('/', "-", 2)) } else { Cow::from(text) };
    match ["Z", "z", " UTC", " GMT"].iter().find_map(|utc| text.strip_suffix(utc)) {
        Some(rest) => format!("{rest}+00:00").into(),
        None => text,
    }
}

/// Returns the canonical text of an instant: a date, with the time in UTC unless it is midnight. A number that is not a
/// calendar time is written as it is.
pub(crate) fn written(time: f64) -> String {
    if time.abs() < CLOCK || !(YEARS[0]..YEARS[1]).contains(&time) {
        return time.to_string();
    }
    let Some(instant) = DateTime::from_timestamp_micros((time * 1e6).round() as i64) else { return time.to_string() };
    let form = match (instant.time() == NaiveTime::MIN, instant.timestamp_subsec_micros()) {
        (true, _) => "%Y-%m-%d",
        (false, 0) => "%Y-%m-%dT%H:%M:%SZ",
        (false, _) => "%Y-%m-%dT%H:%M:%S%.6fZ",
    };
    instant.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_is_one_number_however_it_is_written() {
        let same = [
            "1393632000",
            "1393632000.0",
            "1.393632e9",
            "1393632000000",
            "1393632000000000",
            "1393632000000000000",
            "@1393632000",
            "2014-03-01",
            "2014/03/01",
            "2014-03-01T00:00",
            "2014-03-01 00:00:00",
            "2014-03-01T00:00:00.000",
            "2014-03-01T00:00:00Z",
            "2014-03-01 02:00:00+02:00",
            "2014-02-28T16:00-0800",
            "2014-03-01 00:00:00 UTC",
            "Fri Feb 28 16:00:00 -0800 2014",
            "Sat, 1 Mar 2014 00:00:00 GMT",
            "March 1, 2014",
            "1 MAR 2014",
            "20140301T000000Z",
            "1 Mar 2014",
        ];
        for text in same {
            assert_eq!(instant(text).map(|(seconds, _)| seconds), Some(1_393_632_000.0), "{text}");
        }
        assert_eq!(instant("2014-03-01 10:00:00.25").unwrap().0, 1_393_668_000.25);
        assert_eq!(instant("1393668000250").unwrap().0, 1_393_668_000.25);
        assert_eq!(instant("1925-12-31").unwrap().0, -1_388_620_800.0);
        assert_eq!(point(20_140_301.0), Some(1_393_632_000.0));
        assert_eq!(point(1_393_632_000_000.0), Some(1_393_632_000.0));
        assert_eq!(point(5.0), Some(5.0));
    }

    #[test]
    fn what_could_be_two_dates_is_none() {
        for text in [
            "03/01/2014",
            "1/1/2014 9:05",
            "01/01/2014 9:05:58 AM",
            "01.03.2014",
            "2014-02-30",
            "2014-13-01",
            "soon",
            "",
            "nan",
            "inf",
            "2014-03-01 25:00",
            "2014-03-01 10:00 PM",
            "2014-03-01T",
            "1e30",
            "Mar 2014",
            "12:30",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }

    #[test]
    fn days_are_counted_and_written_alike() {
        let mut random = ra_core::SplitMix::new(5);
        for _ in 0..20_000 {
            let time = (random.below(6_000_000_000) as f64 - 2_000_000_000.0) + 0.25 * random.below(4) as f64;
            let text = written(time);
            assert_eq!(instant(&text).map(|(seconds, _)| seconds), Some(time), "{text}");
        }
        assert_eq!(written(1_393_632_000.0), "2014-03-01");
        assert_eq!(written(951_782_400.0), "2000-02-29");
        assert_eq!(written(1_393_668_000.25), "2014-03-01T10:00:00.250000Z");
        assert_eq!((written(7.0), written(-0.5)), ("7".into(), "-0.5".into()));
    }
}
