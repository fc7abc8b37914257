//! A method of another crate beside those of this one.
use crate::{at, device, ring, short};
use ra_core::{Check, ItemId, Problem, Result};
use ra_idmodels::{IdConfig, IdMethod, Job, LearnedMethod, MarkovConfig, MfConfig, TrainConfig, Trained};
use std::path::Path;

/// Matrix factorization under another name.
#[derive(Debug)]
struct Theirs(MfConfig);

impl Check for Theirs {
    fn problems(&self) -> Vec<Problem> {
        self.0.problems()
    }
}

impl IdMethod for Theirs {
    fn fit(&self, job: &Job<'_>) -> Result<Trained> {
        let fresh = self.0.init(job.dataset.users.len(), job.dataset.catalog.len(), job.seed, &job.training_device());
        Trained::fit(fresh, &mut *self.0.batches(job), &self.0.train, job)
    }

    fn load(&self, job: &Job<'_>, path: &Path) -> Result<Trained> {
        let fresh = self.0.init(job.dataset.users.len(), job.dataset.catalog.len(), job.seed, job.device);
        Trained::load(fresh, path)
    }

    fn train(&self) -> Option<&TrainConfig> {
        Some(&self.0.train)
    }
}

#[test]
fn a_method_of_another_crate_is_fitted_and_loaded_by_the_same_functions() {
    let (data, device, dir) = (ring(6), device(), tempfile::tempdir().unwrap());
    let config = MfConfig { dim: 4, train: short(2), ..MfConfig::default() };
    let broken = TrainConfig { optim: at(-1.0), ..short(2) };
    let job = Job::new(&data, &device).seed(3);
    let all: Vec<ItemId> = data.catalog.all().collect();
    let methods: [Box<dyn IdMethod>; 3] = [
        Box::new(Theirs(config.clone())),
        Box::new(IdConfig::Mf(config.clone())),
        Box::new(IdConfig::Markov(MarkovConfig::default())),
    ];
    let vectors = methods.map(|method| {
        let path = dir.path().join("model.safetensors");
        let trained = ra_idmodels::fit(&*method, &job).unwrap();
        trained.save(&path).unwrap();
        let loaded = ra_idmodels::load(&*method, &job, &path).unwrap();
        assert_eq!(loaded.model.items(&all).into_data(), trained.model.items(&all).into_data(), "{method:?}");
        trained.model.items(&all).into_data()
    });
    assert_eq!(vectors[0], vectors[1], "the same method");
    let told = ra_idmodels::fit(&Theirs(MfConfig { train: broken, ..config }), &job).unwrap_err().to_string();
    assert!(told.contains("train.lr is -1"), "{told}");
}
