//! Lists the recipes of the project, so that they are known by name wherever the command is called.
//!
//! (Without a build script cargo would also leave out build dependencies, and with them their features.)
use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let missing = |what: &str| io::Error::other(format!("cargo sets no {what}"));
    let own = env::var("CARGO_MANIFEST_DIR").map_err(|_| missing("CARGO_MANIFEST_DIR"))?;
    let out = env::var("OUT_DIR").map_err(|_| missing("OUT_DIR"))?;
    let folder = Path::new(&own).join("recipes");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.sort();
    let line =
        |path: &std::path::PathBuf| format!("({:?}, include_str!({path:?})),\n", path.file_name().unwrap_or_default());
    let list: String = files.iter().map(line).collect();
    fs::write(Path::new(&out).join("recipes.rs"), format!("&[\n{list}]\n"))
}
