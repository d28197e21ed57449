pub mod cli;
pub mod last_job;
pub mod output;
pub mod reader;
pub mod shown;
pub mod sources;
