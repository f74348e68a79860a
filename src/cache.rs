//! The cache of GitHub's answers: its place and its words. It keeps nothing yet.

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
