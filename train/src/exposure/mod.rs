//! Ceiling × time to live × sync frequency: what is at stake, and which of them fit a loss budget.
//!
//! ```text
//! certificate (α, β per grant) ─┐
//! accounts, ceiling, TTL, sync ─┴─► worst case, expected loss ─► the largest ceilings within the budget
//! calibration log ─► the smallest share of each limit to hold back (a lien) for which what is left to lose keeps β
//! ```
//!
//! | figure | formula |
//! |---|---|
//! | grants alive at once, `g` | 1 where what is unsettled is carried into the next grant, as this engine does; else `⌈TTL / sync⌉` |
//! | worst case | `accounts × ceiling × g`: everybody spends everything and has nothing |
//! | grants in a period, `k` | `⌈hours / sync⌉` |
//! | expected loss, at most | `accounts × k × min(β, α × ceiling)`; `× ceiling` where nothing is promised |
//! | accounts that see a loss, at most | `accounts × min(1, k × α)` |
//!
//! The worst case is the seeds' `E_max = terminals × cap × ⌈TTL / session⌉` with accounts for terminals, which left out the
//! cards per terminal. The promise is per grant: `E[(L − S)⁺] ≤ β` and `P(S < L) ≤ α`, so `E ≤ α × ceiling` too, for no
//! loss exceeds the ceiling; lowering a limit to a ceiling keeps both. Sums over grants need no independence. A deliberate
//! drain is no chance event: for that there is the worst case, and the lien.

mod reserve;

mod triad;

pub use reserve::{Granted, Reserve, mean_loss, reserves};
pub use triad::{At, Exposure, Plan, Promised, TierExposure, exposure, fit};
