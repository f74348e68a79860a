//! Everything that an agent's ordinary work needs is served: a gate that stops work gets removed.

mod branches;
mod documents;
mod reads;
mod wire;
mod writes;

use super::run::setup;
use crate::support::Tollgate;

/// Method, path, fields, body, and the status that GitHub would answer with.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, u16);

async fn start() -> Tollgate {
    setup("presence").start().await
}

/// Sends each request, and lists those that were not served or did not arrive.
async fn serve(tollgate: &Tollgate, rows: &[Row]) {
    let mut failures = Vec::new();
    for (method, path, fields, body, status) in rows {
        let before = tollgate.arrived().len();
        let mut ask = tollgate.ask(method, path);
        for (name, value) in *fields {
            ask = ask.header(name, value);
        }
        if !body.is_empty() && !fields.iter().any(|(name, _)| *name == "content-type") {
            ask = ask.header("content-type", "application/json");
        }
        let answer = ask.body(*body).send().await;
        let arrived = tollgate.arrived()[before..].iter().any(|request| request.method == **method);
        // Tollgate answers for the limits itself.
        let is_own = path.ends_with("/rate_limit");
        if answer.verdict() != status.to_string() || !(arrived || is_own) {
            let text: String = answer.text().chars().take(160).collect();
            failures
                .push(format!("{method} {path} {body}: {} instead of {status}: {text}", answer.verdict()));
        }
    }
    assert!(failures.is_empty(), "{} were not served:\n{}", failures.len(), failures.join("\n"));
    tollgate.assert_clean();
}
