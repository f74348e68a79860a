#!/usr/bin/env python3
"""Read GitHub's own descriptions into compact tables (step 1 of refresh-operations).

Inputs (both MIT licensed, not kept in this repository):
  --openapi   api.github.com.json  from the npm package @octokit/openapi
  --graphql   schema.graphql       from the npm package @octokit/graphql-schema
Outputs in --out: rest-routes.tsv, graphql-mutations.tsv, graphql.schema

Usage:
  routes.py --openapi api.github.com.json --graphql schema.graphql --out DIR \
                 [--openapi-version X] [--graphql-version Y]
Standard library only. Output is sorted, so a rerun on the same input is byte-identical.
"""
import argparse
import json
import os
import re

METHODS = ("get", "head", "post", "put", "patch", "delete")

# Operations whose description speaks of a JWT only as one choice would be listed here.
JWT_RE = re.compile(r"\b(?:You must use|must use) an? \[?JWT\b|JSON Web Token|\[JWT\]")

# Authenticated with the app's client id and secret (HTTP Basic), so neither an
# installation token nor the App JWT fits.
BASIC_PREFIXES = ("/applications/{client_id}/",)

# Which x-ratelimit-resource value a route is expected to be charged to when it is
# not `core`.  `doc` entries are stated on the rate-limit endpoint's own page,
# `schema` ones only by the name of the bucket in the response schema.
BUCKETS = [
    ("get", "/search/code", "code_search"),
    ("get", "/search/", "search"),
    ("post", "/app-manifests/{code}/conversions", "integration_manifest"),
    ("post", "/repos/{owner}/{repo}/dependency-graph/snapshots", "dependency_snapshots"),
    ("get", "/repos/{owner}/{repo}/dependency-graph/sbom", "dependency_sbom"),
    ("post", "/repos/{owner}/{repo}/code-scanning/sarifs", "code_scanning_upload"),
    ("post", "/repos/{owner}/{repo}/code-scanning/alerts/{alert_number}/autofix", "code_scanning_autofix"),
    ("post", "/repos/{owner}/{repo}/actions/runners/registration-token", "actions_runner_registration"),
    ("post", "/orgs/{org}/actions/runners/registration-token", "actions_runner_registration"),
    ("post", "/repos/{owner}/{repo}/actions/runners/remove-token", "actions_runner_registration?"),
    ("post", "/orgs/{org}/actions/runners/remove-token", "actions_runner_registration?"),
    ("post", "/repos/{owner}/{repo}/actions/runners/generate-jitconfig", "actions_runner_registration?"),
    ("post", "/orgs/{org}/actions/runners/generate-jitconfig", "actions_runner_registration?"),
    ("get", "/rate_limit", "none"),
]


def bucket(method, path):
    for m, p, name in BUCKETS:
        if m != method:
            continue
        if path == p or (p.endswith("/") and path.startswith(p)):
            return name
    return "core"


def flag(v):
    return "true" if v else "false"


def rest_rows(doc):
    for path in sorted(doc["paths"]):
        for method in METHODS:
            op = doc["paths"][path].get(method)
            if not op:
                continue
            xg = op.get("x-github", {})
            desc = op.get("description") or ""
            body = op.get("requestBody", {}).get("content", {})
            yield [
                method.upper(),
                path,
                op["operationId"],
                f"{xg.get('category', '')}/{xg.get('subcategory', '')}",
                flag(xg.get("enabledForGitHubApps")),
                # the field is present only where GitHub filled it in; the phrase in the
                # description is the same statement in prose
                flag(xg.get("triggersNotification") or "triggers [notifications]" in desc),
                flag(JWT_RE.search(desc)),
                flag("secondary rate limiting" in desc),
                flag(path.startswith(BASIC_PREFIXES)),
                bucket(method, path),
                flag(op.get("deprecated")),
                (op.get("servers") or [{"url": ""}])[0]["url"],
                ",".join(sorted(op.get("responses", {}))),
                ",".join(sorted(body)),
            ]


REST_HEAD = [
    "method", "path", "operation_id", "category", "enabled_for_github_apps",
    "triggers_notification", "requires_app_jwt", "content_creation_warning",
    "requires_client_basic", "ratelimit_resource_guess", "deprecated", "server_override",
    "documented_statuses", "request_media_types",
]


def mutations(sdl):
    block = re.search(r"^type Mutation\b[^{]*\{(.*?)^\}", sdl, re.S | re.M).group(1)
    field = re.compile(
        r'(?:^  """(?P<doc>.*?)"""\s*)?^  (?P<name>\w+)\s*\((?P<args>.*?)^  \)\s*:\s*(?P<ret>[\w!\[\]]+)(?P<dir>[^\n]*)'
        r'|(?:^  """(?P<doc2>.*?)"""\s*)?^  (?P<name2>\w+)\s*\((?P<args2>[^\n]*?)\)\s*:\s*(?P<ret2>[\w!\[\]]+)(?P<dir2>[^\n]*)',
        re.S | re.M,
    )
    pos = 0
    while True:
        m = field.search(block, pos)
        if not m:
            return
        pos = m.end()
        g = m.groupdict()
        name = g["name"] or g["name2"]
        args = re.sub(r'""".*?"""', "", g["args"] or g["args2"] or "", flags=re.S)
        inp = re.search(r"\binput\s*:\s*([\w!\[\]]+)", args)
        rest = g["dir"] or g["dir2"] or ""
        doc = " ".join((g["doc"] or g["doc2"] or "").split())
        if '"""' in doc:                      # a lazy match ran over an earlier field
            doc = doc.split('"""')[-1].strip()
        yield [name, inp.group(1) if inp else "", g["ret"] or g["ret2"],
               flag("@deprecated" in rest), doc[:160]]


def input_fields(sdl, type_name):
    m = re.search(r"^input %s\b[^{]*\{(.*?)^\}" % re.escape(type_name), sdl, re.S | re.M)
    if not m:
        return ""
    body = re.sub(r'""".*?"""', "", m.group(1), flags=re.S)
    names = re.findall(r"^  (\w+)\s*:\s*([\w!\[\]]+)", body, re.M)
    return ",".join(f"{n}:{t}" for n, t in names if n != "clientMutationId")


def strip_descriptions(sdl):
    sdl = re.sub(r'^[ ]*""".*?"""[ ]*\n', "", sdl, flags=re.S | re.M)
    return re.sub(r"\n{3,}", "\n\n", sdl).lstrip("\n")


def write(path, text):
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write(text)
    print(f"{os.path.basename(path)}\t{os.path.getsize(path)} bytes")


def tsv(head, rows):
    out = ["\t".join(head)]
    out += ["\t".join(str(c).replace("\t", " ").replace("\n", " ") for c in r) for r in rows]
    return "\n".join(out) + "\n"


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--openapi", required=True)
    ap.add_argument("--graphql", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--openapi-version", default="")
    ap.add_argument("--graphql-version", default="")
    a = ap.parse_args()
    os.makedirs(a.out, exist_ok=True)

    with open(a.openapi, encoding="utf-8") as f:
        doc = json.load(f)
    rows = list(rest_rows(doc))
    write(os.path.join(a.out, "rest-routes.tsv"), tsv(REST_HEAD, rows))
    print("REST operations:", len(rows),
          "| app jwt:", sum(r[6] == "true" for r in rows),
          "| notify:", sum(r[5] == "true" for r in rows),
          "| content warning:", sum(r[7] == "true" for r in rows),
          "| not for apps:", sum(r[4] == "false" for r in rows))

    with open(a.graphql, encoding="utf-8") as f:
        sdl = f.read()
    muts = sorted(mutations(sdl))
    muts = [m[:2] + [input_fields(sdl, m[1].strip("!"))] + m[2:] for m in muts]
    write(os.path.join(a.out, "graphql-mutations.tsv"),
          tsv(["mutation", "input_type", "input_fields", "payload_type", "deprecated", "summary"], muts))
    print("GraphQL mutations:", len(muts))

    head = ("# GitHub GraphQL API public schema, descriptions stripped by make_routes.py\n"
            f"# Source: npm package @octokit/graphql-schema {a.graphql_version} (MIT License,\n"
            "# see NOTICE.md beside this file for the full licence text)\n\n")
    write(os.path.join(a.out, "graphql.schema"), head + strip_descriptions(sdl))


if __name__ == "__main__":
    main()
