//! A wire between one replica and Redis that can be slow, silent or cut.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They pass; what Redis says arrives so much later.
    Open { delay: Duration },
    /// Connections stay and can be made, and nothing passes.
    Silent,
    /// Connections are closed, new ones at once.
    Cut,
}

impl Mode {
    pub(super) const CLEAR: Mode = Mode::Open { delay: Duration::ZERO };
}

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks on the wire in one direction.
const CHUNKS_MAX: usize = 1024;

/// A wire; it ends with this value.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    mode: watch::Sender<Mode>,
    running: JoinHandle<()>,
}

impl Wire {
    /// To a port of the loopback interface.
    pub(super) async fn to(port: u16) -> anyhow::Result<Wire> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = watch::Sender::new(Mode::CLEAR);
        let modes = mode.subscribe();
        let running = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, port, modes.clone()));
            }
        });
        Ok(Wire { address, mode, running })
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// One connection, until an end closes it or it is cut.
async fn connect(near: TcpStream, port: u16, mut modes: watch::Receiver<Mode>) {
    let mut cut = modes.clone();
    let work = async {
        // A silent wire makes a connection all the same: so does a network that loses packets behind a NAT.
        let is_there = modes.wait_for(|mode| *mode != Mode::Silent).await.is_ok();
        if !is_there {
            return None;
        }
        let far = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        near.set_nodelay(true).ok()?;
        far.set_nodelay(true).ok()?;
        let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
        tokio::select! {
            () = carry(near_out, far_in, modes.clone(), false) => {}
            () = carry(far_out, near_in, modes.clone(), true) => {}
        }
        Some(())
    };
    // Also when the wire is gone.
    let is_cut = async { cut.wait_for(|mode| *mode == Mode::Cut).await.is_ok() };
    tokio::select! {
        _ = work => {}
        _ = is_cut => {}
    }
}

/// One direction: a chunk is due when it came and the delay is over, so that delays do not add up.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, modes: watch::Receiver<Mode>, is_delayed: bool) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::select! {
        () = take(from, sender, modes.clone(), is_delayed) => {}
        () = give(to, receiver, modes) => {}
    }
}

async fn take(
    mut from: OwnedReadHalf,
    sender: mpsc::Sender<(Instant, Bytes)>,
    modes: watch::Receiver<Mode>,
    is_delayed: bool,
) {
    let mut chunk = BytesMut::new();
    loop {
        chunk.reserve(CHUNK_BYTES);
        let Ok(1..) = from.read_buf(&mut chunk).await else { return };
        let delay = match *modes.borrow() {
            Mode::Open { delay } if is_delayed => delay,
            _ => Duration::ZERO,
        };
        if sender.send((Instant::now() + delay, chunk.split().freeze())).await.is_err() {
            return;
        }
    }
}

async fn give(
    mut to: OwnedWriteHalf,
    mut receiver: mpsc::Receiver<(Instant, Bytes)>,
    mut modes: watch::Receiver<Mode>,
) {
    while let Some((due, chunk)) = receiver.recv().await {
        sleep_until(due).await;
        let is_open = modes.wait_for(|mode| *mode != Mode::Silent).await.is_ok();
        if !is_open || to.write_all(&chunk).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Answers every byte with itself.
    async fn echo() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut out, mut back) = socket.split();
                    let _ = tokio::io::copy(&mut out, &mut back).await;
                });
            }
        });
        port
    }

    async fn round_trip(socket: &mut TcpStream) -> std::io::Result<Duration> {
        let began = Instant::now();
        socket.write_all(b"x").await?;
        socket.read_exact(&mut [0]).await?;
        Ok(began.elapsed())
    }

    #[tokio::test]
    async fn is_slow_silent_and_cut() {
        let wire = Wire::to(echo().await).await.unwrap();
        let mut socket = TcpStream::connect(wire.address).await.unwrap();
        assert!(round_trip(&mut socket).await.unwrap() < Duration::from_millis(50));
        wire.set(Mode::Open { delay: Duration::from_millis(60) });
        assert!(round_trip(&mut socket).await.unwrap() >= Duration::from_millis(60));
        wire.set(Mode::Silent);
        let silent = timeout(Duration::from_millis(100), round_trip(&mut socket)).await;
        assert!(silent.is_err());
        wire.set(Mode::CLEAR);
        socket.read_exact(&mut [0]).await.unwrap();
        wire.set(Mode::Cut);
        assert!(round_trip(&mut socket).await.is_err());
    }
}
