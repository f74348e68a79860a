//! One piece of news, and which news is accepted from others.

use serde::{Deserialize, Serialize};

use crate::cache::changes::Change;
use crate::policy::repositories::{RepositoryName, is_account};

/// Longest id of a delivery; GitHub's have 36 characters.
pub const DELIVERY_BYTES_MAX: usize = 64;
/// Most parts of each kind. An event concerns at most two repositories; a ping lists all kinds of events.
const PARTS_MAX: usize = 8;
const EVENTS_MAX: usize = 256;
const EVENT_BYTES_MAX: usize = 64;

/// What one replica learned, for all of them. Fields that a newer replica adds are not understood, and a message
/// that is not understood makes everything count as changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct News {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Id of the webhook delivery that reported it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// Accounts whose installation ended or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<String>,
}

/// GitHub delivers these events for this account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub account: String,
    pub events: Vec<String>,
    /// They are all that the webhook delivers, by its own list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_list: bool,
}

impl News {
    pub fn changed(change: Change) -> News {
        News { changes: vec![change], ..News::default() }
    }

    /// Whether the news is within bounds and names things that can exist.
    pub(super) fn is_sound(&self) -> bool {
        let is_change_sound = |change: &Change| match change {
            Change::Repository { name, areas } => {
                RepositoryName::parse(name).is_some() && areas.len() <= PARTS_MAX
            }
            Change::Everything => true,
        };
        let is_seen_sound = |seen: &Seen| {
            is_account(&seen.account)
                && seen.events.len() <= EVENTS_MAX
                && seen.events.iter().all(|event| event.len() <= EVENT_BYTES_MAX)
        };
        self.changes.len() <= PARTS_MAX
            && self.changes.iter().all(is_change_sound)
            && self.seen.as_ref().is_none_or(is_seen_sound)
            && self.delivery.as_ref().is_none_or(|id| id.len() <= DELIVERY_BYTES_MAX)
            && self.ended.len() <= PARTS_MAX
            && self.ended.iter().all(|account| is_account(account))
    }
}
