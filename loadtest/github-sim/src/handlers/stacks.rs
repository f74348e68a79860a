//! Stacks of pull requests: listed, read and made.

use serde_json::{Map, Value, json};

use crate::context::Cx;
use crate::exchange::{Answer, Reply};
use crate::world::stacks::{Stack, StackRefusal};

/// How many pull requests a stack may have.
const SIZES: std::ops::RangeInclusive<usize> = 2..=100;

/// Where GitHub documents how a stack is made.
const DOCS: &str = "https://docs.github.com/rest/pulls/stacks#create-a-pull-request-stack";

/// `GET …/stacks`: newest first; `pull_request` keeps only the stack that contains it.
pub(crate) fn list(cx: &mut Cx<'_>) -> Answer {
    let repository = cx.repository();
    let wanted = match cx.request.query("pull_request").map(str::parse::<u64>) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => return Err(Reply::error(422, "Invalid request.\n\npull_request is not an integer.")),
    };
    let is_wanted = |stack: &&Stack| wanted.is_none_or(|number| stack.pulls.contains(&number));
    let found: Vec<&Stack> = repository.stacks.iter().rev().filter(is_wanted).collect();
    Ok(cx.page(&found, |view, stack| view.short_stack(repository, stack)))
}

/// `GET …/stacks/{stack_number}`.
pub(crate) fn read(cx: &mut Cx<'_>) -> Answer {
    let number = cx.number("stack_number")?;
    Ok(Reply::ok(shown(cx, number)?))
}

fn shown(cx: &Cx<'_>, number: u64) -> Result<Value, Reply> {
    let repository = cx.repository();
    let stack = repository.stacks.iter().find(|stack| stack.number == number);
    Ok(cx.view().stack(repository, stack.ok_or_else(Reply::not_found)?))
}

/// `POST …/stacks`: makes a stack of `pull_requests`, bottom first.
pub(crate) fn create(cx: &mut Cx<'_>) -> Answer {
    let numbers = sent_numbers(&cx.request.json()?)?;
    let now = cx.now;
    let repository = cx.repository_mut();
    repository.check_stack(&numbers).map_err(refused)?;
    if !repository.is_linear(&numbers) {
        let message =
            "Pull requests must form a stack, where each PR's base ref is the previous PR's head ref";
        return Err(invalid(message));
    }
    let number = repository.add_stack(&numbers, now);
    Ok(Reply::created(shown(cx, number)?))
}

fn sent_numbers(body: &Map<String, Value>) -> Result<Vec<u64>, Reply> {
    let sent = body.get("pull_requests").and_then(Value::as_array);
    let numbers: Option<Vec<u64>> = sent.and_then(|sent| sent.iter().map(Value::as_u64).collect());
    numbers.filter(|numbers| SIZES.contains(&numbers.len())).ok_or_else(|| {
        invalid("Invalid request.\n\n\"pull_requests\" must be an array of 2 to 100 integers.")
    })
}

fn refused(refusal: StackRefusal) -> Reply {
    match refusal {
        StackRefusal::Missing(numbers) => {
            let error = json!(
                {"resource": "Stack", "field": "pull_requests", "code": "missing", "value": numbers}
            );
            let message = "Validation Failed";
            Reply::json(422, json!({"message": message, "documentation_url": DOCS, "errors": [error]}))
        }
        StackRefusal::Taken(number) => invalid(&format!("Pull request #{number} is already part of a stack")),
    }
}

fn invalid(message: &str) -> Reply {
    Reply::json(422, json!({"message": message, "documentation_url": DOCS}))
}
