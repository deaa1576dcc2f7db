//! `plimsoll-serve`.

fn main() {}
