//! Ranks two matrices: `cargo run -p ra-eval --example rank`.
use ra_core::ItemId;
use ra_eval::{EvalConfig, EvalError, HeldOut, evaluate_vectors};
use std::io::Write;

fn main() -> Result<(), EvalError> {
    let users: [f32; 6] = [1.0, 0.2, 0.1, 1.0, 0.7, 0.7]; // [3 users, 2 numbers each]
    let items: [f32; 8] = [0.9, 0.1, 0.8, 0.3, 0.2, 0.9, 0.6, 0.6]; // [4 items, 2 numbers each]
    // Item ids start at 1. Items of a user's history are not candidates; the held-out items are to be found.
    let histories = [vec![1], vec![3], vec![2, 3]].map(ItemId::list);
    let targets = [[2], [4], [1]].map(ItemId::list);
    let held_out = HeldOut::from_lists(4, &histories, &targets)?;
    let config = EvalConfig { ks: vec![1, 2], keep_top: 3, ..EvalConfig::default() };
    let found = evaluate_vectors(&users, &items, &held_out, &config)?;
    let mut out = std::io::stdout();
    for (metric, value) in &found.metrics {
        let _ = writeln!(out, "{metric:<14}{value:.4}");
    }
    for (user, list) in found.users.iter().zip(&found.top) {
        let _ = writeln!(out, "user {user}: items {:?}", list.iter().map(|item| item.0).collect::<Vec<_>>());
    }
    Ok(())
}
