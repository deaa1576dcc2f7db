//! The log of decisions: written with what was decided, never changed, and checkable by anyone who has it.

pub mod chain;

pub mod walk;

pub mod replay;
