//! Lines arrive whole and in order, over rotation and full disks.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, SystemClock};

fn start(path: &Path) -> (Audit, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    (Audit::start(&AuditLog::File(path.to_owned()), Arc::clone(&metrics)).unwrap(), metrics)
}

fn record(audit: &Audit, request_id: &str) -> Record {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let facts = Facts { request_id: request_id.to_owned(), agent: "worker".to_owned(), ..Facts::default() };
    Record::new(audit, &clock, facts)
}

fn ids(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["request_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_line_is_written_when_the_last_lets_go() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let (audit, _) = start(&path);
    let first = Arc::new(record(&audit, "1"));
    let second = Arc::clone(&first);
    drop(first);
    audit.flush().await;
    assert_eq!(ids(&path), Vec::<String>::new());
    second.note(|facts| facts.upstream_status = Some(201));
    drop(second);
    audit.flush().await;
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(r#""event":"call""#) && text.contains(r#""upstream_status":201"#), "{text}");
}

#[tokio::test]
async fn the_file_may_be_rotated_and_truncated() {
    let directory = TempDir::new().unwrap();
    let (path, old) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
    let (audit, metrics) = start(&path);
    record(&audit, "1").approve().await.unwrap();
    audit.flush().await;
    std::fs::rename(&path, &old).unwrap();
    drop(record(&audit, "2"));
    audit.flush().await;
    assert_eq!((ids(&old), ids(&path)), (vec!["1".to_owned(), "1".to_owned()], vec!["2".to_owned()]));
    std::fs::write(&path, "").unwrap();
    drop(record(&audit, "3"));
    audit.flush().await;
    assert_eq!(ids(&path), ["3"]);
    std::fs::remove_file(&path).unwrap();
    drop(record(&audit, "4"));
    audit.flush().await;
    assert_eq!(ids(&path), ["4"]);
    assert_eq!(metrics.audit_lost.with_label_values::<&str>(&[]).get(), 0);
}

#[tokio::test]
async fn a_torn_line_spoils_no_other() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    std::fs::write(&path, "{\"request_id\":\"torn").unwrap();
    let (audit, _) = start(&path);
    drop(record(&audit, "1"));
    audit.flush().await;
    assert_eq!(ids(&path), ["1"]);
}

#[tokio::test]
async fn a_restart_adds_no_empty_line() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    for id in ["1", "2"] {
        let (audit, _) = start(&path);
        drop(record(&audit, id));
        audit.flush().await;
    }
    assert_eq!(ids(&path), ["1", "2"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn a_full_disk_is_told_to_who_must_know() {
    let (audit, metrics) = start(Path::new("/dev/full"));
    let approved = record(&audit, "1");
    assert_eq!(approved.approve().await, Err(AuditUnavailable));
    drop(approved);
    audit.flush().await;
    assert_eq!(metrics.audit_lost.with_label_values::<&str>(&[]).get(), 2);
}

#[tokio::test]
async fn switched_off_it_holds_nothing_up() {
    let audit = Audit::start(&AuditLog::Off, Arc::new(Metrics::new())).unwrap();
    assert_eq!(record(&audit, "1").approve().await, Ok(()));
}
