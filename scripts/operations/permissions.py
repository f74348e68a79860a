#!/usr/bin/env python3
"""Write permissions.tsv: what an App's token needs for each REST operation (step 5 of refresh-operations).

GitHub lists, permission by permission, the operations that it opens; here it is one row for each operation of
operations.tsv. Only repository permissions: organisation and account permissions are not an agent's.

Where an operation is under several permissions GitHub says that, and not whether all of them are needed or one of
them will do. ONE_OF names the pairs of which one will do, by GitHub's pages on these operations; otherwise all are
taken to be needed, so that a mistake asks for too much and not for too little.

Usage: permissions.py SERVER_TO_SERVER_PERMISSIONS_JSON OPERATIONS_TSV OUTPUT_FILE
"""
import collections
import csv
import json
import re
import sys

ONE_OF = [{"issues", "pull_requests"}, {"contents", "pull_requests"}, {"contents", "artifact_metadata"}]


def key(method, path):
    return method.upper(), re.sub(r"\{[^}]*\}", "{}", path)


def alternatives(listed):
    """(permission, level) as often as listed -> sets of which one will do, the smallest first.

    >>> alternatives([("contents", "write")])
    [[('contents', 'write')]]
    >>> alternatives([("contents", "read"), ("administration", "write")])
    [[('administration', 'write'), ('contents', 'read')]]
    >>> alternatives([("pull_requests", "read"), ("issues", "read")])
    [[('issues', 'read')], [('pull_requests', 'read')]]
    >>> alternatives([("contents", "write"), ("contents", "write"), ("workflows", "write")])
    [[('contents', 'write')], [('contents', 'write'), ('workflows', 'write')]]
    """
    times = collections.Counter(listed)
    each = sorted(times)
    if {permission for permission, _ in each} in ONE_OF:
        return [[one] for one in each]
    # What is listed twice is needed both with the others and without them.
    often = [one for one in each if times[one] > 1]
    return [often, each] if often and len(often) < len(each) else [each]


def main():
    source, operations, output = sys.argv[1:]
    needs = collections.defaultdict(list)
    for permission, group in json.load(open(source, encoding="utf-8")).items():
        if not group["displayTitle"].startswith("Repository permissions"):
            continue
        for row in group["permissions"]:
            if row["server-to-server"]:
                needs[key(row["verb"], row["requestPath"])].append((permission, row["access"]))
    with open(operations, encoding="utf-8", newline="") as file:
        rest = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["kind"] == "rest"]
    with open(output, "w", encoding="utf-8", newline="\n") as out:
        out.write("operation\tpermissions\n")
        for row in rest:
            listed = needs.pop(key(row["method"], row["path"]), [])
            if listed:
                sets = ["+".join(f"{name}:{level}" for name, level in one) for one in alternatives(listed)]
                out.write(f"{row['operation']}\t{'|'.join(sets)}\n")
    for method, path in sorted(needs):
        print(f"not in {operations}: {method} {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
