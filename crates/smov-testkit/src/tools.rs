//! Programs that some tests need. A missing one is said aloud, and is a failure where `SMOV_REQUIRE` names it.

use std::path::PathBuf;

/// Where a program is, by PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Is the program here? If not, says what is skipped; panics when `SMOV_REQUIRE=kubectl,redis,chromium,envoy` names it.
pub fn found(program: &str) -> bool {
    let there = match program {
        "redis" => which("redis-server").or_else(|| which("valkey-server")).is_some(),
        "kubectl" => which("kubectl").is_some_and(|_| kubectl_is_recent()),
        "chromium" => ["chromium", "chromium-browser", "google-chrome"].iter().any(|name| which(name).is_some()) && which("node").is_some(),
        "envoy" => match std::env::var_os("SMOV_ENVOY").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path).is_file(),
            None => which("envoy").is_some(),
        },
        other => which(other).is_some(),
    };
    if !there {
        let required = std::env::var("SMOV_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name == program), "SMOV_REQUIRE names {program}, but it is not on this machine");
        report(&format!("skipped: needs {program} (SMOV_REQUIRE={program} makes this a failure)"));
    }
    there
}

/// Client 1.31 or later (older ones speak another dialect of discovery).
fn kubectl_is_recent() -> bool {
    let output = std::process::Command::new("kubectl").args(["version", "--client", "-o", "json"]).output();
    let version = output.ok().and_then(|output| serde_json::from_slice::<serde_json::Value>(&output.stdout).ok());
    let minor = version.as_ref().and_then(|version| version["clientVersion"]["minor"].as_str()).unwrap_or("0");
    minor.trim_end_matches('+').parse::<u32>().is_ok_and(|minor| minor >= 31)
}

#[expect(clippy::print_stderr, reason = "a test's note to whoever runs it")]
fn report(text: &str) {
    eprintln!("{text}");
}
