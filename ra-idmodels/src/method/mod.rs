//! Trained methods, one per file: configuration, module, initialisation, forward pass, loss and tests.
mod bert4rec;
mod bsarec;
mod comirec;
mod gru4rec;
mod hstu;
mod known_users;
mod lightgcn;
mod mf;
pub(crate) mod parameters;
pub(crate) mod sasrec;
pub(crate) mod sequence;

pub use bert4rec::{Bert4Rec, Bert4RecConfig};
pub use bsarec::{BsaRec, BsaRecConfig};
pub use comirec::{ComiRec, ComiRecConfig, Extraction};
pub use gru4rec::{Gru4Rec, Gru4RecConfig};
pub use hstu::{Hstu, HstuConfig};
pub(crate) use known_users::KnownUsers;
pub use lightgcn::{LightGcn, LightGcnConfig};
pub use mf::{Mf, MfConfig};
pub use sasrec::{SasRec, SasRecConfig, SasRecInit, SasRecVariant};
