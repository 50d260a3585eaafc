"""An AgentMesh agent without AgentMesh's SDK: its wire protocol, spoken with the libraries that the SDK uses.

It does what the SDK does, in the same order, as far as a registry or another agent can see. `agentmesh_driver.py` drives it.
"""

import asyncio
import json
import time
import uuid

import httpx
import websockets


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Agent:
    def __init__(self, capabilities, name, registry_url, ws_port, agent_id, max_concurrent_tasks, secret, tags):
        self.capabilities = capabilities  # name -> (description of it, async function)
        self.name, self.registry_url, self.port = name, registry_url, ws_port
        self.agent_id = agent_id or "agent-" + name.lower().replace(" ", "-")
        self.places, self.secret, self.tags = max_concurrent_tasks, secret, tags
        self.token, self.heartbeat, self.running, self.active = None, None, False, set()

    def headers(self):
        return {"Authorization": "Bearer " + self.token} if self.token else {}

    async def start(self):
        manifest = {
            "agent_id": self.agent_id,
            "name": self.name,
            "version": "0.1.0",
            "description": "",
            "capabilities": [described for described, _ in self.capabilities.values()],
            "mcp_servers": [],
            "max_concurrent_tasks": self.places,
            "endpoint": "ws://localhost:%d" % self.port,
            "tags": self.tags,
        }
        async with httpx.AsyncClient(timeout=10.0) as client:
            answer = await client.post(self.registry_url + "/agents/register", json=manifest)
            answer.raise_for_status()
            if self.secret:
                body = {"agent_id": self.agent_id, "secret": self.secret}
                answer = await client.post(self.registry_url + "/auth/token", json=body)
                if answer.status_code == 200:
                    self.token = answer.json()["access_token"]
        self.running = True
        await asyncio.gather(self.beat(), self.listen())

    async def stop(self):
        self.running = False
        async with httpx.AsyncClient(timeout=10.0) as client:
            await client.delete(self.registry_url + "/agents/" + self.agent_id, headers=self.headers())

    async def beat(self):
        try:
            url = self.registry_url.replace("http", "ws", 1) + "/ws/heartbeat/" + self.agent_id
            async with websockets.connect(url) as socket:
                self.heartbeat = socket
                while self.running:
                    await socket.send(json.dumps({"type": "heartbeat"}))
                    await socket.recv()
                    await asyncio.sleep(10)
        except Exception:
            self.heartbeat = None

    async def tell(self, message):
        if self.heartbeat:
            await self.heartbeat.send(json.dumps(message))

    async def listen(self):
        async def handler(socket):
            async for text in socket:
                frame = json.loads(text)
                if frame.get("method") == "task.request":
                    await self.handle(frame["params"], socket)

        async with websockets.serve(handler, "127.0.0.1", self.port):
            while self.running:
                await asyncio.sleep(0.2)

    async def handle(self, request, socket):
        task, wanted = request["task_id"], request["capability"]

        async def say(status, **more):
            response = {"task_id": task, "responder_id": self.agent_id, "status": status}
            response.update({"estimated_latency_ms": None, "counter_proposal": None, "reason": None, **more})
            await socket.send(json.dumps({"result": response}))

        if wanted not in self.capabilities:
            return await say("rejected", reason="Capability '%s' not available" % wanted)
        described, function = self.capabilities[wanted]
        latency = int(described["avg_latency_ms"] or 5000)
        if len(self.active) >= self.places:
            terms = {"deadline_ms": request["deadline_ms"] + latency, "reason": "queue_full"}
            return await say("countered", counter_proposal={**terms, "queue_depth": len(self.active)})
        await say("accepted", estimated_latency_ms=latency)
        self.active.add(task)
        await self.tell({"type": "task_start", "task_id": task})
        begun = time.monotonic()
        result = {"task_id": task, "executor_id": self.agent_id, "output": {}, "error": None, "tokens_used": 0}
        try:
            output = await function(request["input_data"])
            elapsed = int((time.monotonic() - begun) * 1000)
            result.update(status="completed", output=output if isinstance(output, dict) else {"result": output})
            await self.tell({"type": "task_end", "task_id": task, "elapsed_ms": elapsed})
        except Exception as error:
            elapsed = int((time.monotonic() - begun) * 1000)
            result.update(status="failed", error=str(error))
            await self.tell({"type": "task_end", "task_id": task})
        finally:
            self.active.discard(task)
        result.update(execution_time_ms=elapsed, completed_at=now())
        await socket.send(json.dumps({"method": "task.result", "params": result}))

    async def discover(self, capability):
        query = {"capability_name": capability, "capability_description": None, "min_trust_score": 0.0}
        query.update({"max_latency_ms": None, "max_cost_usd": None, "tags": [], "top_k": 5})
        async with httpx.AsyncClient(timeout=10.0) as client:
            answer = await client.post(self.registry_url + "/discover", json=query)
            answer.raise_for_status()
            return answer.json()["agents"]

    async def delegate(self, capability, input_data, deadline_ms):
        found = await self.discover(capability)
        if not found:
            raise RuntimeError("No agents found for capability '%s'" % capability)
        target = found[0]["manifest"]["agent_id"]

        async def trace(task, event, payload):
            body = {"task_id": task, "event_type": event, "from_agent": self.agent_id, "to_agent": target}
            async with httpx.AsyncClient(timeout=5.0) as client:
                await client.post(self.registry_url + "/traces", json={**body, "payload": payload})

        def request(deadline):
            task = "task-" + uuid.uuid4().hex[:8]
            params = {"task_id": task, "capability": capability, "input_data": input_data, "requester_id": self.agent_id}
            params.update({"target_id": target, "deadline_ms": deadline, "priority": 1, "context": "", "created_at": now()})
            return task, json.dumps({"method": "task.request", "params": params})

        async with websockets.connect(found[0]["manifest"]["endpoint"]) as socket:
            task, frame = request(deadline_ms)
            await socket.send(frame)
            await trace(task, "request_sent", {"capability": capability})
            said = json.loads(await asyncio.wait_for(socket.recv(), 10))["result"]
            if said["status"] == "rejected":
                await trace(task, "rejected", {"reason": said["reason"]})
                raise RuntimeError("Agent %s rejected: %s" % (target, said["reason"]))
            if said["status"] == "countered":
                await trace(task, "countered", said["counter_proposal"])
                deadline = said["counter_proposal"]["deadline_ms"]
                if deadline > deadline_ms * 1.5:
                    raise RuntimeError("Counter-proposal deadline too far: %dms" % deadline)
                task, frame = request(int(deadline))
                await socket.send(frame)
                said = json.loads(await asyncio.wait_for(socket.recv(), 10))["result"]
                if said["status"] != "accepted":
                    raise RuntimeError("Agent rejected after counter-proposal: %s" % said["reason"])
            await trace(task, "accepted", {"capability": capability})
            result = json.loads(await asyncio.wait_for(socket.recv(), deadline_ms / 1000))["params"]
            done = result["status"] == "completed"
            await trace(task, "completed" if done else "failed", {"capability": capability})
            params = {"agent_id": target, "success": done, "quality": 0.6 if done else 0.0}
            async with httpx.AsyncClient(timeout=10.0) as client:
                await client.post(self.registry_url + "/trust/update", params=params, headers=self.headers())
            return result
