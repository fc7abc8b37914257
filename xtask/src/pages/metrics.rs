//! The page of metrics, generated from the documentation of their names.
use super::source::Source;
use anyhow::{Context, Result};
use ra_eval::Metric;
use std::fmt::Write;

pub(super) fn page(source: &Source) -> Result<String> {
    let mut page = String::from(
        "# Metrics\n\n\
         A metric is written `name@K`: it looks at the first *K* places of each user's list. Below, *T* are a user's held-out\n\
         items, *r(t)* is the rank of *t* in the list, and *hits(r)* counts the held-out items at rank *r* or above.\n\
         Values are means over users unless the text says otherwise. Ties count against the model by default (`eval.ties`).\n\n\
         `head:`, `tail:` or `cold:` before `hr@K` or `ndcg@K` means the users with a target in that group of items, and these\n\
         targets alone: see [Reading a report](../reports.md#tail-and-cold-items).\n\n\
         This page is generated from the source of `ra_eval::Metric`.\n\n\
         | metric | meaning |\n|---|---|\n",
    );
    let documented = &source.choice("Metric")?.names;
    for name in Metric::names() {
        let variant = name.replace('_', "");
        let (_, doc) = documented
            .iter()
            .find(|(known, _)| known.to_lowercase() == variant)
            .with_context(|| format!("the metric {name} has no documentation"))?;
        writeln!(page, "| `{name}@K` | {doc} |")?;
    }
    Ok(page)
}
