//! From file, environment and flags to a [`Config`], or to a message that says which of them, which key, and what to do.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{Config, SecretFrom};

/// What variables begin with; `__` stands for a dot, so `PLIMSOLL_SERVE__STORE__URL` is `store.url`.
pub(super) const ENV_PREFIX: &str = "PLIMSOLL_SERVE__";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables that begin with [`ENV_PREFIX`].
    pub env: Vec<(String, String)>,
    /// `key=value` of the command line.
    pub flags: Vec<(String, String)>,
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefuseConfig {
    /// The file cannot be read.
    #[error("{}: {why}", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// The system's word.
        why: String,
    },
    /// The file is no TOML.
    #[error("{}: {why}", file.display())]
    Syntax {
        /// Which.
        file: PathBuf,
        /// The parser's word, with line and column.
        why: String,
    },
    /// A key that there is not, a missing one, a wrong type, or a value that cannot work.
    #[error("{source_of_key}: {key}: {why}")]
    Key {
        /// The file, the variable or the flag it came from.
        source_of_key: String,
        /// e.g. `auth.issuers.bank.aud`.
        key: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// A file or a secret that a key names is not what it should be.
    #[error("{key}: {why}")]
    Named {
        /// Which.
        key: String,
        /// What is wrong.
        why: String,
    },
}

impl Load {
    /// The file given, and this process's variables.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let env = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(ENV_PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self { file, env: env.collect(), flags }
    }

    /// Reads and checks it.
    ///
    /// # Errors
    /// [`RefuseConfig`].
    pub fn config(&self) -> Result<Config, RefuseConfig> {
        let mut table = Table::new();
        if let Some(file) = &self.file {
            let unreadable = |e: std::io::Error| RefuseConfig::Unreadable { file: file.clone(), why: e.to_string() };
            let text = std::fs::read_to_string(file).map_err(unreadable)?;
            let syntax = |e: toml::de::Error| RefuseConfig::Syntax { file: file.clone(), why: e.to_string() };
            table = text.parse().map_err(syntax)?;
            let url = table.get("store").and_then(|s| s.get("url")).and_then(Value::as_str);
            if url.is_some_and(has_password) {
                let why = "a password does not belong into the file: set store.password = { file = … }, or the whole \
                           URL in the environment";
                return Err(self.refuse("store.url", why));
            }
        }
        for (name, text) in &self.env {
            let key = name[ENV_PREFIX.len()..].to_lowercase().replace("__", ".");
            put(&mut table, &key, text).map_err(|why| at(name.clone(), &key, why))?;
        }
        for (key, text) in &self.flags {
            if key == "store.url" && has_password(text) {
                let why = "a password on the command line is seen by everybody on this machine: set store.password";
                return Err(at(format!("--set {key}"), key, why));
            }
            put(&mut table, key, text).map_err(|why| at(format!("--set {key}"), key, why))?;
        }
        let config: Config = serde_path_to_error::deserialize(table).map_err(|refused| {
            let key = refused.path().to_string();
            let why = refused.into_inner().to_string();
            // The parser's own "in `key`" would say it twice.
            self.refuse(&key, why.lines().next().unwrap_or_default())
        })?;
        self.check(&config)?;
        Ok(config)
    }

    /// What types cannot say.
    fn check(&self, config: &Config) -> Result<(), RefuseConfig> {
        let wrong = |key: &str, why: &str| Err(self.refuse(key, why));
        let server = &config.server;
        for (key, value) in [
            ("server.body_bytes_max", server.body_bytes_max as u64),
            ("server.head_s", server.head_s),
            ("server.body_s", server.body_s),
            ("server.request_s", server.request_s),
            ("server.in_flight_max", server.in_flight_max as u64),
            ("server.connections_max", server.connections_max as u64),
            ("issuer.watch_s", config.issuer.watch_s),
            ("programme.watch_s", config.programme.watch_s),
            ("limits.remembered", config.limits.remembered as u64),
        ] {
            if value == 0 {
                return wrong(key, "must be 1 or more");
            }
        }
        if server.batch_bytes_max < server.body_bytes_max || server.batch_bytes_max > 16 << 20 {
            return wrong("server.batch_bytes_max", "must be between server.body_bytes_max and 16777216");
        }
        if let Some(url) = &server.public_url {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if rest.is_none_or(|rest| {
                rest.trim_end_matches('/').is_empty() || rest.trim_end_matches('/').contains(['/', '?', '#', '@', ' '])
            }) {
                return wrong("server.public_url", "must be a scheme and an authority, like https://limits.example");
            }
        }
        if !config.store.url.starts_with("sqlite:") && !config.store.url.starts_with("postgres") {
            return wrong("store.url", "must begin with sqlite: or postgres://");
        }
        if config.issuer.name.is_empty() || config.issuer.name.len() > 128 {
            return wrong("issuer.name", "must have 1 to 128 bytes: it is the `iss` of every grant");
        }
        if config.programme.repository.is_some() != config.programme.trust_root.is_some() {
            return wrong(
                "programme.trust_root",
                "must be set together with programme.repository: models are verified",
            );
        }
        if config.auth.issuers.len() > 8 {
            return wrong("auth.issuers", "there may be 8");
        }
        if !(10..=3_600).contains(&config.auth.bridge_window_s) {
            return wrong("auth.bridge_window_s", "must be between 10 and 3600");
        }
        if config.auth.skew_s > 600 {
            return wrong("auth.skew_s", "must be 600 or less: set the clocks instead");
        }
        for (name, issuer) in &config.auth.issuers {
            let wrong = |field: &str, why: &str| wrong(&format!("auth.issuers.{name}.{field}"), why);
            if issuer.iss.is_empty() {
                return wrong("iss", "must not be empty");
            }
            if issuer.aud.is_empty() {
                return wrong("aud", "must not be empty: tokens for others would count here");
            }
            let twin = |(other, of): (&String, &super::TokenIssuer)| {
                other < name && of.iss == issuer.iss && of.aud == issuer.aud
            };
            if config.auth.issuers.iter().any(twin) {
                return wrong(
                    "aud",
                    "another issuer has the same `iss` and `aud`: which of them counts would be a guess",
                );
            }
            if issuer.algorithms.is_empty() {
                return wrong("algorithms", "must name one of EdDSA, ES256, RS256");
            }
            if issuer.typ.is_empty() {
                return wrong("typ", "must name what `typ` may be, like [\"at+jwt\"]");
            }
            if issuer.jwks.starts_with("http://") && !is_loopback(&issuer.jwks["http://".len()..]) {
                let why = "plain http is for this machine only: use https:// (feature `https`), or a file";
                return wrong("jwks", why);
            }
            if issuer.jwks.starts_with("https://") && !cfg!(feature = "https") {
                let why = "this build has no TLS: build with --features https, or let something write the key set to a \
                           file";
                return wrong("jwks", why);
            }
        }
        for key_id in config.auth.bridges.keys() {
            let fits = (1..=64).contains(&key_id.len())
                && key_id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
            if !fits {
                return wrong(
                    &format!("auth.bridges.{key_id}"),
                    "a key id has 1 to 64 letters, digits, '-', '_', '.', ':'",
                );
            }
        }
        Ok(())
    }

    /// Says where a key came from.
    fn refuse(&self, key: &str, why: &str) -> RefuseConfig {
        // A table's fault is found at the table, and its key may have come from any layer below it.
        let under = |given: &str| given == key || given.starts_with(&format!("{key}.")) || key == ".";
        let flag = self.flags.iter().rev().find(|(given, _)| under(given)).map(|(given, _)| format!("--set {given}"));
        let variable = |name: &str| under(&name[ENV_PREFIX.len()..].to_lowercase().replace("__", "."));
        let env = self.env.iter().rev().find(|(name, _)| variable(name)).map(|(name, _)| name.clone());
        let file = self.file.as_deref().map(|file| file.display().to_string());
        at(flag.or(env).or(file).unwrap_or_else(|| "defaults".to_owned()), key, why)
    }
}

fn at(source_of_key: String, key: &str, why: impl Into<String>) -> RefuseConfig {
    RefuseConfig::Key { source_of_key, key: key.to_owned(), why: why.into() }
}

/// Puts `text` at a dotted key: as TOML where it reads as a number, a truth value, a list or a quoted text, else as it
/// is.
fn put(table: &mut Table, key: &str, text: &str) -> Result<(), String> {
    let parts: Vec<&str> = key.split('.').collect();
    let Some((last, path)) = parts.split_last() else { return Ok(()) };
    if parts.iter().any(|part| part.is_empty()) {
        return Err("a key is words with dots between them".to_owned());
    }
    let mut at = table;
    for part in path {
        let next = at.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(|| format!("{part} is no table"))?;
    }
    let parsed = format!("v = {text}").parse::<Table>().ok().filter(|t| t.len() == 1).and_then(|mut t| t.remove("v"));
    let value = match parsed {
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    };
    at.insert((*last).to_owned(), value);
    Ok(())
}

/// Whether a URL has a password in its authority.
fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    in_authority || url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|p| p.starts_with("password=")))
}

fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    host == "localhost"
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

impl Config {
    /// The database's URL, with its password.
    ///
    /// # Errors
    /// `Secret` when the password cannot be read.
    pub fn store_url(&self) -> Result<String, RefuseConfig> {
        let Some(from) = &self.store.password else { return Ok(self.store.url.clone()) };
        let secret = from.read("store.password")?;
        let encoded: String = secret
            .expose()
            .iter()
            .map(|b| match b {
                b if b.is_ascii_alphanumeric() => char::from(*b).to_string(),
                b => format!("%{b:02X}"),
            })
            .collect();
        match self.store.url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
            Some((scheme, (user, rest))) if !user.contains([':', '/']) => {
                Ok(format!("{scheme}://{user}:{encoded}@{rest}"))
            }
            _ => Err(RefuseConfig::Named {
                key: "store.password".to_owned(),
                why: "store.url must name a user, like postgres://plimsoll@host/plimsoll".to_owned(),
            }),
        }
    }

    /// What `config check` shows: everything, and no secret.
    pub fn shown(&self) -> Self {
        let mut shown = self.clone();
        if has_password(&shown.store.url) {
            let url = &shown.store.url;
            let masked = url.split_once("://").and_then(|(scheme, rest)| {
                let (user, rest) = rest.split_once('@')?;
                Some(format!(
                    "{scheme}://{}:…@{}",
                    user.split(':').next().unwrap_or(""),
                    rest.split('?').next().unwrap_or("")
                ))
            });
            shown.store.url = masked.unwrap_or_else(|| "…".to_owned());
        }
        shown
    }

    /// Where relative paths of this configuration begin: the working directory, said so that a reader can check.
    pub fn resolve(path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    /// Every file that holds a secret, for `config check` to look at.
    pub fn secrets(&self) -> Vec<(String, &SecretFrom)> {
        let mut secrets: Vec<_> = self.store.password.iter().map(|s| ("store.password".to_owned(), s)).collect();
        for (key_id, bridge) in &self.auth.bridges {
            if let super::Bridge::HmacSha256 { secret } = bridge {
                secrets.push((format!("auth.bridges.{key_id}.secret"), secret));
            }
        }
        secrets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, RefuseConfig> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("serve.toml");
        std::fs::write(&file, toml).expect("writes");
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Load { file: Some(file), env: pairs(env), flags: pairs(flags) }.config()
    }

    #[track_caller]
    fn refused(toml: &str, env: &[(&str, &str)], flags: &[(&str, &str)], told: &[&str]) {
        let message = load(toml, env, flags).expect_err("refused").to_string();
        for part in told {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = "[server]\nhead_s = 1\nbody_s = 1\nrequest_s = 1\n";
        let env = [("PLIMSOLL_SERVE__SERVER__BODY_S", "2"), ("PLIMSOLL_SERVE__SERVER__REQUEST_S", "2")];
        let config = load(file, &env, &[("server.request_s", "3")]).expect("reads");
        assert_eq!([config.server.head_s, config.server.body_s, config.server.request_s], [1, 2, 3]);
        assert_eq!(config.server.shutdown_s, 30, "and the default is below all");
        let env = [
            ("PLIMSOLL_SERVE__SERVER__TRUSTED_PROXIES", r#"["10.0.0.1"]"#),
            ("PLIMSOLL_SERVE__ISSUER__NAME", "wallet.example"),
            ("PLIMSOLL_SERVE__STORE__URL", "postgres://u:secret@db/p"),
        ];
        let config = load("", &env, &[("issuer.active", "\"2026\"")]).expect("reads");
        assert_eq!(config.server.trusted_proxies.len(), 1);
        assert_eq!((config.issuer.name.as_str(), config.issuer.active.as_deref()), ("wallet.example", Some("2026")));
        assert!(!toml::to_string(&config.shown()).expect("TOML").contains("secret"), "what is shown has no secret");
        assert_eq!(config.shown().store.url, "postgres://u:…@db/p");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_its_key_and_what_to_do() {
        refused("[server]\nlisten_on = 1", &[], &[], &["serve.toml", "server.listen_on", "expected one of `listen`"]);
        refused("[server\n", &[], &[], &["serve.toml", "line 1"]);
        refused(
            "",
            &[("PLIMSOLL_SERVE__SERVER__HEAD_S", "soon")],
            &[],
            &["PLIMSOLL_SERVE__SERVER__HEAD_S", "server.head_s"],
        );
        refused("", &[], &[("server.head_s", "0")], &["--set server.head_s", "1 or more"]);
        refused("", &[], &[("server.listen.port", "1")], &["--set server.listen.port"]);
        refused("", &[], &[("server..x", "1")], &["--set server..x"]);
        refused("[programme]\nrepository = \"r\"", &[], &[], &["programme.trust_root", "verified"]);
        let issuer = "[auth.issuers.bank]\niss = \"i\"\njwks = \"http://id.example/jwks\"\n";
        refused(issuer, &[], &[], &["auth.issuers.bank", "missing field `aud`"]);
        let issuer = format!("{issuer}aud = \"a\"\n");
        refused(&issuer, &[], &[], &["auth.issuers.bank.jwks", "this machine only"]);
        refused(&issuer, &[], &[("auth.issuers.bank.jwks", "http://127.0.0.1.evil.example/")], &["this machine only"]);
        assert!(load(&issuer, &[], &[("auth.issuers.bank.jwks", "http://127.0.0.1:8081/jwks")]).is_ok());
        let twins = format!("{issuer}[auth.issuers.other]\niss = \"i\"\naud = \"a\"\njwks = \"f\"\n")
            .replace("http://id.example/", "");
        refused(&twins, &[], &[], &["auth.issuers.other.aud", "guess"]);
        refused(&issuer, &[], &[("auth.issuers.bank.algorithms", "[\"HS256\"]")], &["HS256", "EdDSA"]);
        for url in ["limits.example", "https://", "https://limits.example/path", "ftp://x", "https://a@b"] {
            refused("", &[], &[("server.public_url", url)], &["server.public_url", "scheme and an authority"]);
        }
    }

    #[test]
    fn a_password_is_never_in_a_file_or_on_a_command_line() {
        let url = "postgres://u:hunter2@db/p";
        refused(&format!("[store]\nurl = \"{url}\""), &[], &[], &["store.url", "store.password"]);
        refused("", &[], &[("store.url", url)], &["seen by everybody"]);
        refused("[store]\nurl = \"postgres://db/p?password=hunter2\"", &[], &[], &["store.password"]);
        for message in [
            load(&format!("[store]\nurl = \"{url}\""), &[], &[]).expect_err("refused").to_string(),
            load("", &[], &[("store.url", url)]).expect_err("refused").to_string(),
        ] {
            assert!(!message.contains("hunter2"), "{message}");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("password");
        std::fs::write(&file, "p@ss/w:ord\n").expect("writes");
        let from = format!("{{ file = \"{}\" }}", file.display());
        let config = load("[store]\nurl = \"postgres://u@db/p\"", &[], &[]).expect("reads");
        assert_eq!(config.store_url().as_deref(), Ok("postgres://u@db/p"));
        let toml = format!("[store]\nurl = \"postgres://u@db/p\"\npassword = {from}");
        let config = load(&toml, &[], &[]).expect("reads");
        assert_eq!(config.store_url().as_deref(), Ok("postgres://u:p%40ss%2Fw%3Aord@db/p"));
        assert!(!format!("{:?}", config.secrets()[0].1.read("store.password")).contains("ord"), "nothing prints it");
    }
}
