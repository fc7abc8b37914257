//! What is wrong with a data set, and what it does to a metric.
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
    /// Worth knowing when figures are read.
    Note,
    /// Figures mislead unless it is dealt with.
    Warning,
}

/// One thing that was looked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditFinding {
    /// What was looked for.
    pub name: &'static str,
    /// How much it matters.
    pub level: Severity,
    /// How often it was found; nothing where it cannot be known.
    pub count: Option<usize>,
    /// Out of how many.
    pub of: usize,
    /// The finding in words.
    pub told: String,
    /// What it does to a metric, and what helps.
    pub effect: &'static str,
}

/// Accuracy of ranking every item by popularity, a mean over test targets, seen items removed, ties against us.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PopularityFloor {
    /// Share of targets among the first ten.
    #[serde(rename = "hr@10")]
    pub hr: f64,
    /// Mean of `1 / log2(rank + 1)` among the first ten.
    #[serde(rename = "ndcg@10")]
    pub ndcg: f64,
    /// The share when ties count for us.
    #[serde(rename = "hr@10, ties for us")]
    pub hr_optimistic: f64,
}

/// Everything that was looked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// The data set.
    pub name: String,
    /// The findings, in one order for all data sets.
    pub findings: Vec<AuditFinding>,
    /// Popularity counted on the training part.
    pub popularity: PopularityFloor,
    /// Popularity counted on every row, test targets included: a leak, and a common one.
    pub popularity_with_leak: PopularityFloor,
}

/// Looks for leaks, overlaps, ties and gaps.
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
    let mut same_title: HashMap<String, usize> = HashMap::new();
    let title = |item: ItemId| data.catalog.title(item).trim().to_lowercase();
    data.catalog.all().for_each(|item| *same_title.entry(title(item)).or_default() += 1);
    let same_titled = of_targets(&|_, target| !title(target).is_empty() && same_title[&title(target)] > 1);
    let untitled = data.catalog.all().filter(|&item| title(item).is_empty()).count();
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
                "popularity has HR@10 {:.4}, NDCG@10 {:.4} when it counts the training part, {:.4} and {:.4} when it counts \
                 every row, test targets included",
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
            "no ID method can hit them: this share is lost to it, whatever it does; text can reach them",
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
            "the tie rule decides these: it is part of the protocol, and reports tell the tied share of each row",
        ),
        count(
            "duplicate titles",
            same_titled,
            targets,
            Severity::Note,
            format!("{same_titled} of {targets} test targets have a title that another item has too"),
            "a model of titles alone ties on them",
        ),
        count(
            "empty titles",
            untitled,
            data.catalog.len(),
            Severity::Warning,
            if untitled == data.catalog.len() {
                format!(
                    "not one of {untitled} items has a title: no file of titles was named, or it is of another data set"
                )
            } else {
                format!("{untitled} of {} items have no title", data.catalog.len())
            },
            "a language model reads nothing of them: they rank by their ID alone",
        ),
        doubled_rows(prepared),
        shared_ids(prepared),
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
            "they are missing from every figure; strict makes them errors",
        ),
    ];
    Audit { name: data.name.clone(), findings, popularity: clean, popularity_with_leak: leaky }
}

/// Rows of one user, item and time that are there more than once: a log that was read twice, most often.
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
        told: format!("{found} of {of} interactions are there before with the same user, item and time"),
        effect: "a file that is read twice, as log.csv and its copy, looks like this; dedupe = true drops repeats",
    }
}

/// Users whose id is an item's too: columns that are mixed up, or text that is no log.
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
        told: format!("{found} of {of} users with an id that is no number have the id of an item"),
        effect: "users and items are of one kind only where people choose people; otherwise a column is the wrong one, or \
                 the file is no log",
    }
}

/// Whether what is learned from lies after what is predicted.
fn future(prepared: &Prepared) -> AuditFinding {
    const NAME: &str = "future leakage";
    const EFFECT: &str = "popularity and every trained model know what came later, as no live system does; split = \
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
            "for {found} of {of} test targets there are other users' interactions to learn from that came later; for the \
             median target {:.0} % of all of them",
            100.0 * median
        ),
        effect: EFFECT,
    }
}

/// Users whose held-out interactions are decided by the order of rows in the file.
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
        told: format!("for {found} of {of} users a held-out interaction has the time of the one before it"),
        effect: "which of them is the target follows from the order of rows in the file: keep that order",
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
            // Others at least as popular, and of them those that are more so; seen items are out of the ranking.
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
