//! Extractors: past them only valid values exist. Their rejections are problems.

pub mod body;
