pub mod shown;
pub mod sources;
