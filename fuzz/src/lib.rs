//! What the targets share: a bound on memory, and good signatures over bad claims.

pub mod bounded;

pub mod token;
