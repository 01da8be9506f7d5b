//! What the system knows of processes: who descends from whom, on which addresses they listen, what they use. Empty where there is no `/proc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Fields of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: char,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// Ticks of the processor that it has used, in its own code and in the kernel.
    pub(super) ticks: u64,
    /// When it started, in ticks since the boot.
    pub(super) started: u64,
}

/// The process as it is now; none where it has gone.
pub(super) fn read_stat(process: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The second field may contain anything, so counting starts behind its closing bracket.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        started: number(19)?,
    })
}

/// Every process that can be read.
pub(super) fn all() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, read_stat(id)?))).collect()
}

/// The processes of a container: those of its group, and whatever descends from its first process.
pub(super) fn family(leader: u32, all: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
    let mut members: BTreeSet<u32> = all.iter().filter(|(id, stat)| **id == leader || stat.group == leader).map(|(id, _)| *id).collect();
    loop {
        let more: Vec<u32> =
            all.iter().filter(|(id, stat)| members.contains(&stat.parent) && !members.contains(id)).map(|(id, _)| *id).collect();
        if more.is_empty() {
            return members;
        }
        members.extend(more);
    }
}

/// Addresses on which the processes of a container take TCP connections.
pub(super) fn listeners(leader: u32) -> Vec<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut sockets = BTreeSet::new();
    for process in family(leader, &all()) {
        for entry in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned));
            sockets.extend(inode);
        }
    }
    let own = |row: &Row| row.state == LISTEN && sockets.contains(&row.inode);
    table(&leader.to_string()).into_iter().filter(own).map(|row| row.local).collect()
}

/// How many connections to one of these addresses of this machine are open.
pub(super) fn connections_to(addresses: &[SocketAddr]) -> usize {
    const ESTABLISHED: &str = "01";
    table("self").iter().filter(|row| row.state == ESTABLISHED && addresses.contains(&row.local)).count()
}

/// A socket of the system's tables.
struct Row {
    local: SocketAddr,
    state: String,
    inode: String,
}

/// The TCP sockets that a process could see.
fn table(process: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let mut fields = line.split_whitespace();
            let (local, state) = (fields.nth(1), fields.nth(1));
            if let (Some(local), Some(state), Some(inode)) = (local.and_then(address), state, fields.nth(5)) {
                rows.push(Row { local, state: state.to_owned(), inode: inode.to_owned() });
            }
        }
    }
    rows
}

/// `0100007F:1F90`: words in the order of this machine's bytes, the port as it is read.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> =
        host.as_bytes().chunks(8).map(|word| Some(u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?.to_ne_bytes())).collect();
    let bytes = words?.concat();
    let host = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        // Sockets of IPv6 that take IPv4 too are told as what they are for us.
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
    };
    let host = if host == IpAddr::V6(Ipv6Addr::UNSPECIFIED) { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { host };
    Some(SocketAddr::new(host, port))
}

/// Memory in bytes that the process alone would give back, and its share of what it has in common with others.
pub(super) fn memory(process: u32) -> u64 {
    let kibibytes = |file: &str, field: &str| {
        let text = fs::read_to_string(format!("/proc/{process}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(field))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    kibibytes("smaps_rollup", "Pss:").or_else(|| kibibytes("status", "VmRSS:")).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = parse_stat("12 (a) b (c) S 1 77 12 0 -1 4 1 0 0 0 30 12 0 0 20 0 1 0 4242 0").unwrap();
        assert_eq!(stat, Stat { state: 'S', parent: 1, group: 77, ticks: 42, started: 4242 });
    }

    #[test]
    fn a_family_is_the_group_and_all_descendants() {
        let stat = |parent, group| Stat { state: 'S', parent, group, ticks: 0, started: 0 };
        let all = BTreeMap::from([(10, stat(1, 10)), (11, stat(10, 10)), (12, stat(11, 12)), (13, stat(1, 10)), (14, stat(1, 14))]);
        assert_eq!(family(10, &all), BTreeSet::from([10, 11, 12, 13]));
    }

    #[test]
    fn listeners_of_this_process_are_found_by_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listeners(std::process::id());
        let address_of_it = listener.local_addr().unwrap();
        assert!(found.contains(&address_of_it), "{found:?}");
        assert_eq!(connections_to(&[address_of_it]), 0);
        let client = std::net::TcpStream::connect(address_of_it).unwrap();
        assert_eq!(connections_to(&[address_of_it]), 1);
        drop((client, listener));
        assert_eq!(address("00000000000000000000000000000000:1F90"), Some("0.0.0.0:8080".parse().unwrap()));
        assert!(memory(std::process::id()) > 100_000);
    }
}
