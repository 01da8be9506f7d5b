//! Where kubectl is.

use std::path::{Path, PathBuf};

/// The oldest kubectl that is supported.
const OLDEST: u32 = 31;

/// kubectl on PATH; without it the test is skipped aloud, or fails where it is required.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file());
    let trouble = match &found {
        None => "kubectl is not on PATH".to_owned(),
        Some(program) => match minor_version(program) {
            Some(minor) if minor >= OLDEST => return found,
            minor => format!("{} is version 1.{minor:?}, 1.{OLDEST} is needed", program.display()),
        },
    };
    let required = std::env::var("SMOV_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == "kubectl"), "SMOV_REQUIRE names kubectl, but {trouble}");
    println!("skipped: {trouble}");
    None
}

fn minor_version(program: &Path) -> Option<u32> {
    let output = std::process::Command::new(program).args(["version", "--client", "-o", "json"]).output().ok()?;
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let minor = version["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches(|last: char| !last.is_ascii_digit()).parse().ok()
}
