mod golden;
mod properties;
mod tree;

use std::collections::VecDeque;

use bytes::Bytes;

use super::{JsonRewriter, LEVELS_MAX};
use crate::links::LinkMap;
use crate::links::tests::public_map;

/// The output for these chunks, and how many of its bytes came only at the end.
fn run<'a>(map: &LinkMap, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, usize) {
    let mut rewriter = JsonRewriter::new(map.clone());
    let mut out = VecDeque::new();
    for chunk in chunks {
        rewriter.feed(Bytes::copy_from_slice(chunk), &mut out);
        assert!(rewriter.held.len() < rewriter.held_max, "holds {}", rewriter.held.len());
    }
    let early: usize = out.iter().map(Bytes::len).sum();
    rewriter.finish(&mut out);
    assert!(out.iter().all(|piece| !piece.is_empty()), "an empty piece would end an HTTP/1 body");
    let out = Vec::from(out).concat();
    let late = out.len() - early;
    (out, late)
}

/// Checks that the output is the same in one piece and byte by byte.
fn rewritten(input: &[u8]) -> Vec<u8> {
    let map = public_map("/api/v3");
    let (whole, _) = run(&map, [input]);
    let (bytewise, _) = run(&map, input.chunks(1));
    assert_eq!(text(&whole), text(&bytewise));
    whole
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// In templates, `@` is a base that changes and `!` one that stays.
fn check(template: &str) {
    let input = template.replace(['@', '!'], "https://api.github.com");
    let expected = template.replace('@', "http://tollgate.test:8080/api/v3");
    let expected = expected.replace('!', "https://api.github.com");
    assert_eq!(text(&rewritten(input.as_bytes())), expected, "{template}");
}

#[test]
fn a_credential_stays_here() {
    for (given, goes_on) in [
        (r#"{"a":1,"temp_clone_token":"SECRET","b":"c"}"#, r#"{"a":1,"temp_clone_token":"","b":"c"}"#),
        (r#"{"temp_clone_token" : "S\"E\\C\u0052ET"}"#, r#"{"temp_clone_token" : ""}"#),
        (r#"{"temp_clone\u005ftoken":"SECRET"}"#, r#"{"temp_clone\u005ftoken":""}"#),
        (r#"[{"repository":{"temp_clone_token":"SECRET"}}]"#, r#"[{"repository":{"temp_clone_token":""}}]"#),
        (r#"{"temp_clone_token":null,"url":"x"}"#, r#"{"temp_clone_token":null,"url":"x"}"#),
        (r#"{"temp_clone_token":"","x":"y"}"#, r#"{"temp_clone_token":"","x":"y"}"#),
        (
            r#"{"a_temp_clone_token":"x","temp_clone_token2":"y"}"#,
            r#"{"a_temp_clone_token":"x","temp_clone_token2":"y"}"#,
        ),
    ] {
        assert_eq!(text(&rewritten(given.as_bytes())), goes_on);
    }
}

#[test]
fn changes_strings_under_link_keys_only() {
    for template in [
        r#"{"url":"@/a","html_url":"https://github.com/a","_url":"@","a_urls":"@/","URL":"!/a","Url":"!"}"#,
        r#"{"urls":"!/a","curl":"!/a","url_":"!","a_url2":"!","a_urlss":"!","_Url":"!","href":"!","":"!"}"#,
        r#"{"body":"!/a","git_url":"@/a{/sha}","x":{"issues_url":"@{/number}","y":"!"},"z":"!","upload_url":"@"}"#,
        r#"{"_links":{"self":{"href":"@/a","x":"!"},"html":{"href":"https://github.com"}},"href":"!"}"#,
        r#"{"_links":{"href":"@/a"},"x":{"href":"!"},"x_links":{"href":"!"},"_linksx":{"href":"!"}}"#,
        r#"{"_links":[{"href":"@/a"},[{"href":["@"]}],"!"],"a":[{"href":"!"}]}"#,
        r#"{"_links":"!","href":"!","b":{"_links":null,"a":{"href":"!"}}}"#,
        r#"{"_links":{"a":{"b":{"c":[{"href":"@","d":{"href":"@/x"}}]}}},"c":{"href":"!"}}"#,
        r#"{"a_urls":["@/1",["@/2",[]],{"x":"!","url":"@/3"},"@/4",1,"x"],"x":["!",["!"]]}"#,
        r#"{"url":{"x":"!","y":["!"],"url":["@"]},"x":"!"}"#,
        r#"{"url":null,"x":"!"} {"url":true,"url":"@/a"}"#,
        r#"{"x":"!","url":"@/a","url":"@/b","x":"!"}"#,
    ] {
        check(template);
    }
}

#[test]
fn leaves_top_level_values_and_keys_alone() {
    for template in [r#""!/a""#, r#"["!/a"]"#, r#"{"!/a_url":"x"}"#, r#"{"url":{"!/a":"!"}}"#, "", "  ", "1"]
    {
        check(template);
    }
}

#[test]
fn reads_escapes_and_keeps_those_behind_the_base() {
    for (input, expected) in [
        (
            r#"{"url":"https:\/\/api.github.com\/a\/b"}"#,
            r#"{"url":"http://tollgate.test:8080/api/v3\/a\/b"}"#,
        ),
        (
            r#"{"\u0075r\u006C":"\u0068ttps://api.gith\u0075B.com\u002fa"}"#,
            r#"{"\u0075r\u006C":"http://tollgate.test:8080/api/v3\u002fa"}"#,
        ),
        (
            r#"{"x\u005furl":"https://api.github.com/\ud83d\ude00\n"}"#,
            r#"{"x\u005furl":"http://tollgate.test:8080/api/v3/\ud83d\ude00\n"}"#,
        ),
        (
            r#"{"\n\u00e9_url":"https://api.github.com:\u00344\u0033{?x}"}"#,
            r#"{"\n\u00e9_url":"http://tollgate.test:8080/api/v3{?x}"}"#,
        ),
    ] {
        assert_eq!(text(&rewritten(input.as_bytes())), expected);
    }
    for unchanged in [
        r#"{"\\url":"x","url\\":"https://api.github.com/"}"#,
        r#"{"url":"https://api.github.com\"/"}"#,
        r#"{"url":"https://api.github.com\\"}"#,
        r#"{"url":"https://api.github.com\u0040evil"}"#,
        r#"{"url":"https://api.github.com\u002eevil"}"#,
        r#"{"url":"https://api.github.com\u012f"}"#,
        r#"{"\u0175rl":"https://api.github.com/"}"#,
        r#"{"u\/rl":"https://api.github.com/"}"#,
    ] {
        assert_eq!(text(&rewritten(unchanged.as_bytes())), unchanged);
    }
}

#[test]
fn escapes_what_takes_the_place_of_a_base() {
    let bases = public_map("").bases;
    let map = LinkMap::new(bases, "http://h\"\\\u{1}é", "/p", "");
    let (out, _) = run(&map, [br#"{"url":"https://api.github.com/a"}"#.as_slice()]);
    assert_eq!(text(&out), r#"{"url":"http://h\"\\\u0001é/p/a"}"#);
}

#[test]
fn passes_through_from_where_it_is_no_json() {
    for template in [
        r#"<a>{"url":"!"}"#,
        r#"{"url":"@/a" "url":"!"}"#,
        r#"{"url":"@/a",} {"url":"!"}"#,
        r#"{"a_urls":["@/a",],"url":"!"}"#,
        r#"{"a_urls":["@/a"},"url":"!"}"#,
        r#"{"url":"@"]}{"url":"!"}"#,
        r#"{"url":"@",1:2,"url":"!"}"#,
        r#"{"url":"@","a":tru,"url":"!"}"#,
        r#"{"url":"@","a":nulll,"url":"!"}"#,
        r#"{"url":"@","a":"\x","url":"!"}"#,
        r#"{"url":"@","a":"\u12G4","url":"!"}"#,
        r#"{"url":"@","\u12":1,"url":"!"}"#,
        r#"{"url":"@/\q","url":"!"}"#,
        r#"{"url":"@","a":,"url":"!"}"#,
        r#"{"url":"@","a":'x',"url":"!"}"#,
        r#"{"url":"@","a":1x,"url":"!"}"#,
        r#"{"url":"@"},{"url":"!"}"#,
        r#"/* */{"url":"!"}"#,
        r#"{{"url":"!"}}"#,
        r#"[,{"url":"!"}]"#,
        r#"[:{"url":"!"}]"#,
    ] {
        check(template);
    }
}

#[test]
fn keeps_odd_but_sound_input() {
    for template in [
        "\u{feff}{\"url\":\"@\"}",
        "{\"url\":\"@\"}\n{\"url\":\"@\"}[]1 2\"x\"nulltrue{\"url\":\"@\"}",
        "\r\n\t [ 1E+2 , -0.0e-1,01, {\"url\" \n:\t\"@\" } ] ",
        "{\"x\":\"a\nb\u{0}\",\"url\":\"@\"}",
    ] {
        check(template);
    }
    let mut invalid = b"{\"\xff_url\":\"https://api.github.com/\xfe\xff\",\"x\":\"\xff\"}".to_vec();
    let out = rewritten(&invalid);
    invalid.splice(10..32, *b"http://tollgate.test:8080/api/v3");
    assert_eq!(text(&out), text(&invalid));
}

#[test]
fn gives_back_what_a_truncated_body_held() {
    let whole = br#"{"url":"https://api.github.com/a"}"#;
    for len in 0..=30 {
        assert_eq!(text(&rewritten(&whole[..len])), text(&whole[..len]));
    }
    let settled = br#"{"url":"http://tollgate.test:8080/api/v3/"#;
    assert_eq!(text(&rewritten(&whole[..31])), text(settled));
}

#[test]
fn reads_long_keys_and_only_their_end() {
    let long = "k".repeat(100_000);
    check(&format!(r#"{{"{long}_url":"@","{long}url":"!","_url{long}":"!"}}"#));
}

#[test]
fn reads_down_to_the_deepest_level_and_no_deeper() {
    let nested = |levels: usize| {
        let template = format!("{}{{\"url\":\"@\"}}", "[".repeat(levels - 1));
        template + &"]".repeat(levels - 1)
    };
    check(&format!("{}{{\"url\":\"@\"}}", nested(LEVELS_MAX)));
    check(&format!("{}{{\"url\":\"@\"}}", nested(LEVELS_MAX + 1)).replace('@', "!"));
}

#[test]
fn passes_unchanged_chunks_without_copying() {
    let chunk = Bytes::from(r#"{"html_url":"https://github.com/a","body":"x"}"#);
    let mut out = VecDeque::new();
    JsonRewriter::new(public_map("")).feed(chunk.clone(), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0], chunk);
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());

    let long = format!(r#"{{"url":"https://api.github.com/a","body":"{}","url":"x"}}"#, "x".repeat(10_000));
    let long = Bytes::from(long);
    out.clear();
    JsonRewriter::new(public_map("")).feed(long.clone(), &mut out);
    assert_eq!(out.len(), 2);
    assert!(long.as_ptr_range().contains(&out[1].as_ptr()));
}
