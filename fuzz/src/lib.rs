//! The fuzz targets' common part.

pub mod bodies;
pub mod files;
pub mod ladder;
