"""Making the documents of two runs comparable, and telling where they differ."""

import json
import re
import time

INSTANT = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
OBJECT_ID = re.compile(r"\b[0-9a-f]{40}\b")
SHOWN_CHARACTERS = 300


def placed(document, places: list[tuple[str, str]], started_at: float):
    """The document without what depends on where and when it was made.

    `places` are bases of urls and what stands for them, the longest first. Times since the start of
    the run are `{now}`; those of the stand-in's seed are kept.
    """
    earliest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started_at - 1))

    def text(value: str) -> str:
        for base, stands_for in places:
            # Only a whole base: neither the port of another address nor a longer one.
            value = re.sub(rf"{re.escape(base)}(?!\d)", stands_for, value)
        return INSTANT.sub(lambda found: "{now}" if found[0] >= earliest else found[0], value)

    return mapped(document, text)


def without_new_ids(document, other):
    """Numbers the git object ids that the other document lacks: a commit made now has an id of its own."""
    shared = set(OBJECT_ID.findall(json.dumps(other)))
    numbers: dict[str, int] = {}

    def text(value: str) -> str:
        def numbered(found: re.Match) -> str:
            if found[0] in shared:
                return found[0]
            return f"{{object {numbers.setdefault(found[0], len(numbers) + 1)}}}"

        return OBJECT_ID.sub(numbered, value)

    return mapped(document, text)


def mapped(value, text):
    """The document with each of its strings, keys too, replaced."""
    if isinstance(value, dict):
        return {text(key): mapped(member, text) for key, member in value.items()}
    if isinstance(value, list):
        return [mapped(member, text) for member in value]
    return text(value) if isinstance(value, str) else value


def differences(expected, seen, path: str = "") -> list[str]:
    if isinstance(expected, dict) and isinstance(seen, dict):
        keys = sorted(expected.keys() | seen.keys())
        missing = object()
        pairs = ((f"{path}.{key}", expected.get(key, missing), seen.get(key, missing)) for key in keys)
        found = []
        for where, one, two in pairs:
            if one is missing or two is missing:
                found.append(f"{where}: only {'through tollgate' if one is missing else 'directly'}")
            else:
                found += differences(one, two, where)
        return found
    if isinstance(expected, list) and isinstance(seen, list) and len(expected) == len(seen):
        pairs = enumerate(zip(expected, seen))
        return [line for at, (one, two) in pairs for line in differences(one, two, f"{path}[{at}]")]
    if type(expected) is type(seen) and expected == seen:
        return []
    return [f"{path or 'all of it'}: directly {shown(expected)}, through tollgate {shown(seen)}"]


def shown(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
