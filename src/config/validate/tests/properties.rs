//! Files that were sound until something in them changed.

use super::*;

const TYPED: &str = "ghp_typedIntoTheFile0123456789abcdefghi";

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// A secret in the place of any value, with or without quotes, in a file that may be broken besides.
    #[test]
    fn a_secret_typed_into_the_file_is_not_told(
        line in any::<prop::sample::Index>(),
        (before, after) in prop::sample::select(&[("", ""), ("\"", "\""), ("'", "'"), ("[", "]"), ("{ ", " }")][..]),
        uncommented in any::<bool>(),
    ) {
        let example = if uncommented { EXAMPLE.replace("# ", "") } else { EXAMPLE.to_owned() };
        let mut lines: Vec<&str> = example.lines().collect();
        let at = line.index(lines.len());
        let key = lines[at].split_inclusive(": ").next().unwrap_or_default();
        let typed = format!("{key}{before}{TYPED}{after}");
        lines[at] = &typed;
        let variable = |_: &str| Some(OsString::from("ghp_inAVariable"));
        let sources = Sources { directory: Path::new("/nonexistent"), variable: &variable, is_running: false };
        let told = match from_text(&lines.join("\n"), &sources) {
            Ok((config, warnings)) => format!("{config:?} {warnings}"),
            Err(problems) => {
                prop_assert!(problems.has_errors() && problems.iter().count() <= 501);
                problems.to_string()
            }
        };
        prop_assert!(!told.contains("ghp_inAVariable"), "{}", told);
        prop_assert!(key.contains('#') || !key.contains(':') || !told.contains(TYPED), "{}", told);
    }
}
