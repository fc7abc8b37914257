//! What a step trains on: a function of the data, the seed and the step, so that a run can start again anywhere.
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::{Dataset, Sequences, SplitMix, TrainBatch, rng, splitmix64};
use rand::seq::SliceRandom;

/// Batches of a kind of training.
pub trait Batches {
    /// Steps an epoch.
    fn steps(&self) -> usize;

    /// The batch of a step.
    fn batch(&mut self, step: usize) -> TrainBatch;
}

/// Which users make the batch of a step: every epoch visits each of them once, in an order of its own.
#[derive(Debug)]
struct Order {
    users: Vec<u32>,
    epoch: Option<usize>,
    order: Vec<u32>,
    batch: usize,
    seed: u64,
}

impl Order {
    fn new(users: Vec<u32>, batch: usize, seed: u64) -> Self {
        Self { users, epoch: None, order: Vec::new(), batch: batch.max(1), seed }
    }

    fn steps(&self) -> usize {
        self.users.len().div_ceil(self.batch)
    }

    fn users(&mut self, step: usize) -> Vec<u32> {
        let (epoch, index) = (step / self.steps().max(1), step % self.steps().max(1));
        if self.epoch != Some(epoch) {
            self.order.clone_from(&self.users);
            self.order.shuffle(&mut rng(self.seed, "epoch", epoch as u64));
            self.epoch = Some(epoch);
        }
        let start = index * self.batch;
        self.order[start..(start + self.batch).min(self.order.len())].to_vec()
    }
}

/// Items of each user in ascending order, to draw items that are not among them.
#[derive(Debug)]
struct Unseen {
    seen: Sequences,
    items: usize,
}

impl Unseen {
    fn new(dataset: &Dataset) -> Self {
        let sorted = |row: &[u32]| {
            let mut row = row.to_vec();
            row.sort_unstable();
            row.dedup();
            row
        };
        Self { seen: Sequences::from_rows(dataset.train.rows().map(sorted)), items: dataset.catalog.len() }
    }

    /// An item that `user` has not in the training data, uniformly; a user who has nearly everything gets any item
    /// after a few tries.
    fn draw(&self, random: &mut SplitMix, user: u32) -> u32 {
        let seen = self.seen.row(user as usize);
        let mut item = 0;
        for _ in 0..100 {
            item = random.below(self.items) as u32 + 1;
            if seen.binary_search(&item).is_err() {
                break;
            }
        }
        item
    }
}

fn step_seed(seed: u64, step: usize) -> u64 {
    splitmix64(seed ^ splitmix64(step as u64))
}

fn line(values: Vec<u32>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    let values: Vec<i32> = values.into_iter().map(|v| v as i32).collect();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

fn grid(values: Vec<u32>, rows: usize, width: usize, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = values.into_iter().map(|v| v as i32).collect();
    Tensor::from_data(TensorData::new(values, [rows, width]), device)
}

/// Every item of a history is followed by the next one: the last `max_length + 1` training items of each user, with
/// `negatives` items a row that the user does not have.
#[derive(Debug)]
pub struct NextItem<'a> {
    dataset: &'a Dataset,
    order: Order,
    unseen: Unseen,
    max_length: usize,
    negatives: usize,
    device: Device,
}

impl<'a> NextItem<'a> {
    /// Plans batches of `batch` users.
    pub fn new(
        dataset: &'a Dataset,
        batch: usize,
        max_length: usize,
        negatives: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        let users = with_items(dataset, 2);
        let (order, unseen) = (Order::new(users, batch, seed), Unseen::new(dataset));
        Self { dataset, order, unseen, max_length, negatives, device: device.clone() }
    }
}

fn with_items(dataset: &Dataset, least: usize) -> Vec<u32> {
    (0..dataset.train.len() as u32).filter(|&u| dataset.train.row(u as usize).len() >= least).collect()
}

impl Batches for NextItem<'_> {
    fn steps(&self) -> usize {
        self.order.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.order.seed, step);
        let mut random = SplitMix::new(splitmix64(seed) ^ 0x6E65_6761);
        let chosen = self.order.users(step);
        let mut lengths = Vec::with_capacity(chosen.len());
        let [mut users, mut items, mut positives, mut negatives] = [const { Vec::new() }; 4];
        for user in chosen {
            let row = self.dataset.train.row(user as usize);
            let read = &row[row.len().saturating_sub(self.max_length + 1)..];
            let n = read.len() - 1;
            lengths.push(n);
            users.extend(std::iter::repeat_n(user, n));
            items.extend_from_slice(&read[..n]);
            positives.extend_from_slice(&read[1..]);
            negatives.extend((0..n * self.negatives).map(|_| self.unseen.draw(&mut random, user)));
        }
        TrainBatch {
            users: line(users, &self.device),
            items: line(items, &self.device),
            rows: None,
            positives: line(positives, &self.device),
            negatives: grid(negatives, lengths.iter().sum(), self.negatives, &self.device),
            lengths: lengths.into(),
            dropout: Some(splitmix64(seed)),
        }
    }
}

/// One sample a user and epoch: a training item at random is the target, the `max_length` items before it are read.
#[derive(Debug)]
pub struct Prefixes<'a> {
    next: NextItem<'a>,
}

impl<'a> Prefixes<'a> {
    /// Plans batches of `batch` users.
    pub fn new(
        dataset: &'a Dataset,
        batch: usize,
        max_length: usize,
        negatives: usize,
        seed: u64,
        device: &Device,
    ) -> Self {
        Self { next: NextItem::new(dataset, batch, max_length, negatives, seed, device) }
    }
}

impl Batches for Prefixes<'_> {
    fn steps(&self) -> usize {
        self.next.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let NextItem { dataset, order, unseen, max_length, negatives: wanted, device } = &mut self.next;
        let seed = step_seed(order.seed, step);
        let mut random = SplitMix::new(seed);
        let (mut lengths, mut last) = (Vec::new(), 0);
        let [mut users, mut items, mut rows, mut positives, mut negatives] = [const { Vec::new() }; 5];
        for user in order.users(step) {
            let row = dataset.train.row(user as usize);
            let target = 1 + random.below(row.len() - 1);
            let read = &row[target.saturating_sub(*max_length)..target];
            lengths.push(read.len());
            last += read.len() as u32;
            rows.push(last - 1);
            users.extend(std::iter::repeat_n(user, read.len()));
            items.extend_from_slice(read);
            positives.push(row[target]);
            negatives.extend((0..*wanted).map(|_| unseen.draw(&mut random, user)));
        }
        let m = positives.len();
        TrainBatch {
            lengths: lengths.into(),
            users: line(users, device),
            items: line(items, device),
            rows: Some(line(rows, device)),
            positives: line(positives, device),
            negatives: grid(negatives, m, *wanted, device),
            dropout: Some(splitmix64(seed)),
        }
    }
}

/// Pairs without an order: a user drawn uniformly, one of their items, and some that are not (LightGCN's own sampler, which
/// draws one). An epoch draws as many pairs as there are training interactions.
#[derive(Debug)]
pub struct Pairs<'a> {
    dataset: &'a Dataset,
    users: Vec<u32>,
    unseen: Unseen,
    batch: usize,
    negatives: usize,
    seed: u64,
    device: Device,
}

impl<'a> Pairs<'a> {
    /// Plans batches of `batch` pairs with `negatives` items each that the user does not have.
    pub fn new(dataset: &'a Dataset, batch: usize, negatives: usize, seed: u64, device: &Device) -> Self {
        let (users, unseen) = (with_items(dataset, 1), Unseen::new(dataset));
        Self { dataset, users, unseen, batch: batch.max(1), negatives, seed, device: device.clone() }
    }
}

impl Batches for Pairs<'_> {
    fn steps(&self) -> usize {
        self.dataset.train.total().div_ceil(self.batch)
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.seed, step);
        let mut random = SplitMix::new(seed);
        let done = step % self.steps() * self.batch;
        let n = self.batch.min(self.dataset.train.total() - done);
        let [mut users, mut positives, mut negatives] = [const { Vec::new() }; 3];
        for _ in 0..n {
            let user = self.users[random.below(self.users.len())];
            let row = self.dataset.train.row(user as usize);
            users.push(user);
            positives.push(row[random.below(row.len())]);
            negatives.extend((0..self.negatives).map(|_| self.unseen.draw(&mut random, user)));
        }
        TrainBatch {
            lengths: vec![1; n].into(),
            users: line(users, &self.device),
            items: Tensor::zeros([n], &self.device),
            rows: None,
            positives: line(positives, &self.device),
            negatives: grid(negatives, n, self.negatives, &self.device),
            dropout: Some(splitmix64(seed)),
        }
    }
}

/// The cloze task (Sun et al., BERT4Rec, CIKM 2019): of the last `max_length` training items of each user a share is
/// hidden behind the mask, item `catalogue + 1`; what is hidden is to be found. The last item of a history is hidden
/// alone in one batch row of ten, as it will be when the model is used.
#[derive(Debug)]
pub struct Cloze<'a> {
    dataset: &'a Dataset,
    order: Order,
    max_length: usize,
    share: f64,
    device: Device,
}

impl<'a> Cloze<'a> {
    /// Plans batches of `batch` users with `share` of the items hidden.
    pub fn new(dataset: &'a Dataset, batch: usize, max_length: usize, share: f64, seed: u64, device: &Device) -> Self {
        let order = Order::new(with_items(dataset, 2), batch, seed);
        Self { dataset, order, max_length, share, device: device.clone() }
    }
}

impl Batches for Cloze<'_> {
    fn steps(&self) -> usize {
        self.order.steps()
    }

    fn batch(&mut self, step: usize) -> TrainBatch {
        let seed = step_seed(self.order.seed, step);
        let mut random = SplitMix::new(seed);
        let mask = self.dataset.catalog.len() as u32 + 1;
        let mut lengths = Vec::new();
        let [mut users, mut items, mut rows, mut positives] = [const { Vec::new() }; 4];
        for user in self.order.users(step) {
            let row = self.dataset.train.row(user as usize);
            let read = &row[row.len().saturating_sub(self.max_length)..];
            let last_alone = random.below(10) == 0;
            let spare = random.below(read.len());
            let chosen = |at: usize, random: &mut SplitMix| {
                if last_alone { at + 1 == read.len() } else { random.unit() < self.share }
            };
            let mut hidden: Vec<bool> = (0..read.len()).map(|at| chosen(at, &mut random)).collect();
            if !hidden.contains(&true) {
                hidden[spare] = true;
            }
            for (&item, hidden) in read.iter().zip(hidden) {
                if hidden {
                    rows.push(items.len() as u32);
                    positives.push(item);
                }
                items.push(if hidden { mask } else { item });
            }
            lengths.push(read.len());
            users.extend(std::iter::repeat_n(user, read.len()));
        }
        let m = positives.len();
        TrainBatch {
            lengths: lengths.into(),
            users: line(users, &self.device),
            items: line(items, &self.device),
            rows: Some(line(rows, &self.device)),
            positives: line(positives, &self.device),
            negatives: grid(Vec::new(), m, 0, &self.device),
            dropout: Some(splitmix64(seed)),
        }
    }
}
