//! Valid claims with some bytes changed before signing: accepted only if they still say the same.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Claims that only decide the approval's name and lifetime.
const FREE: [&str; 5] = ["sub", "jti", "iat", "exp", "nbf"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn changed_claims_are_taken_only_where_they_say_the_same(
        choice in 0..3u8,
        changes in vec((any::<Index>(), 0..3u8, prop_oneof![any::<u8>(), b'0'..=b'9', b'a'..=b'f']), 0..4),
    ) {
        let at = |number, sha: &str| PullAt { number, head_sha: sha.to_owned() };
        let required = match choice {
            0 => merge_of(Vec::new()),
            1 => merge_of(vec![at(75, BELOW), at(76, HEAD)]),
            _ => request(),
        };
        let sound = filled(&required);
        let mut bytes = sound.to_string().into_bytes();
        for (at, way, byte) in changes {
            let at = at.index(bytes.len());
            match way {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => _ = bytes.remove(at),
            }
        }
        let Ok(payload) = String::from_utf8(bytes) else { return Ok(()) };
        let token = signed_parts(r#"{"alg":"HS256"}"#, &payload);
        let Ok(approval) = verify(&token, &required) else {
            prop_assert_ne!(payload, sound.to_string());
            return Ok(());
        };
        let said: Value = serde_json::from_str(&payload).unwrap();
        for (key, value) in sound.as_object().unwrap() {
            let is_same = match key.as_str() {
                "repo" => said[key].as_str().unwrap().eq_ignore_ascii_case(value.as_str().unwrap()),
                // The approval itself determines the commit of the merged pull request.
                "head_sha" => said[key].as_str() == approval.head_sha.as_deref() && is_commit(said[key].as_str().unwrap()),
                "stack" => said[key][0] == value[0] && said[key][1]["head_sha"] == said["head_sha"],
                // Leaving it out means that any base will do.
                "base" => said.get(key).is_none_or(|base| base == value) && said[key].as_str() == approval.base.as_deref(),
                key => FREE.contains(&key) || said[key] == *value,
            };
            prop_assert!(is_same, "{}: {} is not {}", key, said[key], value);
        }
        prop_assert!(approval.expires_at > NOW && approval.issued_at <= NOW + CLOCK_SKEW_SECONDS);
    }
}
