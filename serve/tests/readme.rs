//! The README's requests, run by a shell against the program itself on an empty directory.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends the service however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The blocks of the README that say they are run here.
fn requests() -> String {
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> = readme
        .split("<!-- run by tests/readme.rs -->\n```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert_eq!(blocks.len(), 2, "the README's requests");
    blocks.concat()
}

#[test]
fn the_readmes_requests_work_on_an_empty_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = env!("CARGO_BIN_EXE_plimsoll-serve");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let log = directory.path().join("log");
    let _service = Command::new(program)
        .args(["run", "--dev", "--set", &format!("server.listen={address}")])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("a log"))
        .spawn()
        .map(Running)
        .expect("starts");
    let serving = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("serving"));
    let until = Instant::now() + Duration::from_secs(60);
    while !serving() {
        assert!(Instant::now() < until, "{}", std::fs::read_to_string(&log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }

    let bin = std::path::Path::new(program).parent().expect("a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let script = format!("set -euo pipefail\nAPI=http://{address}\n{}", requests());
    let told = Command::new("bash").args(["-c", &script]).current_dir(directory.path()).env("PATH", path).output();
    let told = told.expect("bash runs");
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{out}\n{err}\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    for part in ["\"balance\":168150", "\"jws\":\"", "\"safe_offline_balance\":\"", "\"keys\":["] {
        assert!(out.contains(part), "{part} is missing in\n{out}");
    }
}
