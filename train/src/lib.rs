//! History in, signed and certified limit model out.
//!
//! ```text
//! histories ─► windows ─► boost ─► calibrate ─► run directory ─► check ─► publish ─► a repository that devices verify
//!              features    forest   certificate   model.onnx     check.json  TUF
//!              headroom   import   frontier      report.html
//!                       (made elsewhere)
//! ```

pub mod boost;

pub mod import;

pub mod importance;

pub mod calibrate;

pub mod config;

pub mod windows;

pub mod study;

pub mod vigil;

pub mod backtest;

pub mod run;

pub mod log;

pub mod accounts;

pub mod effects;

pub mod drift;

pub mod gaps;

pub mod metrics;

pub mod plot;

pub mod report;

pub mod directory;

pub mod exposure;

pub mod check;

pub mod keys;

pub mod publish;

pub mod replay;
