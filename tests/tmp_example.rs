#[path = "it/example.rs"]
mod example;
