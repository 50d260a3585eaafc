"""An AgentMesh agent among Parley's nodes, with nothing in it that knows of Parley.

    PYTHONPATH=/path/to/AgentMesh python examples/agentmesh_agent.py              # serves summarize, until stopped
    PYTHONPATH=/path/to/AgentMesh python examples/agentmesh_agent.py text.measure # asks the mesh for that once, too
"""

import asyncio
import sys

from sdk.agent import MeshAgent, capability


class Summarizer(MeshAgent):
    @capability(
        name="summarize",
        description="Cuts a text to its first sentence",
        input_schema={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        output_schema={"type": "object", "properties": {"summary": {"type": "string"}}},
        avg_latency_ms=20,
    )
    async def summarize(self, input_data: dict) -> dict:
        return {"summary": input_data["text"].split(".")[0] + "."}


async def main():
    agent = Summarizer(name="Summarizer", registry_url="http://localhost:8000", ws_port=9001)
    life = asyncio.ensure_future(agent.start())
    for wanted in sys.argv[1:]:
        await asyncio.sleep(1)  # start() tells nobody when it is ready
        result = await agent.delegate(wanted, {"text": "Two words."}, deadline_ms=10_000)
        print(wanted, result.status, result.output or result.error, flush=True)
    try:
        await life
    finally:
        await agent.stop()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
