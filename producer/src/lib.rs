pub mod cli;
pub mod figures;
pub mod last_job;
pub mod output;
pub mod progress;
pub mod reader;
pub mod shown;
pub mod sources;
