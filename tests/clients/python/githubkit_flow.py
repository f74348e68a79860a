"""githubkit: pages by `rest.paginate`, which follows Link; GraphQL where it derives the address itself."""

import os

from githubkit import GitHub
from githubkit.exception import GraphQLFailed
from githubkit.graphql import GraphQLResponse

from flow import NAME, OWNER
from work import from_body, work

BASE = os.environ["CLIENT_BASE_URL"]


class Api:
    def __init__(self, key, patient=True):
        # Its default retry would wait for `retry-after` when it is refused for rate.
        self._github = GitHub(key, base_url=BASE, follow_redirects=True, auto_retry=patient)

    def send(self, method, path, body=None, headers=None):
        return self._github.request(method, path, json=body, headers=headers).json()

    def pages(self, path):
        list_issues = self._github.rest.issues.list_for_repo
        # Its own default is a newer version of the API, whose issues have no `assignee`.
        settings = {"state": "all", "per_page": 30, "headers": {"X-GitHub-Api-Version": "2022-11-28"}}
        pages = self._github.rest.paginate(
            list_issues, map_func=lambda answer: answer.json(), owner=OWNER, repo=NAME, **settings
        )
        return list(pages)

    def upload(self, url, content):
        headers = {"Content-Type": "application/octet-stream"}
        return self._github.request("POST", url, content=content, headers=headers).json()

    def graphql(self, query, variables, headers=None):
        if not headers:
            return self._github.graphql(query, variables)
        # Its own call takes no headers; this is what it does.
        content = {"query": query, "variables": variables}
        url = BASE.removesuffix("/v3") + "/graphql"
        answer = self._github.request("POST", url, json=content, headers=headers, response_model=GraphQLResponse)
        return self._github.graphql.parse_graphql_response(answer)


def describe(error):
    if isinstance(error, GraphQLFailed):
        return from_body(200, {"message": error.response.errors[0].message})
    return from_body(error.response.status_code, error.response.json())


work(Api, describe)
