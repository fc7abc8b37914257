//! Interprets a column of times as far as one row alone cannot: `20140101` is a day if most small numbers of the column
//! are days, and the times in [`UNKNOWN`] mean "unknown" if the column holds calendar times.
use crate::DataError;
use crate::format::row::Record;
use crate::time::{self, CLOCK, Form, day_number};

/// Values for "unknown" or "never" in a column of times: 0 and -1, the limits of 32 bits, and the usual placeholder
/// days 1900-01-01 and 2099-12-31, as instants and as numbers such as 20991231.
pub(crate) const UNKNOWN: [f64; 10] = [
    0.0,
    -1.0,
    2_147_483_647.0,
    -2_147_483_648.0,
    -2_208_988_800.0,
    4_102_358_400.0,
    4_102_444_799.0,
    4_102_444_800.0,
    19_000_101.0,
    20_991_231.0,
];

/// Ratings have this few values; a log of more than [`SHORT`] rows has more distinct times.
const FEW: usize = 10;
const SHORT: usize = 50;

/// The days from 1982 to 2064 as spreadsheets number them, from 1899-12-30 on.
const SPREADSHEET: std::ops::Range<f64> = 30_000.0..60_000.0;

/// Times whose last written digit stands for at least this many seconds are rounded.
const ROUNDED: f64 = 1_000.0;

/// Statistics of a time column, collected while its rows are read.
#[derive(Debug, Default)]
pub(crate) struct Times {
    seconds: usize,
    milliseconds: usize,
    microseconds: usize,
    nanoseconds: usize,
    dates: usize,
    /// Bare numbers that are days, as in `20140101`.
    days: usize,
    /// Other small numbers: places in an order, or seconds in the years around 1970.
    small: usize,
    /// Those among them that may be days of a [`SPREADSHEET`].
    spreadsheet: usize,
    /// Dates in the years around 1970, whose seconds look like day numbers.
    early: usize,
    /// Values in [`UNKNOWN`].
    unknown: usize,
    /// Numbers such as `2014010109` and `201401010930`.
    stamps: usize,
    /// Numbers such as `1.39E+09`, which are too coarse to tell one hour from the next.
    rounded: usize,
    /// The distinct small numbers, at most one more than [`FEW`].
    different: Vec<f64>,
    first_unknown: Option<DataError>,
    first_small: Option<DataError>,
    first_early: Option<DataError>,
    first_stamp: Option<String>,
    first_rounded: Option<String>,
}

/// How to interpret the times of a column, once all of them are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calendar {
    /// Numbers are days, as in `20140101`; small numbers that are not days cannot be read.
    pub(crate) days: bool,
    /// Rows whose time is in [`UNKNOWN`] cannot be read.
    pub(crate) unknown: bool,
}

impl Times {
    /// Counts a row.
    pub(crate) fn count(&mut self, (time, form): (f64, Form), row: &Record<'_>, column: usize) {
        let text = || row.fields[column].trim();
        let broken = |problem: &str| {
            DataError::row(row.path, row.row, format!("`{}` is {}, which is {problem}", row.names[column], text()))
        };
        if form != Form::Order && time.abs() < CLOCK && self.different.len() <= FEW && !self.different.contains(&time) {
            self.different.push(time);
        }
        match form {
            Form::Order => return,
            _ if UNKNOWN.contains(&time) => {
                self.unknown += 1;
                self.first_unknown.get_or_insert_with(|| broken("not a time"));
                return;
            }
            Form::Seconds if day_number(time).is_some() => self.days += 1,
            Form::Seconds if time.abs() < CLOCK => {
                self.small += 1;
                self.spreadsheet += usize::from(SPREADSHEET.contains(&time));
                self.first_small
                    .get_or_insert_with(|| broken("not a day as in 20140101, unlike the column's other numbers"));
            }
            Form::Seconds => self.seconds += 1,
            Form::Milliseconds => self.milliseconds += 1,
            Form::Microseconds => self.microseconds += 1,
            Form::Nanoseconds => self.nanoseconds += 1,
            Form::Date => {
                self.dates += 1;
                if time.abs() < CLOCK && day_number(time).is_none() {
                    self.early += 1;
                    self.first_early.get_or_insert_with(|| broken("too early for a column of day numbers"));
                }
            }
        }
        if time::is_stamp(time, form) {
            self.stamps += 1;
            self.first_stamp.get_or_insert_with(|| text().into());
        }
        if time.abs() >= CLOCK && time::last_digit(text(), form).is_some_and(|seconds| seconds >= ROUNDED) {
            self.rounded += 1;
            self.first_rounded.get_or_insert_with(|| text().into());
        }
    }

    /// Counts the rows with calendar instants, without day numbers.
    fn clock(&self) -> usize {
        self.seconds + self.milliseconds + self.microseconds + self.nanoseconds + self.dates
    }

    /// Decides how to interpret the column.
    pub(crate) fn calendar(&self) -> Calendar {
        let days = self.days > self.small;
        let clock = self.clock() + if days { self.days } else { 0 };
        Calendar { days, unknown: self.unknown > 0 && clock > self.small }
    }

    /// Returns the number of rows without a time.
    pub(crate) fn unreadable(&self) -> usize {
        let Calendar { days, unknown } = self.calendar();
        (if unknown { self.unknown } else { 0 }) + if days { self.small + self.early } else { 0 }
    }

    /// Returns the reason why the first of these rows has none.
    pub(crate) fn first_unreadable(self) -> Option<DataError> {
        let Calendar { days, unknown } = self.calendar();
        self.first_small.or(self.first_early).filter(|_| days).or(self.first_unknown.filter(|_| unknown))
    }

    /// Returns the reason why the times of the column `name` cannot be what they would be read as, if any.
    pub(crate) fn refused(&self, name: &str) -> Option<String> {
        let first = self.first_stamp.as_ref().filter(|_| 2 * self.stamps > self.clock())?;
        Some(format!(
            "`{name}` holds numbers such as {first}, which look like year, month, day and hour; write them as \
             2014-01-01 09:30, or in seconds since 1970"
        ))
    }

    /// Returns what is odd about the times of the column `name`.
    pub(crate) fn doubts(&self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(mixture) = self.mixture() {
            found.push(format!("`{name}` holds times of several kinds: {mixture}; is one of them wrong?"));
        }
        if let Some(first) = self.first_rounded.as_ref().filter(|_| 2 * self.rounded > self.clock()) {
            found.push(format!(
                "`{name}` holds rounded times such as {first}, as Excel writes them, {} of {}: the order of rows is lost; \
                 export the column again with all digits",
                self.rounded,
                self.clock()
            ));
        }
        let (rows, different) = (self.small + self.unknown, self.different.len());
        if self.clock() + self.days == 0 && rows > SHORT && different > FEW && self.spreadsheet == rows {
            found.push(format!(
                "`{name}` holds numbers such as a spreadsheet has for days, 45292 for 2024-01-01; format the column as a date \
                 (yyyy-mm-dd) and export it again, or call it `pos` if it is an order"
            ));
        }
        if self.clock() + self.days == 0 && rows > SHORT && different <= FEW {
            found.push(format!(
                "`{name}` has {different} different values in {rows} rows, none of which is a clock time: are they ratings? \
                 Name the time column by `columns.time`, or call the column `pos` if it is an order"
            ));
        }
        found
    }

    /// Returns the units of a column that mixes several, with the rows of each.
    fn mixture(&self) -> Option<String> {
        let are_days = self.calendar().days;
        // Some seconds in the years around 1970 look like a day.
        let told = are_days || 10 * self.days >= self.small;
        let small = if are_days { 0 } else { self.small } + if told { 0 } else { self.days };
        let kinds = [
            (self.seconds + small, "in seconds"),
            (self.milliseconds, "in milliseconds"),
            (self.microseconds, "in microseconds"),
            (self.nanoseconds, "in nanoseconds"),
            (self.dates, "as dates"),
            (if are_days { self.days } else { 0 }, "as numbers such as 20140101"),
            (if told && !are_days { self.days } else { 0 }, "as numbers such as 20140101, which are read as seconds"),
        ];
        let found: Vec<String> =
            kinds.iter().filter(|(rows, _)| *rows > 0).map(|(rows, unit)| format!("{rows} {unit}")).collect();
        (found.len() > 1).then(|| found.join(", "))
    }
}

impl Calendar {
    /// Returns whether any time differs from how it was first read.
    pub(crate) fn changes(self) -> bool {
        self.days || self.unknown
    }

    /// Returns the time of a row, or `None` if it has none.
    pub(crate) fn settled(self, time: f64) -> Option<f64> {
        match time {
            time if self.unknown && UNKNOWN.contains(&time) => None,
            time if self.days && time.abs() < CLOCK => day_number(time),
            time => Some(time),
        }
    }
}
