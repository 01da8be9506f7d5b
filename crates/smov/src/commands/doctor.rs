//! `smov doctor`: is this machine ready, and what to do where it is not.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::json;

use crate::cli::{Global, Output};
use crate::failure::{Exit, Failure, Outcome};
use crate::mesh::state::RunInfo;
use crate::mesh::store::{find_program, find_server};
use crate::printer::{self, BAD, CTX2, GOOD, paint};
use crate::text::{self, Language, Text};

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Fine,
    /// Something is missing that smov can do without.
    Optional,
    Broken,
}

struct Finding {
    name: String,
    level: Level,
    detail: String,
    fix: Option<String>,
}

/// Runs the command; exit code 1 when something is broken.
pub(crate) fn run(global: &Global, port: u16, language: Language) -> Outcome {
    let findings = [
        platform(language),
        compiler(language),
        page_port(global, port, language),
        proxies(language),
        kubectl(language),
        redis(language),
        envoy(language),
        memory(language),
        state(global, language),
    ];
    if global.output == Output::Json {
        let level = |level| match level {
            Level::Fine => "fine",
            Level::Optional => "optional",
            Level::Broken => "broken",
        };
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| json!({"check": finding.name, "level": level(finding.level), "detail": finding.detail, "fix": finding.fix}))
            .collect();
        printer::line(&serde_json::to_string_pretty(&rows).expect("plain data serialises"));
    } else {
        for finding in &findings {
            let mark = match finding.level {
                Level::Fine => paint(GOOD, "✓"),
                Level::Optional => paint(CTX2, "○"),
                Level::Broken => paint(BAD, "✕"),
            };
            printer::line(&format!("{mark} {}: {}", finding.name, finding.detail));
            if let Some(fix) = &finding.fix {
                printer::line(&format!("    {fix}"));
            }
        }
    }
    if findings.iter().any(|finding| finding.level == Level::Broken) { Err(Failure::quiet(Exit::Check)) } else { Ok(()) }
}

fn finding(language: Language, name: Text, level: Level, detail: impl Into<String>, fix: Option<(Text, &[&str])>) -> Finding {
    Finding {
        name: language.line(name, &[]),
        level,
        detail: detail.into(),
        fix: fix.map(|(text, arguments)| language.line(text, arguments)),
    }
}

fn platform(language: Language) -> Finding {
    let name = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    if cfg!(target_os = "linux") {
        finding(language, text::DOCTOR_PLATFORM, Level::Fine, name, None)
    } else {
        finding(language, text::DOCTOR_PLATFORM, Level::Broken, name, Some((text::LINUX_ONLY_HINT, &[])))
    }
}

fn compiler(language: Language) -> Finding {
    match ["cc", "gcc", "clang"].iter().find_map(|name| find_program(name)) {
        Some(path) => finding(language, text::DOCTOR_COMPILER, Level::Fine, path.display().to_string(), None),
        None => finding(language, text::DOCTOR_COMPILER, Level::Optional, "–", Some((text::DOCTOR_COMPILER_FIX, &[]))),
    }
}

fn page_port(global: &Global, port: u16, language: Language) -> Finding {
    let number = port.to_string();
    let name = language.line(text::DOCTOR_PORT, &[&number]);
    let ours = RunInfo::of_running(&global.state_dir).ok().filter(|info| info.page.ends_with(&format!(":{port}")));
    let (level, detail, fix) = match (TcpListener::bind((Ipv4Addr::LOCALHOST, port)), ours) {
        (Ok(_), _) => (Level::Fine, language.line(text::DOCTOR_OK, &[]), None),
        (Err(_), Some(info)) => (Level::Fine, format!("smov (pid {})", info.pid), None),
        (Err(error), None) => {
            (Level::Broken, error.to_string(), Some(language.line(text::PORT_TAKEN_HINT, &[&port.wrapping_add(1).to_string(), &number])))
        }
    };
    Finding { name, level, detail, fix }
}

/// Proxy variables of this shell that would catch requests to localhost.
pub(crate) fn catching_proxy_variables() -> Vec<String> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let exempt = ["no_proxy", "NO_PROXY"]
        .iter()
        .filter_map(|name| value(name))
        .any(|list| list == "*" || list.split(',').any(|entry| entry.trim() == "localhost"));
    if exempt {
        return Vec::new();
    }
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].iter().filter(|name| value(name).is_some()).map(ToString::to_string).collect()
}

fn proxies(language: Language) -> Finding {
    let catching = catching_proxy_variables();
    if catching.is_empty() {
        return finding(language, text::DOCTOR_PROXY, Level::Fine, language.line(text::DOCTOR_OK, &[]), None);
    }
    let names = catching.join(", ");
    finding(language, text::DOCTOR_PROXY, Level::Optional, names.clone(), Some((text::PROXY_VARIABLES, &[&names])))
}

fn kubectl(language: Language) -> Finding {
    let Some(path) = find_program("kubectl") else {
        return finding(language, text::DOCTOR_KUBECTL, Level::Optional, "–", Some((text::DOCTOR_KUBECTL_FIX, &[])));
    };
    let output = std::process::Command::new(&path).args(["version", "--client", "-o", "json"]).output().ok();
    let version: Option<serde_json::Value> = output.and_then(|output| serde_json::from_slice(&output.stdout).ok());
    let git = version.as_ref().and_then(|version| version["clientVersion"]["gitVersion"].as_str()).unwrap_or("?").to_owned();
    let minor = version
        .as_ref()
        .and_then(|version| version["clientVersion"]["minor"].as_str())
        .and_then(|minor| minor.trim_end_matches('+').parse::<u32>().ok());
    let detail = format!("{git} ({})", path.display());
    if minor.is_some_and(|minor| minor >= 31) {
        finding(language, text::DOCTOR_KUBECTL, Level::Fine, detail, None)
    } else {
        finding(language, text::DOCTOR_KUBECTL, Level::Optional, detail, Some((text::DOCTOR_KUBECTL_OLD, &[&git])))
    }
}

fn redis(language: Language) -> Finding {
    match find_server() {
        Some(path) => finding(language, text::DOCTOR_REDIS, Level::Fine, path.display().to_string(), None),
        None => finding(language, text::DOCTOR_REDIS, Level::Optional, "–", Some((text::DOCTOR_REDIS_FIX, &[]))),
    }
}

fn envoy(language: Language) -> Finding {
    let Some(path) = smov_envoy::find_binary() else {
        return finding(language, text::DOCTOR_ENVOY, Level::Optional, "–", Some((text::DOCTOR_ENVOY_FIX, &[])));
    };
    let output = std::process::Command::new(&path).arg("--version").output().ok();
    let version = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    // …  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    match version.trim().split('/').rev().nth(3) {
        Some(number) => finding(language, text::DOCTOR_ENVOY, Level::Fine, format!("{number} ({})", path.display()), None),
        None => {
            let detail = path.display().to_string();
            finding(language, text::DOCTOR_ENVOY, Level::Optional, detail, Some((text::DOCTOR_ENVOY_FIX, &[])))
        }
    }
}

fn memory(language: Language) -> Finding {
    let text_of = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = text_of
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    match free.map(|kilobytes| kilobytes / 1024) {
        Some(megabytes) if megabytes < 200 => finding(
            language,
            text::DOCTOR_MEMORY,
            Level::Broken,
            format!("{megabytes} MB"),
            Some((text::DOCTOR_MEMORY_LOW, &[&megabytes.to_string()])),
        ),
        Some(megabytes) => finding(language, text::DOCTOR_MEMORY, Level::Fine, format!("{megabytes} MB"), None),
        None => finding(language, text::DOCTOR_MEMORY, Level::Optional, "?", None),
    }
}

fn state(global: &Global, language: Language) -> Finding {
    let folder = &global.state_dir;
    let probe = if folder.is_dir() {
        folder.clone()
    } else {
        folder.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| ".".into(), ToOwned::to_owned)
    };
    match tempfile_in(&probe) {
        Ok(()) => finding(language, text::DOCTOR_STATE, Level::Fine, folder.display().to_string(), None),
        Err(error) => finding(
            language,
            text::DOCTOR_STATE,
            Level::Broken,
            format!("{}: {error}", folder.display()),
            Some((text::STATE_UNWRITABLE_HINT, &[])),
        ),
    }
}

/// May a file be made here?
fn tempfile_in(folder: &std::path::Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".smov-probe-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}
