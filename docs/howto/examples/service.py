"""A web service that says itself where it is. Several may run on one host: PORT=8081 python service.py"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvicorn
from fastapi import FastAPI

from gossipd.client.aio import Discovery

PORT = int(os.environ.get("PORT", "8080"))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Registered while the app runs. At SIGTERM it is drained first, and only then uvicorn hears of it and closes the port."""
    async with Discovery() as discovery, asyncio.TaskGroup() as tasks, AsyncExitStack() as registration:
        web = discovery.registered("web", id=f"web-{PORT}", port=PORT, checks=["http:/health@1s"])
        await registration.enter_async_context(web)
        stop_uvicorn = signal.getsignal(signal.SIGTERM)

        async def drain() -> None:
            await registration.aclose()
            if callable(stop_uvicorn):
                stop_uvicorn(signal.SIGTERM, None)

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: tasks.create_task(drain()))
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/health")
def health() -> str:
    return "ok"


@app.get("/hello/{name}")
def hello(name: str) -> str:
    return f"hello {name} from {PORT}"


if __name__ == "__main__":
    uvicorn.run(app, port=PORT)
