//! The program as an operator meets it: a first start on an empty machine, a rotation, a stop, and its exit codes.

#[cfg(all(unix, feature = "otlp"))]
mod otlp;

#[cfg(all(unix, feature = "https"))]
mod tls;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn plimsoll_serve(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll-serve"));
    command.current_dir(directory).env_clear();
    command
}

fn output(directory: &Path, args: &[&str]) -> Output {
    plimsoll_serve(directory).args(args).output().expect("runs")
}

#[track_caller]
fn refused(directory: &Path, args: &[&str], code: i32, told: &str) {
    let output = output(directory, args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(told), "{args:?}: {said}");
}

/// A running service. Killed when a test fails.
struct Running {
    child: Child,
    address: SocketAddr,
    /// The line that a test looked for in what was logged before serving.
    found: String,
    log: std::sync::mpsc::Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(directory: &Path, args: &[&str]) -> Self {
        Self::start_with(directory, args, &[], "")
    }

    fn start_with(directory: &Path, args: &[&str], env: &[(&str, &Path)], find: &str) -> Self {
        let mut child = plimsoll_serve(directory)
            .envs(env.iter().copied())
            .args([
                "--set",
                "server.listen=127.0.0.1:0",
                "--set",
                "log.format=json",
                "--set",
                "issuer.watch_s=1",
                "run",
            ])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let (told, log) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
        let mut running = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), found: String::new(), log };
        if !find.is_empty() {
            running.found = running.wait_for(find);
        }
        let line = running.wait_for("\"serving\"");
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON line");
        running.address = line["address"].as_str().expect("an address").parse().expect("reads");
        running
    }

    fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        let mut seen = Vec::new();
        while let Ok(line) = self.log.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no {text} in {seen:#?}")
    }

    fn get(&self, path: &str, token: Option<&str>) -> String {
        let mut stream = TcpStream::connect(self.address).expect("connects");
        let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{authorization}connection: close\r\n\r\n").expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
    }

    #[cfg(unix)]
    fn stop(mut self) -> Option<i32> {
        self.signal("-TERM");
        self.child.wait().expect("ends").code()
    }
}

#[cfg(unix)]
#[test]
fn a_first_start_on_an_empty_machine_serves_and_says_what_is_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::start(directory.path(), &[]);
    assert!(running.get("/healthz", None).starts_with("HTTP/1.1 200 "));
    let ready = running.get("/readyz", None);
    assert!(
        ready.starts_with("HTTP/1.1 200 ") && ready.contains("static floor") && ready.contains("no key signs"),
        "{ready}"
    );
    assert!(running.get("/v1/accounts/alice", None).starts_with("HTTP/1.1 401 "), "nobody can sign in");
    let console = running.get("/console", None);
    assert!(console.starts_with("HTTP/1.1 303 ") && console.contains("/console/sign-in"), "{console}");
    assert!(
        running.get("/docs", None).starts_with("HTTP/1.1 200 ")
            && running.get("/openapi.json", None).contains("/v1/sync")
    );
    assert!(directory.path().join("plimsoll-serve/plimsoll.db").is_file());
    assert!(!directory.path().join("plimsoll-serve/dev").exists(), "keys are made only for who asks");
    assert_eq!(running.stop(), Some(0));

    let again = Running::start(directory.path(), &[]);
    assert_eq!(again.stop(), Some(0), "and a second time, on what the first left");
}

#[cfg(unix)]
#[test]
fn a_developers_token_enters_and_what_it_may_do_is_its_own_account() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::start(directory.path(), &["--dev"]);
    let token = |args: &[&str]| {
        let output =
            output(directory.path(), &[&["token", "--dev-key", "plimsoll-serve/dev/token.pem"], args].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let desk = token(&["--admin", "root", "--role", "support"]);
    let answer = running.get("/v1/accounts/alice", Some(&desk));
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("NOT_FOUND"), "{answer}");
    // One character of the signature.
    let at = desk.len() - 20;
    let other = if desk[at..].starts_with('A') { "B" } else { "A" };
    let forged = format!("{}{other}{}", &desk[..at], &desk[at + 1..]);
    let answer = running.get("/v1/accounts/alice", Some(&forged));
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");

    use std::os::unix::fs::PermissionsExt as _;
    for key in ["token.pem", "grants/issuer.pem"] {
        let path = directory.path().join("plimsoll-serve/dev").join(key);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600, "{key}");
    }
    let shown = running.get("/metrics", None);
    for name in
        ["plimsoll_store_commit_duration_seconds_count", "plimsoll_border_refused_total{reason=\"signature\"} 1"]
    {
        assert!(shown.contains(name), "{name} is not in {shown}");
    }

    // The grant key is exchanged while it runs; the old one stays published.
    assert!(shown.contains("plimsoll_issuer_keys 1"));
    let grants = directory.path().join("plimsoll-serve/dev/grants");
    std::fs::copy(directory.path().join("plimsoll-serve/dev/token.pem"), grants.join("next.pem")).expect("copies");
    std::fs::write(grants.join("active"), "next").expect("writes");
    running.signal("-HUP");
    running.wait_for("\"published\":2");
    assert_eq!(running.stop(), Some(0));
}

#[cfg(unix)]
#[test]
fn logs_name_requests_and_routes_and_never_accounts() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::start(directory.path(), &["--dev"]);
    running.get("/v1/accounts/somebody-private", None);
    let line = running.wait_for("refused");
    let line2 = running.wait_for("\"status\":401");
    for line in [line, line2] {
        assert!(!line.contains("somebody-private") && line.contains("/v1/accounts/{id}"), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["span"]["id"].as_str().map(str::len), Some(22), "{line}");
    }
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn every_refusal_to_start_has_the_exit_code_of_its_cause() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    refused(at, &["run", "--unknown"], 2, "--unknown");
    refused(at, &["token", "--account", "a"], 2, "--dev-key");
    refused(at, &["token", "--dev-key", "none.pem", "--account", "a"], 7, "none.pem");
    refused(at, &["run", "--dev", "--set", "server.listen=0.0.0.0:0"], 2, "this machine only");
    refused(at, &["run", "--set", "server.lisen=x"], 4, "server.lisen");
    refused(at, &["--config", "none.toml", "run"], 4, "none.toml");
    refused(at, &["run", "--set", "issuer.keys=none"], 4, "none");
    refused(at, &["run", "--set", "programme.policy=none"], 4, "programme.policy");
    refused(at, &["run", "--set", "store.url=mysql://x"], 4, "store.url");
    std::fs::write(at.join("text.db"), "this is no database, and longer than a header would be".repeat(10))
        .expect("writes");
    refused(at, &["run", "--set", "store.url=sqlite:text.db"], 9, "store.url");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let listen = format!("server.listen={}", taken.local_addr().expect("bound"));
    refused(at, &["run", "--set", &listen], 7, "server.listen");
}

#[cfg(unix)]
#[test]
fn a_backup_of_a_running_service_is_restored_into_an_empty_one_and_nowhere_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let running = Running::start(at, &["--dev"]);
    let saved = output(at, &["backup", "one.plimsoll"]);
    assert!(saved.status.success(), "{saved:?}");
    refused(at, &["backup", "one.plimsoll"], 9, "one.plimsoll");
    refused(at, &["restore", "none.plimsoll"], 9, "none.plimsoll");
    assert_eq!(running.stop(), Some(0));
    let elsewhere = ["--set", "store.url=sqlite:elsewhere/it.db"];
    let restored = output(at, &[&elsewhere[..], &["restore", "one.plimsoll"]].concat());
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(restored.stdout, saved.stdout, "as many of everything");

    let mut bytes = std::fs::read(at.join("one.plimsoll")).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(at.join("bad.plimsoll"), bytes).expect("writes");
    refused(at, &["--set", "store.url=sqlite:third/it.db", "restore", "bad.plimsoll"], 9, "no whole backup");
}

#[test]
fn the_configuration_is_checked_and_shown_without_serving() {
    let directory = tempfile::tempdir().expect("a directory");
    let shown = output(directory.path(), &["config", "check"]);
    assert!(shown.status.success());
    let text = String::from_utf8(shown.stdout).expect("text");
    std::fs::write(directory.path().join("again.toml"), &text).expect("writes");
    let again = output(directory.path(), &["--config", "again.toml", "config", "check"]);
    assert_eq!(String::from_utf8(again.stdout).expect("text"), text, "what is shown is itself a configuration");
    assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1, "nothing was made");
    refused(
        directory.path(),
        &["--set", "auth.bridges.core={ algorithm = \"hmac-sha256\", secret = { env = \"NONE\" } }", "config", "check"],
        4,
        "NONE",
    );

    let described = output(directory.path(), &["openapi"]);
    let described: serde_json::Value = serde_json::from_slice(&described.stdout).expect("JSON");
    assert_eq!(described["openapi"], "3.1.0");
}
