"""What no schema sees: whether the objects of an overlay fit each other and the configuration file.

A rule takes a `Rendered` and gives its problems. They are in `pods.py` and `reach.py`; `breakages.py` proves of each
that it finds what it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rendered import Rendered

Rule = Callable[[Rendered], Iterator[str]]
RULES: dict[str, Rule] = {}

# Keys of the Secret `tollgate-secrets`, as docs/kubernetes.md tells them.
SECRET_KEYS = ("app.pem", "admin.token", "approver.pub.pem", "redis.password", "webhook.secret")

# How a problem begins that says no more than that a rule found nothing to judge.
UNJUDGED = "can't be judged"


def rule(check: Rule) -> Rule:
    RULES[check.__name__.replace("_", "-")] = check
    return check


def problems(rendered: Rendered) -> dict[str, list[str]]:
    """Of each rule."""
    found = {}
    for name, check in RULES.items():
        try:
            found[name] = list(check(rendered))
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
            found[name] = [f"{UNJUDGED}, something it needs is missing: {error!r}"]
    return found
