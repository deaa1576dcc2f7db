//! The console over a real store: who gets in, what each role may do, and that nothing is done behind anybody's back.
//!
//! In a browser it is tested by `serve/console-test.sh`.

mod browser;
mod forms;
mod house;
mod people;
mod reference;
