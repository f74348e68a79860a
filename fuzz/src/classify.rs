//! A request is never judged weaker than the most forgiving reader could read what would be forwarded.
//!
//! Input: `METHOD TARGET`, a line end, and the body.

use http::Method;
use tollgate::policy::Class;
use tollgate::policy::branch::NamedBranch;
use tollgate::policy::judge::{self, Judged};
use tollgate::policy::routes;
use tollgate::policy::target::Target;

use crate::lenient::{Danger, danger};

/// # Panics
/// When a reading is stronger than what was judged.
pub fn check(data: &[u8]) {
    let line = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(head) = std::str::from_utf8(&data[..line]) else { return };
    let Some((method, asked)) = head.split_once(' ') else { return };
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let Some(method) = known.into_iter().find(|known| known.as_str() == method) else { return };
    let (path, query) = asked.split_once('?').map_or((asked, None), |(path, query)| (path, Some(query)));
    // A body of GET or HEAD is not forwarded.
    let body = match method {
        Method::GET | Method::HEAD => &[],
        _ => data.get(line + 1..).unwrap_or_default(),
    };
    let Ok(target) = Target::parse(path, query) else { return };
    if target.is_graphql() {
        return;
    }
    let Some(class) = judged(&method, &target, body) else { return };
    let query = target.query().unwrap_or_default();
    let read = danger(method.as_str(), target.path(), query, body);
    assert!(is_enough(class, read), "judged {class}, read as {read:?}: {method} {}?{query}", target.path());
}

/// The class a request has where `main` is the default branch and no other is guarded; none when it is
/// refused.
fn judged(method: &Method, target: &Target, body: &[u8]) -> Option<Class> {
    let route = routes::find(method, target).ok()?;
    let held = if judge::body_decides(route.operation) { body } else { &[] };
    let Judged { class, branch } = judge::judge(&route, target, held).ok()?;
    Some(match branch {
        Some(NamedBranch::Named(branch)) if !branch.eq_ignore_ascii_case("main") => Class::Write,
        _ => class,
    })
}

fn is_enough(class: Class, read: Danger) -> bool {
    match read {
        Danger::Nothing => true,
        Danger::Approval | Danger::Ref => !matches!(class, Class::Read | Class::Write),
        Danger::Protection => matches!(class, Class::Protection | Class::Admin | Class::Token),
        Danger::Merge => matches!(class, Class::Merge | Class::Protection | Class::Admin | Class::Token),
    }
}
