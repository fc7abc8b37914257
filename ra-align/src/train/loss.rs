//! The losses of the alignment: over pairs of users and items, between a prefix and its text, and towards a teacher.
use crate::method::l2_normalize;
use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ra_core::int_tensor;

/// Stands for minus infinity at candidates that a softmax must ignore.
pub(crate) const OUT: f32 = -1e9;

/// BPR (Rendle et al., UAI 2009) with one sampled negative per row: `mean softplus(-(s+ - s-))`; both are `[batch]`.
pub fn bpr_sampled(positive: Tensor<1>, negative: Tensor<1>) -> Tensor<1> {
    log_sigmoid(positive - negative).mean().neg()
}

/// The target and the negatives of each row, among the candidates.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// `[batch, 1]`, the target's column.
    target: Tensor<2, Int>,
    /// `[batch, columns]`, 1 where the candidate is a negative of the row.
    negative: Tensor<2>,
}

impl Candidates {
    /// Creates candidates: `targets[i]` is the column of row `i`'s target, and `is_negative(i, j)` returns whether
    /// column `j` is a negative of that row.
    pub fn new(targets: &[usize], columns: usize, is_negative: impl Fn(usize, usize) -> bool, device: &Device) -> Self {
        let batch = targets.len();
        let flag = |(i, j)| if is_negative(i, j) { 1.0f32 } else { 0.0 };
        let cells: Vec<f32> = (0..batch).flat_map(|i| (0..columns).map(move |j| (i, j))).map(flag).collect();
        Self {
            target: int_tensor(targets.iter().copied(), [batch, 1], device),
            negative: Tensor::from_data(TensorData::new(cells, [batch, columns]), device),
        }
    }

    /// Uses the targets of a batch as each other's negatives: `items[j]` is the target of row `j`. Equal items are not
    /// negatives.
    pub fn in_batch<T: PartialEq>(items: &[T], device: &Device) -> Self {
        let targets: Vec<usize> = (0..items.len()).collect();
        Self::new(&targets, items.len(), |i, j| items[i] != items[j], device)
    }
}

/// BPR over all pairs of a row's target and its negatives, the paper's pair loss; `scores` is `[batch, columns]`.
pub fn bpr_in_batch(scores: Tensor<2>, candidates: &Candidates) -> Tensor<1> {
    let positive = scores.clone().gather(1, candidates.target.clone());
    let pairs = candidates.negative.clone().sum().clamp_min(1.0);
    (log_sigmoid(positive - scores) * candidates.negative.clone()).sum().neg() / pairs
}

/// Cross-entropy of the softmax over a row's target and its negatives (ours, not the paper's).
///
/// `log_q` (`[columns]`) is the logarithm of the expected number of draws of a column. Subtracting it makes the sampled
/// softmax an estimate of the full one (Bengio & Senecal, 2008; Yi et al., RecSys 2019).
pub fn softmax_in_batch(scores: Tensor<2>, candidates: &Candidates, log_q: Option<Tensor<1>>) -> Tensor<1> {
    let scores = match log_q {
        Some(log_q) => scores - log_q.unsqueeze(),
        None => scores,
    };
    let own = candidates.negative.zeros_like().scatter(
        1,
        candidates.target.clone(),
        Tensor::ones(candidates.target.dims(), &candidates.negative.device()),
        burn::tensor::IndexingUpdateOp::Add,
    );
    let open = candidates.negative.clone() + own;
    let logits = scores + (open - 1.0) * -OUT;
    log_softmax(logits, 1).gather(1, candidates.target.clone()).mean().neg()
}

/// Kullback-Leibler divergence of a row's softmax over its candidates from that of `teacher`. Both are logits,
/// `[batch, columns]` (knowledge distillation, Hinton et al., arXiv 1503.02531). No gradient flows into `teacher`.
pub fn distill(logits: Tensor<2>, teacher: Tensor<2>) -> Tensor<1> {
    let wanted = log_softmax(teacher, 1);
    (wanted.clone().exp() * (wanted - log_softmax(logits, 1))).sum_dim(1).mean()
}

/// InfoNCE from anchors to targets within the batch, with cosine and temperature `tau`. Rows with the same id are not
/// negatives of each other. Both are `[batch, width]`; `ids` has one entry per row. No gradient flows into `target`.
pub fn info_nce<T: PartialEq>(anchor: Tensor<2>, target: Tensor<2>, ids: &[T], tau: f32) -> Tensor<1> {
    let device = target.device();
    let scores = l2_normalize(anchor).matmul(l2_normalize(target).transpose()) / tau;
    softmax_in_batch(scores, &Candidates::in_batch(ids, &device), None)
}

/// Squared maximum mean discrepancy between anchors and targets, both `[batch, width]`, with a sum of three Gaussian
/// kernels around the mean squared distance (Gretton et al., JMLR 2012; per layer as in IDLE-Adapter, arXiv
/// 2411.18262). It aligns the distributions, not the pairs. No gradient flows into `target` or the bandwidth.
pub fn mmd(anchor: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    let n = anchor.dims()[0];
    let all = Tensor::cat(vec![anchor, target], 0);
    let squares = all.clone().square().sum_dim(1);
    let distance = (squares.clone() + squares.transpose() - all.clone().matmul(all.transpose()) * 2.0).clamp_min(0.0);
    let bandwidth = distance.clone().detach().mean().clamp_min(1e-12).unsqueeze();
    let kernel = [0.5f32, 1.0, 2.0]
        .map(|factor| (distance.clone() / (bandwidth.clone() * factor)).neg().exp())
        .into_iter()
        .reduce(|a, b| a + b)
        .unwrap_or(distance);
    let block = |a: usize, b: usize| kernel.clone().slice([a * n..(a + 1) * n, b * n..(b + 1) * n]).mean();
    block(0, 0) + block(1, 1) - block(0, 1) * 2.0
}

/// Mean squared difference between anchors and targets, both `[batch, width]` (A-LLMRec, arXiv 2404.11343).
pub fn mse(anchor: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    (anchor - target).square().mean()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_are_no_negatives() {
        let device = Device::flex();
        let scores = Tensor::<2>::from_floats([[1.0, 9.0, 0.0], [9.0, 1.0, 0.0], [0.0, 0.0, 1.0]], &device);
        let candidates = Candidates::in_batch(&[4, 4, 7], &device);
        let expected = ((-1.0f32).exp().ln_1p() * 4.0) / 4.0; // four pairs, each with a margin of 1
        let bpr: f32 = bpr_in_batch(scores.clone(), &candidates).into_scalar();
        assert!((bpr - expected).abs() < 1e-6, "{bpr} {expected}");
        let softmax: f32 = softmax_in_batch(scores, &candidates, None).into_scalar();
        let expected = ((-1.0f32).exp().ln_1p() * 2.0 + (2.0 * (-1.0f32).exp()).ln_1p()) / 3.0;
        assert!((softmax - expected).abs() < 1e-6, "{softmax} {expected}");
    }

    #[test]
    fn distillation_is_level_blind_and_falls_towards_the_teacher() {
        let plain = Device::flex();
        let teacher = Tensor::<2>::from_floats([[1.0, 3.0, 0.0], [0.0, -2.0, 2.0]], &plain);
        let value = |x: Tensor<1>| x.into_scalar::<f32>();
        let shifted = teacher.clone() + Tensor::<2>::from_floats([[7.0], [-4.0]], &plain);
        assert!(value(distill(shifted, teacher.clone())).abs() < 1e-6, "a constant a row is no difference");
        let even = Tensor::<2>::zeros([2, 3], &plain);
        // ln 3 minus the entropy of each row.
        let entropy = |row: [f32; 3]| {
            let all: f32 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(|x| -(x.exp() / all) * (x - all.ln())).sum::<f32>()
        };
        let expected = 3.0f32.ln() - (entropy([1.0, 3.0, 0.0]) + entropy([0.0, -2.0, 2.0])) / 2.0;
        let before = value(distill(even, teacher.clone()));
        assert!((before - expected).abs() < 1e-5, "{before} {expected}");
        let student = Tensor::<2>::zeros([2, 3], &plain.autodiff()).require_grad();
        let slope = student.grad(&distill(student.clone(), teacher.clone()).backward()).unwrap();
        assert!(value(distill(student.inner() - slope, teacher)) < before, "a step down the gradient");
    }

    #[test]
    fn mmd_sees_clouds_and_mse_sees_pairs() {
        let device = Device::flex();
        let cloud = Tensor::<2>::from_floats([[0.0, 1.0], [2.0, 0.5], [-1.0, 3.0]], &device);
        let turned = cloud.clone().select(0, Tensor::from_ints([1, 2, 0], &device));
        let value = |x: Tensor<1>| x.into_scalar::<f32>();
        assert!(value(mmd(cloud.clone(), turned.clone())).abs() < 1e-6, "the same cloud in another order");
        assert!(value(mse(cloud.clone(), turned)) > 1.0);
        let (near, far) = (mmd(cloud.clone(), cloud.clone() + 0.5), mmd(cloud.clone(), cloud.clone() + 5.0));
        assert!(0.0 < value(near.clone()) && value(near.clone()) < value(far), "{near}");
        assert_eq!(value(mse(cloud.clone(), cloud.clone() + 2.0)), 4.0);
        // Each loss decreases along its own gradient, which reaches only the anchors.
        for loss in [mmd, mse] {
            let anchor =
                Tensor::<2>::from_data((cloud.clone() + 1.0).into_data(), &device.clone().autodiff()).require_grad();
            let before = loss(anchor.clone(), cloud.clone());
            let slope = anchor.grad(&before.clone().backward()).unwrap();
            let after = loss(anchor.inner() - slope * 0.1, cloud.clone());
            assert!(value(after) < value(before), "a step down the gradient");
        }
    }
}
