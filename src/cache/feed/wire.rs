//! A message on the channel: `REPLICA NUMBER`, a line end, and the news as JSON.
//!
//! Each replica numbers its messages, so that a listener notices a missing one. Anybody may have written what
//! comes from Redis: it is bounded, and unreadable input is an error, never a panic.

use rustc_hash::FxHashMap;
use thiserror::Error;

use super::news::News;

/// Larger than the news of one message can be.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
const NAME_BYTES: usize = 16;
/// Replicas whose numbers are tracked.
const REPLICAS_MAX: usize = 1_024;

/// The message can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no message of a replica's")]
pub(super) struct Garbled;

/// A message as received.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) replica: &'a str,
    pub(super) number: u64,
    news: &'a str,
}

impl Message<'_> {
    /// # Errors
    /// When it is too long, or no replica wrote it.
    pub(super) fn read(bytes: &[u8]) -> Result<Message<'_>, Garbled> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Garbled);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Garbled)?;
        let (head, news) = text.split_once('\n').ok_or(Garbled)?;
        let (replica, number) = head.split_once(' ').ok_or(Garbled)?;
        if replica.len() != NAME_BYTES {
            return Err(Garbled);
        }
        Ok(Message { replica, number: number.parse().map_err(|_| Garbled)?, news })
    }

    /// # Errors
    /// When any part is invalid: then all of it is rejected.
    pub(super) fn news(&self) -> Result<Vec<News>, Garbled> {
        let news: Vec<News> = serde_json::from_str(self.news).map_err(|_| Garbled)?;
        news.iter().all(News::is_sound).then_some(news).ok_or(Garbled)
    }
}

pub(super) fn write<'a>(
    replica: &str,
    number: u64,
    news: impl Iterator<Item = &'a News>,
) -> Result<Vec<u8>, Garbled> {
    let news: Vec<&News> = news.collect();
    let mut message = format!("{replica} {number}\n").into_bytes();
    serde_json::to_writer(&mut message, &news).map_err(|_| Garbled)?;
    Ok(message)
}

/// The last number heard from each replica.
#[derive(Debug, Default)]
pub(super) struct Heard {
    last: FxHashMap<String, u64>,
}

impl Heard {
    /// Whether a message of this replica was missed before this one. A repeated message is not a miss.
    pub(super) fn misses(&mut self, message: &Message<'_>) -> bool {
        if let Some(last) = self.last.get_mut(message.replica) {
            let is_missed = message.number > last.saturating_add(1);
            *last = message.number.max(*last);
            return is_missed;
        }
        let is_full = self.last.len() >= REPLICAS_MAX;
        if is_full {
            self.last.clear();
        }
        self.last.insert(message.replica.to_owned(), message.number);
        is_full
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::changes::{Area, Change};

    const NAME: &str = "00112233445566ff";

    fn widgets() -> News {
        News::changed(Change::Repository { name: "acme/widgets".to_owned(), areas: Area::ALL.to_vec() })
    }

    #[test]
    fn reads_what_it_wrote() {
        let news = [widgets(), News::changed(Change::Everything), News::default()];
        let bytes = write(NAME, 7, news.iter()).unwrap();
        let message = Message::read(&bytes).unwrap();
        assert_eq!((message.replica, message.number), (NAME, 7));
        assert_eq!(message.news().unwrap(), news);
    }

    #[test]
    fn what_others_write_is_garbled() {
        for bytes in [
            &b""[..],
            b"\n",
            b"x 1\n[]",
            b"00112233445566ff\n[]",
            b"00112233445566ff -1\n[]",
            b"00112233445566ff 99999999999999999999\n[]",
            b"\xff\xfe",
        ] {
            assert!(Message::read(bytes).is_err(), "{bytes:?}");
        }
        assert!(Message::read(&vec![b'x'; MESSAGE_BYTES_MAX + 1]).is_err());
        let long = format!("[{{\"ended\":[\"{}\"]}}]", "a".repeat(1_000));
        for news in [
            "",
            "{}",
            "[1]",
            "[{\"unknown\":1}]",
            "[{\"changes\":[\"nothing\"]}]",
            "[{\"changes\":[{\"repository\":{\"name\":\"no-slash\",\"areas\":[]}}]}]",
            "[{\"seen\":{\"account\":\"a/b\",\"events\":[]}}]",
            &long,
            &"[".repeat(100_000),
        ] {
            let bytes = format!("{NAME} 1\n{news}");
            assert!(Message::read(bytes.as_bytes()).unwrap().news().is_err(), "{news:.80}");
        }
    }

    #[test]
    fn a_gap_is_noticed_and_a_repetition_is_none() {
        let mut heard = Heard::default();
        let mut misses = |replica: &str, number: u64| {
            let bytes = format!("{replica} {number}\n[]");
            heard.misses(&Message::read(bytes.as_bytes()).unwrap())
        };
        let other = "ffffffffffffffff";
        assert!(!misses(NAME, 5) && !misses(NAME, 6) && !misses(other, 1));
        assert!(misses(NAME, 8));
        assert!(!misses(NAME, 8) && !misses(NAME, 7) && !misses(NAME, 9) && !misses(other, 2));
        assert!(!misses(other, u64::MAX - 1) || !misses(other, u64::MAX));
        assert!(!misses(other, u64::MAX));
        let crowd = (0..3_000).filter(|number| misses(&format!("{number:016}"), 1)).count();
        assert_eq!(crowd, 2, "who is forgotten may have been missed");
    }

    proptest! {
        #[test]
        fn whatever_redis_says_does_no_harm(head in "[0-9a-f]{16} [0-9]{1,3}", text in "\\PC{0,200}", cut in 0..400_usize) {
            let _ = Message::read(text.as_bytes()).map(|message| message.news().is_ok());
            let strange = format!("{head}\n{text}");
            let _ = Message::read(strange.as_bytes()).map(|message| message.news().is_ok());
            let bytes = write(NAME, 1, [widgets()].iter()).unwrap();
            let cut = &bytes[..cut.min(bytes.len() - 1)];
            let is_read = Message::read(cut).is_ok_and(|message| message.news().is_ok());
            prop_assert!(!is_read);
        }
    }
}
