//! Documents of every shape and spelling, against an oracle that walks trees instead of bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::tree::{Tree, parsed};
use super::{run, text};
use crate::links::tests::public_map;

const KEYS: &[&str] = &[
    "url",
    "html_url",
    "_url",
    "_urls",
    "x_urls",
    "é_url",
    "a\"\\_url",
    "href",
    "_links",
    "urls",
    "curl",
    "url_",
    "URL",
    "x_URL",
    "_url2",
    "_urlss",
    "xurl",
    "x-url",
    "hrefs",
    "_href",
    "links",
    "__links",
    "_links_",
    "",
    "/",
    "body",
    "long_long_long_long_long_key_url",
];

const SCALARS: &[&str] = &["true", "false", "null", "0", "-0.0", "1E+2", "12345678901234567890.10", "1e-9"];

const TEXTS: &[&str] = &[
    "https://api.github.com",
    "https://api.github.com/repos/a/b{/number}",
    "https://api.github.com?page=2",
    "https://api.github.com#é",
    "HTTPS://Api.GitHub.Com{?x}",
    "https://api.github.com:443/zen\n",
    "https://uploads.github.com/a\"b\\c{?name,label}",
    "https://uploads.github.com:443",
    "https://api.github.com.evil.test/",
    "https://api.github.com@evil.test/",
    "https://api.github.com:8443/",
    "https://api.github.com:44",
    "https://api.github.comé",
    "https://api.github.co",
    "https://api.github.com\u{0}/",
    "http://api.github.com/",
    "xhttps://api.github.com/",
    "https://github.com/a/b",
    "see https://api.github.com/ \u{1f600}\u{7f}\t\"\\",
    "h",
    "",
    "plain",
    "\"",
    "\\",
];

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        1 => select(SCALARS).prop_map(|scalar| Tree::Scalar(scalar.into())),
        6 => select(TEXTS).prop_map(|text| Tree::Text(text.into())),
        1 => any::<String>().prop_map(Tree::Text),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let key = prop_oneof![20 => select(KEYS).prop_map(String::from), 1 => any::<String>()];
        prop_oneof![
            1 => vec(inner.clone(), 0..5).prop_map(Tree::Array),
            3 => vec((key, inner), 0..8).prop_map(Tree::Object),
        ]
    })
}

/// Where the base of a URL ends and what takes its place, as simply as possible.
fn oracle(url: &str) -> Option<(usize, &'static str)> {
    let (base, target) = [
        ("https://api.github.com", "http://tollgate.test:8080/api/v3"),
        ("https://uploads.github.com", "http://tollgate.test:8080/api/uploads"),
    ]
    .into_iter()
    .find(|(base, _)| url.get(..base.len()).is_some_and(|start| start.eq_ignore_ascii_case(base)))?;
    let rest = &url[base.len()..];
    let rest = rest.strip_prefix(":443").unwrap_or(rest);
    (rest.is_empty() || rest.starts_with(['/', '?', '#', '{'])).then(|| (url.len() - rest.len(), target))
}

/// What the keys above a value say about it.
#[derive(Clone, Copy, Default)]
struct Place {
    is_link: bool,
    is_below_links: bool,
}

impl Place {
    fn member(self, key: &str) -> Place {
        let is_link = key == "url" || key.ends_with("_url") || key.ends_with("_urls");
        Place {
            is_link: is_link || (self.is_below_links && key == "href"),
            is_below_links: self.is_below_links || key == "_links",
        }
    }
}

fn rewritten(tree: &Tree, place: Place) -> Tree {
    match tree {
        Tree::Scalar(_) => tree.clone(),
        Tree::Text(text) => match oracle(text) {
            Some((end, target)) if place.is_link => Tree::Text(format!("{target}{}", &text[end..])),
            _ => tree.clone(),
        },
        Tree::Array(items) => Tree::Array(items.iter().map(|item| rewritten(item, place)).collect()),
        Tree::Object(members) => Tree::Object(
            members.iter().map(|(key, value)| (key.clone(), rewritten(value, place.member(key)))).collect(),
        ),
    }
}

/// Writes a tree in one of many spellings, and next to it the expected output.
struct Writer {
    input: Vec<u8>,
    expected: Vec<u8>,
    random: u64,
    /// One in this many letters is escaped, and one in this many places has blanks.
    escapes: u64,
    blanks: u64,
}

impl Writer {
    fn new(seed: u64) -> Writer {
        let mut writer =
            Writer { input: Vec::new(), expected: Vec::new(), random: seed, escapes: 1, blanks: 1 };
        writer.escapes = [1, 2, 20, u64::MAX][writer.pick(4)];
        writer.blanks = [1, 5, u64::MAX][writer.pick(3)];
        writer
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }

    fn both(&mut self, text: &str) {
        self.input.extend_from_slice(text.as_bytes());
        self.expected.extend_from_slice(text.as_bytes());
    }

    fn blank(&mut self) {
        if self.next().is_multiple_of(self.blanks) {
            let blank = [" ", "\n  ", "\t", "\r\n"][self.pick(4)];
            self.both(blank);
        }
    }

    fn spelled(&mut self, text: &str) -> String {
        text.chars().map(|letter| self.letter(letter)).collect()
    }

    fn letter(&mut self, letter: char) -> String {
        let must = letter < ' ' || matches!(letter, '"' | '\\');
        if !must && !self.next().is_multiple_of(self.escapes) {
            return letter.into();
        }
        match letter {
            '"' | '\\' | '/' if self.pick(2) == 0 => format!("\\{letter}"),
            '\n' if self.pick(2) == 0 => "\\n".into(),
            _ => {
                let is_upper = self.pick(2) == 0;
                let unit =
                    |unit: &u16| if is_upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                letter.encode_utf16(&mut [0; 2]).iter().map(unit).collect()
            }
        }
    }

    fn value(&mut self, tree: &Tree, place: Place) {
        match tree {
            Tree::Scalar(scalar) => self.both(scalar),
            Tree::Text(text) => {
                let (end, target) = oracle(text).filter(|_| place.is_link).unwrap_or((0, ""));
                self.both("\"");
                let base = self.spelled(&text[..end]);
                self.input.extend_from_slice(base.as_bytes());
                self.expected.extend_from_slice(target.as_bytes());
                let rest = self.spelled(&text[end..]);
                self.both(&rest);
                self.both("\"");
            }
            Tree::Array(items) => self.list(['[', ']'], items, |writer, item| writer.value(item, place)),
            Tree::Object(members) => self.list(['{', '}'], members, |writer, (key, value)| {
                let spelled = writer.spelled(key);
                writer.both(&format!("\"{spelled}\""));
                writer.blank();
                writer.both(":");
                writer.blank();
                writer.value(value, place.member(key));
            }),
        }
    }

    fn list<T>(&mut self, [open, close]: [char; 2], items: &[T], write: impl Fn(&mut Writer, &T)) {
        self.both(&open.to_string());
        for (index, item) in items.iter().enumerate() {
            self.both(if index == 0 { "" } else { "," });
            self.blank();
            write(self, item);
            self.blank();
        }
        self.blank();
        self.both(&close.to_string());
    }

    fn documents(&mut self, documents: &[Tree]) {
        for document in documents {
            self.blank();
            self.value(document, Place::default());
            self.both("\n");
        }
    }
}

/// Cuts `input` into pieces of random sizes, some of them empty.
fn cut(input: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Writer::new(seed);
    let most = [2, 9, 200, 5000][random.pick(4)];
    let (mut pieces, mut rest) = (Vec::new(), input);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.pick(most).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Pieces of JSON and of other text that contain no whole base.
fn rubble() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\"url\"",
        "\"url\":\"",
        "{\"a_url\":[\"",
        "\"_links\":{\"href\":\"",
        "https://api.github.",
        "https:\\/\\/",
        "\\u00",
        "\\u0068",
        "tru",
        "e",
        "null",
        "1",
        "-",
        " ",
        "\n",
        "é",
        "\u{feff}",
        "https://api.github.com.x/",
        "\",\"",
        "\"}",
        "\"]}",
    ];
    let piece = prop_oneof![
        8 => select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_what_the_oracle_changes_and_nothing_else(
        documents in vec(tree(), 1..4), spelling: u64, cuts: u64,
    ) {
        let mut writer = Writer::new(spelling);
        writer.documents(&documents);
        let Writer { input, expected, .. } = writer;

        let map = public_map("/api/v3");
        let (whole, _) = run(&map, [input.as_slice()]);
        prop_assert_eq!(text(&whole), text(&expected));
        let (pieces, _) = run(&map, cut(&input, cuts));
        prop_assert_eq!(text(&pieces), text(&expected));

        let semantic: Vec<Tree> = parsed(&input).iter().map(|tree| rewritten(tree, Place::default())).collect();
        prop_assert_eq!(parsed(&whole), semantic);
    }

    #[test]
    fn a_truncated_body_loses_nothing(document in tree(), spelling: u64, cuts: u64, end: Index) {
        let mut writer = Writer::new(spelling);
        writer.documents(&[document]);
        let Writer { input, expected, .. } = writer;
        let input = &input[..end.index(input.len() + 1)];

        let (out, late) = run(&public_map("/api/v3"), cut(input, cuts));
        let (early, held) = out.split_at(out.len() - late);
        prop_assert!(expected.starts_with(early), "{} of {}", text(early), text(&expected));
        prop_assert!(input.ends_with(held), "{} of {}", text(held), text(input));
        prop_assert_eq!(run(&public_map("/api/v3"), [input]).0, out);
    }

    #[test]
    fn rubble_without_a_base_passes_unchanged(input in rubble(), cuts: u64) {
        let map = public_map("/api/v3");
        prop_assert_eq!(text(&run(&map, [input.as_slice()]).0), text(&input));
        prop_assert_eq!(run(&map, cut(&input, cuts)).0, input);
    }

    #[test]
    fn rubble_with_bases_changes_nothing_else(pieces in vec(rubble(), 1..5), cuts: u64) {
        let base = "https://api.github.com/";
        let input = pieces.join(base.as_bytes());
        let (out, _) = run(&public_map("/api/v3"), [input.as_slice()]);
        prop_assert_eq!(&out, &run(&public_map("/api/v3"), cut(&input, cuts)).0);
        let undone = text(&out).replace("http://tollgate.test:8080/api/v3/", base);
        prop_assert_eq!(undone, text(&input));
    }
}
