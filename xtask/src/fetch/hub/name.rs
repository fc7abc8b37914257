//! The name of a model on a hub: `hf:OWNER/REPO[@REVISION][:FILE.gguf]`.
use std::fmt::{Display, Formatter};
use std::path::{Component, Path};
use std::str::FromStr;

/// What a name of a model on a hub begins with.
pub(crate) const PREFIX: &str = "hf:";

const FORM: &str = "write hf:OWNER/REPO, hf:OWNER/REPO@REVISION or hf:OWNER/REPO:FILE.gguf";

/// The branch that is meant if none is named.
const BRANCH: &str = "main";

/// A model on a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubName {
    /// The owner and the name.
    pub(crate) repo: String,
    revision: Option<String>,
    /// The GGUF file that is meant; without it the model is a folder.
    pub(crate) file: Option<String>,
}

impl HubName {
    /// Reads `name` if it is that of a model on a hub.
    pub(crate) fn of(name: &str) -> Option<Result<Self, String>> {
        name.starts_with(PREFIX).then(|| name.parse())
    }

    /// Returns the branch, tag or commit.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(BRANCH)
    }

    /// Returns the same name with the revision `commit`.
    pub(super) fn at(&self, commit: &str) -> Self {
        Self { revision: Some(commit.into()), ..self.clone() }
    }

    /// Returns whether the revision is a commit, which never means anything else.
    pub(super) fn is_pinned(&self) -> bool {
        is_commit(self.revision())
    }

    /// Returns the name of the model without its owner, or that of its file without the ending.
    pub(crate) fn short(&self) -> &str {
        match &self.file {
            Some(file) => Path::new(file).file_stem().and_then(|stem| stem.to_str()).unwrap_or(file),
            None => self.repo.rsplit('/').next().unwrap_or(&self.repo),
        }
    }
}

impl FromStr for HubName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let rest = name.strip_prefix(PREFIX).ok_or_else(|| format!("is {name:?}: {FORM}"))?;
        let (model, file) = match rest.split_once(':') {
            Some((model, file)) => (model, Some(file)),
            None => (rest, None),
        };
        let (repo, revision) = match model.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision)),
            None => (model, None),
        };
        let wrong = |what: &str| Err(format!("is {name:?}, {what}; {FORM}"));
        if !is_repo(repo) {
            return wrong(if repo.contains('/') {
                "whose OWNER/REPO has a sign that no name has"
            } else {
                "which names no owner"
            });
        }
        if !revision.is_none_or(is_revision) {
            return wrong("whose revision is neither a branch nor a tag nor a commit");
        }
        if !file.is_none_or(|file| is_inside(file) && is_gguf(file)) {
            return wrong("whose file is not a GGUF file (leave it out for a folder with config.json)");
        }
        Ok(Self { repo: repo.into(), revision: revision.map(Into::into), file: file.map(Into::into) })
    }
}

impl Display for HubName {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{}", self.repo)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.file.iter().try_for_each(|file| write!(f, ":{file}"))
    }
}

/// Returns whether a revision is a full commit hash.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_hex(revision)
}

pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Returns whether a path stays in its folder. It then is also a plain one on every system.
pub(super) fn is_inside(path: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\\' | ':' | '?' | '*' | '"' | '<' | '>' | '|');
    path.chars().all(is_plain)
        && !path.is_empty()
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

pub(super) fn is_gguf(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

fn is_word(word: &str) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !word.is_empty() && !word.starts_with(['.', '-']) && !word.contains("..") && word.bytes().all(is_sign)
}

fn is_repo(repo: &str) -> bool {
    // Two hyphens would look like a slash in the cache.
    repo.split_once('/').is_some_and(|(owner, name)| is_word(owner) && is_word(name)) && !repo.contains("--")
}

fn is_revision(revision: &str) -> bool {
    revision.split('/').all(is_word)
}

/// Returns the names of all parts of a GGUF file, in order: `a-00001-of-00002.gguf` has two, most files one.
pub(crate) fn parts_of(file: &str) -> Vec<String> {
    let split = || {
        let (stem, end) = file.rsplit_once('.')?;
        let (rest, all) = stem.rsplit_once("-of-")?;
        let (name, own) = rest.rsplit_once('-')?;
        let number = |digits: &str| (digits.len() == 5).then(|| digits.parse::<u32>().ok()).flatten();
        let (own, count) = (number(own)?, number(all)?);
        let part = |part: u32| format!("{name}-{part:05}-of-{all}.{end}");
        ((1..=count).contains(&own)).then(|| (1..=count).map(part).collect())
    };
    split().unwrap_or_else(|| vec![file.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_model_a_revision_and_a_file() {
        for (text, repo, revision, file) in [
            ("hf:a/b", "a/b", "main", None),
            ("hf:a-1/b.c_d@v1.0", "a-1/b.c_d", "v1.0", None),
            ("hf:a/b@refs/pr/1", "a/b", "refs/pr/1", None),
            ("hf:a/b:Q4/x-00001-of-00002.gguf", "a/b", "main", Some("Q4/x-00001-of-00002.gguf")),
            ("hf:a/b@feat/x:m.Q4_0.GGUF", "a/b", "feat/x", Some("m.Q4_0.GGUF")),
        ] {
            let name: HubName = text.parse().unwrap();
            assert_eq!((name.repo.as_str(), name.revision(), name.file.as_deref()), (repo, revision, file));
            assert_eq!(name.to_string(), text);
        }
        let file: HubName = "hf:a/b:Q4/x.Q4_0.gguf".parse().unwrap();
        assert_eq!((file.short(), "hf:a/b@v1".parse::<HubName>().unwrap().short()), ("x.Q4_0", "b"));
    }

    #[test]
    fn what_is_no_name_is_said_with_the_form() {
        let wrong = [
            ("hf:", "names no owner"),
            ("hf:gpt2", "names no owner"),
            ("hf:a/b/c", "sign that no name has"),
            ("hf:a/../b", "sign"),
            ("hf:a/b--c", "sign"),
            ("hf:../b", "sign"),
            ("hf:a/b c", "sign"),
            ("hf:a/b@", "revision"),
            ("hf:a/b@../../x", "revision"),
            ("hf:a/b@x y", "revision"),
            ("hf:a/b:", "GGUF"),
            ("hf:a/b:model.bin", "GGUF"),
            ("hf:a/b:../x.gguf", "GGUF"),
            ("hf:a/b:/x.gguf", "GGUF"),
        ];
        for (name, told) in wrong {
            let error = name.parse::<HubName>().unwrap_err();
            assert!(error.contains(told) && error.contains("OWNER/REPO"), "{name}: {error}");
        }
        assert!(HubName::of("minilm").is_none());
    }

    #[test]
    fn a_file_in_parts_has_all_of_them() {
        assert_eq!(
            parts_of("q/a-00002-of-00003.gguf"),
            ["q/a-00001-of-00003.gguf", "q/a-00002-of-00003.gguf", "q/a-00003-of-00003.gguf"]
        );
        for whole in ["a.gguf", "a-00004-of-00003.gguf", "a-0001-of-0003.gguf", "a-x-of-00003.gguf"] {
            assert_eq!(parts_of(whole), [whole]);
        }
    }
}
