//! Users that no method was trained on, and sizes that exceed any machine.
use crate::{ring, short, train};
use ra_core::{Check, History, ItemId, Sequences, UserId};
use ra_idmodels::{IdConfig, LightGcnConfig, MfConfig};

#[test]
fn a_user_without_a_training_interaction_has_no_vector() {
    let mut data = ring(8);
    let mut rows: Vec<Vec<ItemId>> = data.train.rows().map(<[ItemId]>::to_vec).collect();
    rows[0].clear();
    data.train = Sequences::from_rows(rows);
    let mf = IdConfig::Mf(MfConfig { train: short(1), ..MfConfig::default() });
    let lightgcn = IdConfig::LightGcn(LightGcnConfig { train: short(1), ..LightGcnConfig::default() });
    for config in [mf, lightgcn] {
        let trained = train(&config, &data, 1);
        let norm = |user| {
            trained.model.users(&[History { user: UserId(user), items: &[ItemId(1)] }]).abs().sum().into_scalar::<f32>()
        };
        assert!(norm(0) == 0.0 && norm(1) > 0.0, "{}", config.kind());
    }
}

#[test]
fn sizes_that_no_memory_holds_are_refused() {
    for (kind, key) in [
        ("sasrec", "max_length"),
        ("sasrec", "blocks"),
        ("bsarec", "max_length"),
        ("bsarec", "blocks"),
        ("hstu", "max_length"),
        ("hstu", "blocks"),
        ("alphafuse", "max_length"),
        ("unisrec", "max_length"),
        ("gru4rec", "max_length"),
        ("gru4rec", "layers"),
        ("bert4rec", "max_length"),
        ("bert4rec", "layers"),
        ("comirec", "max_length"),
        ("comirec", "interests"),
        ("alpharec", "max_length"),
        ("lightgcn", "layers"),
    ] {
        let config = |size: u64| serde_json::from_value::<IdConfig>(serde_json::json!({ "kind": kind, key: size }));
        let told = config(1 << 40).unwrap().check().unwrap_err().to_string();
        assert!(told.contains(&format!("{key} is {}, it must be at most", 1u64 << 40)), "{kind}: {told}");
        assert!(config(256).unwrap().check().is_ok(), "{kind}");
    }
}
