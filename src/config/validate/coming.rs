//! Keys of the file whose feature is still to come: taken, checked, and said to have no effect.
//!
//! The change that brings a feature deletes its line here.

use super::Check;

const NO_EFFECT: &str = "has no effect yet in this version";

/// Path, and what to say of it.
const COMING: &[(&str, &str)] = &[("identities", NO_EFFECT)];

pub(super) fn report(check: &mut Check<'_>) {
    for (path, message) in COMING {
        if check.document.is_said(path) {
            check.warning(path, *message);
        }
    }
}
