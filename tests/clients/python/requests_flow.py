"""Plain `requests`: a session with the key as bearer, pages by the Link header."""

import os

import requests

from work import from_body, work

BASE = os.environ["CLIENT_BASE_URL"]


class Api:
    def __init__(self, key, patient=True):
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {key}"

    def _answer(self, method, url, **options):
        answer = self._session.request(method, url, timeout=30, **options)
        answer.raise_for_status()
        return answer

    def send(self, method, path, body=None, headers=None):
        return self._answer(method, BASE + path, json=body, headers=headers).json()

    def pages(self, path):
        items, url = [], BASE + path
        while url:
            answer = self._answer("GET", url)
            items += answer.json()
            url = answer.links.get("next", {}).get("url")
        return items

    def upload(self, url, content):
        return self._answer("POST", url, data=content, headers={"Content-Type": "application/octet-stream"}).json()

    def graphql(self, query, variables, headers=None):
        url = BASE.removesuffix("/v3") + "/graphql"
        answer = self._answer("POST", url, json={"query": query, "variables": variables}, headers=headers)
        if "errors" in answer.json():
            raise requests.HTTPError("errors", response=answer)
        return answer.json()["data"]


work(Api, lambda error: from_body(error.response.status_code, error.response.json()))
