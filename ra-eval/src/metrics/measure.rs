//! Metrics over all targets, or over the targets in one group of items.
use super::{Metric, UnknownMetric};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};
use std::str::FromStr;

/// A group of items, by their training interactions. Every item is in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemGroup {
    /// The fifth of the catalogue with the most training interactions.
    Head,
    /// The other items with training interactions.
    Tail,
    /// The items without any: no model was trained on them.
    Cold,
}

impl ItemGroup {
    /// All groups.
    pub const ALL: [Self; 3] = [Self::Head, Self::Tail, Self::Cold];

    /// Returns the word used in recipes and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Tail => "tail",
            Self::Cold => "cold",
        }
    }
}

/// A metric over all targets, such as `hr@100`, or over the targets in one group of items, such as `tail:hr@100`: the
/// mean over the users with such a target, for these targets alone. The metrics of a group are `hr` and `ndcg`.
///
/// ```
/// use ra_eval::{ItemGroup, Measure, Metric};
/// let tail: Measure = "tail:hr@100".parse()?;
/// assert_eq!((tail.group, tail.metric), (Some(ItemGroup::Tail), Metric::Hr(100)));
/// assert!("tail:gini@10".parse::<Measure>().is_err());
/// # Ok::<(), ra_eval::UnknownMetric>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Measure {
    /// The group of the targets; all targets by default.
    pub group: Option<ItemGroup>,
    /// The metric.
    pub metric: Metric,
}

impl Measure {
    /// Returns whether a criterion cannot do without this term. One of head or tail items that nobody has as a target is
    /// the same for every model, so nothing is lost; cold targets are asked for by those who need them.
    pub fn is_required(&self) -> bool {
        !matches!(self.group, Some(ItemGroup::Head | ItemGroup::Tail))
    }
}

impl From<Metric> for Measure {
    fn from(metric: Metric) -> Self {
        Self { group: None, metric }
    }
}

impl Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Some(group) => f.pad(&format!("{}:{}", group.name(), self.metric)),
            None => self.metric.fmt(f),
        }
    }
}

impl FromStr for Measure {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let Some((name, rest)) = text.split_once(':') else { return Ok(text.parse::<Metric>()?.into()) };
        let group = ItemGroup::ALL.into_iter().find(|group| group.name() == name);
        let metric = rest.parse().ok().filter(|metric| matches!(metric, Metric::Hr(_) | Metric::Ndcg(_)));
        match (group, metric) {
            (Some(_), Some(metric)) => Ok(Self { group, metric }),
            _ => Err(UnknownMetric::new(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measure_and_its_text_are_one_thing() {
        for text in ["ndcg@10", "head:ndcg@5", "tail:hr@100", "cold:hr@1"] {
            assert_eq!(text.parse::<Measure>().unwrap().to_string(), text);
        }
        assert!("tail".parse::<Measure>().is_err());
        for wrong in ["tail:", ":hr@10", "Tail:hr@10", "tail: hr@10", "tail:mrr@10", "long:hr@10", "tail:hr@0"] {
            let told = wrong.parse::<Measure>().unwrap_err().to_string();
            assert!(told.contains("head, tail and cold") && told.contains(wrong), "{told}");
        }
    }
}
