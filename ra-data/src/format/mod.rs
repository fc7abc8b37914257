//! One reader per format. Each returns rows with roles (user, item, time, rating, title) as text, and errors with file
//! and row.
pub(crate) mod arrays;
mod arrow_file;
pub(crate) mod columnar;
pub(crate) mod delimited;
pub(crate) mod header;
pub(crate) mod json;
pub(crate) mod lists;
pub(crate) mod python;
mod quotes;
pub(crate) mod row;
