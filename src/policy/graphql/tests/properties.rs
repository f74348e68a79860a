//! Documents in every spelling, checked against a second reader.
//!
//! The second reader accepts whatever ours accepts, and finds the same operations, fields, arguments and fragments.

use async_graphql_parser::types::{self, DocumentOperations, OperationType};
use async_graphql_value::Value as OtherValue;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use regex::Regex;

use super::super::document::{Document, Input, InputValue, Kind, Selection};
use super::*;

/// What may separate tokens, some of it hiding tokens from a careless reader.
const BLANKS: &[&str] =
    &[" ", "\n", "\r\n", "\t", ",", " , ", " # mergePullRequest {\n", " #\"\"\"\n", "\u{feff}"];
const VALUES: &[&str] = &[
    "1",
    "-7",
    "0.5",
    "true",
    "null",
    "APPROVE",
    "$v",
    "\"x\"",
    "\"\"",
    "\"# no comment {\"",
    "\"\\u0061\\\"\\\\\"",
    "\"\"\"block } \\\"\"\" \"quoted\" \"\"\"",
    "\"\"\"\n    indented\n      more\n  \"\"\"",
    "[1, 2]",
    "[]",
    "{a: 1, b: $v}",
    "{}",
    "[{event: APPROVE}]",
];
const NAMES: &[&str] = &[
    "a",
    "mergePullRequest",
    "query",
    "mutation",
    "fragment",
    "on_",
    "__typename",
    "input",
    "addPullRequestReview",
    "viewer",
];
const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "=",
    "$",
    "@",
    "...",
    "...on",
    "|",
    "&",
    "\"",
    "\"\"\"",
    "#",
    "\\",
    "query",
    "mutation",
    "fragment",
    "subscription",
    "on",
    "a",
    "$v",
    "1",
    "0x1",
    "1.",
    "\u{a0}",
    "\u{feff}",
    "\u{2028}",
    "\0",
    "é",
    "\\u0061",
    "type",
];

fn name() -> impl Strategy<Value = String> {
    select(NAMES).prop_map(str::to_owned)
}

fn blank() -> impl Strategy<Value = String> {
    vec(select(BLANKS), 1..3).prop_map(|blanks| blanks.concat())
}

fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        1 => vec((name(), select(VALUES), blank()), 1..3).prop_map(|arguments| {
            let mut seen = std::collections::BTreeSet::new();
            let sound = arguments.iter().filter(|(name, ..)| seen.insert(name.clone()));
            format!("({})", sound.map(|(name, value, blank)| format!("{name}:{value}{blank}")).collect::<String>())
        }),
    ]
}

fn directive() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => select(&["@include(if: $v)", "@skip(if:true)", "@x"][..]).prop_map(str::to_owned)]
}

fn selections() -> impl Strategy<Value = String> {
    let leaf = (name(), proptest::option::of(name()), arguments(), directive(), blank()).prop_map(
        |(name, alias, arguments, directive, blank)| {
            let alias = alias.map(|alias| format!("{alias} :")).unwrap_or_default();
            format!("{alias}{name}{arguments}{directive}{blank}")
        },
    );
    let leaf = prop_oneof![5 => leaf, 1 => select(&["...F ", "...G\n"][..]).prop_map(str::to_owned)];
    let set = vec(leaf, 1..4).prop_map(|fields| format!("{{{}}}", fields.concat()));
    set.prop_recursive(4, 24, 4, |inner| {
        vec(
            (prop_oneof![name(), Just("...on T".to_owned()), Just("...".to_owned())], arguments(), inner),
            1..4,
        )
        .prop_map(|parts| {
            let part = |(head, arguments, inner): &(String, String, String)| match head.starts_with('.') {
                true => format!("{head}{inner}"),
                false => format!("{head}{arguments}{inner}"),
            };
            format!("{{{}}}", parts.iter().map(part).collect::<String>())
        })
    })
}

fn document() -> impl Strategy<Value = String> {
    let head = select(
        &["query A", "mutation B", "query C($v: Int = 1)", "mutation D ($v:[X!]!={a:1})", "query E"][..],
    );
    let operation = (head, directive(), blank(), selections())
        .prop_map(|(head, directive, blank, set)| (head, format!("{head}{directive}{blank}{set}")));
    (vec(operation, 1..3), selections(), selections(), any::<bool>()).prop_map(
        |(mut operations, f, g, is_short)| {
            operations.dedup_by(|one, other| one.0 == other.0);
            let text: String = match is_short {
                true => operations[0].1[operations[0].1.find('{').unwrap_or(0)..].to_owned(),
                false => operations.into_iter().map(|(_, text)| text).collect(),
            };
            format!("{text} fragment F on Query{f} fragment G on Mutation{g}")
        },
    )
}

/// A document with some of its characters replaced.
fn disturbed() -> impl Strategy<Value = String> {
    (document(), vec((any::<Index>(), select(PIECES), any::<bool>()), 0..4)).prop_map(|(text, changes)| {
        changes.into_iter().fold(text, |text, (at, piece, replaces)| {
            let mut chars: Vec<String> = text.chars().map(String::from).collect();
            let at = at.index(chars.len());
            chars[at] = if replaces { piece.to_owned() } else { format!("{}{piece}", chars[at]) };
            chars.concat()
        })
    })
}

fn ours(document: &Document) -> Vec<String> {
    let mut found: Vec<String> = document
        .operations
        .iter()
        .map(|operation| {
            let kind = match operation.kind {
                Kind::Query => "query",
                Kind::Mutation => "mutation",
                Kind::Subscription => "subscription",
            };
            let mut variables: Vec<String> = operation
                .variables
                .iter()
                .map(|(name, default)| format!("{name}={}", default.as_ref().map(shown).unwrap_or_default()))
                .collect();
            variables.sort();
            let name = operation.name.as_deref().unwrap_or_default();
            format!("{kind} {name} {variables:?} {}", our_selections(&operation.selections))
        })
        .collect();
    found.extend(
        document
            .fragments
            .values()
            .map(|fragment| format!("fragment on {} {}", fragment.on, our_selections(&fragment.selections))),
    );
    found.sort();
    found
}

fn our_selections(selections: &[Selection]) -> String {
    let shown = selections.iter().map(|selection| match selection {
        Selection::Field(field) => {
            let arguments: Vec<String> =
                field.arguments.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            format!("{}:{}{arguments:?}{}", field.key(), field.name, our_selections(&field.selections))
        }
        Selection::Inline { on, selections } => {
            format!("...{}{}", on.as_deref().unwrap_or_default(), our_selections(selections))
        }
        Selection::Spread(name) => format!("...{name}"),
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(" "))
}

fn shown(input: &Input) -> String {
    match &input.value {
        InputValue::Variable(name) => format!("${name}"),
        InputValue::Plain(value) => plain(value),
        InputValue::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        InputValue::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN).to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        value => value.to_string(),
    }
}

fn theirs(document: &types::ExecutableDocument) -> Vec<String> {
    let operations: Vec<_> = match &document.operations {
        DocumentOperations::Single(operation) => vec![("", operation)],
        DocumentOperations::Multiple(operations) => {
            operations.iter().map(|(name, operation)| (name.as_str(), operation)).collect()
        }
    };
    let mut found: Vec<String> = operations
        .into_iter()
        .map(|(name, operation)| {
            let kind = match operation.node.ty {
                OperationType::Query => "query",
                OperationType::Mutation => "mutation",
                OperationType::Subscription => "subscription",
            };
            let variables = operation.node.variable_definitions.iter().map(|variable| {
                let default = variable.node.default_value.as_ref();
                let default =
                    default.map(|value| other(&value.node.clone().into_value())).unwrap_or_default();
                format!("{}={default}", variable.node.name.node)
            });
            let mut variables: Vec<String> = variables.collect();
            variables.sort();
            format!("{kind} {name} {variables:?} {}", their_selections(&operation.node.selection_set.node))
        })
        .collect();
    found.extend(document.fragments.values().map(|fragment| {
        let on = &fragment.node.type_condition.node.on.node;
        format!("fragment on {on} {}", their_selections(&fragment.node.selection_set.node))
    }));
    found.sort();
    found
}

fn their_selections(set: &types::SelectionSet) -> String {
    let shown = set.items.iter().map(|selection| match &selection.node {
        types::Selection::Field(field) => {
            let field = &field.node;
            let arguments: Vec<String> = field
                .arguments
                .iter()
                .map(|(name, value)| format!("{}={}", name.node, other(&value.node)))
                .collect();
            let key = field.alias.as_ref().map_or(&field.name.node, |alias| &alias.node);
            format!("{key}:{}{arguments:?}{}", field.name.node, their_selections(&field.selection_set.node))
        }
        types::Selection::InlineFragment(inline) => {
            let on =
                inline.node.type_condition.as_ref().map(|on| on.node.on.node.to_string()).unwrap_or_default();
            format!("...{on}{}", their_selections(&inline.node.selection_set.node))
        }
        types::Selection::FragmentSpread(spread) => format!("...{}", spread.node.fragment_name.node),
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(" "))
}

fn other(value: &OtherValue) -> String {
    match value {
        OtherValue::Variable(name) => format!("${name}"),
        OtherValue::Enum(name) => plain(&Value::String(name.to_string())),
        OtherValue::List(items) => format!("[{}]", items.iter().map(other).collect::<Vec<_>>().join(",")),
        OtherValue::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}={}", other(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        // The second reader leaves the escape of a block string's quotes as it is.
        OtherValue::String(text) => plain(&Value::String(text.replace("\\\"\"\"", "\"\"\""))),
        value => plain(&value.clone().into_json().unwrap_or_default()),
    }
}

/// The second reader takes an enum value such as `trueish` for `true`, and continues at `ish`.
fn begins_with_literal(text: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let has = |word: &str| text.match_indices(word).any(|(at, _)| goes_on(&text[at + word.len()..]));
    ["true", "false", "null"].into_iter().any(has)
}

/// The text without the ignored characters inside types: the second reader accepts `Int!`, but not `Int !`.
///
/// Source: <https://spec.graphql.org/October2021/#sec-Language.Source-Text.Ignored-Tokens>
fn without_blanks_in_types(text: &str) -> String {
    let blank = r"(?:[\s,\u{feff}]|#.*\n)+";
    let before = Regex::new(&format!(r"{blank}([!\]])")).unwrap();
    let after = Regex::new(&format!(r"(\[){blank}")).unwrap();
    after.replace_all(&before.replace_all(text, "$1"), "$1").into_owned()
}

fn check(text: &str) -> Result<bool, TestCaseError> {
    let Ok(document) = Document::parse(text) else { return Ok(false) };
    let second = async_graphql_parser::parse_query(text)
        .or_else(|_| async_graphql_parser::parse_query(without_blanks_in_types(text)));
    if second.is_err() && begins_with_literal(text) {
        return Ok(true);
    }
    prop_assert!(second.is_ok(), "only one reader takes {text:?}: {:?}", second.err());
    if let Ok(second) = second {
        prop_assert_eq!(ours(&document), theirs(&second), "{:?}", text);
    }
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_second_reader_finds_the_same(text in disturbed()) {
        check(&text)?;
    }
}

#[test]
fn blanks_in_types_are_ignored() {
    for blank in [" ", ", ", "\u{feff}", "# [\n"] {
        let text = format!("query C($v: Int{blank}!= 1, $w: [{blank}X{blank}!{blank}]{blank}!) {{ a }}");
        assert!(async_graphql_parser::parse_query(&text).is_err(), "the second reader takes {text:?} now");
        assert!(check(&text).unwrap(), "{text:?} is sound");
    }
}

#[test]
fn many_generated_documents_are_taken() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let taken = (0..300)
        .filter(|_| {
            let text = document().new_tree(&mut runner).unwrap().current();
            check(&text).unwrap()
        })
        .count();
    // The others spread their fragments in circles.
    assert!(taken > 60, "{taken} of 300");
}
