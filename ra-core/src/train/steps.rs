//! How a training takes its steps: on a whole model, or on the rows of a table that a step touches.
use super::adamw::{AdamW, Moments};
use super::replicas::gradients;
use super::rows::RowTable;
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

/// Takes the steps of a training.
pub(crate) trait Steps<M> {
    /// Takes step `step` (from 0) with this learning rate and returns its loss. A loss that is not finite changes nothing.
    fn step(&mut self, model: M, optimizer: &mut AdamW, step: usize, rate: f64) -> (f32, M);

    /// Returns the model as of the steps taken.
    fn current(&self, model: &M, optimizer: &AdamW) -> M;

    /// Returns what the steps go on from: the model, the moments, and the step of each row of a table.
    fn stored(&self, model: &M, optimizer: &AdamW) -> Stored<M>;
}

/// What steps go on from.
#[derive(Debug)]
pub(crate) struct Stored<M> {
    pub(crate) model: M,
    pub(crate) moments: Vec<Option<Moments>>,
    /// The step up to which each row of a table is current, if it is trained by rows.
    pub(crate) last: Vec<u32>,
}

/// Steps that read the whole model, on one device or several.
#[derive(Debug)]
pub(crate) struct Whole<'a, L> {
    pub(crate) further: &'a [Device],
    pub(crate) loss: L,
}

impl<M: Module, L: FnMut(&M, usize) -> Tensor<1>> Steps<M> for Whole<'_, L> {
    fn step(&mut self, model: M, optimizer: &mut AdamW, step: usize, rate: f64) -> (f32, M) {
        let (number, grads) = gradients(&model, self.further, step, &mut self.loss);
        let model = if number.is_finite() { optimizer.step(rate, model, grads) } else { model };
        (number, model)
    }

    fn current(&self, model: &M, _: &AdamW) -> M {
        model.clone()
    }

    fn stored(&self, model: &M, optimizer: &AdamW) -> Stored<M> {
        Stored { model: model.clone(), moments: optimizer.moments.clone(), last: Vec::new() }
    }
}

/// The table of a model that is trained by rows; the same one at each call.
pub(crate) type Table<M> = fn(&mut M) -> Option<&mut Param<Tensor<2>>>;

/// Steps that read some rows of one table. Between them, the model holds the rows of the last step in its place.
#[derive(Debug)]
pub(crate) struct ByRows<M, N, L> {
    pub(crate) table: Table<M>,
    pub(crate) rows: RowTable,
    /// Returns the batch of a step and the rows that it reads.
    pub(crate) batch: N,
    pub(crate) loss: L,
}

impl<M: Module, N, L> ByRows<M, N, L> {
    /// Puts a table into the model.
    fn put(&self, model: &mut M, values: Tensor<2>) {
        if let Some(table) = (self.table)(model) {
            let values = Tensor::from_inner(values).require_grad();
            *table = table.clone().map(|_| values);
        }
    }
}

impl<M, B, N, L> Steps<M> for ByRows<M, N, L>
where
    M: Module,
    N: FnMut(usize) -> (B, Vec<u32>),
    L: FnMut(&M, &B) -> Tensor<1>,
{
    fn step(&mut self, mut model: M, optimizer: &mut AdamW, step: usize, rate: f64) -> (f32, M) {
        let (batch, chosen) = (self.batch)(step);
        let (values, moments) = self.rows.read(optimizer, &chosen);
        self.put(&mut model, values);
        let loss = (self.loss)(&model, &batch);
        let number: f32 = loss.clone().into_scalar();
        if !number.is_finite() {
            return (number, model);
        }
        let place = self.rows.index;
        if optimizer.moments.len() <= place {
            optimizer.moments.resize(place + 1, None);
        }
        optimizer.moments[place] = Some(moments);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(rate, model, grads);
        self.rows.pass(optimizer, step + 1, rate);
        let values = (self.table)(&mut model).map(|table| table.val().inner());
        if let (Some(values), Some(moments)) = (values, optimizer.moments[place].take()) {
            self.rows.write(&chosen, values, moments);
        }
        (number, model)
    }

    fn current(&self, model: &M, optimizer: &AdamW) -> M {
        let mut model = model.clone();
        self.put(&mut model, self.rows.current(optimizer));
        model
    }

    fn stored(&self, model: &M, optimizer: &AdamW) -> Stored<M> {
        let (table, table_moments, last) = self.rows.stored();
        let (mut model, mut moments) = (model.clone(), optimizer.moments.clone());
        self.put(&mut model, table);
        moments.resize(moments.len().max(self.rows.index + 1), None);
        moments[self.rows.index] = Some(table_moments);
        Stored { model, moments, last: last.to_vec() }
    }
}
