//! Given vectors along their principal axes.
use crate::eigen::eigen;
use burn::tensor::{Device, Tensor, TensorData};
use faer::Mat;
use ra_core::{Error, Result};

/// Given vectors, centred and turned so that their first number varies most, their second most of the rest, and so on.
#[derive(Debug)]
pub(crate) struct Principal {
    /// `[items + 1, axes]`; row 0, padding, is zeros.
    pub(crate) coordinates: Tensor<2>,
    /// The standard deviation of the items along each axis.
    pub(crate) deviations: Vec<f32>,
}

impl Principal {
    /// Turns `features`, `[items + 1, width]` with padding in row 0, and keeps the first `axes` axes, or all if there
    /// are fewer. The sign of an axis is that in which its largest number is positive.
    ///
    /// # Errors
    /// [`Error::Missing`] if the vectors have no principal axes, because a number is not finite.
    pub(crate) fn new(features: &Tensor<2>, axes: usize, device: &Device) -> Result<Self> {
        let features = if features.is_autodiff() { features.clone().inner() } else { features.clone() };
        let ([rows, width], plain) = (features.dims(), features.device());
        let items = features.slice([1..rows]);
        let centred = items.clone() - items.mean_dim(0);
        let spread = centred.clone().transpose().matmul(centred.clone()) / (rows.max(2) - 1) as f32;
        let spread: Vec<f64> = spread.into_data().iter::<f64>().collect();
        let spread = Mat::from_fn(width, width, |i, j| spread[i * width + j]);
        let (variances, vectors) = eigen(&spread).ok_or_else(|| Error::Missing {
            what: "a finite number in every given vector".into(),
            remedy: "the vectors have no principal axes; compute them again".into(),
        })?;
        let axes = axes.min(width);
        let (mut basis, mut deviations) = (vec![0.0f32; width * axes], Vec::with_capacity(axes));
        for axis in 0..axes {
            let largest =
                (0..width).map(|at| vectors[(at, axis)]).fold(0.0f64, |a, b| if b.abs() > a.abs() { b } else { a });
            (0..width).for_each(|at| basis[at * axes + axis] = (vectors[(at, axis)] * largest.signum()) as f32);
            deviations.push(variances[axis].max(0.0).sqrt() as f32);
        }
        let basis = Tensor::from_data(TensorData::new(basis, [width, axes]), &plain);
        let turned = Tensor::cat(vec![Tensor::zeros([1, axes], &plain), centred.matmul(basis)], 0);
        Ok(Self { coordinates: Tensor::from_data(turned.into_data(), device), deviations })
    }

    /// Returns the vectors scaled so that an item's number is `deviation` on average; their shape stays.
    pub(crate) fn scaled(self, deviation: f32) -> Tensor<2> {
        let own = (self.deviations.iter().map(|d| d * d).sum::<f32>() / self.deviations.len().max(1) as f32).sqrt();
        self.coordinates * (deviation / own.max(f32::MIN_POSITIVE))
    }

    /// Returns the vectors with a standard deviation of 1 along every axis; an axis without any is zeros.
    pub(crate) fn standardised(self) -> Tensor<2> {
        let first = self.deviations.first().copied().unwrap_or(0.0);
        // Below that the deviation is rounding in the covariance.
        let scale = |&own: &f32| if own > 2e-3 * first { 1.0 / own } else { 0.0 };
        let scales: Vec<f32> = self.deviations.iter().map(scale).collect();
        let (n, device) = (scales.len(), self.coordinates.device());
        self.coordinates * Tensor::<2>::from_data(TensorData::new(scales, [1, n]), &device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tolerance;
    use ra_core::{normal, rng};

    /// Items spread 4, 2 and 1 wide along three axes of a turned plane of five dimensions, around a far point.
    fn spread(device: &Device) -> (Tensor<2>, Tensor<2>) {
        let own = normal([400, 3], 1.0, &mut rng(1, "own", 0), device).val();
        let wide = own * Tensor::<2>::from_floats([[4.0, 2.0, 1.0]], device);
        let axes = Tensor::<2>::from_floats(
            [[0.6, 0.8, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.6, -0.8]],
            device,
        );
        let items = wide.clone().matmul(axes) + 7.0;
        (wide, Tensor::cat(vec![Tensor::zeros([1, 5], device), items], 0))
    }

    #[test]
    fn axes_are_found_in_order_and_distances_stay() {
        let device = Device::flex();
        let (wide, features) = spread(&device);
        let found = Principal::new(&features, 9, &device).unwrap();
        assert_eq!(found.coordinates.dims(), [401, 5], "there are no more axes");
        for (deviation, expected) in found.deviations.iter().zip([4.0, 2.0, 1.0, 0.0, 0.0]) {
            assert!((deviation - expected).abs() < 0.1 * expected + 1e-2, "{:?}", found.deviations);
        }
        let padding: f32 = found.coordinates.clone().slice([0..1]).abs().sum().into_scalar();
        assert_eq!(padding, 0.0);
        let apart = |x: Tensor<2>| (x.clone().slice([1..200]) - x.slice([201..400])).square().sum_dim(1).sqrt();
        let (from, to) = (apart(wide), apart(found.coordinates.slice([1..401])));
        to.into_data().assert_approx_eq(&from.into_data(), Tolerance::<f32>::rel_abs(1e-3, 1e-3));
    }

    #[test]
    fn what_is_standardised_is_as_wide_along_every_axis_and_what_is_scaled_keeps_its_shape() {
        let device = Device::flex();
        let (_, features) = spread(&device);
        let deviations = |x: Tensor<2>| -> Vec<f32> {
            let items = x.slice([1..401]);
            items.square().mean_dim(0).sqrt().into_data().iter().collect()
        };
        let even = deviations(Principal::new(&features, 4, &device).unwrap().standardised());
        assert!(even[..3].iter().all(|d| (d - 1.0).abs() < 1e-3) && even[3] == 0.0, "{even:?}");
        let two = Principal::new(&features, 2, &device).unwrap();
        let ratio = two.deviations[0] / two.deviations[1];
        let kept = deviations(two.scaled(0.02));
        assert!((kept[0] / kept[1] - ratio).abs() < 1e-2, "{kept:?}");
        assert!(((kept[0].powi(2) + kept[1].powi(2)) / 2.0).sqrt() - 0.02 < 1e-5, "{kept:?}");
    }

    #[test]
    fn what_is_not_finite_is_told() {
        let features = Tensor::<2>::from_floats([[0.0, 0.0], [1.0, f32::NAN], [2.0, 1.0]], &Device::flex());
        let told = Principal::new(&features, 2, &Device::flex()).unwrap_err().to_string();
        assert!(told.contains("finite"), "{told}");
    }
}
