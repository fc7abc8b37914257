//! Code of a team in its own workspace: it splits a log and ranks items by how often they were bought.

#[cfg(test)]
mod tests {
    use ra_data::{DataConfig, prepare};
    use ra_eval::{EvalConfig, HeldOut, Metric, Part, evaluate_scores};

    #[test]
    fn a_log_is_split_and_ranked_without_a_tensor_library() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log.csv");
        std::fs::write(&log, "user,item,ts\nann,ball,1\nann,cap,2\nann,hat,3\nann,kite,4\nbob,cap,1\nbob,kite,2\nbob,ball,3\nbob,hat,4\n").unwrap();
        let prepared = prepare("shop", &DataConfig { interactions: Some(log), ..DataConfig::default() }).unwrap();
        let data = &prepared.dataset;
        assert_eq!((data.users.len(), data.catalog.len()), (2, 4));

        let counts: Vec<f32> = data.popularity()[1..].iter().map(|&count| count as f32).collect(); // [items]
        let scores = counts.repeat(data.users.len()); // [users, items]
        let config = EvalConfig { ks: vec![1], ..EvalConfig::default() };
        let found = evaluate_scores(&scores, &HeldOut::new(data, Part::Test), &config).unwrap();
        // Each user has only one new item left, so it must rank first.
        assert_eq!(found.metrics.get(&Metric::Hr(1)), Some(&1.0));
    }
}
