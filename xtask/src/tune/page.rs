//! The trials as a page: a table that reads well on a terminal and as Markdown.
use super::trials::{Trial, Trials};
use crate::terminal::printable;
use std::collections::BTreeSet;

/// Renders the trials, the best one, and what the scores are worth.
pub(super) fn page(found: &Trials) -> String {
    let Trials { recipe, row, criterion, users, .. } = found;
    let mut out = format!("# Tuning of {recipe}\n\n");
    let count = found.trials.len();
    out += &format!("{count} trials of the row {row}, scored by {criterion} on {users} validation users.\n\n");
    out += &table(found);
    out += &format!("\n{}\n\n{}\n", verdict(found), found.note);
    out
}

/// Says which trial is the best, and by how much.
pub(super) fn verdict(found: &Trials) -> String {
    let place = |number: usize| found.trials.iter().find(|trial| trial.trial == number);
    let last = found.plan.shares().len() - 1;
    let Some((best, score)) = found.best.and_then(place).and_then(|best| Some((best, best.score(last)?))) else {
        return "No trial was trained in full.".into();
    };
    let own = found.trials.first().and_then(|own| own.score(last));
    match own {
        _ if best.trial == 1 => format!("The recipe's own settings are the best: {score:.4}."),
        Some(own) => format!(
            "Trial {} is the best, {score:.4}, {:+.4} from the recipe's own {own:.4}: {}.",
            best.trial,
            score - own,
            best.told()
        ),
        None => format!("Trial {} is the best, {score:.4}; the recipe itself failed: {}.", best.trial, best.told()),
    }
}

fn table(found: &Trials) -> String {
    let keys: BTreeSet<&String> = found.trials.iter().flat_map(|trial| trial.settings.keys()).collect();
    let shares = found.plan.shares();
    let score = |share: &f64| if *share < 1.0 { format!("at {:.0} %", 100.0 * share) } else { "score".into() };
    let mut head: Vec<String> = vec!["trial".into()];
    head.extend(keys.iter().map(|key| key.to_string()));
    head.extend(shares.iter().map(score));
    head.extend(["seconds".into(), "note".into()]);
    let row = |trial: &Trial| {
        let mut cells = vec![trial.trial.to_string()];
        cells.extend(keys.iter().map(|key| trial.settings.get(*key).map_or("unset".into(), ToString::to_string)));
        let scores = (0..shares.len()).map(|round| trial.score(round));
        cells.extend(scores.map(|score| score.map_or("-".into(), |score| format!("{score:.4}"))));
        cells.push(format!("{:.1}", trial.trainings.iter().map(|training| training.seconds).sum::<f64>()));
        cells.push(note(trial, found));
        cells
    };
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(found.trials.iter().map(row)).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let rule = format!("|-{}-|\n", rule.join("-|-"));
    line(&rows[0]) + &rule + &rows[1..].iter().map(line).collect::<String>()
}

fn note(trial: &Trial, found: &Trials) -> String {
    let error = trial.trainings.iter().find_map(|training| training.error.clone());
    match error {
        Some(error) => format!("failed: {error}"),
        None if found.best == Some(trial.trial) => "best".into(),
        None if trial.trial == 1 => "the recipe".into(),
        None => String::new(),
    }
}

/// Returns text without what means something in a table.
fn plain(text: &str) -> String {
    printable(text).replace('|', "\\|")
}
