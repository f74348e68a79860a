"""PyGithub at work. Its objects follow the urls they hold, so every link of an answer is walked."""

from github import Auth, Github

from flow import NAME, OWNER, REPOSITORY, Flow


def client(key, **options):
    return Github(base_url=flow.base_url, auth=Auth.Token(key), **options)


def describe(error):
    data = error.data if isinstance(error.data, dict) else {}
    return {
        "status": error.status,
        "message": data.get("message"),
        "code": data.get("tollgate", {}).get("code"),
    }


def summary(issue):
    # `raw_data` would fetch each issue on its own.
    return [issue.number, issue.title, issue.state, issue.body, issue.url, issue.html_url, issue.comments_url]


flow = Flow(describe)
github = client(flow.key)
widgets = github.get_repo(REPOSITORY)


@flow.step
def repository():
    return widgets.raw_data


@flow.step
def issues_all_pages():
    return [summary(issue) for issue in widgets.get_issues(state="all")]


@flow.step
def issues_count():
    return widgets.get_issues(state="all").totalCount


@flow.step
def issue_completed_by_its_url():
    issue = widgets.get_issues(state="all", direction="asc")[0]
    return [issue.raw_data, issue.repository.full_name]


@flow.step
def contents_of_a_file():
    file = widgets.get_contents("src/lib.rs")
    return [file.decoded_content.decode(), file.raw_data]


@flow.step
def contents_of_a_file_with_a_semicolon():
    return widgets.get_contents("docs/a;b.txt").decoded_content.decode()


@flow.step
def contents_of_a_directory():
    return [[entry.path, entry.type, entry.sha, entry.url] for entry in widgets.get_contents("src")]


@flow.step
def contents_of_the_root():
    # Its path ends in a slash.
    return [entry.path for entry in widgets.get_contents("")]


@flow.step
def tree():
    return widgets.get_git_tree("main", recursive=True).raw_data


@flow.step
def branch():
    main = widgets.get_branch("main").commit.sha
    return widgets.create_git_ref("refs/heads/client-work", main).raw_data


@flow.step
def commit_onto_the_branch():
    path = "notes/from-client.txt"
    made = widgets.create_file(path, "Add notes", "first\n", branch="client-work")
    changed = widgets.update_file(path, "Change notes", "second\n", made["content"].sha, branch="client-work")
    read = widgets.get_contents(path, ref="client-work")
    return [made["commit"].raw_data, changed["content"].raw_data, read.decoded_content.decode()]


@flow.step
def draft_pull_request():
    pull = widgets.create_pull(
        base="main", head="client-work", title="Notes", body="See https://api.github.com/zen.", draft=True
    )
    return [pull.raw_data, [file.filename for file in pull.get_files()]]


@flow.step
def commenting_review():
    pull = widgets.get_pulls(state="open", head=f"{OWNER}:client-work")[0]
    review = pull.create_review(body="Reads well.", event="COMMENT")
    return [review.raw_data, [review.body for review in pull.get_reviews()]]


@flow.step
def issue_comment_and_label():
    issue = widgets.create_issue(title="From a client", body="See https://api.github.com/zen.")
    comment = issue.create_comment("A comment")
    issue.add_to_labels("bug")
    labels = [label.name for label in issue.get_labels()]
    issue.edit(state="closed")
    return [issue.raw_data, comment.raw_data, labels]


@flow.step
def search():
    found = github.search_issues(f"number repo:{REPOSITORY} is:issue")
    return [found.totalCount, [summary(issue) for issue in found[:40]]]


@flow.step
def releases():
    widgets.create_git_release(tag="v1.0.0", name="One", message="The first")
    return [release.raw_data for release in widgets.get_releases()]


@flow.step
def renamed_repository():
    renamed = github.get_repo(f"{OWNER}/old-name")
    return [renamed.raw_data, [issue.title for issue in renamed.get_issues(state="all")]]


@flow.step
def graphql_query():
    query = """
      query ($owner: String!, $name: String!) {
        repository(owner: $owner, name: $name) { nameWithOwner issue(number: 1) { number title } }
      }"""
    return github.requester.graphql_query(query, {"owner": OWNER, "name": NAME})[1]


@flow.step
def missing_file():
    return flow.error_of(lambda: widgets.get_contents("no/such/file"))


@flow.step
def missing_issue():
    return flow.error_of(lambda: widgets.get_issue(999_999))


@flow.refusal
def unknown_key():
    client("tg_nobody_00000000000000000000000000000000").get_repo(REPOSITORY)


@flow.refusal
def repository_of_others():
    client(flow.stranger_key).get_repo(REPOSITORY)


@flow.refusal
def over_budget():
    # Its default retry waits for as long as `retry-after` says.
    client(flow.closed_key, retry=None).get_repo(REPOSITORY)


@flow.refusal
def merge_without_approval():
    widgets.get_pull(76).merge()


@flow.step
def merge():
    # `merge()` takes no headers; the requester below it is as public and does.
    github.requester.requestJsonAndCheck(
        "PUT", f"/repos/{REPOSITORY}/pulls/76/merge", input={"merge_method": "squash"}, headers=flow.approved
    )
    return widgets.get_pull(76).raw_data


@flow.refusal
def careful_tag_without_approval():
    repository = client(flow.careful_key).get_repo(REPOSITORY)
    repository.create_git_ref("refs/tags/careful-work", repository.get_branch("main").commit.sha)


@flow.step
def careful_tag():
    requester = client(flow.careful_key).requester
    _, main = requester.requestJsonAndCheck("GET", f"/repos/{REPOSITORY}/git/ref/heads/main")
    created = {"ref": "refs/tags/careful-work", "sha": main["object"]["sha"]}
    return requester.requestJsonAndCheck(
        "POST", f"/repos/{REPOSITORY}/git/refs", input=created, headers=flow.approved
    )[1]


flow.finish()
