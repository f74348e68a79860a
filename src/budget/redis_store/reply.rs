//! Reads a script's reply strictly. It is MessagePack, and anything not exactly as the scripts
//! write it is no reply.

use redis::Value;
use rmp::decode;
use thiserror::Error;

use super::super::command::{Command, Outcome, Reason, Reply, Snapshot, View, resource_of};

/// Redis answered with something the scripts don't write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Redis answered something else than the script's reply")]
pub struct Garbled;

/// The replies to `count` steps, each to be passed to [`read`].
///
/// # Errors
/// If there are more or fewer.
pub fn replies(value: Value, count: usize) -> Result<Vec<Value>, Garbled> {
    match value {
        Value::Array(replies) if replies.len() == count => Ok(replies),
        _ => Err(Garbled),
    }
}

/// Reads the reply to a step.
///
/// # Errors
/// If it has another shape.
pub fn read(value: &Value, command: &Command) -> Result<Reply, Garbled> {
    let Value::BulkString(packed) = value else { return Err(Garbled) };
    let rest = &mut &packed[..];
    expect(list(rest)? == 6)?;
    let reply = Reply {
        now: number(rest)?,
        epoch: number(rest)?,
        seq: number(rest)?,
        outcome: read_outcome(rest)?,
        view: read_view(rest)?,
        pool: read_pool(rest, command)?,
    };
    expect(rest.is_empty())?;
    Ok(reply)
}

fn expect(holds: bool) -> Result<(), Garbled> {
    holds.then_some(()).ok_or(Garbled)
}

/// The length of the list that follows.
fn list(rest: &mut &[u8]) -> Result<u32, Garbled> {
    decode::read_array_len(rest).map_err(|_| Garbled)
}

fn number(rest: &mut &[u8]) -> Result<i64, Garbled> {
    decode::read_int(rest).map_err(|_| Garbled)
}

fn numbers<const N: usize>(rest: &mut &[u8]) -> Result<Option<[i64; N]>, Garbled> {
    let count = list(rest)?;
    if count == 0 {
        return Ok(None);
    }
    expect(count as usize == N)?;
    let mut numbers = [0; N];
    for place in &mut numbers {
        *place = number(rest)?;
    }
    Ok(Some(numbers))
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Garbled> {
    let (text, behind) = decode::read_str_from_slice(*rest).map_err(|_| Garbled)?;
    *rest = behind;
    Ok(text)
}

fn read_outcome(rest: &mut &[u8]) -> Result<Outcome, Garbled> {
    let count = list(rest)?;
    match (text(rest)?, count) {
        ("done", 1) => Ok(Outcome::Done),
        ("settled", 2) => Ok(Outcome::Settled { cost: number(rest)? }),
        ("granted", 3) => Ok(Outcome::Granted {
            price: number(rest)?,
            would: match text(rest)? {
                "" => None,
                name => Some(reason(name)?),
            },
        }),
        ("wait", 5) => Ok(Outcome::Wait {
            hint_ms: number(rest)?,
            step_ms: number(rest)?,
            reason: reason(text(rest)?)?,
            has_place: number(rest)? == 1,
        }),
        ("refused", 3) => Ok(Outcome::Refused { retry_after: number(rest)?, reason: reason(text(rest)?)? }),
        _ => Err(Garbled),
    }
}

fn reason(name: &str) -> Result<Reason, Garbled> {
    Reason::named(name).ok_or(Garbled)
}

fn read_view(rest: &mut &[u8]) -> Result<Option<View>, Garbled> {
    let view = numbers(rest)?.map(|[used, remaining, reset_in_ms, weight, weights, known]| View {
        used,
        remaining,
        reset_in_ms,
        weight,
        weights,
        is_known: known == 1,
    });
    Ok(view)
}

fn read_pool(rest: &mut &[u8], command: &Command) -> Result<Option<Snapshot>, Garbled> {
    let Some(numbers) = numbers::<14>(rest)? else { return Ok(None) };
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
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::super::super::command::Look;
    use super::*;
    use crate::budget::command::Share;

    const NOW: i64 = 1_764_352_800_123;

    fn read_packed(reply: &impl Serialize, behind: &[u8]) -> Result<Reply, Garbled> {
        let share = Share { agent: "a".into(), weight: 1, guarantee: 0, ceiling: None, guarantees: 0 };
        let look = Command::Look(Look { share, resource: "core".into() });
        let mut packed = rmp_serde::to_vec(reply).unwrap();
        packed.extend_from_slice(behind);
        read(&Value::BulkString(packed), &look)
    }

    fn none() -> [i64; 0] {
        []
    }

    #[test]
    fn what_the_scripts_write_is_read() {
        let sound = read_packed(&(NOW, 7, -3, ["done"], [1, 2, 3, 4, 5, 1], none()), b"").unwrap();
        assert_eq!((sound.now, sound.epoch, sound.seq, sound.pool), (NOW, 7, -3, None));
        assert_eq!(sound.view.map(|view| (view.used, view.weights, view.is_known)), Some((1, 5, true)));
        assert_eq!(read_packed(&(NOW, 7, -3, ["done"], none(), none()), b"").unwrap().view, None);
    }

    #[test]
    fn nothing_else_is_a_reply() {
        let view = [1, 2, 3, 4, 5, 1];
        let done = ["done"];
        assert!(read_packed(&(NOW, 7, -3, done, view, none()), b"").is_ok());
        for garbled in [
            read_packed(&(NOW, 7, -3, done, view, none()), b"\x00"),
            read_packed(&(NOW, 7, -3, done, view, none(), 1), b""),
            read_packed(&(NOW, 7, -3, done, view), b""),
            read_packed(&(1.5, 7, -3, done, view, none()), b""),
            read_packed(&(u64::MAX, 7, -3, done, view, none()), b""),
            read_packed(&("1", 7, -3, done, view, none()), b""),
            read_packed(&(NOW, 7, -3, ("done", 1), view, none()), b""),
            read_packed(&(NOW, 7, -3, ["gone"], view, none()), b""),
            read_packed(&(NOW, 7, -3, ("granted", "1", ""), view, none()), b""),
            read_packed(&(NOW, 7, -3, done, [1], none()), b""),
            read_packed(&(NOW, 7, -3, done, [1, 2, 3, 4, 5, 1, 1], none()), b""),
            read_packed(&(NOW, 7, -3, done, BTreeMap::from([(1, 2)]), none()), b""),
            read_packed(&(NOW, 7, -3, done, view, [1.5]), b""),
            read_packed(&[NOW], b""),
            read_packed(&(), b""),
        ] {
            assert_eq!(garbled, Err(Garbled));
        }
        assert_eq!(read(&Value::BulkString(Vec::new()), &Command::Renew(Vec::new())), Err(Garbled));
        assert_eq!(read(&Value::Int(1), &Command::Renew(Vec::new())), Err(Garbled));
    }
}
