pub mod cli;
pub mod output;
pub mod reader;
pub mod shown;
pub mod sources;
