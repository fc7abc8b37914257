//! Reports for readers: Markdown, a terminal and, with the feature `report`, one self-contained page with plots.
//!
//! Renderers depend on [`crate::report`], which does not depend on them.
mod experiment;
#[cfg(feature = "report")]
mod html;
mod markdown;
mod terminal;

#[cfg(feature = "report")]
pub use html::TablePage;

use crate::{EvalError, Report};
use ra_core::{write_atomic, write_json};
use std::path::Path;

impl Report {
    /// Writes `report.json`, `report.md` and, with the feature `report`, `report.html` into `folder`, each atomically.
    ///
    /// # Errors
    /// [`EvalError::Core`] names the file.
    pub fn write(&self, folder: &Path) -> Result<(), EvalError> {
        write_atomic(&folder.join("report.md"), self.markdown().as_bytes())?;
        #[cfg(feature = "report")]
        write_atomic(&folder.join("report.html"), self.html().as_bytes())?;
        Ok(write_json(&folder.join("report.json"), self)?)
    }
}
