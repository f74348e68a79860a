//! A script's reply, read strictly: what is not exactly as the scripts write it is no reply.

use redis::Value;
use serde::Deserialize;
use thiserror::Error;

use super::super::command::{Command, GateKind, Outcome, Reason, Reply, Snapshot, View, resource_of};

/// What Redis answered is not what the scripts write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Redis answered something else than the script's reply")]
pub struct Garbled;

/// The reply to a step.
///
/// # Errors
/// When it has another shape.
pub fn read(value: &Value, command: &Command) -> Result<Reply, Garbled> {
    let Value::BulkString(bytes) = value else { return Err(Garbled) };
    let (now, epoch, seq, outcome, view, pool): Packed<'_> =
        rmp_serde::from_slice(bytes).map_err(|_| Garbled)?;
    Ok(Reply {
        now,
        epoch,
        seq,
        outcome: read_outcome(&outcome)?,
        view: read_view(view)?,
        pool: read_pool(pool, command)?,
    })
}

/// A reply as the scripts pack it: now, epoch, seq, outcome, view, pool.
type Packed<'a> = (i64, i64, i64, Vec<Part<'a>>, Vec<i64>, Vec<i64>);

/// A part of an outcome.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Part<'a> {
    Number(i64),
    Text(&'a str),
}

/// The numbers of a view or a pool; none: there is none.
fn numbers<const N: usize>(values: Vec<i64>) -> Result<Option<[i64; N]>, Garbled> {
    if values.is_empty() {
        return Ok(None);
    }
    values.try_into().map(Some).map_err(|_| Garbled)
}

fn read_outcome(parts: &[Part<'_>]) -> Result<Outcome, Garbled> {
    use Part::{Number, Text};
    match *parts {
        [Text("done")] => Ok(Outcome::Done),
        [Text("settled"), Number(cost)] => Ok(Outcome::Settled { cost }),
        [Text("granted"), Number(price), Text(would)] => {
            let would = if would.is_empty() { None } else { Some(reason(would)?) };
            Ok(Outcome::Granted { price, would })
        }
        [Text("wait"), Number(hint_ms), Number(step_ms), Text(why), Number(has_place)] => {
            Ok(Outcome::Wait { hint_ms, step_ms, reason: reason(why)?, has_place: has_place == 1 })
        }
        [Text("refused"), Number(retry_after), Text(why)] => {
            Ok(Outcome::Refused { retry_after, reason: reason(why)? })
        }
        _ => Err(Garbled),
    }
}

fn reason(name: &str) -> Result<Reason, Garbled> {
    Ok(match name {
        "start" => Reason::Start,
        "cooldown" => Reason::Cooldown,
        "box" => Reason::Box,
        "trial" => Reason::Trial,
        "exhausted" => Reason::Exhausted,
        "ceiling" => Reason::Ceiling,
        "closed" => Reason::Closed,
        "spacing" => Reason::Spacing,
        "ring" => Reason::Ring,
        "content" => Reason::Content,
        "turn:pool" => Reason::Turn(GateKind::Pool),
        "turn:installation" => Reason::Turn(GateKind::Installation),
        "turn:route" => Reason::Turn(GateKind::Route),
        "turn:content" => Reason::Turn(GateKind::Content),
        _ => return Err(Garbled),
    })
}

fn read_view(value: Vec<i64>) -> Result<Option<View>, Garbled> {
    let view = numbers(value)?.map(|[used, remaining, reset_in_ms, weight, weights, known]| View {
        used,
        remaining,
        reset_in_ms,
        weight,
        weights,
        is_known: known == 1,
    });
    Ok(view)
}

fn read_pool(value: Vec<i64>, command: &Command) -> Result<Option<Snapshot>, Garbled> {
    let Some(numbers) = numbers::<14>(value)? else { return Ok(None) };
    let [
        limit,
        used,
        own,
        in_flight,
        reset,
        window_ms,
        window_number,
        outside,
        rate,
        learned,
        cool,
        replicas,
        leases,
        known,
    ] = numbers;
    Ok(Some(Snapshot {
        resource: resource_of(command).ok_or(Garbled)?.clone(),
        limit,
        used,
        own,
        in_flight,
        reset,
        window_ms,
        window_number,
        outside,
        rate,
        learned,
        cool,
        replicas,
        leases,
        is_known: known == 1,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_reply_is_garbled() {
        let packed = |value: &(i64, i64, i64, Vec<&str>, Vec<i64>, Vec<i64>)| {
            Value::BulkString(rmp_serde::to_vec(value).unwrap())
        };
        let heartbeat = Command::Heartbeat(crate::budget::command::Known::default());
        let done = packed(&(1, 2, 3, vec!["done"], vec![], vec![]));
        assert_eq!(read(&done, &heartbeat).map(|reply| reply.outcome), Ok(Outcome::Done));
        for garbled in [
            Value::Nil,
            Value::Int(1),
            Value::Array(Vec::new()),
            Value::BulkString(b"rubbish".to_vec()),
            packed(&(1, 2, 3, vec!["granted"], vec![], vec![])),
            packed(&(1, 2, 3, vec!["done"], vec![1], vec![])),
            packed(&(1, 2, 3, vec!["done"], vec![], vec![1; 14])),
        ] {
            assert_eq!(read(&garbled, &heartbeat).map(|reply| reply.outcome), Err(Garbled), "{garbled:?}");
        }
    }
}
