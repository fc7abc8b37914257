//! What a run will take, from the sizes of its data and a short measurement of this machine.
use crate::recipe::{IdTable, Recipe, Variant, rows};
use crate::stages::{Data, FrozenText};
use burn::tensor::{Device, Tensor};
use ra_align::Tuning;
use ra_core::kernels::{FrozenLinear, Layout};
use ra_core::{Dataset, LmSpec, Precision, UserId};
use ra_data::{Budget, CurateMethod};
use ra_eval::{HeldOut, Part};
use ra_idmodels::{IdMethod, Loss};
use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

/// The edge of the matrices whose product measures the machine, the rows that a frozen one is multiplied with, and how
/// long each measurement may take.
const EDGE: usize = 384;
const ROWS: usize = 2048;
const MEASURED: Duration = Duration::from_millis(200);

/// What a pass through a language model takes, as a multiple of its products: attention, norms and copies are a quarter.
const PASS: f64 = 4.0 / 3.0;

/// What a training step of an ID method takes, as a multiple of its products, whose matrices are small.
const STEP: f64 = 3.0;

/// A backward pass costs twice its forward pass.
const TRAINED: f64 = 3.0;

/// The number of tokens per word of a title, and of a prompt besides titles. Both are usual for English.
const TOKENS_PER_WORD: f64 = 1.4;
const PROMPT: f64 = 8.0;

/// Runs below this many seconds are not announced.
const SHORT: f64 = 60.0;

/// Stages below this many seconds are not named.
const SHORT_STAGE: f64 = 20.0;

/// What any machine does in a second: a run that is short even so needs no measurement.
const SLOWEST: f64 = 1e9;

/// The names of the stages that read titles for ID methods, and all texts for the alignment. No row has a space in its
/// name; other stages are called like their row.
pub(crate) const TITLES: &str = "encode titles";
pub(crate) const TEXTS: &str = "read texts";

/// The expected times of the long stages of a run, in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Estimate(Vec<(String, f64)>);

/// Estimates a run from its numbers of operations and the speed of `device`, if it is long enough to be announced. Early
/// stopping is not foreseen, so a training may take less; other programs on the machine make everything slower.
pub(crate) fn estimate(recipe: &Recipe, data: &Data, text: Option<&FrozenText>, device: &Device) -> Option<Estimate> {
    let stages = operations(recipe, data, text.map(|text| text.lm().spec()));
    let at = |speed: [f64; 2]| {
        let seconds = |stage: &Stage| stage.count / speed[usize::from(stage.is_frozen)];
        Estimate(stages.iter().map(|stage| (stage.name.clone(), seconds(stage))).collect())
    };
    // Without a language model nothing has checked that the device computes in its precision.
    let precision = text.map_or(Precision::F32, |_| recipe.lm.precision);
    at([SLOWEST; 2]).is_long().then(|| at(speeds(device, precision))).filter(Estimate::is_long)
}

/// The operations of a stage.
struct Stage {
    name: String,
    count: f64,
    /// Whether they are products with the frozen matrices of a language model.
    is_frozen: bool,
}

impl Estimate {
    fn is_long(&self) -> bool {
        self.total() > SHORT
    }

    fn total(&self) -> f64 {
        self.0.iter().map(|(_, seconds)| seconds).sum()
    }

    /// Takes out a stage and returns what to say of it, if it is long.
    pub(crate) fn take(&mut self, stage: &str) -> Option<String> {
        let (name, seconds) = self.0.remove(self.0.iter().position(|(name, _)| name == stage)?);
        (seconds > SHORT_STAGE).then(|| format!("{name}: about {}", told(seconds)))
    }
}

/// Returns a time in whole minutes, rounded up.
fn minutes(seconds: f64) -> f64 {
    (seconds / 60.0).ceil()
}

/// Returns a time as a text, with its unit.
fn told(seconds: f64) -> String {
    let minutes = minutes(seconds);
    format!("{minutes:.0} minute{}", if minutes > 1.0 { "s" } else { "" })
}

impl Display for Estimate {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let long = self.0.iter().filter(|(_, seconds)| *seconds > SHORT_STAGE);
        let stages: Vec<String> = long.map(|(name, seconds)| format!("{name} {:.0}", minutes(*seconds))).collect();
        write!(f, "about {} on this machine, less if a training stops early, ", told(self.total()))?;
        write!(f, "more if other programs run: {}", stages.join(", "))
    }
}

/// Returns the floating-point operations per second of products in training steps of ID methods, and in passes through
/// frozen matrices of this precision.
fn speeds(device: &Device, precision: Precision) -> [f64; 2] {
    let (matrix, rows) = (Tensor::<2>::ones([EDGE, EDGE], device), Tensor::<2>::ones([ROWS, EDGE], device));
    let frozen = FrozenLinear::new(&vec![1.0; EDGE * EDGE], Layout::InOut, None, [EDGE, EDGE], device);
    let frozen = frozen.in_precision(precision);
    let one = 2.0 * (EDGE as f64).powi(2);
    [
        one * EDGE as f64 * per_second(|| drop(matrix.clone().matmul(matrix.clone()).into_data())) / STEP,
        one * ROWS as f64 * per_second(|| drop(frozen.forward(rows.clone()).into_data())) / PASS,
    ]
}

/// Returns how often something can be done in a second, by its least time: the mean would take a short disturbance for
/// the speed of hours.
fn per_second(run: impl Fn()) -> f64 {
    run();
    let (since, mut least) = (Instant::now(), Duration::MAX);
    while since.elapsed() < MEASURED {
        let one = Instant::now();
        run();
        least = least.min(one.elapsed());
    }
    1.0 / least.as_secs_f64().max(1e-9)
}

/// Returns the number of operations of each long stage.
fn operations(recipe: &Recipe, data: &Data, lm: Option<LmSpec>) -> Vec<Stage> {
    let dataset = &data.dataset;
    let trained = recipe.variants().iter().filter(|variant| variant.trains());
    let folds = trained.map(|variant| variant.align.departures.cross_fit).max().unwrap_or(0);
    let mut all = Vec::new();
    for (at, id) in recipe.ids.iter().enumerate() {
        let times = if at + 1 == recipe.ids.len() { 1 + folds } else { 1 };
        let count = times as f64 * of_method(id, dataset);
        all.push(Stage { name: id.kind().to_owned(), count, is_frozen: false });
    }
    let Some(lm) = lm else { return all };
    let texts = Texts::of(recipe, data);
    let mut frozen = |name: &str, count| all.push(Stage { name: name.to_owned(), count, is_frozen: true });
    // Twelve matrices of width by width are usual for a layer.
    let layer = 24.0 * (lm.width as f64).powi(2);
    if recipe.ids.iter().any(IdTable::reads_text) {
        frozen(TITLES, texts.titles * layer * lm.layers as f64);
    }
    if recipe.aligns() {
        let mut read = texts.read * layer * lm.layers as f64;
        // The untouched model also reads every prompt to its end.
        read += if recipe.has_row(rows::TEXT) { texts.read * layer } else { 0.0 };
        frozen(TEXTS, read);
    }
    for variant in recipe.variants().iter().filter(|variant| variant.trains()) {
        frozen(&variant.name, of_towers(recipe, variant, &lm, &texts, layer));
    }
    all
}

/// Returns the operations of the training of an ID method that learns from sequences; 0 if it only counts.
fn of_method(id: &IdTable, dataset: &Dataset) -> f64 {
    let Some(train) = id.train() else { return 0.0 };
    let keys = serde_json::to_value(&id.method).unwrap_or_default();
    let number = |key: &str, usual: f64| keys.get(key).and_then(serde_json::Value::as_f64).unwrap_or(usual);
    let (dim, longest, blocks) = (number("dim", 64.0), number("max_length", 50.0), number("blocks", 2.0));
    let positions: f64 = dataset.train.rows().map(|row| (row.len() as f64 - 1.0).clamp(0.0, longest)).sum();
    // A loss on negatives scores them alone.
    let loss = keys.get("loss").and_then(|loss| serde_json::from_value::<Loss>(loss.clone()).ok());
    let is_whole = loss.is_none_or(|loss| loss.for_catalogue(dataset.catalog.len()) == Loss::Softmax);
    let scored = if is_whole { dataset.catalog.len() as f64 } else { number("negatives", 1.0) };
    let scores = 2.0 * dim * scored;
    // A method that learns from every prefix by itself encodes each of them.
    let is_by_prefix = id.kind() == "bsarec" || keys.get("augment").and_then(serde_json::Value::as_bool) == Some(true);
    let squares: f64 = dataset.train.rows().map(|row| (row.len() as f64).min(longest).powi(2) / 2.0).sum();
    let encoded = if is_by_prefix { squares / positions.max(1.0) } else { 1.0 };
    let encoder = 24.0 * dim * dim * blocks * encoded;
    // A batch has so many prefixes, pairs or users.
    let interactions: usize = dataset.train.rows().map(<[_]>::len).sum();
    let all = match id.kind() {
        "mf" | "lightgcn" => interactions,
        _ if is_by_prefix => interactions.saturating_sub(dataset.users.len()),
        _ => dataset.users.len(),
    };
    let per_epoch = all.div_ceil(train.batch.max(1)).max(1);
    let epochs = train.steps(per_epoch) as f64 / per_epoch as f64;
    TRAINED * epochs * positions * (scores + encoder)
}

/// Returns the operations of the training of a variant's towers, without the texts that are read once.
fn of_towers(recipe: &Recipe, variant: &Variant, lm: &LmSpec, texts: &Texts, layer: f64) -> f64 {
    let module = &variant.align.module;
    let injected = lm.layers.saturating_sub(module.first_layer(lm)) as f64;
    let pairs = recipe.train.steps_on(texts.samples, 1) as f64 * recipe.train.batch as f64;
    let is_constant = injected == 1.0 && variant.align.tuning.tune == Tuning::None;
    let tokens = match lm.pooling.reads_one_row() {
        // The last layer computes the pooled token and the prefix alone: its text is a constant.
        true if is_constant => 2.0 * (1.0 + module.n_tok as f64),
        // Of the last layer, keys and values are needed of every token, and the rest of one.
        true => (texts.user + texts.item) * (injected - 1.0).max(0.25),
        false => (texts.user + texts.item) * injected,
    };
    TRAINED * pairs * tokens * layer
}

/// Numbers of tokens.
struct Texts {
    /// Of all titles.
    titles: f64,
    /// Of all prompts that the alignment reads once.
    read: f64,
    /// Of the user prompt of a sample and of an item prompt.
    user: f64,
    item: f64,
    /// The number of samples that the alignment learns from.
    samples: usize,
}

impl Texts {
    fn of(recipe: &Recipe, data: &Data) -> Self {
        let (dataset, prompt) = (&data.dataset, &recipe.prompt);
        let words: f64 =
            dataset.catalog.all().map(|item| dataset.catalog.text(item).split_whitespace().count() as f64).sum();
        let items = dataset.catalog.len().max(1) as f64;
        let title = TOKENS_PER_WORD * words / items;
        let length = |user: UserId| dataset.train.row(user).len().min(prompt.titles) as f64;
        let users = dataset.users.len().max(1) as f64;
        let newest = UserId::all(dataset.users.len()).map(length).sum::<f64>() / users;
        // A sample has what was there before its target, on average about half of the history.
        let before = |row: &[_]| (1..row.len()).map(|before| before.min(prompt.titles) as f64).sum::<f64>();
        let all = dataset.samples().len() as f64;
        let earlier = dataset.train.rows().map(before).sum::<f64>() / all.max(1.0);
        let prompted = |titles: f64| PROMPT + titles * title.min(prompt.title_tokens as f64);
        let (user, whole) = (prompted(earlier), prompted(newest));
        let item = PROMPT + title.min(prompt.item_tokens as f64);
        let samples = match recipe.curate.budget {
            _ if recipe.curate.method == CurateMethod::All => all,
            Budget::Count(count) => all.min(count as f64),
            Budget::Share(share) => all * share,
        };
        let visited = samples.min(recipe.train.steps_on(samples as usize, 1) as f64 * recipe.train.batch as f64);
        let tested = HeldOut::new(dataset, Part::Test).evaluated(&recipe.eval).len() as f64;
        let read = visited * user + (tested + data.validation.len() as f64) * whole + items * item;
        Self { titles: items * (title + 2.0), read, user, item, samples: samples as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_names_what_is_long_and_rounds_up() {
        let all = Estimate(vec![("sasrec".into(), 61.0), ("pop".into(), 0.0), ("texts".into(), 200.0)]);
        assert!(all.is_long() && !Estimate(vec![("a".into(), 9.0)]).is_long());
        let told = all.to_string();
        assert!(told.starts_with("about 5 minutes on this machine") && told.ends_with("sasrec 2, texts 4"), "{told}");
        let mut left = all;
        assert_eq!(left.take("texts").as_deref(), Some("texts: about 4 minutes"));
        assert_eq!((left.take("texts"), left.take("pop"), left.take("align")), (None, None, None), "once, and if long");
        assert_eq!(Estimate(vec![("a".into(), 50.0)]).take("a").as_deref(), Some("a: about 1 minute"));
    }

    #[test]
    fn more_data_epochs_and_steps_take_longer() {
        use ra_core::Sequences;
        let data = |users: u32| Data {
            dataset: Dataset::from_sequences("x", 50, Sequences::from_numbers((0..users).map(|u| vec![u % 50 + 1; 5]))),
            audit: Vec::new(),
            first_seen: None,
            validation: Vec::new(),
        };
        let recipe = |more: &str| Recipe::resolved(&format!("[[id]]\nkind = 'sasrec'\n{more}")).unwrap();
        let spec = LmSpec { layers: 6, width: 8, max_tokens: 64, causal: false, pooling: ra_core::Pooling::First };
        let total = |more: &str, users| -> f64 {
            operations(&recipe(more), &data(users), Some(spec)).iter().map(|stage| stage.count).sum()
        };
        let ids = "[eval]\nrows = ['id']";
        assert!(total(ids, 20) > 0.0 && (total(ids, 40) / total(ids, 20) - 2.0).abs() < 1e-9, "twice the users");
        for (less, more) in [
            ("[id.train]\nepochs = 100", "[id.train]\nepochs = 200"),
            ("[train]\nsteps = 1000", "[train]\nsteps = 2000"),
            ("[train]\nbatch = 1", "[train]\nbatch = 1\nmin_epochs = 100"),
            ("[align]\nfirst_layer = -1", "[align]\nfirst_layer = 0"),
            ("[align]\nfirst_layer = -1", "[align]\nfirst_layer = -1\nn_tok = 2"),
            ("[id.train]\nmax_steps = 1", ""),
            ("[id.train]\nmax_steps = 1", "[id.train]\nmax_steps = 2"),
            ("loss = 'bce'", "loss = 'by_size'"),
        ] {
            assert!(total(more, 20) > total(less, 20), "{more}");
        }
        let of = |more: &str| operations(&recipe(more), &data(20), Some(spec));
        assert!(of("").iter().all(|stage| stage.is_frozen == (stage.name != "sasrec")), "passes are timed apart");
        // The samples of five items have one to four before their target, two and a half on average.
        let catalog = ra_core::Catalog::new((0..50).map(|at| at.to_string()).collect(), vec!["word".into(); 50]);
        let titled = Data { dataset: Dataset { catalog, ..data(20).dataset }, ..data(20) };
        let user = Texts::of(&recipe("[prompt]\ntitles = 6"), &titled).user;
        assert!((user - PROMPT - 2.5 * TOKENS_PER_WORD).abs() < 1e-9, "{user}");
        let counting = Recipe::resolved("[[id]]\nkind = 'pop'\n[eval]\nrows = ['id']").unwrap();
        assert!(operations(&counting, &data(20), None).iter().all(|stage| stage.count == 0.0));
    }
}
