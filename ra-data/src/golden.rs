//! Golden cases of data construction, run through the code that prepares every data set.
use crate::config::DataConfig;
use crate::curate::words::words;
use crate::curate::{NoiseFilter, StratifiedSampler, popularity_buckets};
use crate::interactions::Interactions;
use crate::prepare::{Steps, keep};
use crate::split::split;
use crate::{CurateConfig, CurateMethod, DataError, Result};
use ra_core::{Catalog, Dataset, ItemId, Sample, Sequences};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Case {
    params: Params,
    interactions: Vec<(u64, u64, f64)>,
    titles: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Params {
    k_core: usize,
    min_overlap: usize,
    max_hist: usize,
    n_pop_buckets: usize,
    max_len_bucket: u32,
    seed: u64,
    m: usize,
}

/// Computes everything that the expected file of a case holds.
///
/// # Errors
/// [`DataError::Case`] if the input does not have the expected layout.
pub fn verify_case(input: &Value) -> Result<Value> {
    let case = Case::deserialize(input).map_err(|e| DataError::Case(e.to_string()))?;
    let ids: Vec<(String, String, f64)> =
        case.interactions.iter().map(|(u, i, t)| (u.to_string(), i.to_string(), *t)).collect();
    let rows: Vec<(&str, &str, f64)> = ids.iter().map(|(u, i, t)| (u.as_str(), i.as_str(), *t)).collect();
    let filter = DataConfig { dedupe: true, k_core: case.params.k_core, ..DataConfig::default() };
    let log = keep(Interactions::from_rows(&rows), &filter, &mut Steps::new(&filter, rows.len(), rows.len()));
    let mut kept: Vec<u32> = log.rows.iter().map(|r| r.index).collect();
    kept.sort_unstable();
    let parts = split(log.rows, log.users.len(), &filter, 0, [f64::INFINITY; 2]);
    let titles = log.items.iter().map(|id| case.titles.get(id).cloned().unwrap_or_default()).collect();
    let dataset = Dataset {
        name: "golden".into(),
        users: log.users,
        catalog: Catalog::new(log.items, titles),
        train: parts.train,
        valid: parts.valid,
        test: parts.test,
        filter: String::new(),
        split: String::new(),
    };
    let mut out = json!({ "kcore_rows": kept.len(), "kept_row_indices": kept });
    if let Value::Object(map) = &mut out {
        map.extend(sequences(&dataset));
        map.extend(curation(&dataset, &case.params));
        let bags = case.titles.iter().map(|(id, title)| (id.clone(), json!(words(title, false))));
        map.insert("title_words".into(), Value::Object(bags.collect()));
    }
    Ok(out)
}

/// Returns the original id as a number, which every id is in golden cases.
fn number(id: &str) -> Value {
    json!(id.parse::<u64>().unwrap_or_default())
}

fn sequences(dataset: &Dataset) -> Map<String, Value> {
    let item = |&item: &ItemId| number(dataset.catalog.id(item));
    let users = |part: &Sequences, value: &dyn Fn(&[ItemId]) -> Value| {
        let rows = dataset.users.iter().zip(part.rows()).filter(|(_, row)| !row.is_empty());
        Value::Object(rows.map(|(user, row)| (user.clone(), value(row))).collect())
    };
    let list = |row: &[ItemId]| row.iter().map(item).collect();
    let single = |row: &[ItemId]| item(&row[0]);
    let counts = dataset.popularity();
    let popularity = dataset.catalog.all().filter(|&i| counts[i.index()] > 0);
    let popularity = popularity.map(|i| (dataset.catalog.id(i).to_owned(), json!(counts[i.index()])));
    Map::from_iter([
        ("train".into(), users(&dataset.train, &list)),
        ("valid".into(), users(&dataset.valid, &single)),
        ("test".into(), users(&dataset.test, &single)),
        ("popularity".into(), Value::Object(popularity.collect())),
    ])
}

fn curation(dataset: &Dataset, params: &Params) -> Map<String, Value> {
    let config = CurateConfig {
        method: CurateMethod::Paper,
        min_overlap: params.min_overlap,
        strip_years: false,
        max_len_bucket: params.max_len_bucket,
        pop_buckets: params.n_pop_buckets,
        ..CurateConfig::default()
    };
    let filter = NoiseFilter::new(dataset.catalog.titles(), &dataset.popularity(), &config);
    let mut sampler = StratifiedSampler::new(params.m, params.seed);
    let id = |item: ItemId| number(dataset.catalog.id(item));
    let mut show = |(index, sample): (usize, Sample)| {
        let (history, target) = dataset.sample(sample, params.max_hist);
        let (stratum, any) = (filter.stratum(history, target), filter.any_stratum(history, target));
        if let Some(stratum) = stratum {
            sampler.insert(index, stratum, sample);
        }
        json!({
            "index": index,
            "user": number(&dataset.users[sample.user.index()]),
            "history": history.iter().map(|&i| id(i)).collect::<Vec<_>>(),
            "target": id(target),
            "overlap": filter.overlap(history, target),
            "keep": stratum.is_some(),
            "len_bucket": any.0,
            "pop_bucket": any.1,
        })
    };
    let samples: Vec<Value> = dataset.samples().into_iter().enumerate().map(&mut show).collect();
    let (chosen, cells) = sampler.finish();
    let cells = cells.into_iter().map(|((length, pop), count)| (format!("{length},{pop}"), json!(count)));
    let chosen: Vec<usize> = chosen.into_iter().map(|(index, _)| index).collect();
    let counts = dataset.popularity();
    let buckets = popularity_buckets(&dataset.popularity(), params.n_pop_buckets);
    let bucketed = dataset.catalog.all().filter(|&i| counts[i.index()] > 0);
    let bucketed = bucketed.map(|i| (dataset.catalog.id(i).to_owned(), json!(buckets[i.index()])));
    Map::from_iter([
        ("samples".into(), json!(samples)),
        ("cells".into(), Value::Object(cells.collect())),
        ("chosen".into(), json!(chosen)),
        ("pop_bucket".into(), Value::Object(bucketed.collect())),
    ])
}
