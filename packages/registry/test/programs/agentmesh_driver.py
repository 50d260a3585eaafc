"""Drives an AgentMesh agent for a test: commands come as lines of JSON on stdin, what happens goes as lines of JSON to stdout.

    agentmesh_driver.py sdk|wire '{"registry_url": …, "ws_port": …, "name": …, "secret": …}'

`sdk` is AgentMesh's own SDK, found on PYTHONPATH; `wire` is `agentmesh_wire.py`. Both serve the same capabilities.
"""

import asyncio
import json
import sys

kind, options = sys.argv[1], json.loads(sys.argv[2])


def say(**event):
    print(json.dumps(event), flush=True)


async def add(data):
    return {"sum": data["a"] + data["b"]}


async def wait(data):
    await asyncio.sleep(data["ms"] / 1000)
    return {"waited": data["ms"]}


async def fail(data):
    raise ValueError("boom")


async def shout(data):
    return data["text"].upper()


numbers = {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}
capabilities = {
    "add_numbers": (dict(description="Adds two numbers", input_schema=numbers, cost_per_call_usd=0.001), add),
    "Wait A While": (dict(description="Waits", avg_latency_ms=400.0), wait),
    "break_down": (dict(description="Fails always"), fail),
    "shout": (dict(description="Makes a text louder"), shout),
}
blank = {"input_schema": {}, "output_schema": {}, "avg_latency_ms": None, "cost_per_call_usd": None}


def make():
    settings = {"agent_id": None, "max_concurrent_tasks": 3, "secret": None, "tags": [], **options}
    if kind == "wire":
        from agentmesh_wire import Agent

        return Agent({name: ({**blank, "name": name, **described}, f) for name, (described, f) in capabilities.items()}, **settings)

    from sdk.agent import MeshAgent, capability

    class Agent(MeshAgent):
        pass

    for at, (name, (described, function)) in enumerate(capabilities.items()):

        async def method(self, data, function=function):
            return await function(data)

        setattr(Agent, "capability_%d" % at, capability(name=name, **described)(method))
    return Agent(**settings)


def shown(record):
    return record if isinstance(record, dict) else record.model_dump(mode="json")


async def obey(agent, command):
    if command["do"] == "discover":
        return [shown(record) for record in await agent.discover(command["capability"])]
    if command["do"] == "delegate":
        return shown(await agent.delegate(command["capability"], command["input"], deadline_ms=command["deadline_ms"]))
    await agent.stop()


async def main():
    agent = make()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    life = asyncio.ensure_future(agent.start())
    while not life.done():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", options["ws_port"])
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.02)
    if life.done():
        return say(event="failed", error=repr(life.exception()))
    say(event="ready", agent_id=agent.agent_id)
    while line := await reader.readline():
        command = json.loads(line)
        try:
            say(id=command["id"], ok=await obey(agent, command))
        except Exception as error:
            say(id=command["id"], error="%s: %s" % (type(error).__name__, error))
        if command["do"] == "stop":
            break


asyncio.run(main())
