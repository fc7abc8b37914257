//! `eval.rows`: the rows of a report.
use super::id_table::GROUNDED;
use super::variant::{self, OWN, VariantTable};
use ra_idmodels::IdConfig;

/// Every `[[id]]` method.
pub(crate) const ID: &str = "id";
/// The untouched language model on the same prompts.
pub(crate) const TEXT: &str = "text";
/// The name of that row in a report.
pub(crate) const TEXT_ONLY: &str = "text-only";
/// The trained variants of `eval.probes_of`, evaluated with zero, permuted or random IDs, with shuffled titles, and
/// with cold items by title.
pub(crate) const PROBES: &str = "probes";
/// The same variants with cold items by title, and with their scores lifted by the number that validates best.
pub(crate) const COLD_LIFT: &str = "cold-lift";

/// The kind of the rows that probes produce.
pub(crate) const PROBE: &str = "probe";

/// Returns all allowed names, in the order of a report.
fn allowed(tables: &[VariantTable]) -> Vec<&str> {
    let mut names: Vec<&str> = vec![ID, TEXT, OWN, PROBES, COLD_LIFT];
    names.extend(variant::built_in_names().filter(|name| *name != OWN).map(|name| -> &str { name }));
    names.extend(tables.iter().map(|table| table.name.as_str()));
    names
}

/// Returns the default rows: the ID methods, the language model, the recipe's own `[align]`, and every variant that the
/// recipe describes.
pub(crate) fn usual(tables: &[VariantTable]) -> Vec<String> {
    let own = tables.iter().map(|table| table.name.clone());
    [ID, TEXT, OWN].map(String::from).into_iter().chain(own).collect()
}

/// Returns `rows` in the order of a report, without repeats.
///
/// # Errors
/// Names the first unknown one, and all that are allowed.
pub(crate) fn ordered(rows: &[String], tables: &[VariantTable]) -> Result<Vec<String>, String> {
    let taken = |table: &&VariantTable| {
        let is_row = [ID, TEXT, TEXT_ONLY, PROBES, COLD_LIFT, PROBE].iter().chain(IdConfig::KINDS);
        is_row.into_iter().any(|name| *name == table.name) || table.name.ends_with(GROUNDED)
    };
    if let Some(table) = tables.iter().find(taken) {
        return Err(format!("variant.name is {:?}, the name of other rows; choose another", table.name));
    }
    let allowed = allowed(tables);
    if let Some(unknown) = rows.iter().find(|row| !allowed.contains(&row.as_str())) {
        return Err(format!("eval.rows: unknown row {unknown:?}; allowed: {}", allowed.join(", ")));
    }
    Ok(allowed.into_iter().filter(|name| rows.iter().any(|row| row == name)).map(String::from).collect())
}
