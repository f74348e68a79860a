"""A proxy with a limit for each key, as it is often written: FastAPI and httpx, and a counter in Redis.

python proxy.py PORT ORIGIN-PORT REDIS-PORT
"""

import sys
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from redis.asyncio import Redis

PORT, ORIGIN, REDIS = map(int, sys.argv[1:4])
LIMIT, WINDOW_SECONDS = 1_000_000_000, 3600
# Of this hop, or of the body as it was packed.
NOT_PASSED_ON = {"connection", "content-encoding", "content-length", "transfer-encoding"}

redis = Redis(host="127.0.0.1", port=REDIS)
limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
origin = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ORIGIN}", limits=limits)


@asynccontextmanager
async def lifespan(_: FastAPI):
    yield
    await origin.aclose()
    await redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/{path:path}")
async def pass_on(path: str, request: Request) -> Response:
    key = f"speed:fastapi:{request.headers.get('authorization', '')}"
    async with redis.pipeline() as pipe:
        count, _ = await pipe.incr(key).expire(key, WINDOW_SECONDS, nx=True).execute()
    if count > LIMIT:
        return Response(status_code=429)
    answer = await origin.get(f"/{path}")
    headers = {name: value for name, value in answer.headers.items() if name not in NOT_PASSED_ON}
    return Response(answer.content, answer.status_code, headers)


uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False, log_level="warning", timeout_keep_alive=3600)
