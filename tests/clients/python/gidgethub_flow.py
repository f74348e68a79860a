"""gidgethub on httpx. Its GraphQL endpoint has to be named: its default is the public one."""

import asyncio
import os

import httpx
from gidgethub.httpx import GitHubAPI

from work import work

BASE = os.environ["CLIENT_BASE_URL"]


class Api:
    def __init__(self, key, patient=True):
        self._key = key

    def _run(self, act):
        async def run():
            async with httpx.AsyncClient(follow_redirects=True) as client:
                return await act(GitHubAPI(client, "client-suite", oauth_token=self._key, base_url=BASE))

        return asyncio.run(run())

    def send(self, method, path, body=None, headers=None):
        if method == "GET":
            return self._run(lambda api: api.getitem(path, extra_headers=headers))
        act = {"POST": "post", "PUT": "put", "PATCH": "patch"}[method]
        return self._run(lambda api: getattr(api, act)(path, data=body, extra_headers=headers))

    def pages(self, path):
        async def pages(api):
            return [item async for item in api.getiter(path)]

        return self._run(pages)

    def upload(self, url, content):
        return self._run(lambda api: api.post(url, data=content, content_type="application/octet-stream"))

    def graphql(self, query, variables):
        endpoint = BASE.removesuffix("/v3") + "/graphql"
        return self._run(lambda api: api.graphql(query, endpoint=endpoint, **variables))


# Its exceptions keep the status and the message, not the body.
work(Api, lambda error: {"status": int(error.status_code), "message": str(error)})
