//! Tensor names: those of the architecture and those in files.

/// Maps the names of a file to those of its architecture.
#[derive(Debug, Default)]
pub(crate) struct Spelling {
    /// The prefix of every name of the model: `bert.` in a model with a head, `_orig_mod.` after torch.compile,
    /// `module.` after DataParallel, the name that a trainer gives its model, or several of these.
    prefix: String,
}

/// The name prefixes of BERT's relatives.
const RELATIVES: [&str; 9] =
    ["roberta", "electra", "albert", "distilbert", "deberta", "mpnet", "longformer", "layoutlm", "ernie"];

impl Spelling {
    /// Finds the prefix from the token table, which every model has once under the first of `token_tables` that the
    /// file knows.
    ///
    /// # Errors
    /// If the file holds several models.
    pub(crate) fn of(names: &[&str], token_tables: &[&str]) -> Result<Self, String> {
        for table in token_tables {
            let before = names.iter().filter_map(|name| name.strip_suffix(table));
            let mut prefixes: Vec<&str> = before.filter(|prefix| prefix.is_empty() || prefix.ends_with('.')).collect();
            prefixes.sort_unstable();
            prefixes.dedup();
            match prefixes[..] {
                [] => {}
                [prefix] => return Ok(Self { prefix: prefix.into() }),
                [first, second, ..] => {
                    return Err(format!("it holds several models: {first}{table} and {second}{table}; save only one"));
                }
            }
        }
        Ok(Self::default())
    }

    /// The architecture's own name, or `None` for a tensor outside the model, such as a head.
    pub(crate) fn own(&self, name: &str) -> Option<String> {
        let own = name.strip_prefix(&self.prefix)?;
        // TensorFlow's names for layer norm parameters, which the first published BERT models kept.
        let today = [(".gamma", ".weight"), (".beta", ".bias")];
        let renamed = today.iter().find_map(|(then, now)| Some(format!("{}{now}", own.strip_suffix(then)?)));
        Some(renamed.unwrap_or_else(|| own.to_string()))
    }

    /// The relative of BERT that these tensors belong to: they have the same names but another use.
    pub(crate) fn relative_of_bert(&self) -> Option<&str> {
        self.prefix.split('.').find(|part| RELATIVES.contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "embeddings.word_embeddings.weight";
    const TABLES: [&str; 1] = [TABLE];

    #[test]
    fn whatever_stands_before_the_token_table_stands_before_every_name() {
        for prefix in ["", "bert.", "_orig_mod.", "module.", "model.bert.", "_orig_mod.module.bert.", "0.auto_model."] {
            let table = format!("{prefix}{TABLE}");
            let head = format!("{}cls.predictions.bias", prefix.strip_suffix("bert.").unwrap_or("other."));
            let spelling = Spelling::of(&[table.as_str(), &head], &TABLES).unwrap();
            assert_eq!(spelling.own(&table).unwrap(), TABLE);
            assert_eq!(spelling.own(&head).is_none(), !prefix.is_empty(), "{head}");
            let norm = spelling.own(&format!("{prefix}embeddings.LayerNorm.gamma")).unwrap();
            assert_eq!(norm, "embeddings.LayerNorm.weight");
            assert_eq!(spelling.own(&format!("{prefix}a.beta")).unwrap(), "a.bias");
            assert_eq!(spelling.relative_of_bert(), None);
        }
        let two = [format!("query.{TABLE}"), format!("document.{TABLE}")];
        assert!(Spelling::of(&two.each_ref().map(String::as_str), &TABLES).unwrap_err().contains("several models"));
        // Not a token table: its name only ends in the same way.
        let other = format!("my{TABLE}");
        assert_eq!(Spelling::of(&[other.as_str()], &TABLES).unwrap().own(&other).unwrap(), other);
        let roberta = format!("roberta.{TABLE}");
        assert_eq!(Spelling::of(&[roberta.as_str()], &TABLES).unwrap().relative_of_bert(), Some("roberta"));
    }
}
