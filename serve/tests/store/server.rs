//! A PostgreSQL of the test's own: Debian's binaries, a directory under the system's temporary one, a loopback port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    home: PathBuf,
    port: u16,
    process: Option<Child>,
    /// Stops the server and removes its files when this end of the pipe closes, however this process ends.
    guard: (Child, Option<ChildStdin>),
}

const GUARD: &str = r#"
cat >/dev/null
if [ -e "$0/data/postmaster.pid" ]; then
  pid=$(head -n 1 "$0/data/postmaster.pid")
  kill -QUIT "$pid" 2>/dev/null
  while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fi
rm -rf "$0"
"#;

impl Server {
    /// Starts a server.
    ///
    /// # Panics
    /// When PostgreSQL is not there: a store that was not tested is not a passed test.
    pub(crate) fn start() -> Self {
        Self::made(|home| {
            let mut init = as_server(&binary("initdb"));
            init.args(["--username=plimsoll", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D"]).arg(data(home));
            init
        })
    }

    /// Starts a standby that follows this one.
    pub(crate) fn standby(&self) -> Self {
        Self::made(|home| {
            let mut copy = as_server(&binary("pg_basebackup"));
            copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "plimsoll"]);
            copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]).arg(data(home));
            copy
        })
    }

    /// Starts a server on data that a program makes.
    fn made(make: impl FnOnce(&Path) -> Command) -> Self {
        let home = tempfile::Builder::new().prefix("plimsoll-postgres-").tempdir().expect("a temporary directory");
        let home = home.keep();
        // The server refuses to run as root: then everything of it belongs to `postgres`, as after Debian's installation.
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&home));
        }
        run(&mut make(&home));
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("has an address").port();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD]).arg(&home).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = guard.spawn().expect("sh runs");
        let pipe = guard.stdin.take();
        let mut server = Self { home, port, process: None, guard: (guard, pipe) };
        server.up();
        server
    }

    /// Starts it again after [`Self::down`] or [`Self::kill`].
    pub(crate) fn up(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("its log");
        let mut server = as_server(&binary("postgres"));
        server.arg("-D").arg(data(&self.home)).args(["-p", &self.port.to_string(), "-k"]).arg(&self.home);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
        self.process = Some(server.stdout(Stdio::null()).stderr(log).spawn().expect("the server starts"));
        // After a crash it syncs each of its files first: on a busy disk that took a minute.
        let deadline = Instant::now() + Duration::from_secs(240);
        while !self.answers() {
            let ended = self.process.as_mut().and_then(|p| p.try_wait().expect("may be asked"));
            let log = || std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "the server does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again if it does not answer.
    pub(crate) fn up_again(&mut self) {
        if !self.answers() {
            self.kill();
            self.up();
        }
    }

    /// Stops it at once, as when its machine loses power: what was not committed is gone.
    pub(crate) fn kill(&mut self) {
        self.end("QUIT");
    }

    /// Stops it as an operator does: connections are closed, transactions rolled back.
    pub(crate) fn down(&mut self) {
        self.end("INT");
    }

    /// A database of its own for a test.
    pub(crate) fn database(&self, name: &str) -> String {
        run(self.client("createdb").arg(name));
        self.url(name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgres://plimsoll@127.0.0.1:{}/{name}", self.port)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn client(&self, program: &str) -> Command {
        let mut client = Command::new(binary(program));
        client.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "plimsoll"]);
        client
    }

    fn answers(&self) -> bool {
        let mut ready = self.client("pg_isready");
        ready.args(["-d", "postgres"]).stdout(Stdio::null()).status().expect("pg_isready runs").success()
    }

    fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    fn end(&mut self, signal: &str) {
        let Some(mut process) = self.process.take() else { return };
        run(Command::new("kill").args([&format!("-{signal}"), &process.id().to_string()]));
        process.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end("QUIT");
        drop(self.guard.1.take());
        let _gone = self.guard.0.wait();
    }
}

fn data(home: &Path) -> PathBuf {
    home.join("data")
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

/// A program of the server, run as `postgres` where we are root.
fn as_server(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    // It must be able to enter the directory it starts in.
    command.current_dir("/");
    command
}

/// A program of PostgreSQL, newest version first.
fn binary(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut homes: Vec<(u32, PathBuf)> = versions
        .filter_map(|v| Some((v.file_name().to_str()?.parse().ok()?, v.path().join("bin").join(name))))
        .filter(|(_, path)| path.exists())
        .collect();
    homes.sort();
    let on_path = || {
        let paths = std::env::var_os("PATH")?;
        std::env::split_paths(&paths).map(|p| p.join(name)).find(|p| p.exists())
    };
    homes.pop().map(|(_, path)| path).or_else(on_path).unwrap_or_else(|| {
        panic!("PostgreSQL's {name} is missing, and the store has to be tested on it: apt-get install postgresql")
    })
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {told}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}
