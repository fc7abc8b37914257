//! Exact full-catalogue ranking, metrics and reports.
