//! What is wrong with a data set, and how it distorts metrics.
use crate::Prepared;
use crate::prepare::{is_doubled, is_shared};
use ra_core::{Dataset, ItemId, Sequences, UserId};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Looked for and not found.
    Fine,
    /// Worth knowing when reading the metrics.
    Note,
    /// Metrics mislead unless this is dealt with.
    Warning,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditFinding {
    /// What was looked for.
    pub name: &'static str,
    /// How much it matters.
    pub level: Severity,
    /// How often it was found; `None` if that cannot be known.
    pub count: Option<usize>,
    /// The total that `count` is out of.
    pub of: usize,
    /// The finding in words.
    pub told: String,
    /// How it distorts a metric, and what to do.
    pub effect: &'static str,
}

/// Accuracy of ranking every item by popularity: the mean over test targets, with seen items removed and ties counted
/// against it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PopularityFloor {
    /// The share of targets among the first ten (HR@10).
    #[serde(rename = "hr@10")]
    pub hr: f64,
    /// The mean of `1 / log2(rank + 1)` within the first ten (NDCG@10).
    #[serde(rename = "ndcg@10")]
    pub ndcg: f64,
    /// HR@10 with ties counted in its favour.
    #[serde(rename = "hr@10, ties for us")]
    pub hr_optimistic: f64,
}

/// The results of all checks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// The name of the data set.
    pub name: String,
    /// The findings, in the same order for every data set.
    pub findings: Vec<AuditFinding>,
    /// Popularity counted on the training part.
    pub popularity: PopularityFloor,
    /// Popularity counted on every row, including the test targets: a common leak.
    pub popularity_with_leak: PopularityFloor,
}

/// Checks a data set for leaks, overlaps, ties and gaps.
pub fn audit(prepared: &Prepared) -> Audit {
    let data = &prepared.dataset;
    let targets = data.test.total();
    let popularity = data.popularity();
    let mut everything = popularity.clone();
    [&data.valid, &data.test]
        .into_iter()
        .flat_map(Sequences::rows)
        .flatten()
        .for_each(|&item| everything[item.index()] += 1);
    let [clean, leaky] = [&popularity, &everything].map(|counts| floor(data, counts));
    let count = |name, found: usize, of, bad, told: String, effect| {
        let level = if found == 0 { Severity::Fine } else { bad };
        AuditFinding { name, level, count: Some(found), of, told, effect }
    };
    let of_targets = |keep: &dyn Fn(UserId, ItemId) -> bool| {
        UserId::all(data.test.len())
            .map(|user| data.test.row(user).iter().filter(|&&t| keep(user, t)).count())
            .sum::<usize>()
    };
    let in_history =
        of_targets(&|user, target| [&data.train, &data.valid].iter().any(|part| part.row(user).contains(&target)));
    let cold = of_targets(&|_, target| popularity[target.index()] == 0);
    let mut same_count: HashMap<u32, usize> = HashMap::new();
    popularity[1..].iter().for_each(|&n| *same_count.entry(n).or_default() += 1);
    let tied = of_targets(&|_, target| same_count[&popularity[target.index()]] > 1);
    let mut same_text: HashMap<String, usize> = HashMap::new();
    let (text, texts) =
        (|item: ItemId| data.catalog.text(item).trim().to_lowercase(), data.catalog.template().is_some());
    data.catalog.all().for_each(|item| *same_text.entry(text(item)).or_default() += 1);
    let same_texts = of_targets(&|_, target| !text(target).is_empty() && same_text[&text(target)] > 1);
    let silent = data.catalog.all().filter(|&item| text(item).is_empty()).count();
    let what = if texts { "text" } else { "title" };
    let repeats: usize = data.train.rows().map(|row| row.len() - row.iter().collect::<HashSet<_>>().len()).sum();
    let only_train = data.test.rows().filter(|row| row.is_empty()).count();
    let rejected = &prepared.rejected;
    let share = |part: f64| format!("{:.1} %", 100.0 * part);
    let findings = vec![
        future(prepared),
        count(
            "popularity leak",
            if leaky.hr > clean.hr { (leaky.hr * targets as f64).round() as usize } else { 0 },
            targets,
            Severity::Note,
            format!(
                "popularity counted on the training part has HR@10 {:.4} and NDCG@10 {:.4}; counted on every row, \
                 including test targets, it has {:.4} and {:.4}",
                clean.hr, clean.ndcg, leaky.hr, leaky.ndcg
            ),
            "published floors that count every row are too high; ours count the training part alone",
        ),
        count(
            "target in history",
            in_history,
            targets,
            Severity::Note,
            format!("{in_history} of {targets} test targets are in their own history"),
            "a model that never repeats cannot hit them; seen items are removed from the ranking, the target never is; \
             dedupe = true drops repeats",
        ),
        count(
            "repeats",
            repeats,
            data.train.total(),
            Severity::Note,
            format!("{repeats} training interactions repeat an earlier one of the same user"),
            "sequence models learn to repeat; dedupe = true drops them",
        ),
        time_ties(prepared),
        count(
            "cold targets",
            cold,
            targets,
            Severity::Note,
            format!("{cold} of {targets} test targets are never trained on"),
            "no ID method can hit them; a model that reads text can",
        ),
        count(
            "ties by popularity",
            tied,
            targets,
            Severity::Note,
            format!(
                "{} of the test targets are exactly as popular as another item; popularity's HR@10 is {:.4} with ties \
                 against it, {:.4} with ties for it",
                share(tied as f64 / targets.max(1) as f64),
                clean.hr,
                clean.hr_optimistic
            ),
            "the tie rule decides these: it is part of the protocol, and reports state the tied share of each row",
        ),
        count(
            if texts { "duplicate texts" } else { "duplicate titles" },
            same_texts,
            targets,
            Severity::Note,
            format!("{same_texts} of {targets} test targets have a {what} that another item has too"),
            "a model that only reads titles cannot tell them apart",
        ),
        count(
            if texts { "empty texts" } else { "empty titles" },
            silent,
            data.catalog.len(),
            Severity::Warning,
            if silent == data.catalog.len() {
                format!(
                    "none of the {silent} items has a {what}: no file of titles was given, or it belongs to another \
                     data set"
                )
            } else {
                format!("{silent} of {} items have no {what}", data.catalog.len())
            },
            "a language model has nothing to read: they are ranked by their ID alone",
        ),
        doubled_rows(prepared),
        shared_ids(prepared),
        blank_ids(prepared),
        count(
            "users who only train",
            only_train,
            data.users.len(),
            Severity::Note,
            format!("{only_train} of {} users have no test target", data.users.len()),
            "metrics say nothing about them",
        ),
        count(
            "unreadable rows",
            rejected.rows,
            rejected.rows + rejected.read,
            Severity::Warning,
            match rejected.examples.first() {
                Some(first) => format!("{} rows cannot be read and are left out; the first: {first}", rejected.rows),
                None => "every row can be read".into(),
            },
            "they are missing from all results; strict = true makes them errors",
        ),
    ];
    Audit { name: data.name.clone(), findings, popularity: clean, popularity_with_leak: leaky }
}

/// Counts repeated rows with the same user, item and time: most often a log that was read twice.
fn doubled_rows(prepared: &Prepared) -> AuditFinding {
    let (found, of) = (prepared.doubled_rows(), prepared.dataset.interactions());
    let level = match found {
        0 => Severity::Fine,
        _ if is_doubled(found, of) => Severity::Warning,
        _ => Severity::Note,
    };
    AuditFinding {
        name: "rows twice",
        level,
        count: Some(found),
        of,
        told: format!("{found} of {of} interactions repeat an earlier one with the same user, item and time"),
        effect: "this happens if a file is read twice, such as log.csv and its copy; dedupe = true drops repeats",
    }
}

/// Counts users whose id is also an item's: mixed-up columns, or text that is not a log.
fn shared_ids(prepared: &Prepared) -> AuditFinding {
    let (found, of) = crate::prepare::shared_ids(&prepared.dataset.users, &prepared.dataset.catalog);
    let level = match found {
        0 => Severity::Fine,
        _ if is_shared(found, of) => Severity::Warning,
        _ => Severity::Note,
    };
    AuditFinding {
        name: "shared ids",
        level,
        count: Some(found),
        of,
        told: format!("{found} of {of} users with a non-numeric id share it with an item"),
        effect: "this is plausible only if people choose people; otherwise a column is wrong, or the file is not a log",
    }
}

/// Counts ids that are another one's but for blanks or control characters around them: most often one user or item twice.
fn blank_ids(prepared: &Prepared) -> AuditFinding {
    let Dataset { users, catalog, .. } = &prepared.dataset;
    let bare = |id: &str| id.trim_matches(|c: char| c.is_whitespace() || c.is_control()).to_owned();
    let twins = |ids: Vec<&str>| -> Vec<String> {
        let all: HashSet<&str> = ids.iter().copied().collect();
        let is_twin = |id: &&str| *id != bare(id) && all.contains(&*bare(id));
        ids.into_iter().filter(is_twin).map(str::to_owned).collect()
    };
    let [users, items]: [Vec<&str>; 2] =
        [users.iter().map(String::as_str).collect(), catalog.all().map(|item| catalog.id(item)).collect()];
    let of = users.len() + items.len();
    let found = [twins(users), twins(items)].concat();
    let first = found.first().map(|id| format!("; the first: {id:?}")).unwrap_or_default();
    AuditFinding {
        name: "blanks in ids",
        level: if found.is_empty() { Severity::Fine } else { Severity::Warning },
        count: Some(found.len()),
        of,
        told: format!("{} of {of} ids are another one's but for blanks around them{first}", found.len()),
        effect: "one user or item counts as two; take the blanks off in the log",
    }
}

/// Checks whether the training data contains interactions later than the test targets.
fn future(prepared: &Prepared) -> AuditFinding {
    const NAME: &str = "future leakage";
    const EFFECT: &str = "popularity and every trained model know what came later, unlike a live system; split = \
                          \"temporal\" leaves nothing after the targets";
    let [train, valid, test] = &prepared.times;
    let of = test.len();
    if let Some(column) = &prepared.order_only {
        let told = format!("cannot be known: `{column}` is an order without clock time");
        return AuditFinding { name: NAME, level: Severity::Note, count: None, of, told, effect: EFFECT };
    }
    let mut learned: Vec<f64> = train.iter().chain(valid).copied().collect();
    learned.sort_unstable_by(f64::total_cmp);
    let after = |time: &f64| learned.len() - learned.partition_point(|t| t <= time);
    let mut later: Vec<usize> = test.iter().map(after).collect();
    later.sort_unstable();
    let found = later.iter().filter(|&&n| n > 0).count();
    let median = later.get(of / 2).map_or(0.0, |&n| n as f64 / learned.len().max(1) as f64);
    AuditFinding {
        name: NAME,
        level: if found == 0 { Severity::Fine } else { Severity::Warning },
        count: Some(found),
        of,
        told: format!(
            "for {found} of {of} test targets, models learn from interactions of other users that came later; for the \
             median target, these are {:.0} % of all",
            100.0 * median
        ),
        effect: EFFECT,
    }
}

/// Counts users whose held-out interactions are decided by the order of rows in the file.
fn time_ties(prepared: &Prepared) -> AuditFinding {
    let data = &prepared.dataset;
    let [train, valid, test] = &prepared.times;
    let (mut places, mut found, mut of) = ([0; 3], 0, 0);
    for user in UserId::all(data.users.len()) {
        let lengths = [&data.train, &data.valid, &data.test].map(|part| part.row(user).len());
        let own = |times: &'_ [f64], part: usize| times[places[part]..places[part] + lengths[part]].to_vec();
        let parts = [own(train, 0), own(valid, 1), own(test, 2)];
        let cuts = parts.iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        of += usize::from(lengths[2] > 0);
        found += usize::from(lengths[2] > 0 && cuts.windows(2).any(|w| w[0].last() == w[1].first()));
        (0..3).for_each(|part| places[part] += lengths[part]);
    }
    AuditFinding {
        name: "time ties",
        level: if found == 0 { Severity::Fine } else { Severity::Note },
        count: Some(found),
        of,
        told: format!("for {found} of {of} users, a held-out interaction has the same time as the one before it"),
        effect: "the order of rows in the file decides which of them is the target: keep that order",
    }
}

fn floor(data: &Dataset, counts: &[u32]) -> PopularityFloor {
    let mut sorted = counts[1..].to_vec();
    sorted.sort_unstable();
    let (mut hits, mut gain, mut optimistic, mut all) = (0, 0.0, 0, 0);
    for user in UserId::all(data.test.len()) {
        let targets = data.test.row(user);
        let seen: HashSet<ItemId> =
            [&data.train, &data.valid].iter().flat_map(|part| part.row(user)).copied().collect();
        for &target in targets {
            let own = counts[target.index()];
            // Counts the other items with at least `least` interactions, without the seen items, which are not ranked.
            let others = |least: u32| {
                let above = sorted.len() - sorted.partition_point(|&n| n < least);
                let out = seen.iter().filter(|&&i| i != target && counts[i.index()] >= least).count();
                above - out - usize::from(own >= least)
            };
            let (pessimistic, best) = (1 + others(own), 1 + others(own + 1));
            all += 1;
            optimistic += usize::from(best <= 10);
            if pessimistic <= 10 {
                hits += 1;
                gain += 1.0 / (pessimistic as f64 + 1.0).log2();
            }
        }
    }
    let all = f64::from(all.max(1));
    PopularityFloor { hr: f64::from(hits) / all, ndcg: gain / all, hr_optimistic: optimistic as f64 / all }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for finding in &self.findings {
            let level = match finding.level {
                Severity::Fine => "fine",
                Severity::Note => "note",
                Severity::Warning => "WARN",
            };
            write!(f, "\n  {level}  {}: {}", finding.name, finding.told)?;
            if finding.level != Severity::Fine {
                write!(f, "\n        {}", finding.effect)?;
            }
        }
        Ok(())
    }
}
