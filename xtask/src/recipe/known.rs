//! Recipes by name, and recipes in files.
use super::settings::{decoded, parsed, quote};
use anyhow::{Context, Result, bail};
use std::path::{Component, Path, PathBuf};
use toml::Table;

/// The recipes of the project as of the build of this program: file names and contents.
pub(super) const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// The location of a recipe.
#[derive(Debug, PartialEq)]
enum Found {
    File(PathBuf),
    BuiltIn { file: &'static str, text: &'static str },
}

/// Returns the path and content of a recipe, given by path or name. The path of a built-in recipe is its file name.
///
/// # Errors
/// Lists the known recipes if there is no such file, or names the place in the file that is wrong.
pub(crate) fn read(recipe: impl AsRef<Path>, root: &Path) -> Result<(PathBuf, Table)> {
    let (path, bytes) = match find(recipe.as_ref(), root)? {
        Found::File(path) => {
            let bytes = std::fs::read(&path).with_context(|| format!("recipe {}", path.display()))?;
            (path, bytes)
        }
        Found::BuiltIn { file, text } => (file.into(), text.as_bytes().to_vec()),
    };
    let at = || format!("recipe {}", path.display());
    let mut table: Table = decoded(&bytes).and_then(parsed).with_context(at)?;
    quote(&mut table, "").with_context(at)?;
    Ok((path, table))
}

/// Finds a recipe: by name in the repository, or among the built-in ones if there is no repository; otherwise a file
/// with any name.
fn find(recipe: &Path, root: &Path) -> Result<Found> {
    let folder = root.join("xtask/recipes");
    let is_name = matches!(recipe.components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
    let with_ending = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".toml");
        PathBuf::from(name)
    };
    let named = with_ending(&folder.join(recipe));
    if is_name && named.is_file() {
        return Ok(Found::File(named));
    }
    let built_in = BUILT_IN.iter().find(|(file, _)| with_ending(recipe).as_os_str() == *file);
    if let Some((file, text)) = built_in.filter(|_| !folder.is_dir()) {
        return Ok(Found::BuiltIn { file, text });
    }
    if recipe.is_dir() {
        bail!("recipe {}: is a folder; name a recipe file", recipe.display());
    }
    if recipe.exists() {
        return Ok(Found::File(recipe.into()));
    }
    let is_file = !is_name || recipe.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let longer = with_ending(recipe);
    match is_file {
        true if longer.is_file() => {
            bail!("recipe {}: no such file; did you mean {}?", recipe.display(), longer.display())
        }
        true => bail!("recipe {}: no such file", recipe.display()),
        false => {
            bail!("recipe {}: no such file or recipe; known recipes: {}", recipe.display(), names(&folder))
        }
    }
}

/// Returns the names of the recipes in `folder`, or of the built-in ones if there is no such folder.
fn names(folder: &Path) -> String {
    let files: Vec<PathBuf> = match folder.read_dir() {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => BUILT_IN.iter().map(|(file, _)| PathBuf::from(file)).collect(),
    };
    let name = |path: &PathBuf| Some(path.file_stem()?.to_string_lossy().into_owned());
    let mut names: Vec<String> = files.iter().filter_map(name).collect();
    names.sort();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_a_name_or_any_file() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "seed = 1").unwrap();
            path
        };
        let (known, upper, bare) = (make("xtask/recipes/known.toml"), make("UPPER.TOML"), make("bare"));
        let found = |path: &Path| find(path, root.path());
        assert_eq!(found(Path::new("known")).unwrap(), Found::File(known));
        assert_eq!(found(&upper).unwrap(), Found::File(upper));
        assert_eq!(found(&bare).unwrap(), Found::File(bare));
        let lists = |path: &Path| found(path).unwrap_err().to_string().contains("known recipes: known");
        assert!(lists(Path::new("absent")) && !lists(&root.path().join("absent")) && !lists(Path::new("absent.TOML")));
        assert!(found(&root.path().join("xtask/recipes/known")).unwrap_err().to_string().contains("did you mean"));
        assert!(found(root.path()).unwrap_err().to_string().contains("is a folder"));
    }

    #[test]
    fn without_a_repository_its_recipes_are_known_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        let (path, table) = read("quickstart", root.path()).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(path, Path::new("quickstart.toml"));
        assert_eq!(table, read("quickstart", &folder).unwrap().1);
        let told = find(Path::new("absent"), root.path()).unwrap_err().to_string();
        assert!(told.contains("quickstart"), "{told}");
    }
}
