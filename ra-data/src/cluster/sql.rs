//! Queries whose results are Parquet files.
use crate::{DataError, Result};
use arrow::array::types::{Float64Type, Int64Type};
use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::error::DataFusionError;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use futures::TryStreamExt;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The tables of one folder, each consisting of the files that a query wrote.
pub(super) struct Sql<'a> {
    pub(super) context: &'a SessionContext,
    /// An absolute path that is the same on all machines.
    pub(super) folder: PathBuf,
    pub(super) step: usize,
}

pub(super) fn failed(step: &str, problem: impl Display) -> DataError {
    DataError::corrupt(format!("query of {step}"), problem.to_string())
}

pub(super) fn integers(batch: &RecordBatch, column: usize) -> Result<ScalarBuffer<i64>> {
    let column = cast(batch.column(column), &DataType::Int64).map_err(|e| failed("a result", e))?;
    Ok(column.as_primitive::<Int64Type>().values().clone())
}

impl Sql<'_> {
    pub(super) async fn register(&self, table: &str, path: &Path) -> Result<()> {
        let fail = |e: DataFusionError| failed(table, e);
        self.context.deregister_table(table).map_err(fail)?;
        let path = format!("{}/", path.display());
        self.context.register_parquet(table, path, ParquetReadOptions::default()).await.map_err(fail)
    }

    /// Stores the result of `query` as `table`.
    pub(super) async fn keep(&mut self, table: &str, query: &str) -> Result<()> {
        self.step += 1;
        let path = self.folder.join(format!("{table}-{}", self.step));
        let fail = |e: DataFusionError| failed(table, e);
        let frame = self.context.sql(query).await.map_err(fail)?;
        let to = format!("{}/", path.display());
        frame.write_parquet(&to, DataFrameWriteOptions::new(), None).await.map_err(fail)?;
        self.register(table, &path).await
    }

    /// Passes the result of `query` to `see`, one batch at a time.
    pub(super) async fn each(&self, query: &str, mut see: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let fail = |e: DataFusionError| failed(query, e);
        let mut batches = self.context.sql(query).await.map_err(fail)?.execute_stream().await.map_err(fail)?;
        while let Some(batch) = batches.try_next().await.map_err(fail)? {
            see(&batch)?;
        }
        Ok(())
    }

    pub(super) async fn texts(&self, query: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        self.each(query, |batch| {
            let column = cast(batch.column(0), &DataType::Utf8).map_err(|e| failed("texts", e))?;
            all.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
            Ok(())
        })
        .await?;
        Ok(all)
    }

    pub(super) async fn number(&self, query: &str) -> Result<f64> {
        let mut found = None;
        self.each(query, |batch| {
            let column = cast(batch.column(0), &DataType::Float64).map_err(|e| failed("a number", e))?;
            found = found.or(column.as_primitive::<Float64Type>().iter().flatten().next());
            Ok(())
        })
        .await?;
        found.ok_or_else(|| failed(query, "no row"))
    }
}
