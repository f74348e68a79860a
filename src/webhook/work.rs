//! Processes queued deliveries: reads them and tells all replicas.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use percent_encoding::percent_decode;
use tokio::sync::mpsc;

use super::event::{self, Garbled};
use super::inbox::Delivery;
use super::receive::Gate;
use crate::cache::changes::Change;
use crate::cache::feed::{Feed, News};
use crate::metrics::Metrics;

/// Deliveries processed together, so that they share messages to the other replicas.
const BATCH_MAX: usize = 64;
/// Longest body in bytes that is parsed here; a longer one goes to a blocking thread.
const READ_HERE_BYTES_MAX: usize = 128 * 1024;
const MARK_SHED_EVERY: Duration = Duration::from_secs(1);

/// Processes deliveries until the inbox is closed.
pub(super) async fn work(mut deliveries: mpsc::Receiver<Delivery>, feed: Arc<Feed>, metrics: Arc<Metrics>) {
    let mut batch = Vec::new();
    while deliveries.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut told = Vec::with_capacity(batch.len());
        for delivery in batch.drain(..) {
            let event = event::label(&delivery.event);
            let id = delivery.id.clone();
            let news = match read(delivery).await {
                Ok(news) => News { delivery: Some(id), ..news },
                Err(Garbled) => {
                    metrics.webhook_deliveries.with_label_values(&[event, "garbled"]).inc();
                    tracing::warn!(event, "a signed delivery can't be read; everything counts as changed");
                    News::changed(Change::Everything)
                }
            };
            told.push((event, news));
        }
        join_all(told.into_iter().map(|(event, news)| tell(event, news, &feed, &metrics))).await;
    }
}

/// Tells all replicas. Only then is the delivery done; otherwise GitHub can be asked to redeliver it.
async fn tell(event: &'static str, news: News, feed: &Feed, metrics: &Metrics) {
    let is_read = news.delivery.is_some();
    let result = match feed.publish(news).await {
        Ok(()) => "accepted",
        Err(_) => "failed",
    };
    if is_read {
        metrics.webhook_deliveries.with_label_values(&[event, result]).inc();
    }
}

/// A delivery that found no room may have reported anything, so everything counts as changed.
pub(super) async fn mark_what_was_shed(gate: Arc<Gate>, feed: Arc<Feed>) {
    loop {
        gate.shed.notified().await;
        tracing::warn!(
            "deliveries of the webhook were refused for want of room; everything counts as changed"
        );
        let _ = feed.publish(News::changed(Change::Everything)).await;
        tokio::time::sleep(MARK_SHED_EVERY).await;
    }
}

async fn read(delivery: Delivery) -> Result<News, Garbled> {
    if delivery.body.len() <= READ_HERE_BYTES_MAX {
        return read_here(&delivery);
    }
    tokio::task::spawn_blocking(move || read_here(&delivery)).await.map_err(|_| Garbled)?
}

fn read_here(delivery: &Delivery) -> Result<News, Garbled> {
    let body = delivery.body.as_ref();
    let json = if delivery.is_form { payload(body).ok_or(Garbled)? } else { Cow::Borrowed(body) };
    event::read(&delivery.event, &json, delivery.is_of_account)
}

/// The JSON in a form's `payload` field.
fn payload(form: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut fields = form.split(|byte| *byte == b'&');
    let value = fields.find_map(|field| field.strip_prefix(b"payload="))?;
    let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Some(Cow::Owned(percent_decode(&spaced).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::changes::{Area, Changes, Reach};
    use crate::clock::{Clock, ManualClock};
    use crate::webhook::inbox::{DELIVERIES_MAX, Inbox};

    #[test]
    fn finds_the_json_in_a_form() {
        assert_eq!(payload(b"payload=%7B%22a%22%3A+%22b%2Bc%22%7D").unwrap(), &b"{\"a\": \"b+c\"}"[..]);
        assert_eq!(payload(b"x=1&payload={}&y=2").unwrap(), &b"{}"[..]);
        assert_eq!(payload(b"x=1&xpayload={}"), None);
        assert_eq!(payload(b""), None);
    }

    #[tokio::test]
    async fn a_delivery_is_done_after_its_work_and_only_then() {
        let clock = Arc::new(ManualClock::at_seconds(1_000));
        let changes = Arc::new(Changes::new(Arc::clone(&clock) as _));
        let metrics = Arc::new(Metrics::new());
        let feed = Arc::new(Feed::new(Arc::clone(&changes), None, Arc::clone(&metrics)));
        let (sender, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let inbox = Inbox::new(sender, &metrics);
        for (id, json) in [("good", "{\"repository\":{\"full_name\":\"Acme/Widgets\"}}"), ("bad", "{\"")] {
            let mut body = inbox.enter().unwrap();
            body.push(json.as_bytes(), json.len()).unwrap();
            let (id, event) = (id.to_owned(), "push".to_owned());
            inbox.put(Delivery { id, event, is_form: false, is_of_account: true, body }).unwrap();
        }
        assert!(!feed.is_delivered("good"), "nothing was worked yet");
        inbox.close();
        work(deliveries, Arc::clone(&feed), Arc::clone(&metrics)).await;
        assert!(feed.is_delivered("good") && !feed.is_delivered("bad"));
        let reach = Reach { repository: Some("acme/widgets".to_owned()), area: Some(Area::Code) };
        assert_eq!(changes.last(&reach), clock.now_ms());
        let text = metrics.render();
        for (result, count) in [("accepted", 1), ("garbled", 1)] {
            let line =
                format!("tollgate_webhook_deliveries_total{{event=\"push\",result=\"{result}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
