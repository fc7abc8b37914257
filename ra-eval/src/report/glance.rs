//! The first questions of a reader: which row is best, how sure that is, and what it costs.
use super::{Report, ResultTable, Row, RowKind, duration, grouped};
use crate::significance::Interval;
use crate::{Measure, Metric};
use std::collections::BTreeMap;

/// The maximum number of rows shown with the answers.
const SHOWN: usize = 5;

/// The maximum number of rows named in a sentence.
const NAMED: usize = 3;

/// The answers and the rows they refer to.
pub(crate) struct Glance<'a> {
    /// The measures that the rows are judged by, in descending order of weight.
    pub(crate) measures: Vec<Measure>,
    /// At most five rows, the best first.
    pub(crate) rows: Vec<Shown<'a>>,
    /// Which row, how sure, and at what cost.
    pub(crate) answers: [Answer; 3],
    /// How rows were made.
    pub(crate) made: Vec<String>,
    /// The limits of the answers.
    pub(crate) caveat: String,
}

/// A row shown with the answers.
pub(crate) struct Shown<'a> {
    /// Its name, preceded by the name of its run if there are several runs.
    pub(crate) name: String,
    pub(crate) row: &'a Row,
    /// How it compares with its baseline, in words.
    pub(crate) standing: String,
}

/// A question with a short and a full answer.
pub(crate) struct Answer {
    pub(crate) question: &'static str,
    pub(crate) short: String,
    pub(crate) text: String,
}

/// The criterion by which one row is better than another.
struct Criterion {
    /// The terms that the table has.
    terms: Vec<(f64, Measure)>,
    /// Whether this is the criterion that chose the models, not a substitute for it.
    is_own: bool,
    /// The criterion that chose the models.
    asked: Vec<(f64, Measure)>,
}

/// A row that may be the best.
struct Candidate<'a> {
    name: String,
    row: &'a Row,
    /// The criterion on the test part.
    score: f64,
    /// The number that rows are chosen by: the criterion on the validation part if all rows have it.
    choice: f64,
}

/// How one row compares with another on all metrics of the criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Better,
    Worse,
    /// Significantly better on one metric, worse on another.
    Mixed,
    /// No metric differs significantly.
    Alike,
}

/// A row that the best one was tested against.
struct Rival {
    place: usize,
    /// The best row minus this one.
    found: BTreeMap<Metric, Interval>,
    standing: Standing,
}

/// A test: the row `from` minus the row `to`.
struct Test<'a> {
    from: usize,
    to: usize,
    found: &'a BTreeMap<Metric, Interval>,
}

impl<'a> Glance<'a> {
    /// Answers the questions for `reports`, their `table`, and `between`, the rows of one run compared with rows of
    /// another. Returns `None` if there is no row to choose.
    pub(crate) fn new(reports: &'a [Report], between: &'a [Row], table: &ResultTable<'_>) -> Option<Self> {
        let criterion = Criterion::new(reports, table)?;
        let candidates = candidates(reports, &criterion);
        let is_validated = is_validated(&candidates);
        let tests = tests(reports, between, &candidates);
        // Of equal scores, the first row.
        let order = by_score(&candidates);
        let &best = order.first()?;
        let rivals = rivals(best, &tests, &criterion);
        let mut caveat = String::from(match is_validated {
            true => {
                "The row was chosen on the validation part; all other figures are of the test part, which took no part in the \
                 choice. Where training or weights were chosen on the same validation users, as in a blend, a validation figure \
                 is higher than the row deserves: compare the test part, other seeds or later data."
            }
            false => {
                "The test part can confirm a choice. A choice made on it looks better than it is: decide on the validation part, \
                 and confirm with other seeds or later data."
            }
        });
        if !super::over_seeds(reports).is_empty() {
            caveat.push_str(" The row named here is the best of single runs; the means over seeds are below.");
        }
        Some(Self {
            measures: criterion.terms.iter().map(|(_, measure)| *measure).collect(),
            answers: [
                which(&candidates, best, &rivals, &criterion, is_validated),
                how_sure(&candidates, best, &rivals, &criterion),
                what_cost(&candidates, best, &rivals),
            ],
            rows: shown(&candidates, &order, &rivals, &tests, &criterion),
            made: table.made(),
            caveat,
        })
    }
}

impl Criterion {
    /// Takes the criterion that chose the runs' models, as far as the table has its measures; otherwise NDCG at the smallest
    /// K, or the first metric.
    fn new(reports: &[Report], table: &ResultTable<'_>) -> Option<Self> {
        let mut asked = reports.first()?.protocol.criterion();
        asked.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        let is_known =
            |(_, measure): &(f64, Measure)| table.rows.iter().any(|(_, row)| row.measure(*measure).is_some());
        let terms: Vec<(f64, Measure)> = asked.iter().copied().filter(is_known).collect();
        if !terms.is_empty() {
            return Some(Self { is_own: terms.len() == asked.len(), terms, asked });
        }
        let ndcg = table.headline.iter().find(|metric| matches!(metric, Metric::Ndcg(_)));
        let &metric = ndcg.or(table.headline.first())?;
        Some(Self { terms: vec![(1.0, metric.into())], is_own: false, asked })
    }

    /// Returns NaN if the row lacks a measure.
    fn score(&self, row: &Row) -> f64 {
        self.terms
            .iter()
            .map(|(weight, measure)| weight * row.measure(*measure).map_or(f64::NAN, |found| found.0))
            .sum()
    }

    /// Returns the criterion as a formula, such as `ndcg@10 + 0.25 hr@100`.
    fn formula(&self) -> String {
        Self::sum(&self.terms)
    }

    fn sum(terms: &[(f64, Measure)]) -> String {
        let term = |(weight, measure): &(f64, Measure)| match *weight == 1.0 {
            true => measure.to_string(),
            false => format!("{weight} {measure}"),
        };
        terms.iter().map(term).collect::<Vec<_>>().join(" + ")
    }

    /// Returns `None` if no metric was compared.
    fn standing(&self, found: &BTreeMap<Metric, Interval>) -> Option<Standing> {
        let compared: Vec<f64> =
            self.terms.iter().filter_map(|(weight, of)| Some(weight * significant(tested(found, of)?))).collect();
        if compared.is_empty() {
            return None;
        }
        Some(match (compared.iter().any(|d| *d > 0.0), compared.iter().any(|d| *d < 0.0)) {
            (true, true) => Standing::Mixed,
            (true, false) => Standing::Better,
            (false, true) => Standing::Worse,
            (false, false) => Standing::Alike,
        })
    }
}

/// Returns the tested difference; only measures of all targets are tested.
fn tested<'a>(found: &'a BTreeMap<Metric, Interval>, measure: &Measure) -> Option<&'a Interval> {
    found.get(&measure.metric).filter(|_| measure.group.is_none())
}

/// Returns the mean difference, or 0 if it is not significant.
fn significant(found: &Interval) -> f64 {
    if found.is_significant() { found.mean } else { 0.0 }
}

/// Returns every usable row once: no probes, no models that were not saved, and no rows without a score.
fn candidates<'a>(reports: &'a [Report], criterion: &Criterion) -> Vec<Candidate<'a>> {
    let mut found: Vec<Candidate<'a>> = Vec::new();
    for report in reports {
        for row in report.rows.iter().filter(|row| row.can_be_chosen()) {
            let score = criterion.score(row);
            if score.is_finite() && place(&found, row).is_none() {
                let name = match reports.len() {
                    1 => row.name.clone(),
                    _ => format!("{}: {}", run(report, reports), row.name),
                };
                found.push(Candidate { name, row, score, choice: score });
            }
        }
    }
    if is_validated(&found) {
        found.iter_mut().for_each(|candidate| candidate.choice = candidate.row.validation.unwrap_or(f64::NAN));
    }
    found
}

/// Returns whether rows can be chosen by what they had on the validation part.
fn is_validated(candidates: &[Candidate<'_>]) -> bool {
    let has = |candidate: &Candidate<'_>| candidate.row.validation.is_some_and(f64::is_finite);
    candidates.iter().all(has)
}

/// Returns the name of a run in the name of a row, as [`crate::Comparison::with_between`] receives it.
fn run(report: &Report, all: &[Report]) -> String {
    let place = all.iter().take_while(|other| !std::ptr::eq(*other, report)).count();
    match all.iter().filter(|other| other.run == report.run).count() {
        1 if !report.run.is_empty() => report.run.clone(),
        _ => format!("{} {}", if report.run.is_empty() { &report.recipe } else { &report.run }, place + 1),
    }
}

/// Returns the position of a row. Runs that share an ID method list it only once.
fn place(candidates: &[Candidate<'_>], row: &Row) -> Option<usize> {
    candidates.iter().position(|known| known.row.name == row.name && known.row.metrics == row.metrics)
}

/// Returns every test of two candidates: first those within a run, then those between runs.
fn tests<'a>(reports: &'a [Report], between: &'a [Row], candidates: &[Candidate<'_>]) -> Vec<Test<'a>> {
    let mut tests = Vec::new();
    for report in reports {
        for row in &report.rows {
            let baseline = report.rows.iter().find(|other| Some(&other.name) == row.baseline.as_ref());
            let ends = baseline.and_then(|to| Some((place(candidates, row)?, place(candidates, to)?)));
            tests.extend(ends.map(|(from, to)| Test { from, to, found: &row.differences }));
        }
    }
    let called = |name: &str| {
        let mut known = (0..candidates.len()).filter(|&at| candidates[at].name == name);
        known.next().filter(|_| known.next().is_none())
    };
    for row in between {
        let Some((from, baseline)) = called(&row.name).zip(row.baseline.as_ref()) else { continue };
        // The baseline is the name of a row or of a run; for a run, the row with the same name is meant.
        let to = called(baseline).or_else(|| called(&format!("{baseline}: {}", candidates[from].row.name)));
        tests.extend(to.map(|to| Test { from, to, found: &row.differences }));
    }
    tests
}

/// Returns the positions of the candidates, the best first; equal scores keep their order.
fn by_score(candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| candidates[b].choice.total_cmp(&candidates[a].choice));
    order
}

/// Returns all rows that the best row was tested against.
fn rivals(best: usize, tests: &[Test<'_>], criterion: &Criterion) -> Vec<Rival> {
    let mut rivals: Vec<Rival> = Vec::new();
    for test in tests {
        let (place, found) = match (test.from == best, test.to == best) {
            (true, false) => (test.to, test.found.clone()),
            (false, true) => (test.from, test.found.iter().map(|(metric, d)| (*metric, turned(d))).collect()),
            _ => continue,
        };
        if let Some(standing) = criterion.standing(&found).filter(|_| rivals.iter().all(|known| known.place != place)) {
            rivals.push(Rival { place, found, standing });
        }
    }
    rivals
}

/// Reverses the direction of a difference.
fn turned(found: &Interval) -> Interval {
    Interval { mean: -found.mean, low: -found.high, high: -found.low, ..*found }
}

/// Returns the rivals with a given standing.
fn of(rivals: &[Rival], standing: Standing) -> Vec<usize> {
    rivals.iter().filter(|rival| rival.standing == standing).map(|rival| rival.place).collect()
}

/// Returns the cheapest of some rows. A variant needs the model that it builds on, so other rows are preferred.
fn cheapest(candidates: &[Candidate<'_>], places: impl Iterator<Item = usize>) -> Option<usize> {
    let cost = |place: usize| {
        let row = candidates[place].row;
        (matches!(row.kind, RowKind::Variant(_)), row.train_seconds)
    };
    places.min_by(|&a, &b| {
        let (a, b) = (cost(a), cost(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    })
}

fn which(
    candidates: &[Candidate<'_>],
    best: usize,
    rivals: &[Rival],
    criterion: &Criterion,
    is_validated: bool,
) -> Answer {
    let name = &candidates[best].name;
    let alike = of(rivals, Standing::Alike);
    let cheap = cheapest(candidates, std::iter::once(best).chain(alike.iter().copied())).unwrap_or(best);
    let short = match is_validated {
        true => format!("{name} is recommended: it validates best"),
        false => format!("{name} is best on the test part"),
    };
    if is_validated {
        let text = validated(candidates, best, criterion);
        return Answer { question: "Which row?", short, text };
    }
    let mut text = format!("{name} has the highest {}", criterion.formula());
    text.push_str(match criterion.is_own {
        true => ", the criterion by which models were selected during training.",
        false => "; the table lacks part of the criterion that selected models during training.",
    });
    if !alike.is_empty() {
        let be = if alike.len() == 1 { "is" } else { "are" };
        let than = if alike.len() == 1 { "cheaper of the two" } else { "cheapest of them" };
        let names = named(candidates, &alike);
        text.push_str(&format!(
            " {names} {be} not significantly different from it; {} is the {than}",
            candidates[cheap].name
        ));
        // Not different enough to be found is not the same as no worse.
        let found = rivals.iter().find(|rival| rival.place == cheap).map(|rival| &rival.found);
        let loss = criterion.terms.iter().find_map(|(_, of)| Some((of, tested(found?, of)?.high)));
        match loss {
            Some((metric, high)) if high > 0.0 => {
                text.push_str(&format!(", and may lose up to {high:.4} in {metric}."))
            }
            _ => text.push('.'),
        }
    }
    Answer { question: "Which row?", short, text }
}

/// States what the recommended row has on both parts, and whether another one has more on the test part.
fn validated(candidates: &[Candidate<'_>], best: usize, criterion: &Criterion) -> String {
    let Candidate { name, choice, score, .. } = &candidates[best];
    let formula = Criterion::sum(&criterion.asked);
    let mut text = format!("On the validation part, {name} has the highest {formula}: {choice:.4}");
    let second = by_score(candidates).into_iter().find(|&place| place != best);
    if let Some(second) = second.map(|place| &candidates[place]) {
        text.push_str(&format!(", before {} with {:.4}", second.name, second.choice));
    }
    if !criterion.is_own {
        text.push_str(". The test part was measured without part of it: put every K of eval.select into eval.ks.");
        return text;
    }
    let first = candidates.iter().max_by(|a, b| a.score.total_cmp(&b.score));
    text.push_str(&match first.filter(|first| first.score > *score) {
        None => format!(". It also has the highest on the test part: {score:.4}."),
        Some(first) => format!(". On the test part it has {score:.4}, and {} has {:.4}.", first.name, first.score),
    });
    text
}

fn how_sure(candidates: &[Candidate<'_>], best: usize, rivals: &[Rival], criterion: &Criterion) -> Answer {
    let question = "How sure is that?";
    // The least certain comparison.
    let doubt = |rival: &&Rival| (rival.standing != Standing::Better, candidates[rival.place].score);
    let closest = rivals.iter().max_by(|a, b| {
        let (a, b) = (doubt(a), doubt(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    let Some(closest) = closest else {
        let text = "The report holds no test of the difference between this row and another.".into();
        return Answer { question, short: "Not tested".into(), text };
    };
    let other = &candidates[closest.place].name;
    let mut sentences = vec![differing(other, closest, criterion)];
    sentences.extend(detectable(candidates[best].row.users, closest, criterion));
    let beaten: Vec<usize> = of(rivals, Standing::Better).into_iter().filter(|&place| place != closest.place).collect();
    if !beaten.is_empty() {
        sentences.push(format!("It is significantly better than {}.", named(candidates, &beaten)));
    }
    let is_tested = |place: usize| place == best || rivals.iter().any(|rival| rival.place == place);
    let untested: Vec<usize> = by_score(candidates).into_iter().filter(|&place| !is_tested(place)).collect();
    if !untested.is_empty() {
        sentences.push(match untested.len() {
            1..=NAMED => format!("It was not tested against {}.", named(candidates, &untested)),
            rows => format!("It was not tested against the other {rows} rows."),
        });
        sentences.push("A report relative to this row, by the option --to, tests all of them.".into());
    }
    Answer { question, short: verdict(other, closest, criterion), text: sentences.join(" ") }
}

/// States on which metrics the best row is significantly better than another.
fn verdict(other: &str, rival: &Rival, criterion: &Criterion) -> String {
    let metrics = |wanted: fn(f64) -> bool| -> Vec<String> {
        let is_wanted = |(weight, of): &&(f64, Measure)| {
            tested(&rival.found, of).is_some_and(|found| wanted(weight * significant(found)))
        };
        criterion.terms.iter().filter(is_wanted).map(|(_, metric)| metric.to_string()).collect()
    };
    let (better, open, worse) = (metrics(|d| d > 0.0), metrics(|d| d == 0.0), metrics(|d| d < 0.0));
    match rival.standing {
        Standing::Alike => format!("No significant difference from {other}"),
        Standing::Better if open.is_empty() => format!("Significantly better than {other}"),
        Standing::Better => {
            format!("Significantly better than {other} in {}, not in {}", join(&better), join(&open))
        }
        Standing::Mixed => {
            format!("Significantly better than {other} in {}, but worse in {}", join(&better), join(&worse))
        }
        Standing::Worse => format!("Significantly worse than {other} in {}", join(&worse)),
    }
}

/// Returns the terms that a sentence states: the one of the largest weight, or all if they differ in significance.
fn stated<'a>(rival: &Rival, criterion: &'a Criterion) -> &'a [(f64, Measure)] {
    let is_significant = |(_, of): &(f64, Measure)| tested(&rival.found, of).map(Interval::is_significant);
    let first = criterion.terms.first().and_then(is_significant);
    let agree = first.is_some() && criterion.terms.iter().filter_map(is_significant).all(|other| Some(other) == first);
    if agree { &criterion.terms[..1] } else { &criterion.terms }
}

/// States the differences with their intervals and p-values.
fn differing(other: &str, rival: &Rival, criterion: &Criterion) -> String {
    let difference = |(_, metric): &(f64, Measure)| {
        let found = tested(&rival.found, metric)?;
        let p = found.p_holm.map(|p| format!(", corrected p {}", probability(p))).unwrap_or_default();
        let [mean, low, high] = [found.mean, found.low, found.high].map(signed);
        Some(format!("{mean} in {metric} (95 % interval {low} to {high}{p})"))
    };
    let differences: Vec<String> = stated(rival, criterion).iter().filter_map(difference).collect();
    format!("Difference from {other}, user by user: {}.", join(&differences))
}

/// States how small a difference the users can reveal.
fn detectable(users: usize, rival: &Rival, criterion: &Criterion) -> Option<String> {
    let size = |(_, of): &(f64, Measure)| Some(format!("{:.4} in {of}", tested(&rival.found, of)?.detectable?));
    let sizes: Vec<String> = stated(rival, criterion).iter().filter_map(size).collect();
    let (users, sizes) = (grouped(users), Some(join(&sizes)).filter(|sizes| !sizes.is_empty())?);
    Some(format!("With {users} users, the test finds a true difference of {sizes} in four of five cases."))
}

fn what_cost(candidates: &[Candidate<'_>], best: usize, rivals: &[Rival]) -> Answer {
    let row = candidates[best].row;
    let short = format!("{} of training, {} of ranking", duration(row.train_seconds), duration(row.eval_seconds));
    let mut places = vec![best];
    places.extend(cheapest(candidates, of(rivals, Standing::Alike).into_iter()));
    let mut sentences: Vec<String> = places.iter().map(|&place| cost(&candidates[place])).collect();
    if places.iter().any(|&place| matches!(candidates[place].row.kind, RowKind::Variant(_))) {
        sentences.push("Models that a row builds on, such as the ID method, are not included.".into());
    }
    Answer { question: "What does it cost?", short, text: sentences.join(" ") }
}

fn cost(candidate: &Candidate<'_>) -> String {
    let Candidate { name, row, .. } = candidate;
    let trained = match (row.trainable_params, row.train_samples) {
        (0, 0) => "trained nothing".into(),
        (0, samples) => format!("learned from {} samples in {}", grouped(samples), duration(row.train_seconds)),
        (params, samples) => format!(
            "trained {} parameters on {} samples in {}",
            grouped(params),
            grouped(samples),
            duration(row.train_seconds)
        ),
    };
    format!("{name} {trained}; ranking for {} users took {}.", grouped(row.users), duration(row.eval_seconds))
}

/// Returns the best row, the rows named in the answers, and the rows of interest among the others: floors, the ID
/// method, the text, a variant; then the rest by score.
fn shown<'a>(
    candidates: &[Candidate<'a>],
    order: &[usize],
    rivals: &[Rival],
    tests: &[Test<'_>],
    criterion: &Criterion,
) -> Vec<Shown<'a>> {
    let of_kind =
        |is: fn(&RowKind) -> bool| (0..candidates.len()).filter(move |&at| is(&candidates[at].row.kind)).collect();
    let kinds: [fn(&RowKind) -> bool; 3] =
        [|kind| *kind == RowKind::Id, |kind| *kind == RowKind::Text, |kind| matches!(kind, RowKind::Variant(_))];
    let mut wanted: Vec<usize> = order.iter().take(1).copied().collect();
    wanted.extend(cheapest(candidates, of(rivals, Standing::Alike).into_iter()));
    for is in kinds {
        let found: Vec<usize> = of_kind(is);
        // Of the ID methods, the first is a floor, and the last is the one that others are compared with.
        let ends = if is(&RowKind::Id) { found.last() } else { None };
        wanted.extend(found.first().into_iter().chain(ends));
    }
    wanted.extend(order);
    let mut chosen: Vec<usize> = Vec::new();
    for place in wanted {
        if chosen.len() < SHOWN && !chosen.contains(&place) {
            chosen.push(place);
        }
    }
    let is_chosen = |place: &&usize| chosen.contains(place);
    let row = |&place: &usize| Shown {
        name: candidates[place].name.clone(),
        row: candidates[place].row,
        standing: standing(candidates, place, tests, criterion),
    };
    order.iter().filter(is_chosen).map(row).collect()
}

/// Describes how a row compares with the row it was tested against.
fn standing(candidates: &[Candidate<'_>], place: usize, tests: &[Test<'_>], criterion: &Criterion) -> String {
    let own = tests.iter().find(|test| test.from == place && test.to != place);
    let Some(test) = own else {
        let is_baseline = tests.iter().any(|test| test.to == place);
        return if is_baseline { "baseline".into() } else { "not tested".into() };
    };
    let to = &candidates[test.to].name;
    match criterion.standing(test.found) {
        Some(Standing::Better) => format!("▲ significantly better than {to}"),
        Some(Standing::Worse) => format!("▼ significantly worse than {to}"),
        Some(Standing::Mixed) => format!("mixed results against {to}"),
        Some(Standing::Alike) => format!("no significant difference from {to}"),
        None => "not tested".into(),
    }
}

/// Joins the names of some rows; of many, only the first few.
fn named(candidates: &[Candidate<'_>], places: &[usize]) -> String {
    let mut names: Vec<String> = places.iter().take(NAMED).map(|&place| candidates[place].name.clone()).collect();
    if places.len() > NAMED {
        names.push(format!("{} more", places.len() - NAMED));
    }
    join(&names)
}

/// Joins a list as in a sentence.
fn join(list: &[String]) -> String {
    match list {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// Formats a difference with a typographic sign.
pub(crate) fn signed(value: f64) -> String {
    // Adding 0 turns -0 into 0.
    format!("{:+.4}", (1e4 * value).round() / 1e4 + 0.0).replace('-', "\u{2212}")
}

/// Formats a p-value; values below a thousandth are not distinguished.
pub(crate) fn probability(p: f64) -> String {
    match p {
        0.0..0.001 => "< 0.001".into(),
        0.001..0.1 => format!("{p:.3}"),
        _ => format!("{p:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ItemGroup, Slice};
    use std::slice::from_ref;

    fn row(name: &str, kind: &str, ndcg: f64, seconds: f64) -> Row {
        let metrics = BTreeMap::from([(Metric::Ndcg(10), ndcg), (Metric::Hr(100), 2.0 * ndcg)]);
        Row { name: name.into(), kind: kind.into(), metrics, train_seconds: seconds, users: 1500, ..Row::default() }
    }

    /// Compares with `baseline`: the differences in NDCG and HR, and whether each is significant.
    fn against(row: Row, baseline: &str, [ndcg, hr]: [(f64, bool); 2]) -> Row {
        let interval = |(mean, significant): (f64, bool)| {
            let p_holm = Some(if significant { 0.0004 } else { 0.5 });
            Interval { mean, low: mean - 0.01, high: mean + 0.01, p: None, p_holm, detectable: Some(0.02) }
        };
        let differences = BTreeMap::from([(Metric::Ndcg(10), interval(ndcg)), (Metric::Hr(100), interval(hr))]);
        Row { baseline: Some(baseline.into()), differences, ..row }
    }

    fn report(rows: Vec<Row>) -> Report {
        let protocol = serde_json::json!({ "fingerprint": "f", "dataset": "d", "users": 1, "items": 1, "interactions": 1,
            "filter": "", "split": "s", "candidates": "all", "seen": "removed", "ties": "t" });
        Report::new("r", 1, serde_json::from_value(protocol).unwrap(), rows)
    }

    fn glance<'a>(reports: &'a [Report], between: &'a [Row]) -> Option<Glance<'a>> {
        Glance::new(reports, between, &ResultTable::new(reports))
    }

    fn answers(rows: Vec<Row>) -> [(String, String); 3] {
        let report = report(rows);
        glance(from_ref(&report), &[]).unwrap().answers.map(|answer| (answer.short, answer.text))
    }

    #[test]
    fn the_cheaper_of_two_that_do_not_differ_is_named() {
        let id = || row("sasrec", "id", 0.2, 60.0);
        let worse = || against(row("pop", "id", 0.1, 0.0), "sasrec", [(-0.1, true), (-0.2, true)]);
        let below = against(row("ra-rec", "ra-rec", 0.19, 9.0), "sasrec", [(-0.01, false), (-0.02, false)]);
        let [which, sure, cost] = answers(vec![worse(), id(), below]);
        assert_eq!(which.0, "sasrec is best on the test part");
        assert!(which.1.contains("highest ndcg@10 + 0.25 hr@100, the criterion by which"), "{}", which.1);
        let alike = "ra-rec is not significantly different from it; sasrec is the cheaper of the two.";
        assert!(which.1.contains(alike), "{}", which.1);
        assert_eq!(sure.0, "No significant difference from ra-rec");
        let told = "ra-rec, user by user: +0.0100 in ndcg@10 (95 % interval +0.0000 to +0.0200, corrected p 0.50).";
        assert!(sure.1.contains(told), "{}", sure.1);
        assert!(sure.1.contains("With 1,500 users, the test finds a true difference of 0.0200 in ndcg@10 in"));
        assert!(sure.1.ends_with("It is significantly better than pop."), "{}", sure.1);
        assert!(cost.0.starts_with("60.0 s of training") && cost.1.contains("not included"), "{cost:?}");

        let above = against(row("ra-rec", "ra-rec", 0.21, 9.0), "sasrec", [(0.01, false), (0.02, false)]);
        let [which, sure, _] = answers(vec![worse(), id(), above]);
        assert_eq!(which.0, "ra-rec is best on the test part");
        let cheaper = "sasrec is the cheaper of the two, and may lose up to 0.0200 in ndcg@10.";
        assert!(which.1.contains(cheaper), "it builds on the ID method: {}", which.1);
        assert!(sure.1.contains("It was not tested against pop."), "{}", sure.1);
    }

    #[test]
    fn rows_with_validation_are_chosen_by_it() {
        let validated = |row: Row, validation| Row { validation: Some(validation), ..row };
        let rows = |best| {
            vec![
                validated(row("pop", "id", 0.1, 0.0), 0.2),
                validated(row("sasrec", "id", 0.3, 9.0), 0.4),
                validated(against(row("blend", "blend", 0.2, 1.0), "sasrec", [(-0.1, true), (-0.2, true)]), best),
            ]
        };
        let [which, sure, _] = answers(rows(0.5));
        assert_eq!(which.0, "blend is recommended: it validates best");
        let recommended = |rows| report(rows).recommended;
        assert_eq!(recommended(rows(0.5)).as_deref(), Some("blend"));
        assert_eq!(recommended(rows(0.4)).as_deref(), Some("sasrec"), "the first of equal ones");
        assert!(which.1.contains("0.5000, before sasrec with 0.4000"), "{}", which.1);
        assert!(which.1.ends_with("On the test part it has 0.3000, and sasrec has 0.4500."), "{}", which.1);
        assert!(sure.0.contains("worse than sasrec"), "the test part is told all the same: {}", sure.0);
        let [which, ..] = answers(rows(0.3));
        assert!(which.0.starts_with("sasrec") && which.1.contains("also has the highest"), "{which:?}");
        // A simpler row comes first where both validate alike.
        assert!(answers(rows(0.4))[0].0.starts_with("sasrec"));
        let mut mixed = rows(0.5);
        mixed[0].validation = None;
        assert_eq!(recommended(mixed.clone()), None);
        assert_eq!(answers(mixed)[0].0, "sasrec is best on the test part");
    }

    #[test]
    fn a_significant_difference_is_told_by_metric() {
        let of = |ndcg, hr| {
            let best = against(row("ra-rec", "ra-rec", 0.21, 9.0), "sasrec", [(0.01, ndcg), (0.02, hr)]);
            answers(vec![row("sasrec", "id", 0.2, 60.0), best])
        };
        let [which, sure, _] = of(true, true);
        assert_eq!(
            (which.0.as_str(), sure.0.as_str()),
            ("ra-rec is best on the test part", "Significantly better than sasrec")
        );
        assert!(
            sure.1.contains("corrected p < 0.001") && !which.1.contains("not significantly different"),
            "{which:?}"
        );
        assert_eq!(of(false, true)[1].0, "Significantly better than sasrec in hr@100, not in ndcg@10");
    }

    #[test]
    fn probes_are_no_choice_and_few_rows_are_shown() {
        let mut rows: Vec<Row> =
            (0..9).map(|n| row(&format!("id-{n}"), "id", 0.2 + f64::from(n) / 100.0, 1.0)).collect();
        rows.push(row("zero IDs", "probe", 0.9, 1.0));
        rows.push(Row { unsaved: true, ..row("cold-lift", "cold-lift", 0.9, 1.0) });
        rows.push(row("text-only", "text", 0.01, 0.0));
        rows.push(Row { metrics: BTreeMap::new(), ..row("no metrics", "id", 0.0, 0.0) });
        let report = report(rows);
        let answered = glance(from_ref(&report), &[]).unwrap();
        let names: Vec<&str> = answered.rows.iter().map(|shown| shown.name.as_str()).collect();
        assert_eq!(names, ["id-8", "id-7", "id-6", "id-0", "text-only"]);
        assert_eq!(answered.answers[1].short, "Not tested");
        assert!(glance(&[], &[]).is_none() && glance(from_ref(&super::tests::report(vec![])), &[]).is_none());
    }

    #[test]
    fn rows_of_two_runs_are_told_apart_and_a_shared_one_is_there_once() {
        let of = |run: &str, ndcg| {
            let best = against(row("ra-rec", "ra-rec", ndcg, 9.0), "sasrec", [(ndcg - 0.2, true), (0.02, true)]);
            Report { run: run.into(), ..report(vec![row("sasrec", "id", 0.2, 60.0), best]) }
        };
        let reports = [of("a", 0.25), of("b", 0.3)];
        let between = Row { name: "b: ra-rec".into(), ..reports[1].rows[1].clone() };
        let between = [against(between, "a", [(0.05, false), (0.1, false)])];
        let answered = glance(&reports, &between).unwrap();
        let shown: Vec<_> = answered.rows.iter().map(|shown| (shown.name.as_str(), shown.standing.as_str())).collect();
        let better = "▲ significantly better than a: sasrec";
        assert_eq!(shown, [("b: ra-rec", better), ("a: ra-rec", better), ("a: sasrec", "baseline")]);
        let [which, sure, _] = answered.answers;
        assert_eq!(which.short, "b: ra-rec is best on the test part");
        assert!(which.text.contains("a: ra-rec is not significantly different from it"), "{}", which.text);
        assert_eq!(sure.short, "No significant difference from a: ra-rec");
    }

    #[test]
    fn another_metric_stands_in_for_a_criterion_that_the_table_lacks() {
        let mut report = report(vec![row("a", "id", 0.2, 1.0), row("b", "id", 0.3, 1.0)]);
        report.protocol.select = "1 mrr@5 on all validation users".into();
        report.rows.iter_mut().for_each(|row| row.validation = Some(row.metrics[&Metric::Ndcg(10)] / 2.0));
        let told = glance(from_ref(&report), &[]).unwrap().answers[0].text.clone();
        assert!(
            told.starts_with("On the validation part, b has the highest mrr@5: 0.1500, before a with 0.1000."),
            "{told}"
        );
        assert!(told.ends_with("put every K of eval.select into eval.ks."), "no figure of another metric: {told}");
        report.rows.iter_mut().for_each(|row| row.validation = None);
        let answered = glance(from_ref(&report), &[]).unwrap();
        assert_eq!(answered.measures, [Metric::Ndcg(10).into()]);
        assert!(
            answered.answers[0].text.contains("the table lacks part of the criterion"),
            "{}",
            answered.answers[0].text
        );
        report.protocol.select = "1 hr@100 + 1 mrr@5 on all validation users".into();
        assert_eq!(glance(from_ref(&report), &[]).unwrap().measures, [Metric::Hr(100).into()]);
        report.protocol.select = "1 hr@100 + 9 tail:hr@100 on all validation users".into();
        assert!(!Criterion::new(from_ref(&report), &ResultTable::new(from_ref(&report))).unwrap().is_own);
        let tail = |value| Slice {
            group: Some(ItemGroup::Tail),
            users: 3,
            metrics: BTreeMap::from([(Metric::Hr(100), value)]),
            ..Slice::default()
        };
        for (row, value) in report.rows.iter_mut().zip([0.5, 0.1]) {
            row.slices = vec![tail(value)];
        }
        let answered = glance(from_ref(&report), &[]).unwrap();
        assert_eq!(answered.answers[0].short, "a is best on the test part", "by the users with a tail target");
        assert!(answered.answers[0].text.contains("9 tail:hr@100 + hr@100, the criterion by which"));
        report.protocol.select = "in words".into();
        assert!(glance(from_ref(&report), &[]).is_some());
    }
}
