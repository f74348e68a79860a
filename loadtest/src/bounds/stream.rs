//! One upload and one download of 1 GiB at once, which no proxy that holds bodies could pass on.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};

use super::client::Connection;
use super::content::{Content, Digested, sink};
use super::report::{Figure, MIB, Report};
use super::usage::Watch;
use super::world::World;

const SIZE_MIB: u64 = 1024;
const MEMORY_MIB: u64 = 64;
const UPLOAD: &str = "/api/uploads/repos/a/b/releases/1/assets?name=x";

pub(crate) async fn run(binary: &Path, report: &mut Report<impl Write>) -> anyhow::Result<()> {
    let world = World::start(binary).await?;
    let watch = Watch::start(world.tollgate.pid());
    let ((sent, stored), (served, received)) = tokio::try_join!(upload(&world), download(&world))?;
    let most = watch.most().await?;
    report.below("resident memory, the most sampled", Figure::Bytes(most), Figure::mib(MEMORY_MIB))?;
    world.report_peak(Figure::mib(MEMORY_MIB), report)?;
    let whole = |near: &Digested, far: &Digested| if near == far { near.bytes / MIB } else { 0 };
    report.all("MiB uploaded, SHA-256 equal", whole(&sent, &stored), SIZE_MIB)?;
    report.all("MiB downloaded, SHA-256 equal", whole(&served, &received), SIZE_MIB)
}

/// What was sent, and what arrived.
async fn upload(world: &World) -> anyhow::Result<(Digested, Digested)> {
    let (content, sent) = Content::new(SIZE_MIB * MIB);
    let mut connection = Connection::open(&world.tollgate.target).await?;
    let request = Request::post(UPLOAD).header("content-type", "application/octet-stream");
    let response = connection.send(request, content).await.context("the upload")?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    anyhow::ensure!(status == StatusCode::OK, "the upload: {status} {}", String::from_utf8_lossy(&answer));
    let stored = world.upstream.uploaded().context("no upload arrived")?;
    let sent = sent.lock().expect("nothing panics while it holds this lock").digested();
    Ok((sent, stored))
}

/// What upstream sent, and what arrived here.
async fn download(world: &World) -> anyhow::Result<(Digested, Digested)> {
    let mut connection: Connection<Empty<Bytes>> = Connection::open(&world.tollgate.target).await?;
    let path = format!("/repos/a/b/contents/{SIZE_MIB}.bin");
    let request = Request::get(path).header(ACCEPT, "application/vnd.github.raw+json");
    let response = connection.send(request, Empty::new()).await.context("the download")?;
    anyhow::ensure!(response.status() == StatusCode::OK, "the download: {}", response.status());
    let received = sink(response.into_body()).await.context("the download broke off")?;
    let served = world.upstream.downloaded().context("no download was asked for")?;
    Ok((served, received))
}
