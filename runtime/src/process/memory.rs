//! How much memory a process may take when nobody says: a quarter of the machine's, or of its container's.
//!
//! It measures nothing about ourselves. What would surprise: a limit on any control group above ours counts too.

use super::byte_size::ByteSize;
use std::fs;
use std::path::Path;

/// Assumed where the system does not tell; then each process takes a gibibyte.
const UNTOLD_BYTES: u64 = 4 << 30;

/// A quarter of the memory that this machine, or the container around us, has.
#[must_use]
pub fn memory_default() -> ByteSize {
    ByteSize(machine_bytes(Path::new("/")).unwrap_or(UNTOLD_BYTES) / 4)
}

/// The smallest of the machine's memory and the limits of the control groups that we are in, below `root`.
fn machine_bytes(root: &Path) -> Option<u64> {
    let total = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total_bytes(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| group_limits(root, line));
    total.into_iter().chain(limits).min()
}

/// `MemTotal` in the text of `/proc/meminfo`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The limits of a line of `/proc/self/cgroup` (`number:controllers:path`) and of the groups above it.
fn group_limits(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        _ => return Vec::new(),
    };
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    // "max", the word for no limit, is no number.
    let limit = |group: &Path| fs::read_to_string(root.join(mount).join(group).join(file)).ok()?.trim().parse().ok();
    groups.filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::TempDir::new().unwrap();
        for (path, body) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, body).unwrap();
        }
        machine_bytes(root.path())
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       8000 kB\nMemFree:  1 kB\n");

    #[test]
    fn without_a_limit_it_is_the_machines() {
        assert_eq!(machine(&[MEMINFO]), Some(8_192_000));
        let unlimited = [MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")];
        assert_eq!(machine(&unlimited), Some(8_192_000));
        assert_eq!(machine(&[]), None);
    }

    #[test]
    fn the_smallest_limit_of_the_groups_above_counts() {
        let nested = [
            MEMINFO,
            ("proc/self/cgroup", "0::/slice/unit\n"),
            ("sys/fs/cgroup/slice/memory.max", "4096\n"),
            ("sys/fs/cgroup/slice/unit/memory.max", "9000\n"),
        ];
        assert_eq!(machine(&nested), Some(4096));
        let first_version = [
            MEMINFO,
            ("proc/self/cgroup", "4:cpu:/x\n3:hugetlb,memory:/docker/abc\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n"),
        ];
        assert_eq!(machine(&first_version), Some(5000));
        let no_limit =
            [first_version[0], first_version[1], ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")];
        assert_eq!(machine(&no_limit), Some(8_192_000));
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory_default().0 > 1 << 20);
    }
}
