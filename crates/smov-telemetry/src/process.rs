//! Figures of this process, under the names that Prometheus' client libraries give them
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). Read where somebody asks; nothing where there is no `/proc`.

use crate::text::Page;

/// What `/proc` says of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Figures {
    cpu_seconds: f64,
    start_seconds: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    threads: u64,
}

/// Writes the families; `prefix` is `process`, or `istio_agent_process` where an app's own may stand on the same page.
pub fn write(page: &mut Page, prefix: &str) {
    let Some(figures) = figures() else { return };
    let mut single = |name: &str, kind: &str, help: &str, value: &dyn std::fmt::Display| {
        page.single(&format!("{prefix}_{name}"), kind, help, value);
    };
    single("cpu_seconds_total", "counter", "User and system CPU time of the process in seconds.", &figures.cpu_seconds);
    single("resident_memory_bytes", "gauge", "Resident memory in bytes.", &figures.resident_bytes);
    single("virtual_memory_bytes", "gauge", "Virtual memory in bytes.", &figures.virtual_bytes);
    single("threads", "gauge", "Threads of the process.", &figures.threads);
    single("start_time_seconds", "gauge", "Start of the process in seconds since 1970.", &figures.start_seconds);
    if let Some(open) = open_files() {
        single("open_fds", "gauge", "Open file descriptors.", &open);
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        single("max_fds", "gauge", "Open file descriptors allowed at most.", &limit);
    }
}

fn open_files() -> Option<usize> {
    // The reading itself has one open.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

fn figures() -> Option<Figures> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let (ticks, page) = (rustix::param::clock_ticks_per_second(), rustix::param::page_size());
    parse(&stat, boot, ticks, page as u64)
}

/// `/proc/self/stat`: the program's name is in brackets and may hold anything, so fields are counted from its end.
fn parse(stat: &str, boot: u64, ticks: u64, page: u64) -> Option<Figures> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // Field 3 of the manual is the first one here.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let seconds = |count: u64| count as f64 / ticks as f64;
    Some(Figures {
        cpu_seconds: seconds(number(14)? + number(15)?),
        threads: number(20)?,
        start_seconds: boot as f64 + seconds(number(22)?),
        virtual_bytes: number(23)?,
        resident_bytes: number(24)? * page,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 1000 8192 3 18446744073709551615";
        let figures = parse(stat, 100, 100, 4096).unwrap();
        assert_eq!(figures, Figures { cpu_seconds: 3.0, start_seconds: 110.0, virtual_bytes: 8192, resident_bytes: 12288, threads: 4 });
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_figures() {
        let mut page = Page::new();
        write(&mut page, "process");
        let text = page.into_text();
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
            assert!(text.contains(&format!("\n{name} ")), "{name} in\n{text}");
        }
    }
}
