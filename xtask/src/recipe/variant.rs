//! Variants: the ways to align that a report compares. Variants differ only in data.
use super::rows::TEXT;
use super::settings::section;
use super::table_of;
use anyhow::Result;
use ra_align::{AlignConfig, AlignLoss, Placement, ProjectionKind, Tuning};
use serde::{Deserialize, Serialize};
use toml::Table;

/// The name of a recipe's own `[align]`, and the default base of a `[[variant]]`.
pub(crate) const OWN: &str = "ra-rec";

/// The rank of the built-in variants that tune by LoRA.
const LORA_RANK: usize = 8;

/// A way to align the last ID method to the language model: a row of the report with its own towers.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Variant {
    /// The name of its row and files.
    pub name: String,
    /// The configuration of its alignment.
    pub align: AlignConfig,
    /// How prompts name items.
    pub items: ItemNames,
    /// How its model is made.
    pub source: Source,
}

/// How prompts name items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemNames {
    /// By title.
    #[default]
    Title,
    /// By number in the catalogue, as P5 does.
    Number,
}

/// How the model of a variant is made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Its towers are trained. The teacher, if `distill` is above 0, is the row with this name, or else the ID method.
    Training {
        /// The name of another row.
        teacher: Option<String>,
    },
    /// Its towers are those of an earlier variant with this name.
    Towers(String),
    /// It has no towers: its score is the weighted sum of the scores of the rows with these names.
    Blend(Vec<String>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Training { teacher: None }
    }
}

impl Variant {
    /// Returns the names of the rows whose scores are blended; none if the variant has towers.
    pub(crate) fn parts(&self) -> &[String] {
        if let Source::Blend(parts) = &self.source { parts } else { &[] }
    }

    /// Returns whether the variant has towers.
    pub(crate) fn has_towers(&self) -> bool {
        !matches!(self.source, Source::Blend(_))
    }

    /// Returns the name of the row that teaches it, if that is not the ID method.
    pub(crate) fn teacher(&self) -> Option<&str> {
        if let Source::Training { teacher } = &self.source { teacher.as_deref() } else { None }
    }

    /// Returns whether its towers read the ID method, with its vectors or its own score.
    pub(crate) fn reads_ids(&self) -> bool {
        self.has_towers() && (self.align.reads_ids() || self.align.departures.id_residual)
    }

    /// Returns whether the ID method's user vectors or scores take part in its towers.
    pub(crate) fn reads_users(&self) -> bool {
        self.has_towers() && (self.align.module.projection != ProjectionKind::None || self.align.departures.id_residual)
    }

    /// Returns whether the variant trains its own towers.
    pub(crate) fn trains(&self) -> bool {
        matches!(self.source, Source::Training { .. })
    }
}

/// A built-in variant: a name and the differences from a recipe's own `[align]`.
struct BuiltIn {
    name: &'static str,
    change: fn(&mut AlignConfig),
    items: ItemNames,
    /// The variant whose towers it takes if that variant is in the report too; otherwise it trains its own.
    towers_of: Option<&'static str>,
}

impl BuiltIn {
    const fn new(name: &'static str, change: fn(&mut AlignConfig)) -> Self {
        Self { name, change, items: ItemNames::Title, towers_of: None }
    }
}

const BUILT_IN: [BuiltIn; 11] = [
    BuiltIn::new(OWN, |_| {}),
    // Titles with a trained prefix and no ID (ID translation, by prefix tuning).
    BuiltIn::new("prefix-only", without_ids),
    // The same, with items named by number (direct use of IDs, P5).
    BuiltIn { items: ItemNames::Number, ..BuiltIn::new("id-direct", without_ids) },
    // The ID only as tokens of the input (CoLLM, LLaRA, E4SRec).
    BuiltIn::new("soft-token", |align| {
        (align.module.placement, align.module.first_layer) = (Placement::Input, 0);
    }),
    // The aligned score plus the ID method's own.
    BuiltIn { towers_of: Some(OWN), ..BuiltIn::new("id-residual", |align| align.departures.id_residual = true) },
    // Its training also reproduces the ID method's own scores; its score is the paper's.
    BuiltIn::new("distilled", |align| {
        if align.departures.distill <= 0.0 {
            align.departures.distill = AlignConfig::DISTILL;
        }
    }),
    // With a trained linear map after pooling.
    BuiltIn::new("head", |align| align.departures.head = true),
    // Its language model is tuned too, by LoRA or in full.
    BuiltIn::new("lora", |align| tuned(align, Tuning::Lora(LORA_RANK))),
    // The same without the ID: a text tower tuned by LoRA, and one trained in full (TwinBERT, arXiv 2002.06275).
    BuiltIn::new("lora-text", |align| {
        without_ids(align);
        tuned(align, Tuning::Lora(LORA_RANK));
    }),
    BuiltIn::new("fine-tuned", |align| tuned(align, Tuning::Full)),
    BuiltIn::new("fine-tuned-text", |align| {
        without_ids(align);
        tuned(align, Tuning::Full);
    }),
];

/// As many rows as a user with one interest has, all of them instruction rows.
fn without_ids(align: &mut AlignConfig) {
    (align.module.projection, align.module.n_ctx) = (ProjectionKind::None, align.module.n_ctx + align.module.n_tok);
    (align.departures.cross_fit, align.departures.distill) = (0, 0.0);
}

/// A tuned language model changes the texts that the loss ties prefixes to, so the loss is switched off.
fn tuned(align: &mut AlignConfig, tune: Tuning) {
    (align.tuning.tune, align.loss.loss) = (tune, AlignLoss::None);
}

/// Returns the names of the built-in variants, in the order of a report.
pub(crate) fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|variant| variant.name)
}

/// A `[[variant]]` table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VariantTable {
    /// The name of the variant and of its row.
    pub(crate) name: String,
    /// The variant that it starts from: a built-in one, or one of an earlier `[[variant]]` table.
    pub(crate) base: String,
    /// How prompts name items; as in `base` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<ItemNames>,
    /// The variant whose towers it takes; by default it trains its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) towers: Option<String>,
    /// The rows whose scores are blended, with weights chosen on validation: kinds of ID methods (`KIND-grounded` if
    /// they are grounded), `text`, and variants before this one. A blend has no towers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blend: Option<Vec<String>>,
    /// The row whose scores its training reproduces (`align.distill`): as for `blend`; by default the ID method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) teacher: Option<String>,
    /// The keys of `[align]` that differ from `base`.
    pub(crate) set: Table,
}

impl Default for VariantTable {
    fn default() -> Self {
        Self {
            base: OWN.into(),
            name: String::new(),
            items: None,
            towers: None,
            blend: None,
            teacher: None,
            set: Table::new(),
        }
    }
}

/// Returns the variants that `rows` name, in the order of the report: built-in ones and those of `tables`, all based on
/// the recipe's own `align`. `ids` are the names of the rows of ID methods. Adds what is wrong with a table to `wrong`.
pub(crate) fn resolve(
    rows: &[String],
    ids: &[String],
    align: &AlignConfig,
    tables: &[VariantTable],
    wrong: &mut Vec<String>,
) -> Result<Vec<Variant>> {
    let asked = |name: &str| rows.iter().any(|row| row == name);
    let mut known: Vec<Variant> = Vec::new();
    for BuiltIn { name, change, items, towers_of } in &BUILT_IN {
        let own = align.clone().with(change);
        let taken = towers_of.filter(|of| asked(of) && own != *align);
        let source = taken.map_or_else(Source::default, |of| Source::Towers(of.into()));
        known.push(Variant { name: (*name).into(), align: own, items: *items, source });
    }
    for table in tables {
        let base = known.iter().find(|variant| variant.name == table.base).cloned();
        let found = match base {
            _ if !is_name(&table.name) => Err("name must consist of letters, digits and -".to_owned()),
            _ if known.iter().any(|variant| variant.name == table.name) => {
                Err("there is already a variant with that name".to_owned())
            }
            None => {
                let names: Vec<&str> = known.iter().map(|variant| variant.name.as_str()).collect();
                Err(format!("base is {:?}; allowed: {}", table.base, names.join(", ")))
            }
            Some(base) => Ok(base),
        };
        match found {
            Ok(base) => known.extend(changed(&base, table, wrong)?),
            Err(told) => wrong.push(format!("variant {:?}: {told}", table.name)),
        }
    }
    for variant in known.iter().filter(|variant| asked(&variant.name)) {
        if let Source::Towers(of) = &variant.source
            && let Err(told) = may_take(variant, of, &known, asked(of))
        {
            wrong.push(format!("variant {:?}: towers is {of:?}: {told}", variant.name));
        }
        let reads = variant.parts().iter().map(String::as_str).map(|part| ("blend", part));
        for (key, part) in reads.chain(variant.teacher().map(|teacher| ("teacher", teacher))) {
            let before = known.iter().take_while(|other| other.name != variant.name);
            let mut allowed: Vec<&str> = ids.iter().map(String::as_str).collect();
            allowed.extend(asked(TEXT).then_some(TEXT));
            allowed.extend(before.map(|other| other.name.as_str()).filter(|name| asked(name)));
            if !allowed.contains(&part) {
                let mut before = known.iter().take_while(|other| other.name != variant.name);
                let told = match part == TEXT || before.any(|other| other.name == part) {
                    true => format!("{key} names {part:?}, which eval.rows does not; add it there"),
                    false => format!("{key} names {part:?}; rows before it: {}", allowed.join(", ")),
                };
                wrong.push(format!("variant {:?}: {told}", variant.name));
            }
        }
    }
    known.retain(|variant| asked(&variant.name));
    Ok(known)
}

/// Returns `base` as changed by the table, or nothing if the table is wrong.
fn changed(base: &Variant, table: &VariantTable, wrong: &mut Vec<String>) -> Result<Option<Variant>> {
    let mut keys = table_of(&base.align)?;
    keys.extend(table.set.clone());
    let mut own = Vec::new();
    let align: AlignConfig = section(keys, "set", &mut own);
    let is_right = own.is_empty();
    wrong.extend(own.into_iter().map(|told| format!("variant {:?}: {told}", table.name)));
    let items = table.items.unwrap_or(base.items);
    let VariantTable { name, towers, blend, teacher, .. } = table.clone();
    let mut tell = |told: &str| wrong.push(format!("variant {name:?}: {told}"));
    if !base.has_towers() && blend.is_none() {
        tell(&format!("base is {:?}, a blend, which has no towers to start from", base.name));
    }
    let mut align = align;
    // What a variant is taught by belongs to what it starts from.
    let teacher = teacher.or_else(|| base.teacher().filter(|_| towers.is_none() && blend.is_none()).map(String::from));
    let source = match (towers, blend, teacher) {
        (None, None, teacher) => {
            if teacher.is_some() && align.departures.distill <= 0.0 {
                if table.set.contains_key("distill") {
                    tell("teacher has no effect with distill = 0; leave one of them out");
                }
                align.departures.distill = AlignConfig::DISTILL;
            }
            Source::Training { teacher }
        }
        (Some(of), None, None) => Source::Towers(of),
        (None, Some(parts), None) => {
            let repeats = (1..parts.len()).any(|at| parts[..at].contains(&parts[at]));
            if parts.len() < 2 || repeats {
                tell("blend must name two rows or more, each once");
            }
            if !table.set.is_empty() || table.items.is_some() {
                tell("a blend has no towers, so items and set have no effect; leave them out");
            }
            Source::Blend(parts)
        }
        _ => {
            tell("only one of towers, blend and teacher can be given");
            return Ok(None);
        }
    };
    Ok(is_right.then_some(Variant { name, align, items, source }))
}

/// Checks that `variant` may take the towers of `of`: both must be trained in the same way.
fn may_take(variant: &Variant, of: &str, known: &[Variant], is_asked: bool) -> Result<(), String> {
    let before = known.iter().take_while(|other| other.name != variant.name).find(|other| other.name == of);
    let Some(other) = before else { return Err("no variant before it has that name".into()) };
    if !is_asked {
        return Err("eval.rows does not name that variant".into());
    }
    if !other.has_towers() || !other.trains() {
        return Err("that variant has no towers of its own".into());
    }
    let plain = |variant: &Variant| variant.align.clone().with(|align| align.departures.id_residual = false);
    let weighs_already = other.align.departures.id_residual;
    if weighs_already || plain(variant) != plain(other) {
        return Err("that variant is trained differently; of all keys of set, only id_residual may differ".into());
    }
    Ok(())
}

/// Returns whether a name may appear in file names and is not the name of another row.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    fn resolved(text: &str) -> Result<Recipe> {
        Recipe::resolved(&format!("[[id]]\nkind = 'sasrec'\n{text}"))
    }

    fn names(recipe: &Recipe) -> Vec<&str> {
        recipe.variants().iter().map(|variant| variant.name.as_str()).collect()
    }

    fn refused(text: &str) -> String {
        format!("{:#}", resolved(text).unwrap_err())
    }

    #[test]
    fn rows_come_in_the_order_of_a_report_and_each_once() {
        let recipe = resolved("[eval]\nrows = ['head', 'probes', 'id', 'ra-rec', 'lora-text', 'head']").unwrap();
        assert_eq!(recipe.rows, ["id", "ra-rec", "probes", "head", "lora-text"]);
        assert_eq!(names(&recipe), ["ra-rec", "head", "lora-text"]);
        assert_eq!(resolved("").unwrap().rows, ["id", "text", "ra-rec"]);
        let told = refused("[eval]\nrows = ['p5']");
        assert!(
            told.contains("p5") && told.contains("allowed: id, text, ra-rec, probes, cold-lift, prefix-only"),
            "{told}"
        );
    }

    #[test]
    fn built_in_variants_are_changes_of_the_recipes_own_alignment() {
        let all = "[align]\nn_tok = 3\ncross_fit = 2\ndistill = 0.5\n[eval]\nrows = ['ra-rec', 'prefix-only', 'id-direct', \
                   'soft-token', 'id-residual', 'distilled', 'head', 'lora', 'fine-tuned-text']";
        let recipe = resolved(all).unwrap();
        let of = |name: &str| recipe.variants().iter().find(|variant| variant.name == name).unwrap();
        assert_eq!(of("ra-rec").align, recipe.align);
        let text = &of("prefix-only").align;
        assert_eq!((text.module.projection, text.module.n_ctx), (ProjectionKind::None, recipe.align.module.n_ctx + 3));
        assert_eq!((text.departures.cross_fit, text.departures.distill), (0, 0.0));
        assert_eq!(of("id-direct").items, ItemNames::Number);
        assert!(!of("prefix-only").reads_ids() && of("id-residual").reads_users());
        assert_eq!(of("soft-token").align.module.placement, Placement::Input);
        assert_eq!(of("id-residual").source, Source::Towers("ra-rec".into()));
        assert_eq!(of("distilled").align.departures.distill, 0.5, "what the recipe says");
        assert!(recipe.drops_loss(of("lora")) && !recipe.drops_loss(of("head")));
        assert_eq!(recipe.label(of("lora"), "lm"), "lora(lm, without align.loss)");
        let alone = resolved("[eval]\nrows = ['id-residual']").unwrap();
        assert!(alone.variants()[0].trains(), "whose towers it would take is not in the report");
        let weighed = resolved("[align]\nid_residual = true\n[eval]\nrows = ['ra-rec', 'id-residual']").unwrap();
        assert!(weighed.variants()[1].trains(), "the recipe's own is weighed already");
    }

    #[test]
    fn a_recipe_describes_variants_of_its_own() {
        let text = "[align]\nn_tok = 3\n[[variant]]\nname = 'two'\nbase = 'distilled'\nset = { n_tok = 2 }\n[[variant]]\nname = \
                    'numbers'\nbase = 'two'\nitems = 'number'\n[[variant]]\nname = 'weighed'\ntowers = 'ra-rec'\nset = { \
                    id_residual = true }";
        let recipe = resolved(text).unwrap();
        assert_eq!(names(&recipe), ["ra-rec", "two", "numbers", "weighed"], "all of them where rows are not said");
        let [own, two, numbers, weighed] = recipe.variants() else { panic!("four variants") };
        assert_eq!((own.align.module.n_tok, two.align.module.n_tok, numbers.align.module.n_tok), (3, 2, 2));
        assert_eq!(two.align.departures.distill, AlignConfig::DISTILL);
        assert_eq!((numbers.items, two.items), (ItemNames::Number, ItemNames::Title));
        assert_eq!(weighed.source, Source::Towers("ra-rec".into()));
        let again = Recipe::resolved(&recipe.to_toml().unwrap()).unwrap();
        assert_eq!((again.variants(), &again.rows), (recipe.variants(), &recipe.rows));
        let some = resolved(&format!("{text}\n[eval]\nrows = ['id', 'two', 'probes']\nprobes_of = ['two']")).unwrap();
        assert_eq!(names(&some), ["two"]);
        assert!(
            some.looks_closer("probes", &some.variants()[0]) && !some.looks_closer("cold-lift", &some.variants()[0])
        );
        assert!(!resolved("").unwrap().to_toml().unwrap().contains("[[variant"));
    }

    #[test]
    fn a_variant_is_taught_by_what_taught_its_base_and_no_blend_is_a_base() {
        let text = "[[variant]]\nname = 'both'\nblend = ['sasrec', 'ra-rec']\n[[variant]]\nname = 's'\nteacher = 'both'\nset = { \
                    distill = 5.0 }\n[[variant]]\nname = 'small'\nbase = 's'\nset = { n_tok = 1 }\n[[variant]]\nname = 'own'\n\
                    base = 's'\nteacher = 'sasrec'\n";
        let recipe = resolved(text).unwrap();
        let teacher = |name: &str| recipe.variants().iter().find(|own| own.name == name).unwrap().teacher();
        assert_eq!((teacher("small"), teacher("own")), (Some("both"), Some("sasrec")));
        let told = refused(&format!("{text}[[variant]]\nname = 'of-blend'\nbase = 'both'\n"));
        assert!(told.contains("base is \"both\", a blend"), "{told}");
        let told = refused(&format!("{text}[eval]\nrows = ['id', 'both']"));
        assert!(told.contains("blend names \"ra-rec\", which eval.rows does not; add it there"), "{told}");
        let told = refused("[[variant]]\nname = 'a'\nblend = ['sasrec', 'nothing']");
        assert!(told.contains("blend names \"nothing\"; rows before it: sasrec, text, ra-rec"), "{told}");
    }

    #[test]
    fn what_is_wrong_with_a_variant_is_told_with_what_is_allowed() {
        let one = |rest: &str| refused(&format!("[[variant]]\n{rest}"));
        for (rest, told) in [
            ("name = 'a'\nset = { n_tokk = 2 }", "n_tok"),
            ("name = 'a'\nset = { n_tok = 'x' }", "variant \"a\""),
            ("name = 'a'\nset = { n_tok = 0 }", "align.n_tok is 0"),
            ("name = 'a'\nbase = 'b'", "allowed: ra-rec, prefix-only"),
            ("name = 'lora'", "already a variant with that name"),
            ("name = 'probes'", "choose another"),
            ("name = 'sasrec'", "choose another"),
            ("name = 'a b'", "letters, digits"),
            ("set = { n_tok = 2 }", "letters, digits"),
            ("nam = 'a'", "name"),
            ("name = 'a'\nitems = 'colour'", "title"),
            ("name = 'a'\ntowers = 'b'", "no variant before it has that name"),
            ("name = 'a'\ntowers = 'ra-rec'\nset = { n_tok = 9 }", "only id_residual"),
            ("name = 'a'\ntowers = 'ra-rec'\n[eval]\nrows = ['id', 'a']", "eval.rows does not name"),
        ] {
            let found = one(rest);
            assert!(found.contains(told), "{rest}: {found}");
        }
        let none = refused("[eval]\nrows = ['id', 'lora', 'probes']");
        assert!(none.contains("probes but no ra-rec"), "{none}");
    }
}
