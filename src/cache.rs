//! The cache of GitHub's answers: what is kept, and what is known of its age.

pub mod changes;

/// What the cache did for a request, as said in `x-tollgate-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// Not a request the cache has a part in.
    Bypass,
}

impl CacheResult {
    pub fn as_str(self) -> &'static str {
        match self {
            CacheResult::Bypass => "bypass",
        }
    }
}
