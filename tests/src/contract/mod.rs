//! One suite per seam, run over every implementation: what the traits' docs promise.

pub mod source;
