//! What the kernel says a process uses.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::report::Figure;

/// Between two looks at the memory.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    /// The most since the process started, kept by the kernel: no peak between two looks is missed.
    pub(crate) peak: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Memory> {
        let path = format!("/proc/{pid}/status");
        let status =
            std::fs::read_to_string(&path).with_context(|| format!("{path}: has tollgate ended?"))?;
        Memory::parse(&status).with_context(|| format!("{path} does not tell the memory"))
    }

    /// From the lines `VmRSS:` and `VmHWM:` of proc(5).
    fn parse(status: &str) -> Option<Memory> {
        let kib = |name: &str| -> Option<u64> {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Memory { now: kib("VmRSS:")? * 1024, peak: kib("VmHWM:")? * 1024 })
    }
}

/// Looks at a process's memory until asked.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<u64>>,
}

impl Watch {
    pub(crate) fn start(pid: u32) -> Watch {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut most = 0;
            loop {
                tokio::select! {
                    _ = looks.tick() => most = most.max(Memory::of(pid)?.now),
                    _ = &mut stopped => return Ok(most.max(Memory::of(pid)?.now)),
                }
            }
        });
        Watch { stop, task }
    }

    /// The most that was seen.
    pub(crate) async fn most(self) -> anyhow::Result<u64> {
        let _ = self.stop.send(());
        self.task.await?
    }
}

/// Bytes in the kernel's queues, either way, of all TCP connections of these ports.
pub(crate) fn queued(ports: [u16; 2]) -> anyhow::Result<u64> {
    Ok(sum_queues(&std::fs::read_to_string("/proc/net/tcp")?, ports))
}

/// From the lines of proc_net_tcp(5): ports are behind the addresses' colons, queues are the fifth
/// column, all in hexadecimal. A listener's "queue" is a number of connections.
fn sum_queues(table: &str, ports: [u16; 2]) -> u64 {
    const LISTEN: &str = "0A";
    let bytes = |line: &str| -> Option<u64> {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote) = (columns.next()?, columns.next()?);
        let (state, queues) = (columns.next()?, columns.next()?);
        let is_one = |end: &str| {
            let port = end.rsplit(':').next().and_then(|port| u16::from_str_radix(port, 16).ok());
            port.is_some_and(|port| ports.contains(&port))
        };
        if state == LISTEN || !(is_one(local) || is_one(remote)) {
            return None;
        }
        let (sent, received) = queues.split_once(':')?;
        Some(u64::from_str_radix(sent, 16).ok()? + u64::from_str_radix(received, 16).ok()?)
    };
    table.lines().filter_map(bytes).sum()
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> anyhow::Result<u64> {
    let path = PathBuf::from(format!("/proc/{pid}/fd"));
    Ok(std::fs::read_dir(path)?.count() as u64)
}

/// Waits for the descriptors to come down to a number; gives how many there are in the end.
pub(crate) async fn descriptors_settled(
    pid: u32,
    at_most: u64,
    patience: Duration,
) -> anyhow::Result<Figure> {
    let deadline = Instant::now() + patience;
    loop {
        let open = descriptors(pid)?;
        if open <= at_most || Instant::now() >= deadline {
            return Ok(Figure::Count(open));
        }
        sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let status =
            "Name:\ttollgate\nVmPeak:\t  999 kB\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\nThreads:\t3\n";
        let memory = Memory::parse(status).unwrap();
        assert_eq!((memory.now, memory.peak), (10 << 20, 20 << 20));
        for wrong in ["", "VmRSS:\t1 kB\n", "VmHWM:\t1 kB\nVmRSS:\tx kB\n", "VmHWM:\t1\nVmRSS:\t1\n"] {
            assert_eq!(Memory::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sums_what_waits_in_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000009 00:0 0\n\
             1: 0100007F:1F90 0100007F:D431 01 00000010:00000001 00:0 0\n\
             2: 0100007F:D431 0100007F:1F90 01 00000000:00000100 00:0 0\n\
             3: 0100007F:0050 0100007F:D432 01 00001000:00000000 00:0 0\n\
             4: 0100007F:0051 0100007F:D433 01 00010000:00010000 00:0 0\n";
        assert_eq!(sum_queues(table, [8080, 80]), 0x1111);
        assert_eq!(sum_queues(table, [1, 2]), 0);
        assert_eq!(sum_queues("", [8080, 80]), 0);
    }

    #[tokio::test]
    async fn watches_a_process() {
        let own = std::process::id();
        let most = Watch::start(own).most().await.unwrap();
        assert!(most > 0 && most <= Memory::of(own).unwrap().peak);
        assert!(descriptors(own).unwrap() > 2);
    }
}
