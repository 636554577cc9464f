//! The isolation oracles: programs of one organization in worlds that differ in what other
//! organizations hold, against a plain model, and every statement shape up to a bound.

mod cell;
mod gate;
mod generator;
mod judge;
mod lower;
mod model;
mod program;
mod run;
mod second_wall;
#[cfg(feature = "postgres")]
mod server;
mod shapes;
mod tables;
mod world;
