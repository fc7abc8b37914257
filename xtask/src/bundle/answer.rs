//! Requests to a bundle and its answers.
use super::Bundle;
use super::score::{Asked, NOBODY, Scorer, Scores, Wanted};
use crate::names::plain;
use crate::recommend::left;
use anyhow::{Result, bail};
use ra_core::{Catalog, History, ItemId, UserId};
use ra_eval::top_k;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Formatter;
use utoipa::ToSchema;

/// At most this many of the newest items of a history are read.
const NEWEST: usize = 1000;

/// The largest boost, in standard deviations of the scores.
const MOST_BOOST: f32 = 1e6;

/// At most this many items of a history are named as the reason of a recommendation.
const REASONS: usize = 50;

/// For whom to recommend, and what. An id may be written as a whole number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Request {
    /// A user of the bundle, by name, if it holds names: their history is that of the bundle, followed by `history`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "id_or_none")]
    pub user: Option<String>,
    /// What the user did, oldest first.
    pub history: Vec<Past>,
    /// The number of items; 10 by default.
    pub top: Option<usize>,
    /// The row that answers; the first of the bundle by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// If given, only these items are recommended, by id.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "ids_or_none")]
    pub allow: Option<Vec<String>>,
    /// These items are not recommended, by id.
    #[serde(deserialize_with = "ids")]
    pub deny: Vec<String>,
    /// Whether items of the history may be recommended; false by default.
    pub seen: bool,
    /// At most this many items of each group, such as a category, if the bundle has groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_group: Option<usize>,
    /// What is added to the scores of items, by id, in standard deviations of the scores over the catalogue.
    pub boosts: BTreeMap<String, f32>,
    /// Whether to say where scores come from.
    pub explain: bool,
}

/// An item of a history: an id or a title, or more about it. An id may be written as a whole number.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Past {
    /// An id, or else a title.
    Name(String),
    /// An item with more about it.
    Entry(PastEntry),
}

/// An item of a history with more about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PastEntry {
    /// The id.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "id_or_none")]
    pub item: Option<String>,
    /// The title, instead of the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// 0 or less: the item was seen and not liked. It is not recommended, and says nothing about taste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// The time, on any scale. If one entry has it, all must; they are put into its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<f64>,
}

impl<'de> Deserialize<'de> for Past {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = Past;
            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("an id or a title, or {\"item\": ID} or {\"title\": TITLE}")
            }
            fn visit_str<E>(self, name: &str) -> std::result::Result<Past, E> {
                Ok(Past::Name(name.to_owned()))
            }
            fn visit_u64<E>(self, id: u64) -> std::result::Result<Past, E> {
                Ok(Past::Name(id.to_string()))
            }
            fn visit_i64<E>(self, id: i64) -> std::result::Result<Past, E> {
                Ok(Past::Name(id.to_string()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<Past, A::Error> {
                PastEntry::deserialize(MapAccessDeserializer::new(map)).map(Past::Entry)
            }
        }
        from.deserialize_any(Entry)
    }
}

/// An id, which may be written as a whole number.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an id: a text or a whole number")]
enum Id {
    Text(String),
    Positive(u64),
    Negative(i64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(id) => id,
            Id::Positive(id) => id.to_string(),
            Id::Negative(id) => id.to_string(),
        }
    }
}

/// Reads an id.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    Id::deserialize(from).map(String::from)
}

/// Reads an id, or nothing.
fn id_or_none<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(from)?.map(String::from))
}

/// Reads a list of ids.
fn ids<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<String>, D::Error> {
    Ok(Vec::<Id>::deserialize(from)?.into_iter().map(String::from).collect())
}

/// Reads a list of ids, or nothing.
fn ids_or_none<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Vec<String>>, D::Error> {
    Ok(Option::<Vec<Id>>::deserialize(from)?.map(|ids| ids.into_iter().map(String::from).collect()))
}

impl PastEntry {
    /// Returns the entry of an item by its id.
    pub(crate) fn of_id(id: &str) -> Self {
        Self { item: Some(id.to_owned()), ..Self::default() }
    }
}

/// What a bundle recommends.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Answer {
    /// The row that answered.
    pub row: String,
    /// The user, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Why the most popular items stand in for the row's own recommendations, if they do.
    pub fallback: Option<Fallback>,
    /// The recommended items, best first.
    pub recommended: Vec<Named>,
    /// Names of the history that are no items of the catalogue.
    pub unknown: Vec<String>,
    /// The number of items that were read.
    pub history: usize,
    /// What the reader must know.
    pub notes: Vec<String>,
}

/// Why popularity answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The history is empty.
    EmptyHistory,
    /// No item of the history is known.
    UnknownHistory,
    /// The row has nothing to say about the history: every item has the same score, as with words if no item of the history
    /// has a title.
    NoSignal,
}

/// An item with its score.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Named {
    /// The id.
    pub item: String,
    /// The title, empty if there is none.
    pub title: String,
    /// Its group, if the bundle has groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The score, comparable within one list.
    pub score: f32,
    /// Where the score comes from, if asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
}

/// Where a score comes from.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Explanation {
    /// For each part of the row: how much more it gives to this item than to the average item.
    pub parts: BTreeMap<String, f32>,
    /// The item of the history that is most similar, if the row compares items.
    pub because: Option<String>,
}

/// Items similar to one.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Similar {
    /// The row that compares.
    pub row: String,
    /// The id of the item.
    pub item: String,
    /// The similar items, most similar first.
    pub similar: Vec<Named>,
}

/// A request with its names resolved.
struct Resolved {
    user: UserId,
    /// The items that are read, oldest first.
    items: Vec<ItemId>,
    unknown: Vec<String>,
    blocked: HashSet<ItemId>,
    notes: Vec<String>,
}

/// What is known of a request's items.
enum Ranked {
    /// Nothing, for want of a history.
    Nothing,
    /// The best items and their scores.
    Best(Vec<(ItemId, f32)>),
    /// The scores of all items.
    All(Scores),
}

/// Refuses a list of no items.
pub(crate) fn at_least_one(key: &str, items: usize) -> Result<()> {
    if items == 0 {
        bail!("{key} is 0, it must be at least 1");
    }
    Ok(())
}

impl Bundle {
    /// Returns what a row recommends.
    ///
    /// # Errors
    /// If the request names a row or a user that there is not, or asks for nothing. Unknown items are told in the answer.
    pub fn recommend(&self, request: &Request) -> Result<Answer> {
        let mut all = self.recommend_all(std::slice::from_ref(request))?;
        all.pop().map_or_else(|| bail!("no answer"), Ok)
    }

    /// Returns [`recommend`](Self::recommend) of several requests to one row, which share their passes through the models.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend), for the first request that is wrong, or if they name different rows.
    pub fn recommend_all(&self, requests: &[Request]) -> Result<Vec<Answer>> {
        let Some(first) = requests.first() else { return Ok(Vec::new()) };
        if requests.iter().any(|request| request.row != first.row) {
            bail!("requests that are answered together must name one row");
        }
        let scorer = self.scorer(first.row.as_deref())?;
        let resolved: Vec<Resolved> = requests.iter().map(|request| self.resolve(request)).collect::<Result<_>>()?;
        let histories: Vec<History<'_>> = resolved
            .iter()
            .filter(|own| !own.items.is_empty())
            .map(|own| History { user: own.user, items: &own.items })
            .collect();
        let asked = scorer.ask(&histories);
        let known = requests.iter().zip(&resolved).filter(|(_, own)| !own.items.is_empty());
        let known: Vec<_> = known.zip(&asked).map(|((request, own), asked)| (request, own, asked)).collect();
        let mut ranked = self.rank(scorer, &known).into_iter();
        let answer = |(request, own): (&Request, Resolved)| {
            let ranked = if own.items.is_empty() { None } else { ranked.next() };
            self.answer(scorer, request, own, ranked.unwrap_or(Ranked::Nothing))
        };
        requests.iter().zip(resolved).map(answer).collect()
    }

    /// Finds the best items of requests with a history, or scores all items for those that need it.
    fn rank(&self, scorer: &Scorer, all: &[(&Request, &Resolved, &Asked<'_>)]) -> Vec<Ranked> {
        let is_found: Vec<bool> =
            all.iter().map(|(request, _, asked)| !request.needs_all_scores() && scorer.finds(asked)).collect();
        let (mut wanted, mut others) = (Vec::new(), Vec::new());
        for ((request, own, asked), is_found) in all.iter().zip(&is_found) {
            match is_found {
                true => wanted.push(Wanted { asked, k: request.most(), blocked: self.blocked(scorer, own) }),
                false => others.push(*asked),
            }
        }
        let (mut found, mut scored) = (scorer.find(&wanted).into_iter(), scorer.score(&others).into_iter());
        let next = |is_found| match is_found {
            true => found.next().map(Ranked::Best),
            false => scored.next().map(Ranked::All),
        };
        is_found.into_iter().filter_map(next).collect()
    }

    /// Returns the items that a row must not recommend for a request.
    fn blocked(&self, scorer: &Scorer, own: &Resolved) -> Vec<ItemId> {
        // Without a score of their own they would stand anywhere.
        let new = (!scorer.knows_new_items()).then(|| self.added());
        own.blocked.iter().copied().chain(new.into_iter().flatten()).collect()
    }

    /// Returns the weighted user vector of a request in the first row's parts with vectors: its product with the item vectors
    /// in `items.parquet` is their part of the scores.
    ///
    /// # Errors
    /// As [`recommend`](Self::recommend); if the request names another row, or if a part has several vectors per user.
    pub fn user_vector(&self, request: &Request) -> Result<Vec<f32>> {
        let scorer = self.vector_row(request)?;
        let own = self.resolve(request)?;
        let Some(vector) = scorer.user_vector(&History { user: own.user, items: &own.items }) else {
            bail!("row {}: has several vectors per user, not one", scorer.name)
        };
        let mut vectors = [vector];
        self.turns.turn(&mut vectors, &self.manifest.rows[0].vector);
        let [vector] = vectors;
        Ok(vector)
    }

    /// Returns the row of a request if its item vectors are those of the bundle.
    pub(super) fn vector_row(&self, request: &Request) -> Result<&Scorer> {
        let scorer = self.scorer(request.row.as_deref())?;
        let first = &self.scorers[0].name;
        if scorer.name != *first {
            bail!(
                "row {}: items.parquet has the vectors of {first}; export this row by itself for its vectors",
                scorer.name
            );
        }
        Ok(scorer)
    }

    pub(super) fn scorer(&self, row: Option<&str>) -> Result<&Scorer> {
        let Some(row) = row else { return Ok(&self.scorers[0]) };
        let found = self.scorers.iter().find(|own| own.name == row || own.label == row);
        found.map_or_else(
            || {
                let names: Vec<&str> = self.scorers.iter().map(|own| own.name.as_str()).collect();
                bail!("row {row:?}: the bundle has {}", names.join(", "))
            },
            Ok,
        )
    }

    /// Returns the known items of a history, oldest first, and the unknown names, of a request that can be answered.
    fn resolve(&self, request: &Request) -> Result<Resolved> {
        self.check(request)?;
        let mut notes = Vec::new();
        let (mut items, mut liked, mut disliked, mut unknown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut user = NOBODY;
        if let Some(name) = &request.user {
            let Some(known) = self.users.get(name.as_str()).copied() else {
                match self.manifest.names_users {
                    true => bail!(
                        "user {name:?}: is not among the {} users of the bundle; send a history",
                        self.manifest.users
                    ),
                    false => bail!("user {name:?}: the bundle holds no names of users; send a history"),
                }
            };
            user = known;
            let own = [self.dataset.train.row(known), self.dataset.test.row(known)].concat();
            liked.extend(own.iter().copied());
            items.extend(own);
        }
        let mut past: Vec<(Option<f64>, &Past)> = request.history.iter().map(|past| (past.time(), past)).collect();
        let timed = past.iter().filter(|(time, _)| time.is_some_and(f64::is_finite)).count();
        if timed > 0 && timed < past.len() {
            bail!("history: {timed} of {} entries have a ts; give it to all or to none", past.len());
        }
        past.sort_by(|a, b| a.0.unwrap_or_default().total_cmp(&b.0.unwrap_or_default()));
        for (_, entry) in past {
            match self.find(entry)? {
                Ok(item) => {
                    items.push(item);
                    if entry.is_liked() { &mut liked } else { &mut disliked }.push(item);
                    notes.extend(self.ambiguous(entry, item));
                }
                Err(name) => unknown.push(name),
            }
        }
        if self.recipe.data.dedupe {
            let mut known = HashSet::new();
            liked.retain(|item| known.insert(*item));
        }
        if liked.len() > NEWEST {
            notes.push(format!("only the newest {NEWEST} of {} items were read", liked.len()));
            liked.drain(..liked.len() - NEWEST);
        }
        let mut blocked: HashSet<ItemId> = self.listed("deny", &request.deny, &mut notes).into_iter().collect();
        blocked.extend(disliked);
        if !request.seen {
            blocked.extend(items);
        }
        blocked.insert(ItemId::PADDING);
        Ok(Resolved { user, items: liked, unknown, blocked, notes })
    }

    /// Returns the item of an entry, or its name if it is unknown.
    fn find(&self, entry: &Past) -> Result<Result<ItemId, String>> {
        Ok(match entry {
            Past::Name(name) => self.names.id(name).or_else(|| self.titled(name)).ok_or_else(|| name.clone()),
            Past::Entry(PastEntry { item: Some(id), .. }) => self.names.id(id).ok_or_else(|| id.clone()),
            Past::Entry(PastEntry { title: Some(title), .. }) => self.titled(title).ok_or_else(|| title.clone()),
            Past::Entry(_) => bail!("history: an entry has neither item nor title"),
        })
    }

    /// Returns the first item with a title.
    fn titled(&self, title: &str) -> Option<ItemId> {
        self.names.titled(title).first().copied()
    }

    /// Returns a note about a name that could mean another item.
    fn ambiguous(&self, entry: &Past, item: ItemId) -> Option<String> {
        let (Past::Name(name) | Past::Entry(PastEntry { item: None, title: Some(name), .. })) = entry else {
            return None;
        };
        let twins = Some(self.names.titled(name)).filter(|twins| twins.len() > 1 && twins.contains(&item))?;
        let id = self.dataset.catalog.id(item);
        (id != name)
            .then(|| format!("{name:?} is the title of {} items; {id} was taken: give ids to be sure", twins.len()))
    }

    /// Returns the items of a list of ids. Unknown ones are counted in a note.
    fn listed(&self, key: &str, ids: &[String], notes: &mut Vec<String>) -> Vec<ItemId> {
        let found: Vec<ItemId> = ids.iter().filter_map(|id| self.names.id(id)).collect();
        if found.len() < ids.len() {
            notes.push(format!("{key}: {} of {} ids are not in the catalogue", ids.len() - found.len(), ids.len()));
        }
        found
    }

    /// Returns the notes on a request that do not depend on the history, which all answers of a batch share.
    pub(super) fn notes_on(&self, request: &Request) -> Vec<String> {
        let mut notes = Vec::new();
        self.listed("allow", request.allow.as_deref().unwrap_or_default(), &mut notes);
        self.listed("deny", &request.deny, &mut notes);
        notes
    }

    fn answer(&self, scorer: &Scorer, request: &Request, mut own: Resolved, ranked: Ranked) -> Result<Answer> {
        let (recommended, fallback) = match ranked {
            Ranked::Best(found) if found.iter().any(|(_, score)| !score.is_finite()) => {
                bail!("{}: gives scores that are not numbers", scorer.name)
            }
            Ranked::Best(found) => (found.into_iter().map(|(item, score)| self.named(item, score)).collect(), None),
            Ranked::All(scores) => match scores.telling_sum() {
                Some(sum) => (self.choose(scorer, request, &mut own, sum, Some(&scores))?, None),
                None => (self.most_popular(scorer, request, &mut own)?, Some(Fallback::NoSignal)),
            },
            Ranked::Nothing => {
                let why = if own.unknown.is_empty() { Fallback::EmptyHistory } else { Fallback::UnknownHistory };
                (self.most_popular(scorer, request, &mut own)?, Some(why))
            }
        };
        let Resolved { items, unknown, mut notes, .. } = own;
        if recommended.len() < request.most() {
            notes.push(left(recommended.len()));
        }
        let (row, user) = (scorer.name.clone(), request.user.clone());
        Ok(Answer { row, user, fallback, recommended, unknown, history: items.len(), notes })
    }

    /// Returns the most popular items that a request allows, with the scores of the method `pop`.
    fn most_popular(&self, scorer: &Scorer, request: &Request, own: &mut Resolved) -> Result<Vec<Named>> {
        self.choose(scorer, request, own, self.pop_scores.clone(), None)
    }

    /// Returns the best items by the scores of all, which are `sum`; `scores` are those of the row's parts, if they are its.
    fn choose(
        &self,
        scorer: &Scorer,
        request: &Request,
        own: &mut Resolved,
        mut sum: Vec<f32>,
        scores: Option<&Scores>,
    ) -> Result<Vec<Named>> {
        scorer.refuse_broken(&sum)?;
        self.boost(&mut sum, request, &mut own.notes);
        let mut blocked = self.blocked(scorer, own);
        if scores.is_none() {
            blocked.extend(self.added());
        }
        if let Some(allow) = &request.allow {
            let allowed: HashSet<ItemId> = self.listed("allow", allow, &mut own.notes).into_iter().collect();
            blocked.extend(self.dataset.catalog.all().filter(|item| !allowed.contains(item)));
        }
        let top = request.most();
        let found = match request.per_group {
            Some(most) => self.capped(&sum, top, most, &blocked),
            None => top_k(&sum, top, &blocked),
        };
        let Some(scores) = scores.filter(|_| request.explain) else {
            return Ok(found.into_iter().map(|(item, score)| self.named(item, score)).collect());
        };
        let explain = self.explainer(scorer, &own.items, scores);
        let named = |(item, score)| Named { explain: Some(explain(item)), ..self.named(item, score) };
        Ok(found.into_iter().map(named).collect())
    }

    /// Returns what says where the score of an item comes from.
    fn explainer<'a>(
        &'a self,
        scorer: &'a Scorer,
        history: &[ItemId],
        scores: &'a Scores,
    ) -> impl Fn(ItemId) -> Explanation + 'a {
        let mean = |scores: &Vec<f32>| scores[1..].iter().sum::<f32>() / self.items().max(1) as f32;
        let means: Vec<f32> = scores.parts.iter().map(mean).collect();
        let newest: Vec<ItemId> = history.iter().rev().take(REASONS).copied().collect();
        move |item| {
            let more = |at: usize| scores.parts[at][item.index()] - means[at];
            let names = scorer.parts.iter().map(|(part, _)| part.name.clone());
            let near = scorer.similarity(item, &newest).unwrap_or_default();
            let nearest = newest.iter().zip(near).max_by(|a, b| a.1.total_cmp(&b.1));
            let because = nearest.map(|(other, _)| self.dataset.catalog.name(*other).to_owned());
            Explanation { parts: names.enumerate().map(|(at, name)| (name, more(at))).collect(), because }
        }
    }

    /// Refuses a request that asks for what cannot be.
    pub(super) fn check(&self, request: &Request) -> Result<()> {
        self.scorer(request.row.as_deref())?;
        at_least_one("top", request.most())?;
        if request.per_group.is_some() && self.groups.is_empty() {
            bail!("per_group: the bundle has no groups of items; export it with --group COLUMN");
        }
        request.per_group.map_or(Ok(()), |most| at_least_one("per_group", most))?;
        let is_wrong = |boost: &f32| !boost.is_finite() || boost.abs() > MOST_BOOST;
        if let Some((id, boost)) = request.boosts.iter().find(|(_, boost)| is_wrong(boost)) {
            bail!("boosts: that of {id:?} is {boost}; it must be a number from -{MOST_BOOST} to {MOST_BOOST}");
        }
        Ok(())
    }

    /// Adds the boosts of a request to scores.
    fn boost(&self, scores: &mut [f32], request: &Request, notes: &mut Vec<String>) {
        if request.boosts.is_empty() {
            return;
        }
        let n = self.items().max(1) as f32;
        let mean = scores[1..].iter().sum::<f32>() / n;
        let deviation = (scores[1..].iter().map(|score| (score - mean).powi(2)).sum::<f32>() / n).sqrt();
        let mut unknown = 0;
        for (id, boost) in &request.boosts {
            match self.names.id(id) {
                Some(item) => scores[item.index()] += boost * deviation,
                None => unknown += 1,
            }
        }
        if unknown > 0 {
            notes.push(format!("boosts: {unknown} ids are not in the catalogue"));
        }
    }

    /// Returns the best items with at most `most` of each group.
    fn capped(&self, scores: &[f32], top: usize, most: usize, blocked: &[ItemId]) -> Vec<(ItemId, f32)> {
        let mut taken: HashMap<&str, usize> = HashMap::new();
        let all = top_k(scores, self.items(), blocked);
        let fits = |(item, _): &(ItemId, f32)| {
            let group = self.groups[item.index() - 1].as_str();
            let taken = taken.entry(group).or_default();
            *taken += 1;
            group.is_empty() || *taken <= most
        };
        all.into_iter().filter(fits).take(top).collect()
    }

    fn named(&self, item: ItemId, score: f32) -> Named {
        let catalog: &Catalog = &self.dataset.catalog;
        let group = self.groups.get(item.index() - 1).cloned();
        Named { item: catalog.id(item).into(), title: catalog.title(item).into(), group, score, explain: None }
    }

    /// Returns the items most similar to the item with an id or, without one, a title: by the cosine of the row's vectors,
    /// averaged over the parts that have vectors; for a row without any, by what a history of that item recommends.
    ///
    /// # Errors
    /// If there is no such item or row, or if `top` is 0.
    pub fn similar(&self, item: &str, row: Option<&str>, top: usize) -> Result<Similar> {
        let scorer = self.scorer(row)?;
        at_least_one("top", top)?;
        let Some(own) = self.names.id(item).or_else(|| self.titled(item)) else {
            bail!("item {item:?}: is neither an id nor a title of the catalogue{}", self.hint(item))
        };
        let by_history = || {
            let items = [own];
            scorer.sum(History { user: NOBODY, items: &items })
        };
        let all: Vec<ItemId> = [ItemId::PADDING].into_iter().chain(self.dataset.catalog.all()).collect();
        let scores = scorer.similarity(own, &all).unwrap_or_else(by_history);
        let others = || scores.iter().enumerate().skip(1).filter(|(at, _)| *at != own.index()).map(|(_, score)| *score);
        let [low, high] = [others().fold(f32::INFINITY, f32::min), others().fold(f32::NEG_INFINITY, f32::max)];
        // Up to rounding.
        if !scorer.compares_items(own) || high - low <= 1e-6 * high.abs() {
            bail!("row {}: does not tell items apart by this one; name another row", scorer.name);
        }
        let found = top_k(&scores, top, &[ItemId::PADDING, own]);
        let similar = found.into_iter().map(|(item, score)| self.named(item, score)).collect();
        Ok(Similar { row: scorer.name.clone(), item: self.dataset.catalog.id(own).into(), similar })
    }

    /// Returns what to say of an unknown name beside that it is unknown, or nothing.
    pub(crate) fn hint(&self, name: &str) -> String {
        self.names.hint(name).unwrap_or_default()
    }

    /// Returns items whose title holds every word of a query or whose id is the query, the most popular first.
    pub fn search(&self, query: &str, top: usize) -> Vec<Named> {
        let query = plain(query);
        let words: Vec<&str> = query.split(' ').filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return Vec::new();
        }
        let catalog = &self.dataset.catalog;
        let fits = |item: &ItemId| {
            let title = self.names.plain(*item);
            words.iter().all(|word| title.contains(word)) || catalog.id(*item).to_lowercase() == query
        };
        let found = self.popular.iter().copied().filter(fits).take(top);
        found.map(|item| self.by_popularity(item)).collect()
    }

    /// Returns the entries of a text that separates them by semicolons: at each place the longest title or id that there is,
    /// because titles may have semicolons; `\;` never separates.
    pub fn split_history(&self, text: &str) -> Vec<Past> {
        self.names.split(text).into_iter().map(Past::Name).collect()
    }

    /// Returns the most popular items, for a page that has nothing else to show.
    pub fn popular(&self, top: usize) -> Vec<Named> {
        self.popular.iter().take(top).map(|&item| self.by_popularity(item)).collect()
    }

    /// Returns an item with the score of the method `pop`.
    fn by_popularity(&self, item: ItemId) -> Named {
        self.named(item, self.pop_scores[item.index()])
    }
}

impl Request {
    /// Returns the number of items that it asks for.
    pub(super) fn most(&self) -> usize {
        self.top.unwrap_or(10)
    }

    /// Returns whether the scores of single items do not suffice for it.
    fn needs_all_scores(&self) -> bool {
        self.explain || !self.boosts.is_empty() || self.per_group.is_some() || self.allow.is_some()
    }
}

impl Past {
    fn time(&self) -> Option<f64> {
        if let Self::Entry(entry) = self { entry.ts } else { None }
    }

    fn is_liked(&self) -> bool {
        if let Self::Entry(PastEntry { weight: Some(weight), .. }) = self { *weight > 0.0 } else { true }
    }
}
