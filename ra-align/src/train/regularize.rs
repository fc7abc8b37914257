//! What training takes from ID vectors so that the towers do not trust them too much.
use burn::tensor::{Tensor, TensorData};
use ra_core::{SplitMix, dropout_mask};

/// Dropout on `ids`, `[n, dim]`.
pub(crate) fn dropout(ids: Tensor<2>, share: f64, seed: u64) -> Tensor<2> {
    if share == 0.0 {
        return ids;
    }
    let mask = dropout_mask(ids.dims(), share, seed, &ids.device());
    ids * mask
}

/// `ids`, `[n * rows, dim]`, with a `share` of its groups of `rows` rows zeroed: once normalized, the ID of nobody.
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
