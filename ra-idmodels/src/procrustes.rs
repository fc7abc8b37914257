//! The orthogonal Procrustes problem.
use burn::tensor::{Tensor, TensorData};
use faer::Mat;
use ra_core::{Error, Result};

/// Returns the rotation, with or without a reflection, that brings the rows of `from` nearest to those of `onto`: the
/// orthogonal matrix `R`, `[width, width]`, with the least sum of squares of `from R - onto` (Schönemann, "A generalized
/// solution of the orthogonal Procrustes problem", Psychometrika 1966). Both are `[rows, width]`.
///
/// Dot products between turned vectors are those between the vectors themselves, so a model whose user and item vectors are
/// both turned gives the same scores. Vectors of another training of the same model then are comparable with the old ones.
///
/// # Errors
/// [`Error::Missing`] if a number is not finite.
///
/// # Panics
/// If the shapes differ.
pub fn procrustes(from: &Tensor<2>, onto: &Tensor<2>) -> Result<Tensor<2>> {
    assert_eq!(from.dims(), onto.dims(), "one row for each row");
    let ([_, width], device) = (from.dims(), from.device());
    let product: Vec<f64> = from.clone().transpose().matmul(onto.clone()).into_data().iter::<f64>().collect();
    let none = || Error::Missing {
        what: "a finite number in every vector".into(),
        remedy: "vectors cannot be turned onto others; compute them again".into(),
    };
    if !product.iter().all(|x| x.is_finite()) {
        return Err(none());
    }
    let product = Mat::from_fn(width, width, |i, j| product[i * width + j]);
    let found = product.svd().map_err(|_| none())?;
    let turn = found.U() * found.V().transpose();
    let values = (0..width * width).map(|at| turn[(at / width, at % width)] as f32).collect();
    Ok(Tensor::from_data(TensorData::new(values, [width, width]), &device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};
    use ra_core::{normal, rng};

    #[test]
    fn turned_vectors_lie_on_the_old_ones_and_keep_their_products() {
        let device = Device::flex();
        let random = |name: &str, shape: [usize; 2]| normal(shape, 1.0, &mut rng(3, name, 0), &device).val();
        let old = random("old", [40, 6]);
        // Any orthogonal matrix, which Procrustes itself gives.
        let turn = procrustes(&random("a", [40, 6]), &random("b", [40, 6])).unwrap();
        let near = Tolerance::<f32>::absolute(1e-5);
        let identity = Tensor::<2>::eye(6, &device).into_data();
        turn.clone().matmul(turn.clone().transpose()).into_data().assert_approx_eq(&identity, near);
        let new = old.clone().matmul(turn);
        let back = procrustes(&new, &old).unwrap();
        new.clone().matmul(back.clone()).into_data().assert_approx_eq(&old.into_data(), near);
        // Few rows leave directions open; the matrix is orthogonal all the same.
        let few = procrustes(&random("c", [2, 6]), &random("d", [2, 6])).unwrap();
        few.clone().matmul(few.transpose()).into_data().assert_approx_eq(&identity, near);
        let broken = Tensor::<2>::full([2, 2], f32::NAN, &device);
        assert!(procrustes(&broken, &broken).unwrap_err().to_string().contains("finite"));
    }
}
