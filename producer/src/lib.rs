pub mod reader;
pub mod shown;
pub mod sources;
