//! A time has a unit: whatever a file says of an instant becomes seconds since 1970, with their fractions.
//!
//! A typed column tells its unit. A bare number tells it by its size, for the ranges of today's logs do not meet:
//!
//! | number, without its sign | unit | that is |
//! |---|---|---|
//! | below 1e11 | seconds | up to the year 5138 |
//! | from 1e11, below 1e14 | milliseconds | from 1973 |
//! | from 1e14, below 1e17 | microseconds | from 1973 |
//! | from 1e17, below 1e20 | nanoseconds | from 1973 |
//!
//! Instants outside 1900 to 2100 are no times of a log. What depends on the whole column is in [`crate::calendar`].
use crate::records::Record;
use crate::{DataError, Result};

/// What a person reads where a time cannot be read.
const FORMS: &str = "read are seconds, milliseconds, microseconds and nanoseconds since 1970, 2014-03-01, 20140301, \
                     2014-03-01 10:00[:00[.5]] with Z or +02:00, and Sat Mar 01 10:00:00 -0800 2014";

/// Names of time columns that give an order and no clock time.
const ORDER_ONLY: [&str; 3] = ["pos", "position", "place in the file"];

/// Seconds since 1970 from which on a number is an instant of the calendar (1973) and no place in an order.
pub(crate) const CLOCK: f64 = 1e8;

const DAY: f64 = 86_400.0;

/// The first seconds of 1900 and of 2101.
const YEARS: [f64; 2] = [-2_208_988_800.0, 4_133_980_800.0];

/// Whether a column of this name orders each user's interactions and tells no time.
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
    /// A date, or a typed column.
    Date,
    /// A place in an order, as it is.
    Order,
}

/// The units of bare numbers: the end of their range, and how many make a second.
const UNITS: [(Form, f64, f64); 4] = [
    (Form::Seconds, 1e11, 1.0),
    (Form::Milliseconds, 1e14, 1e3),
    (Form::Microseconds, 1e17, 1e6),
    (Form::Nanoseconds, 1e20, 1e9),
];

impl Record<'_> {
    /// A field that must hold a time: seconds since 1970, or a place in an order; and how it was written.
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
        if (YEARS[0]..YEARS[1]).contains(&time) && !ends_the_calendar(text) {
            Ok((time, form))
        } else {
            Err(broken(format!("is \"{text}\", which is no time between 1900 and 2100")))
        }
    }
}

/// A time in any of the forms that are read, as seconds since 1970.
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

/// A bare number in the unit that its size tells.
fn of_number(number: f64) -> Option<(f64, Form)> {
    let unit = UNITS.iter().find(|(_, end, _)| number.abs() < *end);
    unit.map(|&(form, _, per_second)| (number / per_second, form))
}

/// A number that a person gives for a point in time.
pub(crate) fn point(number: f64) -> Option<f64> {
    day_number(number).or_else(|| of_number(number).map(|(seconds, _)| seconds))
}

/// Whether a number is the last second or day of the year 9999, which data bases write for "never": a thousandth of it
/// would be a time of 1978.
fn ends_the_calendar(text: &str) -> bool {
    let Ok(number) = text.parse::<f64>() else { return false };
    UNITS.iter().any(|(.., per_second)| [253_402_300_799.0, 253_402_214_400.0].contains(&(number / per_second).floor()))
}

/// The first second of a day that is written as a number, as in `20140101`.
pub(crate) fn day_number(number: f64) -> Option<f64> {
    if number.fract() != 0.0 || !(19_000_101.0..21_010_101.0).contains(&number) {
        return None;
    }
    let number = number as i64;
    days(number / 10_000, number / 100 % 100, number % 100).map(|days| days as f64 * DAY)
}

/// Days since 1970 of a day of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) || !(0..=9999).contains(&year) {
        return None;
    }
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
            - 719_469,
    )
}

/// A date, or a date and time, as seconds since 1970; without an offset it is UTC. A date whose day and month cannot
/// be told apart, as in `03/01/2014`, is none.
fn date(text: &str) -> Option<f64> {
    year_first(text).or_else(|| month_named(text))
}

/// `2014-03-01`, `2014/03/01`, and either with a time after a space or `T`.
fn year_first(text: &str) -> Option<f64> {
    let (date, rest) = text.split_at_checked(text.find(['T', 't', ' ']).unwrap_or(text.len()))?;
    let separator = if date.contains('/') { '/' } else { '-' };
    let parts: Vec<&str> = date.split(separator).collect();
    let [year, month, day] = parts[..] else { return None };
    if year.len() != 4 || month.len() > 2 || day.len() > 2 {
        return None;
    }
    let days = days(digits(year)?, digits(month)?, digits(day)?)? as f64;
    match rest.get(1..).map(str::trim) {
        None => Some(days * DAY),
        Some(clock) => Some(days * DAY + time_of_day(clock)?),
    }
}

/// `Sat Mar 01 10:00:00 -0800 2014`, `Sat, 1 Mar 2014 10:00:00 GMT`, `March 1, 2014`: wherever the month is a word.
fn month_named(text: &str) -> Option<f64> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let (mut year, mut month, mut day, mut clock, mut zone) = (None, None, None, None, None);
    let place = |slot: &mut Option<i64>, value: i64| slot.replace(value).is_none();
    for (at, word) in text.split([' ', ',']).filter(|word| !word.is_empty()).enumerate() {
        let lower = word.to_lowercase();
        let begins = |name: &&str| lower.starts_with(*name) && lower.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_free = if word.contains(':') {
            clock.replace(time_of_day(word)?).is_none()
        } else if let Some(offset) = offset(word) {
            zone.replace(offset).is_none()
        } else if let Some(index) = MONTHS.iter().position(&begins) {
            place(&mut month, index as i64 + 1)
        } else if word.len() == 4 {
            place(&mut year, digits(word)?)
        } else if word.len() <= 2 {
            place(&mut day, digits(word)?)
        } else {
            at == 0 && WEEKDAYS.iter().any(begins)
        };
        if !is_free {
            return None;
        }
    }
    Some(days(year?, month?, day?)? as f64 * DAY + clock.unwrap_or(0.0) - zone.unwrap_or(0.0))
}

/// `10:00`, `10:00:00`, `10:00:00.25`, each with an offset if need be, as seconds of the day in UTC.
fn time_of_day(text: &str) -> Option<f64> {
    let end = text.find(['Z', 'z', '+', '-', ' ', 'U', 'G']).unwrap_or(text.len());
    let (clock, zone) = text.split_at_checked(end)?;
    let zone = match zone.trim() {
        "" => 0.0,
        zone => offset(zone)?,
    };
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let second = match parts.next() {
        None => 0.0,
        Some(second) if second.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => second.parse().ok()?,
        Some(_) => return None,
    };
    let is_time = hour < 24 && minute < 60 && (0.0..61.0).contains(&second) && parts.next().is_none();
    is_time.then_some((hour * 60 + minute) as f64 * 60.0 + second - zone)
}

/// Seconds that a clock is ahead of UTC: `Z`, `UTC`, `GMT`, `+02:00`, `-0800`, `+02`.
fn offset(text: &str) -> Option<f64> {
    if ["Z", "z", "UTC", "GMT"].contains(&text) {
        return Some(0.0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1.0, rest),
        ("-", rest) => (-1.0, rest),
        _ => return None,
    };
    let (hours, minutes) = match (rest.len(), rest.split_once(':')) {
        (5, Some((hours, minutes))) => (hours, minutes),
        (4, None) => rest.split_at_checked(2)?,
        (2, None) => (rest, "0"),
        _ => return None,
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours <= 15 && minutes < 60).then_some(sign * (hours * 60 + minutes) as f64 * 60.0)
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The one way in which an instant is written: a date, with the time in UTC where it is not midnight; of what is no
/// time of the calendar, the number.
pub(crate) fn written(time: f64) -> String {
    if time.abs() < CLOCK || !(YEARS[0]..YEARS[1]).contains(&time) {
        return time.to_string();
    }
    let (day, within) = ((time / DAY).floor(), time.rem_euclid(DAY));
    // Days since March of the year 0.
    let since = day as i64 + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let of_400 = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_400 + of_400 / 4 - of_400 / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = of_400 + era * 400 + i64::from(month < 3);
    let date = format!("{year:04}-{month:02}-{day:02}");
    if within == 0.0 {
        return date;
    }
    let (hour, minute, second) = (within as u64 / 3600, within as u64 / 60 % 60, within % 60.0);
    let second = if second.fract() == 0.0 { format!("{second:02}") } else { format!("{second:09.6}") };
    format!("{date}T{hour:02}:{minute:02}:{second}Z")
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
