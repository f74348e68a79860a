#!/usr/bin/env python3
"""Write graphql-types.tsv: where each field of GitHub's GraphQL schema leads (step 4 of refresh-operations).

One row for every field whose value has fields of its own; scalars and enums lead nowhere. `walk` is `many` where
the field lists what lies in many repositories from something that lies in none or in another one.

Usage: graphql_types.py SCHEMA OUTPUT_FILE
"""
import re
import sys

SCHEMA = open(sys.argv[1], encoding="utf-8").read()
DEFINITION = re.compile(r"^(type|interface|union) (\w+)([^{\n=]*)(?:=([^{}]*?)(?=^\S)|\{(.*?)^\})", re.M | re.S)
# Types that lie in no repository, so that a list of things that do spans repositories.
ACCOUNTS = set("""
    Actor Assignee Bot Enterprise EnterpriseOwnerInfo Mannequin Organization PackageOwner ProfileOwner ProjectOwner
    ProjectV2 ProjectV2Owner RepositoryOwner Sponsorable Team Topic User
""".split())


def without_arguments(body):
    body = re.sub(r'"""(.|\n)*?"""|"[^"\n]*"|#.*', "", body)
    return re.sub(r"\([^()]*\)", "", body)


def fields(body):
    for line in re.finditer(r"^\s+(\w+)\s*: ([\[\]\w!]+)", without_arguments(body), re.M):
        yield line.group(1), re.sub(r"[\[\]!]", "", line.group(2)), "[" in line.group(2)


kinds, bodies, members = {}, {}, {}
for found in DEFINITION.finditer(SCHEMA):
    kind, name, _, union, body = found.groups()
    kinds[name], bodies[name] = kind, body or ""
    if union:
        members[name] = set(re.findall(r"\w+", re.sub(r"@.*", "", union)))
table = {name: {field: (result, is_list) for field, result, is_list in fields(body)} for name, body in bodies.items()}


def in_repository(name):
    """Whether a thing of this type is a repository or lies in one."""
    if name in ("Repository", "RepositoryInfo", "RepositoryNode", "Gist"):
        return True
    if name in members:
        return any(in_repository(member) for member in members[name])
    return name not in ACCOUNTS and "repository" in table.get(name, {})


def listed(result, is_list):
    """What a field lists, if it lists something."""
    nodes = table.get(result, {}).get("nodes")
    if result.endswith("Connection") and nodes:
        return nodes[0]
    return result if is_list else None


def walk(name, field, result, is_list):
    target = listed(result, is_list)
    if target == "Repository" and not name.endswith(("Connection", "Edge")):
        return "many"
    if name in ACCOUNTS and field == "repository":
        return "many"  # any of the account's, by name
    if name in ACCOUNTS and (field == "contributionsCollection" or (target and in_repository(target))):
        # The items of a project are what the token sees of them; they are asked for one by one.
        return "" if name == "ProjectV2" else "many"
    return ""


with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write("type\tfield\tleads_to\twalk\n")
    for name in sorted(table):
        if name == "Mutation":
            continue
        for field, (result, is_list) in table[name].items():
            if result in kinds:
                out.write(f"{name}\t{field}\t{result}\t{walk(name, field, result, is_list)}\n")
    for field, (result, _) in table["Mutation"].items():
        out.write(f"Mutation\t{field}\t{result}\t\n")
