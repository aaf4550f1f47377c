//! What a process has used so far, as Linux tells it; elsewhere nothing is known.

use rustix::param::clock_ticks_per_second;

/// The use of time and memory.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on the processors, in the process and in the kernel on its behalf.
    pub cpu_seconds: f64,
    /// The most memory that was resident at once, in bytes.
    pub peak_bytes: u64,
}

impl Usage {
    /// Of the process `pid`.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let cpu_seconds = cpu_ticks(&stat)? as f64 / clock_ticks_per_second() as f64;
        Some(Self { cpu_seconds, peak_bytes: peak_kib(&status)? * 1024 })
    }
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may hold anything; `utime` and `stime` are the 14th
    // and the 15th.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_programs_do_not_confuse() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 200";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn the_peak_is_found_among_the_others() {
        assert_eq!(peak_kib("Name:\thookcast\nVmPeak:\t  900 kB\nVmHWM:\t  512 kB\n"), Some(512));
    }
}
