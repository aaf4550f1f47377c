//! What a process has used so far, as Linux tells it; elsewhere nothing is known.

use rustix::param::clock_ticks_per_second;

/// The use of time and memory.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on the processors, in the process and in the kernel on its behalf.
    pub cpu_seconds: f64,
    /// The memory that is resident now, in bytes.
    pub resident_bytes: u64,
    /// The most memory that was resident at once, in bytes.
    pub peak_bytes: u64,
}

impl Usage {
    /// Of the process `pid`.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let cpu_seconds = cpu_ticks(&stat)? as f64 / clock_ticks_per_second() as f64;
        let bytes = |name| Some(kib(&status, name)? * 1024);
        Some(Self { cpu_seconds, resident_bytes: bytes("VmRSS:")?, peak_bytes: bytes("VmHWM:")? })
    }
}

/// Processor time of the process `pid`, of its living children, and of those that have ended.
pub fn cpu_seconds_with_children(pid: u32) -> Option<f64> {
    let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let own = stat(&pid.to_string())?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    // A child that has ended meanwhile is missed once.
    let living: u64 = children.split_whitespace().filter_map(|child| cpu_ticks(&stat(child)?)).sum();
    Some((cpu_ticks(&own)? + ended_children_ticks(&own)? + living) as f64 / clock_ticks_per_second() as f64)
}

/// `utime` and `stime`.
fn cpu_ticks(stat: &str) -> Option<u64> {
    Some(field(stat, 14)? + field(stat, 15)?)
}

/// `cutime` and `cstime`.
fn ended_children_ticks(stat: &str) -> Option<u64> {
    Some(field(stat, 16)? + field(stat, 17)?)
}

/// The field that the manual counts as `number`, beyond the second: that is the program's name in parentheses, which may
/// hold anything.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_do_not_confuse() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 7 5 20 0 4 0 100 1000 200";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(ended_children_ticks(stat), Some(12));
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn a_line_is_found_among_the_others() {
        let status = "Name:\thookcast\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\nVmRSS:\t  256 kB\n";
        assert_eq!([kib(status, "VmHWM:"), kib(status, "VmRSS:"), kib(status, "VmNo:")], [Some(512), Some(256), None]);
    }
}
