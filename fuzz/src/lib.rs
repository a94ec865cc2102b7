//! The fuzz targets' common part.

pub mod bodies;
