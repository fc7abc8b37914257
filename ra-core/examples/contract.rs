//! Checks that a custom recommender meets its contract: `cargo run -p ra-core --features testkit --example contract`.
#![allow(clippy::print_stdout)]
use ra_core::testkit::contract::check_recommender;
use ra_core::{Backend, Device, History, ItemId, Recommender, Tensor, UserId, open_device};

/// Scores an item by how close its number is to that of the last item in the history.
#[derive(Debug)]
struct Neighbour {
    device: Device,
}

impl Recommender for Neighbour {
    fn dim(&self) -> usize {
        2
    }
    fn interests(&self) -> usize {
        1
    }
    fn users(&self, histories: &[History<'_>]) -> Tensor<2> {
        let last = histories.iter().map(|history| history.items.last().map_or(0.0, |item| item.index() as f32));
        let rows: Vec<f32> = last.flat_map(|at| [2.0 * at, -1.0]).collect();
        Tensor::<1>::from_floats(rows.as_slice(), &self.device).reshape([histories.len(), 2])
    }
    fn items(&self, items: &[ItemId]) -> Tensor<2> {
        // -(at - k)^2 = 2 at k - k^2 - at^2, and the last term is the same for all items.
        let rows: Vec<f32> = items.iter().map(|item| item.index() as f32).flat_map(|k| [k, k * k]).collect();
        Tensor::<1>::from_floats(rows.as_slice(), &self.device).reshape([items.len(), 2])
    }
    fn additions(&self, _: &History<'_>) -> Vec<(ItemId, f32)> {
        Vec::new()
    }
}

fn main() -> Result<(), ra_core::Error> {
    let model = Neighbour { device: open_device(Backend::Cpu)? };
    let (short, long) = (ItemId::list([3]), ItemId::list([5, 1, 4]));
    let histories = [History { user: UserId(0), items: &short }, History { user: UserId(1), items: &long }];
    check_recommender(&model, &histories, &ItemId::list(1..=6)); // panics with the promise that is broken
    println!("shapes, repeat calls and batches are as promised");
    Ok(())
}
