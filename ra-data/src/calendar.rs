//! What a column of times is, as far as one row cannot tell: `20140101` is a day where every number of the column is one, and
//! 0 and -1 mean "unknown" where the column holds times of a calendar.
use crate::DataError;
use crate::records::Record;
use crate::time::{CLOCK, Form, day_number};

/// What the rows of a time column are, counted while they are read.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Rows in each unit of [`UNITS`] that are instants of the calendar; the last are dates.
    clock: [usize; 5],
    /// Bare numbers that are days, as in `20140101`.
    days: usize,
    /// Other small numbers: places in an order, or seconds of the years around 1970.
    small: usize,
    /// 0 and -1.
    unknown: usize,
    /// The first 0 or -1, in words.
    pub(crate) example: Option<DataError>,
}

/// What is made of the times of a column when all of them are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// Numbers are days, as in `20140101`.
    pub(crate) days: bool,
    /// Rows whose time is 0 or -1 cannot be read.
    pub(crate) unknown: bool,
}

impl Times {
    /// Counts a row.
    pub(crate) fn count(&mut self, (time, form): (f64, Form), row: &Record<'_>, column: usize) {
        match form {
            Form::Order => {}
            _ if is_unknown(time) => {
                self.unknown += 1;
                self.example.get_or_insert_with(|| {
                    let problem = format!("`{}` is {}, which is no time", row.names[column], row.fields[column].trim());
                    DataError::row(row.path, row.row, problem)
                });
            }
            Form::Seconds if day_number(time).is_some() => self.days += 1,
            Form::Seconds if time.abs() < CLOCK => self.small += 1,
            _ => self.clock[(form as usize).min(4)] += 1,
        }
    }

    /// What the column is.
    pub(crate) fn calendar(&self) -> Calendar {
        let days = self.days > 0 && self.small == 0;
        let clock = self.clock.iter().sum::<usize>() + if days { self.days } else { 0 };
        Calendar { days, unknown: self.unknown > 0 && clock > self.small }
    }

    /// How many rows have no time.
    pub(crate) fn unknown(&self) -> usize {
        if self.calendar().unknown { self.unknown } else { 0 }
    }

    /// The units of a column that has several, with the rows of each.
    pub(crate) fn mixture(&self) -> Option<String> {
        let days = if self.calendar().days { self.days } else { 0 };
        let [seconds, milli, micro, nano, dates] = self.clock;
        let seconds = seconds + self.small + self.days - days;
        let kinds = [
            (seconds, "in seconds"),
            (milli, "in milliseconds"),
            (micro, "in microseconds"),
            (nano, "in nanoseconds"),
            (dates, "as dates"),
            (days, "as numbers such as 20140101"),
        ];
        let found: Vec<String> =
            kinds.iter().filter(|(rows, _)| *rows > 0).map(|(rows, unit)| format!("{rows} {unit}")).collect();
        (found.len() > 1).then(|| found.join(", "))
    }
}

impl Calendar {
    /// Whether a time is any other than it was read as.
    pub(crate) fn changes(self) -> bool {
        self.days || self.unknown
    }

    /// The time of a row, or nothing where it is unknown.
    pub(crate) fn settled(self, time: f64) -> Option<f64> {
        match time {
            time if self.unknown && is_unknown(time) => None,
            time if self.days => Some(day_number(time).unwrap_or(time)),
            time => Some(time),
        }
    }
}

fn is_unknown(time: f64) -> bool {
    time == 0.0 || time == -1.0
}
