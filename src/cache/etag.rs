//! Entity tags: ours, which are the same for every token, and GitHub's, predicted for a new token.
//!
//! Source: RFC 9110 §8.8.3 and §13.1.2. GitHub does not document how it makes its tags; clients have observed
//! SHA-256 in hex over the values of `Accept` and `Authorization` as sent, each followed by `:`, and the plain
//! body. We rely on that only while it proves true: see [`Proofs`].

use std::collections::HashMap;

use headers::{ETag, HeaderMapExt, IfNoneMatch};
use http::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::secret::hex;

/// Prefix of our own tags; GitHub's are bare hex.
const OWN: &str = "tg-";
/// Bytes of the hash in our tags.
const OWN_BYTES: usize = 16;
/// Correct predictions in a row before one is used.
const AGREED_MIN: u32 = 20;
/// Media types counted separately; GitHub has a few dozen.
const MEDIA_TYPES_MAX: usize = 200;

/// Our tag for an answer: weak, because links in it are rewritten for each client. Whether a next page exists is
/// not part of the body, but a change of it must change the tag.
pub fn own(plain: &[u8], has_next: bool) -> HeaderValue {
    let hash = Sha256::new_with_prefix(plain).chain_update([u8::from(has_next)]).finalize();
    let hash = hex(&hash[..OWN_BYTES]);
    HeaderValue::try_from(format!("W/\"{OWN}{hash}\"")).expect("hex is fit for a header")
}

/// Whether a condition names one of our tags.
pub fn names_own(headers: &HeaderMap) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    values.into_iter().any(|value| String::from_utf8_lossy(value.as_bytes()).contains(OWN))
}

/// Whether `If-None-Match` names the tag or is `*`; `None` without that header.
pub fn is_named(headers: &HeaderMap, tag: &HeaderValue) -> Option<bool> {
    if !headers.contains_key(IF_NONE_MATCH) {
        return None;
    }
    // An unreadable condition names nothing.
    let condition = headers.typed_get::<IfNoneMatch>();
    let names = |condition: IfNoneMatch| parsed(tag).is_some_and(|tag| !condition.precondition_passes(&tag));
    Some(condition.is_some_and(names))
}

/// The tag, without quotes, that we predict GitHub gives this body under these headers.
pub fn foretold(accept: Option<&HeaderValue>, authorization: &HeaderValue, plain: &[u8]) -> String {
    let mut hash = Sha256::new();
    for value in accept.into_iter().chain([authorization]) {
        hash.update(value.as_bytes());
        hash.update(b":");
    }
    hash.update(plain);
    hex(&hash.finalize())
}

/// Whether a tag, weak or strong, has this opaque text.
pub fn holds(tag: &HeaderValue, opaque: &str) -> bool {
    let tag = tag.to_str().unwrap_or_default();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"') == opaque
}

fn parsed(tag: &HeaderValue) -> Option<ETag> {
    tag.to_str().ok()?.parse().ok()
}

/// How often in a row GitHub's tags were predicted correctly, by the answer's media type.
#[derive(Debug, Default)]
pub struct Proofs {
    agreed: Mutex<HashMap<String, u32>>,
}

impl Proofs {
    /// Records whether an answer's tag was predicted correctly. A wrong prediction restarts the count.
    pub fn note(&self, media_type: &str, agrees: bool) {
        let mut agreed = self.agreed();
        if !agreed.contains_key(media_type) && agreed.len() >= MEDIA_TYPES_MAX {
            return;
        }
        let count = agreed.entry(media_type.to_owned()).or_default();
        *count = if agrees { count.saturating_add(1) } else { 0 };
    }

    /// Whether enough of the last predictions were right.
    pub fn hold(&self, media_type: &str) -> bool {
        self.agreed().get(media_type).is_some_and(|count| *count >= AGREED_MIN)
    }

    fn agreed(&self) -> parking_lot::MutexGuard<'_, HashMap<String, u32>> {
        self.agreed.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_condition_is_met_by_our_tag_in_any_spelling() {
        let tag = own(b"body", false);
        let text: &'static str = Box::leak(tag.to_str().unwrap().to_owned().into_boxed_str());
        let strong: &'static str = text.strip_prefix("W/").unwrap();
        assert_eq!(is_named(&conditions(&[]), &tag), None);
        for named in [vec![text], vec![strong], vec!["*"], vec!["\"x\"", text]] {
            assert_eq!(is_named(&conditions(&named), &tag), Some(true), "{named:?}");
        }
        for other in [vec!["\"x\""], vec!["W/\"tg-00\", \"y\""]] {
            assert_eq!(is_named(&conditions(&other), &tag), Some(false), "{other:?}");
        }
        let list: &'static str = Box::leak(format!("\"a,b\", {text}").into_boxed_str());
        assert_eq!(is_named(&conditions(&[list]), &tag), Some(true));
        assert!(names_own(&conditions(&["\"x\"", text])) && !names_own(&conditions(&["\"x\""])));
        assert_eq!(is_named(&conditions(&["garbled, \"x"]), &tag), Some(false));
        assert_ne!(own(b"body", false), own(b"Body", false));
        assert_ne!(own(b"body", false), own(b"body", true));
    }

    #[test]
    fn github_s_tag_is_made_of_what_was_sent() {
        let accept = HeaderValue::from_static("application/json");
        let bearer = HeaderValue::from_static("Bearer ghs_x");
        let hash = hex(&Sha256::digest(b"application/json:Bearer ghs_x:{}"));
        assert_eq!(foretold(Some(&accept), &bearer, b"{}"), hash);
        assert_eq!(foretold(None, &bearer, b"{}"), hex(&Sha256::digest(b"Bearer ghs_x:{}")));
        for tag in [format!("W/\"{hash}\""), format!("\"{hash}\"")] {
            assert!(holds(&HeaderValue::try_from(tag).unwrap(), &hash));
        }
        assert!(!holds(&HeaderValue::from_static("\"x\""), &hash));
    }

    #[test]
    fn a_tag_is_foretold_only_while_it_proves_itself() {
        let proofs = Proofs::default();
        for _ in 0..AGREED_MIN {
            assert!(!proofs.hold("application/json"));
            proofs.note("application/json", true);
        }
        assert!(proofs.hold("application/json") && !proofs.hold("text/plain"));
        proofs.note("application/json", false);
        assert!(!proofs.hold("application/json"));
    }
}
