//! Remedies for errors in terms of recipes. Libraries name only their own settings; they know neither tables nor
//! commands.
use crate::terminal::program;
use anyhow::{Error, anyhow};
use ra_core::Problem;
use ra_data::DataError;
use ra_eval::EvalError;
use ra_llm::LlmError;

/// Adds to `error` of a run the tables of the keys that it names, and what to do in terms of recipes and commands.
pub(crate) fn in_recipe(error: Error) -> Error {
    told(error, "data.", "data.curate.")
}

/// Does the same for `error` of a command whose keys are those of `[data]`, without the name of the table.
pub(crate) fn in_data(error: Error) -> Error {
    told(error, "", "curate.")
}

/// Does the same for `error` of a command that names columns by `--column ROLE=NAME`.
pub(crate) fn in_options(error: Error) -> Error {
    let named = |told: String, role: &str| told.replace(&format!("`columns.{role}`"), &format!("--column {role}=NAME"));
    anyhow!("{}", ["user", "item", "time", "rating"].into_iter().fold(format!("{:#}", in_data(error)), named))
}

fn told(error: Error, data: &str, curate: &str) -> Error {
    let more = match error.downcast_ref::<DataError>() {
        Some(DataError::Settings(problems)) => return keys(problems, data),
        Some(DataError::Curation(problems)) => return keys(problems, curate),
        Some(DataError::NeedsModel(_)) => Some(format!("set {curate}method to one of them")),
        Some(DataError::LogTooLarge { .. }) => Some(format!(
            "{data}min_rating is the key, and `{} data export --memory 2GiB` reads a log of any length",
            program()
        )),
        Some(DataError::Core(own)) => in_core(own),
        // Columns are named in the middle of a sentence.
        Some(own) if !data.is_empty() && own.to_string().contains("columns.") => {
            return anyhow!("{}", format!("{error:#}").replace("columns.", &format!("{data}columns.")));
        }
        Some(_) => None,
        None => core(&error).and_then(in_core).or_else(|| in_llm(&error)),
    };
    match more {
        Some(more) => anyhow!("{error:#}; {more}"),
        None => error,
    }
}

/// Returns the error of the core, whichever crate wrapped it.
fn core(error: &Error) -> Option<&ra_core::Error> {
    let llm = || match error.downcast_ref::<LlmError>()? {
        LlmError::Core(own) => Some(own),
        _ => None,
    };
    let eval = || match error.downcast_ref::<EvalError>()? {
        EvalError::Core(own) => Some(own),
        _ => None,
    };
    error.downcast_ref::<ra_core::Error>().or_else(llm).or_else(eval)
}

fn in_llm(error: &Error) -> Option<String> {
    match error.downcast_ref::<LlmError>()? {
        LlmError::AdapterAlone { .. } => {
            Some("name the model by lm.path or lm.name, and this folder by lm.adapter".into())
        }
        _ => None,
    }
}

fn in_core(error: &ra_core::Error) -> Option<String> {
    match error {
        ra_core::Error::Devices { .. } => Some("lower device.count".into()),
        ra_core::Error::Exchange { .. } => Some("set device.count to 1".into()),
        ra_core::Error::Precision { .. } => Some("set lm.precision to f32".into()),
        _ => None,
    }
}

/// Returns every key with its table, and its problem.
fn keys(problems: &[Problem], table: &str) -> Error {
    let told = |problem: &Problem| format!("{table}{problem}");
    anyhow!("{}", problems.iter().map(told).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn keys_get_their_table_and_errors_what_a_recipe_can_do() {
        let wrong = || DataError::Settings(vec![Problem::new("k_core", "is odd"), Problem::new("split", "is not")]);
        assert_eq!(in_recipe(wrong().into()).to_string(), "data.k_core is odd; data.split is not");
        assert_eq!(in_data(wrong().into()).to_string(), "k_core is odd; split is not");
        let large = DataError::LogTooLarge { needed: 2, available: 1 };
        let told = in_recipe(large.into()).to_string();
        assert!(told.contains("data.min_rating") && told.contains("data export --memory"), "{told}");
        let precision = || ra_core::Error::Precision { wanted: "f16", problem: "no".into() };
        for error in [Error::new(precision()), Error::new(LlmError::Core(precision()))] {
            let told = in_recipe(error).to_string();
            assert!(told.ends_with("set lm.precision to f32"), "{told}");
        }
        let other = Err::<(), _>(anyhow!("a.tsv: no such file")).context("recipe r").unwrap_err();
        assert_eq!(format!("{:#}", in_recipe(other)), "recipe r: a.tsv: no such file");
    }
}
