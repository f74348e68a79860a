"""PyGithub's requester, by which its objects do what only GraphQL can; it also is public."""

import os

from github import Auth, Github, GithubException

import graphql_work
from work import from_body

BASE = os.environ["CLIENT_BASE_URL"]


class Api:
    def __init__(self, key, patient=True):
        # Its default retry waits for as long as `retry-after` says.
        options = {} if patient else {"retry": None}
        self._requester = Github(base_url=BASE, auth=Auth.Token(key), **options).requester

    def graphql(self, query, variables, headers=None):
        if not headers:
            return self._requester.graphql_query(query, variables)[1]["data"]
        # Its own call takes no headers; this is what it does.
        content = {"query": query, "variables": variables}
        url = self._requester.graphql_url
        answer = self._requester.requestJsonAndCheck("POST", url, input=content, headers=headers)[1]
        if "errors" in answer:
            raise GithubException(400, answer)
        return answer["data"]


graphql_work.work(Api, lambda error: from_body(error.status, error.data))
