//! What the architectures support, and one sentence about what they do not.
use ra_core::kernels::Activation;

/// An epsilon that would break norms, for [`unsupported`].
pub(crate) fn bad_epsilon(key: &str, epsilon: f64) -> (bool, String) {
    (!(0.0..1.0).contains(&epsilon), format!("{key} {epsilon} (it must be from 0 up to, not including, 1)"))
}

/// A width that is 0 or that heads do not share evenly, for [`unsupported`].
pub(super) fn bad_width(key: &str, width: usize, heads: usize) -> (bool, String) {
    let wrong = width == 0 || heads == 0 || !width.is_multiple_of(heads.max(1));
    (wrong, format!("{key} {width} with {heads} heads (it must be a multiple, and not 0)"))
}

/// A model without layers, for [`unsupported`].
pub(super) fn no_layers(layers: usize) -> (bool, String) {
    (layers == 0, "a model without layers".into())
}

/// Heads that do not divide, for [`unsupported`].
pub(super) fn bad_heads(heads: usize, kv_heads: usize) -> (bool, String) {
    let wrong = heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads.max(1));
    (wrong, format!("{heads} heads with {kv_heads} of keys (it must be a multiple)"))
}

/// A width of heads that has no pairs to rotate, for [`unsupported`].
pub(super) fn bad_head_width(head: usize) -> (bool, String) {
    let wrong = head == 0 || !head.is_multiple_of(2) || head > 1024;
    (wrong, format!("head_dim {head} (it must be even, 1024 at most)"))
}

/// The names of the supported activations.
pub(super) const ACTIVATIONS: &str = "gelu, gelu_new, relu, silu";

/// The activation of this name in a configuration.
pub(crate) fn activation(name: &str) -> Option<Activation> {
    match name {
        "gelu" | "gelu_python" => Some(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Some(Activation::GeluTanh),
        "relu" => Some(Activation::Relu),
        "silu" | "swish" => Some(Activation::Silu),
        _ => None,
    }
}

/// Returns an error that lists all requested settings that are not supported.
pub(crate) fn unsupported(asked: &[(bool, String)]) -> Result<(), String> {
    let asked: Vec<&str> = asked.iter().filter(|(found, _)| *found).map(|(_, what)| what.as_str()).collect();
    if asked.is_empty() { Ok(()) } else { Err(format!("not supported: {}", asked.join("; "))) }
}
