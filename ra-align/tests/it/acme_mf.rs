//! An ID method from another crate: what CONTRIBUTING.md shows. Matrix factorization with BPR (Rendle et al., UAI
//! 2009).
use burn::module::{Module, Param};
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Int, Tensor};
use ra_core::{IdModel, IdTable, TrainBatch, normal, rng};

#[derive(Module, Debug)]
pub(crate) struct Mf {
    users: Param<Tensor<2>>,
    items: Param<Tensor<2>>,
}

impl Mf {
    pub(crate) fn new(users: usize, items: usize, dim: usize, seed: u64, device: &Device) -> Self {
        let random = &mut rng(seed, "mf", 0);
        Self { users: normal([users, dim], 0.1, random, device), items: normal([items + 1, dim], 0.1, random, device) }
    }
}

impl IdModel for Mf {
    type Fitted = IdTable;

    fn loss(&self, batch: &TrainBatch) -> Tensor<1> {
        let user = self.users.val().select(0, batch.users.clone()); // [n, dim]
        let item = |ids: Tensor<1, Int>| self.items.val().select(0, ids);
        let margin = user * (item(batch.positives.clone()) - item(batch.negatives.clone().flatten(0, 1)));
        log_sigmoid(margin.sum_dim(1)).mean().neg()
    }

    fn fitted(&self) -> IdTable {
        let plain = self.valid();
        IdTable::new(plain.users.val(), plain.items.val())
    }
}
