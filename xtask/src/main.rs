//! The command line of RA-Rec.
fn main() {}
