#[path = "it/plans.rs"]
mod plans;
