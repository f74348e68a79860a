"""The work of clients that are told paths: one list of steps, and an adapter for each client.

An adapter has `send(method, path, body, headers)` and `pages(path)`, which give parsed JSON by the client's own
means, and, where the client can, `graphql(query, variables, headers)` and `upload(url, content)`. `Api(key)` makes
one; with `patient=False` it does not wait when it is refused for rate. With CLIENT_WORK=graphql it does the work of
`graphql_work.py` in place of this.
"""

import os

import graphql_work
from flow import NAME, OWNER, REPOSITORY, Flow

R = f"/repos/{REPOSITORY}"


def work(api_class, describe):
    if os.environ.get("CLIENT_WORK") == "graphql":
        graphql_work.work(api_class, describe)
    else:
        by_paths(api_class, describe)


def by_paths(api_class, describe):
    flow = Flow(describe)
    api = api_class(flow.key)

    @flow.step
    def repository():
        return api.send("GET", R)

    @flow.step
    def issues_all_pages():
        return api.pages(f"{R}/issues?state=all&per_page=30")

    @flow.step
    def contents_of_a_file():
        return api.send("GET", f"{R}/contents/src/lib.rs")

    @flow.step
    def contents_of_a_directory():
        return api.send("GET", f"{R}/contents/src")

    @flow.step
    def contents_of_the_root():
        return api.send("GET", f"{R}/contents/")

    @flow.step
    def tree():
        return api.send("GET", f"{R}/git/trees/main?recursive=1")

    @flow.step
    def branch():
        main = api.send("GET", f"{R}/git/ref/heads/main")["object"]["sha"]
        return api.send("POST", f"{R}/git/refs", {"ref": "refs/heads/client-work", "sha": main})

    @flow.step
    def commit_onto_the_branch():
        content = {"message": "Add notes", "content": "Zmlyc3QK", "branch": "client-work"}
        return api.send("PUT", f"{R}/contents/notes/from-client.txt", content)["content"]

    @flow.step
    def draft_pull_request():
        pull = {"base": "main", "head": "client-work", "title": "Notes", "draft": True, "body": "See x."}
        return api.send("POST", f"{R}/pulls", pull)

    @flow.step
    def commenting_review():
        pull = api.send("GET", f"{R}/pulls?state=open&head={OWNER}:client-work")[0]
        return api.send("POST", f"{R}/pulls/{pull['number']}/reviews", {"event": "COMMENT", "body": "Reads well."})

    @flow.step
    def commit_status():
        head = api.send("GET", f"{R}/git/ref/heads/client-work")["object"]["sha"]
        return api.send("POST", f"{R}/statuses/{head}", {"state": "success", "context": "suite"})

    @flow.step
    def issue_with_comment():
        issue = api.send("POST", f"{R}/issues", {"title": "From a client", "body": "https://api.github.com/zen"})
        comment = api.send("POST", f"{R}/issues/{issue['number']}/comments", {"body": "A comment"})
        return [issue, comment]

    @flow.step
    def search():
        return api.send("GET", f"/search/issues?q=number+repo:{REPOSITORY}+is:issue&per_page=5")

    @flow.step
    def release_with_asset():
        release = api.send("POST", f"{R}/releases", {"tag_name": "v1.0.0", "name": "One"})
        if not hasattr(api, "upload"):
            return release
        url = release["upload_url"].split("{")[0] + "?name=notes.bin"
        asset = api.upload(url, b"\x00\x01 the content \xff" * 1000)
        return [release, asset["name"], asset["size"], asset["state"]]

    @flow.step
    def renamed_repository():
        return api.send("GET", f"/repos/{OWNER}/old-name")["full_name"]

    @flow.step
    def graphql_query():
        if not hasattr(api, "graphql"):
            return {"nameWithOwner": REPOSITORY}
        query = "query ($owner: String!, $name: String!) { repository(owner: $owner, name: $name) { nameWithOwner } }"
        return api.graphql(query, {"owner": OWNER, "name": NAME})["repository"]

    @flow.step
    def missing_issue():
        told = flow.error_of(lambda: api.send("GET", f"{R}/issues/999999"))
        return {"status": told.get("status")}

    @flow.refusal
    def unknown_key():
        api_class("tg_nobody_00000000000000000000000000000000").send("GET", R)

    @flow.refusal
    def repository_of_others():
        api_class(flow.stranger_key).send("GET", R)

    @flow.refusal
    def over_budget():
        api_class(flow.closed_key, patient=False).send("GET", R)

    @flow.refusal
    def merge_without_approval():
        api.send("PUT", f"{R}/pulls/76/merge", {"merge_method": "squash"})

    @flow.step
    def merge():
        api.send("PUT", f"{R}/pulls/76/merge", {"merge_method": "squash"}, flow.approved)
        return api.send("GET", f"{R}/pulls/76")["merged"]

    careful = api_class(flow.careful_key)
    main = api.send("GET", f"{R}/git/ref/heads/main")["object"]["sha"]

    @flow.refusal
    def careful_tag_without_approval():
        careful.send("POST", f"{R}/git/refs", {"ref": "refs/tags/careful-work", "sha": main})

    @flow.step
    def careful_tag():
        created = {"ref": "refs/tags/careful-work", "sha": main}
        return careful.send("POST", f"{R}/git/refs", created, flow.approved)["ref"]

    flow.finish()


def from_body(status, body):
    """What an error answer says, from its parsed body."""
    body = body if isinstance(body, dict) else {}
    errors = body.get("errors") or [{}]
    first = errors[0] if isinstance(errors[0], dict) else {}
    about = body.get("tollgate") or {}
    told = {"status": status, "message": body.get("message") or first.get("message")}
    return told | {"code": about.get("code"), "tollgate": about}
