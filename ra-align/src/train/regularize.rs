//! Regularization of ID vectors in training, so that the towers do not trust them too much.
use burn::tensor::{Tensor, TensorData};
use ra_core::SplitMix;

/// Applies dropout to `ids`, `[n, dim]`: zeroes a share of the numbers and scales up the others.
pub(crate) fn dropout(ids: Tensor<2>, share: f64, seed: u64) -> Tensor<2> {
    if share == 0.0 {
        return ids;
    }
    let ([n, dim], mut random) = (ids.dims(), SplitMix::new(seed));
    let (keep, threshold) = ((1.0 / (1.0 - share)) as f32, (share * 65536.0) as u64);
    let mut mask = Vec::with_capacity(n * dim + 3);
    while mask.len() < n * dim {
        // One draw decides four numbers.
        let bits = random.bits();
        mask.extend([0, 16, 32, 48].map(|shift| if (bits >> shift) & 0xFFFF < threshold { 0.0 } else { keep }));
    }
    mask.truncate(n * dim);
    let mask = Tensor::<2>::from_data(TensorData::new(mask, [n, dim]), &ids.device());
    ids * mask
}

/// Zeroes a `share` of the groups of `rows` rows in `ids`, `[n * rows, dim]`. After normalization, zero is the ID of
/// nobody.
pub(crate) fn drop_ids(ids: Tensor<2>, share: f64, rows: usize, seed: u64) -> Tensor<2> {
    if share == 0.0 {
        return ids;
    }
    let (n, mut random) = (ids.dims()[0], SplitMix::new(seed));
    let keep = |_| if (random.below(1 << 20) as f64) < share * f64::from(1 << 20) { 0.0 } else { 1.0f32 };
    let keep = (0..n / rows).map(keep).flat_map(|k| std::iter::repeat_n(k, rows)).collect::<Vec<f32>>();
    let keep = Tensor::<2>::from_data(TensorData::new(keep, [n, 1]), &ids.device());
    ids * keep
}

#[cfg(test)]
mod tests {
    use super::*;
    use ra_core::Device;

    #[test]
    fn a_mask_keeps_the_mean() {
        let mask = dropout(Tensor::ones([100, 1000], &Device::flex()), 0.2, 3);
        let mean: f32 = mask.clone().mean().into_scalar();
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let zeros: f32 = mask.equal_elem(0.0).float().mean().into_scalar();
        assert!((zeros - 0.2).abs() < 0.01, "{zeros}");
    }

    #[test]
    fn a_user_loses_all_interests_or_none_and_about_the_share_that_is_asked_for() {
        let ids = Tensor::ones([4000, 3], &Device::flex());
        let kept: Vec<f32> = drop_ids(ids.clone(), 0.25, 2, 7).into_data().iter().collect();
        let users: Vec<&[f32]> = kept.chunks(6).collect();
        assert!(users.iter().all(|user| user.iter().all(|x| x == &user[0])));
        let lost = users.iter().filter(|user| user[0] == 0.0).count();
        assert!((440..560).contains(&lost), "{lost} of 2000");
        assert_eq!(drop_ids(ids.clone(), 0.0, 2, 7).into_data(), ids.into_data());
    }
}
