//! Randomness that is the same in every run of the same seed.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};

/// A stream of its own for each `name`, so that one more draw here changes nothing there.
pub(super) fn stream(seed: u64, name: &str) -> StdRng {
    let mut digest = Sha256::new();
    digest.update(seed.to_be_bytes());
    digest.update(name);
    StdRng::from_seed(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn depends_on_seed_and_name_only() {
        let draw = |seed, name: &str| stream(seed, name).random::<u64>();
        assert_eq!(draw(1, "network"), draw(1, "network"));
        assert_ne!(draw(1, "network"), draw(2, "network"));
        assert_ne!(draw(1, "network"), draw(1, "replicas"));
    }
}
