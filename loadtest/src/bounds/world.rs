//! A tollgate before its upstream, and the ways to speak to it.

use std::io::Write;
use std::path::Path;

use super::process::Process;
use super::report::{Figure, Report};
use super::upstream::Upstream;
use super::usage::{Memory, descriptors};

/// One of each; the process goes first.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) tollgate: Process,
    pub(crate) upstream: Upstream,
}

impl World {
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<World> {
        World::with(binary, false).await
    }

    pub(crate) async fn with_tls(binary: &Path) -> anyhow::Result<World> {
        World::with(binary, true).await
    }

    async fn with(binary: &Path, has_tls: bool) -> anyhow::Result<World> {
        let upstream = Upstream::start().await?;
        let tollgate = Process::start(binary, upstream.address, has_tls).await?;
        Ok(World { tollgate, upstream })
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.tollgate.pid())
    }

    pub(crate) fn descriptors(&self) -> anyhow::Result<u64> {
        descriptors(self.tollgate.pid())
    }

    /// What tollgate used at most since it started, and what it complained about.
    pub(crate) fn report_peak(&self, bound: Figure, report: &mut Report<impl Write>) -> anyhow::Result<()> {
        report.below("resident memory, the most (VmHWM)", Figure::Bytes(self.memory()?.peak), bound)?;
        for complaint in self.tollgate.complaints() {
            report.note(&format!("tollgate: {complaint}"))?;
        }
        Ok(())
    }
}
