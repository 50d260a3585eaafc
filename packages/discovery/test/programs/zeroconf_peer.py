"""A DNS-SD implementation that is not ours (python-zeroconf), for the tests of mDNS. Lines of JSON in and out.

browse                       says what it sees of _parley._tcp.local., and which service types there are
register LABEL ID IP PORT    registers a service of ours until its input ends
"""
import json
import socket
import sys

from zeroconf import ServiceBrowser, ServiceInfo, Zeroconf, ZeroconfServiceTypes

SERVICE = "_parley._tcp.local."


def say(**line):
    print(json.dumps(line), flush=True)


class Listener:
    def add_service(self, zeroconf, kind, name):
        info = zeroconf.get_service_info(kind, name, 3000)
        if info is None:
            return say(event="unresolved", name=name)
        properties = {key.decode(): (value or b"").decode() for key, value in info.properties.items()}
        say(event="added", name=name, server=info.server, port=info.port, addresses=info.parsed_addresses(), txt=properties)

    def update_service(self, zeroconf, kind, name):
        self.add_service(zeroconf, kind, name)

    def remove_service(self, zeroconf, kind, name):
        say(event="removed", name=name)


zeroconf = Zeroconf()
if sys.argv[1] == "browse":
    ServiceBrowser(zeroconf, SERVICE, Listener())
    say(event="types", types=list(ZeroconfServiceTypes.find(zc=zeroconf, timeout=2)))
else:
    label, node, address, port = sys.argv[2:]
    info = ServiceInfo(
        SERVICE,
        f"{label}.{SERVICE}",
        addresses=[socket.inet_aton(address)],
        port=int(port),
        properties={"v": "1", "id": node},
        server=f"parley-{label}.local.",
    )
    zeroconf.register_service(info)
    say(event="registered")
sys.stdin.read()
zeroconf.unregister_all_services()
zeroconf.close()
