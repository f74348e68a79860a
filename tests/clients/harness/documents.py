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


def plain_links(document, upstream: str, base: str):
    """The document with strings right under `_links` moved from the upstream's address to tollgate's.

    The contract moves `url`, `*_url`, `*_urls` and `href` below `_links`. Contents alone have plain
    strings there, which stay GitHub's; they are the only links that may.
    """
    if isinstance(document, list):
        return [plain_links(member, upstream, base) for member in document]
    if not isinstance(document, dict):
        return document
    members = {key: plain_links(member, upstream, base) for key, member in document.items()}
    if isinstance(links := members.get("_links"), dict):
        members["_links"] = {key: moved(link, upstream, base) for key, link in links.items()}
    return members


def moved(link, upstream: str, base: str):
    is_upstream = isinstance(link, str) and link.startswith(f"{upstream}/")
    return base + link.removeprefix(upstream) if is_upstream else link


def without_new_ids(document, other):
    """Numbers the git object ids that the other document lacks: a commit made now has an id of its own."""
    mine, others = (dict.fromkeys(OBJECT_ID.findall(json.dumps(one))) for one in (document, other))
    unshared = [found for found in mine if found not in others]
    new = {found: f"{{object {number}}}" for number, found in enumerate(unshared, 1)}
    if not new:
        return document
    # Node ids hold them, too, with other letters right before.
    pattern = re.compile("|".join(new))
    return mapped(document, lambda value: pattern.sub(lambda found: new[found[0]], value))


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
