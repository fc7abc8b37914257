//! `eval.rows`: what a report has a row for.
use super::variant::{self, OWN, VariantTable};
use ra_idmodels::IdConfig;

/// Every `[[id]]` method.
pub(crate) const ID: &str = "id";
/// The untouched language model on the same prompts.
pub(crate) const TEXT: &str = "text";
/// The variants of `eval.probes_of`, after their training, on IDs that are zero, permuted or random, on shuffled titles, and
/// with cold items by title.
pub(crate) const PROBES: &str = "probes";
/// The same variants with cold items by title and their scores lifted by the number that validates best.
pub(crate) const COLD_LIFT: &str = "cold-lift";

/// The kind of rows that probes make.
pub(crate) const PROBE: &str = "probe";

/// All that may be asked for, in the order of a report.
fn allowed(tables: &[VariantTable]) -> Vec<&str> {
    let mut names: Vec<&str> = vec![ID, TEXT, OWN, PROBES, COLD_LIFT];
    names.extend(variant::built_in_names().filter(|name| *name != OWN).map(|name| -> &str { name }));
    names.extend(tables.iter().map(|table| table.name.as_str()));
    names
}

/// What is asked for where a recipe does not say: the ID methods, the language model, the recipe's own `[align]`, and every
/// variant that it describes.
pub(crate) fn usual(tables: &[VariantTable]) -> Vec<String> {
    let own = tables.iter().map(|table| table.name.clone());
    [ID, TEXT, OWN].map(String::from).into_iter().chain(own).collect()
}

/// `rows` in the order of a report, each once.
///
/// # Errors
/// Names the first that nothing is known of, and all that are allowed.
pub(crate) fn ordered(rows: &[String], tables: &[VariantTable]) -> Result<Vec<String>, String> {
    let taken = |table: &&VariantTable| {
        [ID, TEXT, PROBES, COLD_LIFT, PROBE].iter().chain(IdConfig::KINDS).any(|name| *name == table.name)
    };
    if let Some(table) = tables.iter().find(taken) {
        return Err(format!("variant.name is {:?}, which other rows are called; take another", table.name));
    }
    let allowed = allowed(tables);
    if let Some(unknown) = rows.iter().find(|row| !allowed.contains(&row.as_str())) {
        return Err(format!("eval.rows: unknown row {unknown:?}; allowed: {}", allowed.join(", ")));
    }
    Ok(allowed.into_iter().filter(|name| rows.iter().any(|row| row == name)).map(String::from).collect())
}
