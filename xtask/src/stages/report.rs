//! The report of a run.
use crate::context::Context;
use crate::machine;
use crate::recipe::Recipe;
use crate::stages::{Data, Evaluated};
use anyhow::Result;
use ra_core::ItemId;
use ra_eval::{Evaluation, HeldOut, Part, Report, RowKind, SampleRecommendation, holm_correct, slices};

/// The number of users whose recommendations a report shows.
const SAMPLE_USERS: usize = 5;

/// Compares the rows with each other, writes the report, and finishes the run.
///
/// # Errors
/// If the run folder cannot be written.
pub fn report(recipe: &Recipe, data: &Data, found: Evaluated, cx: &Context) -> Result<Report> {
    let Evaluated { rows: entries, curves, ledger } = found;
    let samples = sample_recommendations(&entries, data);
    // Differences are relative to the aligned method: the last ID row.
    let baseline = entries.iter().rposition(|(row, _)| row.kind == RowKind::Id);
    let held_out = HeldOut::new(&data.dataset, Part::Test);
    let row = |(index, (row, own)): (usize, &(ra_eval::Row, Evaluation))| {
        let other = baseline.filter(|&other| other != index).map(|other| &entries[other]);
        let mut row = match other {
            Some((to, other)) => row.clone().with_baseline(&to.name, own, other, recipe.seed),
            None => row.clone(),
        };
        let other = other.map(|(_, other)| other);
        row.slices = slices(&held_out, own, other, &recipe.eval.ks, data.first_seen.as_deref());
        row
    };
    let mut rows: Vec<ra_eval::Row> = entries.iter().enumerate().map(row).collect();
    holm_correct(&mut rows);
    let mut report = Report::new(&recipe.name, recipe.seed, recipe.eval.protocol(&data.dataset), rows);
    (report.commit, report.machine) = (machine::commit(&cx.root), machine::describe());
    report.backend = recipe.backend.name().into();
    (report.ledger, report.stages, report.curves) = (ledger, cx.costs.all(), curves);
    (report.samples, report.audit) = (samples, data.audit.clone());
    let folder = cx.store.folder()?;
    report.write(folder.path())?;
    folder.finish()?;
    cx.say("");
    report.terminal().lines().for_each(|line| cx.say(line));
    cx.say(format_args!("\nreport: {}", folder.file("report.html").display()));
    Ok(report)
}

/// Returns a few users' histories with the recommendations of each row.
fn sample_recommendations(entries: &[(ra_eval::Row, Evaluation)], data: &Data) -> Vec<SampleRecommendation> {
    let Some((_, first)) = entries.first() else { return Vec::new() };
    let step = (first.users.len() / SAMPLE_USERS).max(1);
    let places = (0..first.users.len()).step_by(step).take(SAMPLE_USERS);
    let show = |place: usize| {
        let lists: Vec<(&str, &[ItemId])> =
            entries.iter().map(|(row, e)| (row.name.as_str(), e.top[place].as_slice())).collect();
        SampleRecommendation::new(&data.dataset, Part::Test, first.users[place], &lists)
    };
    places.map(show).collect()
}
