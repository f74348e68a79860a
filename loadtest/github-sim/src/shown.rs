//! Lagging GitHub caches: what each read last showed, and since when it would show something else.

use std::collections::BTreeMap;

use crate::exchange::Reply;

/// What each read last showed.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    by_read: BTreeMap<String, One>,
}

#[derive(Debug)]
struct One {
    reply: Reply,
    /// When it was first requested after it had changed; epoch milliseconds.
    changed_at_ms: Option<i64>,
}

impl Shown {
    /// The new reply, or the previous one while the lag lasts.
    pub(crate) fn show(&mut self, key: String, new: &Reply, now_ms: i64, lag_ms: i64) -> Reply {
        let one = self.by_read.entry(key).or_insert_with(|| One { reply: new.clone(), changed_at_ms: None });
        if format!("{:?}", one.reply) == format!("{new:?}") {
            one.changed_at_ms = None;
        } else if now_ms - *one.changed_at_ms.get_or_insert(now_ms) >= lag_ms {
            *one = One { reply: new.clone(), changed_at_ms: None };
        }
        one.reply.clone()
    }
}
