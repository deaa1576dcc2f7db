//! Where a secret is, and the secret itself, which nothing prints.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RefuseConfig;

/// Where a secret is read from: never the configuration itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretFrom {
    /// A file; a line end after it is not part of it.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A secret. `Debug` shows that there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Bytes of a secret's file that are read.
const SECRET_BYTES_MAX: u64 = 4_096;

impl SecretFrom {
    /// Reads it.
    ///
    /// * `key`: the configuration's key, for the message.
    ///
    /// # Errors
    /// `Secret` when it is not there, empty, or too long.
    pub fn read(&self, key: &str) -> Result<Secret, RefuseConfig> {
        let refuse = |why: String| RefuseConfig::Named { key: key.to_owned(), why };
        let mut bytes = match self {
            Self::Env(name) => {
                std::env::var(name).map_err(|e| refuse(format!("environment variable {name}: {e}")))?.into_bytes()
            }
            Self::File(path) => {
                use std::io::Read as _;
                let told = |e: std::io::Error| refuse(format!("{}: {e}", path.display()));
                let mut bytes = Vec::new();
                let file = std::fs::File::open(path).map_err(told)?;
                file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(told)?;
                bytes
            }
        };
        while bytes.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            bytes.pop();
        }
        match bytes.len() as u64 {
            0 => Err(refuse("it is empty".to_owned())),
            n if n > SECRET_BYTES_MAX => Err(refuse(format!("it is longer than {SECRET_BYTES_MAX} bytes"))),
            _ => Ok(Secret(bytes)),
        }
    }
}

impl Secret {
    /// Its bytes, for the one who needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
