//! A script's reply, which is MessagePack, read strictly: what is not exactly as the scripts write it is no
//! reply.

use redis::Value;
use rmpv::ValueRef;
use rmpv::decode::read_value_ref;
use thiserror::Error;

use super::super::command::{Command, GateKind, Outcome, Reason, Reply, Snapshot, View, resource_of};

/// What Redis answered is not what the scripts write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Redis answered something else than the script's reply")]
pub struct Garbled;

/// The replies to so many steps, each to be [`read`].
///
/// # Errors
/// When there are more or fewer.
pub fn replies(value: Value, count: usize) -> Result<Vec<Value>, Garbled> {
    match value {
        Value::Array(replies) if replies.len() == count => Ok(replies),
        _ => Err(Garbled),
    }
}

/// The reply to a step.
///
/// # Errors
/// When it has another shape.
pub fn read(value: &Value, command: &Command) -> Result<Reply, Garbled> {
    let Value::BulkString(packed) = value else { return Err(Garbled) };
    let mut rest = &packed[..];
    let reply = read_value_ref(&mut rest).map_err(|_| Garbled)?;
    let ([now, epoch, seq, outcome, view, pool], []) = (list(&reply)?, rest) else { return Err(Garbled) };
    Ok(Reply {
        now: number(now)?,
        epoch: number(epoch)?,
        seq: number(seq)?,
        outcome: read_outcome(outcome)?,
        view: read_view(view)?,
        pool: read_pool(pool, command)?,
    })
}

fn list<'a>(value: &'a ValueRef<'_>) -> Result<&'a [ValueRef<'a>], Garbled> {
    match value {
        ValueRef::Array(values) => Ok(values),
        _ => Err(Garbled),
    }
}

fn number(value: &ValueRef<'_>) -> Result<i64, Garbled> {
    match value {
        ValueRef::Integer(number) => number.as_i64().ok_or(Garbled),
        _ => Err(Garbled),
    }
}

fn numbers<const N: usize>(value: &ValueRef<'_>) -> Result<Option<[i64; N]>, Garbled> {
    let values = list(value)?;
    if values.is_empty() {
        return Ok(None);
    }
    let numbers = values.iter().map(number).collect::<Result<Vec<i64>, Garbled>>()?;
    numbers.try_into().map(Some).map_err(|_| Garbled)
}

fn text<'a>(value: &'a ValueRef<'_>) -> Result<&'a str, Garbled> {
    match value {
        ValueRef::String(text) => text.as_str().ok_or(Garbled),
        _ => Err(Garbled),
    }
}

fn read_outcome(value: &ValueRef<'_>) -> Result<Outcome, Garbled> {
    let (kind, rest) = list(value)?.split_first().ok_or(Garbled)?;
    match (text(kind)?, rest) {
        ("done", []) => Ok(Outcome::Done),
        ("settled", [cost]) => Ok(Outcome::Settled { cost: number(cost)? }),
        ("granted", [price, would]) => {
            let would = match text(would)? {
                "" => None,
                name => Some(reason(name)?),
            };
            Ok(Outcome::Granted { price: number(price)?, would })
        }
        ("wait", [hint_ms, step_ms, why, has_place]) => Ok(Outcome::Wait {
            hint_ms: number(hint_ms)?,
            step_ms: number(step_ms)?,
            reason: reason(text(why)?)?,
            has_place: number(has_place)? == 1,
        }),
        ("refused", [retry_after, why]) => {
            Ok(Outcome::Refused { retry_after: number(retry_after)?, reason: reason(text(why)?)? })
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

fn read_view(value: &ValueRef<'_>) -> Result<Option<View>, Garbled> {
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

fn read_pool(value: &ValueRef<'_>, command: &Command) -> Result<Option<Snapshot>, Garbled> {
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
    use super::super::super::command::Look;
    use super::*;
    use crate::budget::command::Share;

    fn read_packed(reply: &rmpv::Value, behind: &[u8]) -> Result<Reply, Garbled> {
        let share = Share { agent: "a".into(), weight: 1, guarantee: 0, ceiling: None, guarantees: 0 };
        let look = Command::Look(Look { share, resource: "core".into() });
        let mut packed = Vec::new();
        rmpv::encode::write_value(&mut packed, reply).unwrap();
        packed.extend_from_slice(behind);
        read(&Value::BulkString(packed), &look)
    }

    fn array(values: impl IntoIterator<Item = rmpv::Value>) -> rmpv::Value {
        rmpv::Value::Array(values.into_iter().collect())
    }

    fn reply(now: rmpv::Value, view: rmpv::Value) -> rmpv::Value {
        array([now, 7.into(), (-3).into(), array(["done".into()]), view, array([])])
    }

    #[test]
    fn only_what_the_scripts_write_is_a_reply() {
        let now = 1_764_352_800_123_i64;
        let view = || array([1, 2, 3, 4, 5, 1].map(rmpv::Value::from));
        let sound = read_packed(&reply(now.into(), view()), b"").unwrap();
        assert_eq!((sound.now, sound.epoch, sound.seq, sound.pool), (now, 7, -3, None));
        assert_eq!(sound.view.map(|view| (view.used, view.weights, view.is_known)), Some((1, 5, true)));
        assert_eq!(read_packed(&reply(now.into(), array([])), b"").unwrap().view, None);
        for other in [
            reply(1.5.into(), view()),
            reply(u64::MAX.into(), view()),
            reply("1".into(), view()),
            reply(now.into(), array([1.into()])),
            reply(now.into(), rmpv::Value::Map(Vec::new())),
            array([now.into()]),
            rmpv::Value::Nil,
        ] {
            assert_eq!(read_packed(&other, b""), Err(Garbled), "{other}");
        }
        assert_eq!(read_packed(&reply(now.into(), view()), b"\x00"), Err(Garbled));
    }
}
