#!/usr/bin/python3
"""matrix-nio, the Python library: log in, sync, send and receive. Configured by PORCHLIGHT_E2E, as the browser scenarios are."""
import asyncio
import json
import os

from nio import AsyncClient, JoinResponse, LoginResponse, RoomCreateResponse, RoomMessageText, RoomSendResponse, SyncResponse

given = json.loads(os.environ["PORCHLIGHT_E2E"])


def expect(answer, kind):
    """nio returns errors instead of raising them."""
    if not isinstance(answer, kind):
        raise SystemExit(f"wanted {kind.__name__}, got {answer}")
    return answer


async def log_in(name):
    user = given["users"][name]
    client = AsyncClient(given["server"], user["id"])
    expect(await client.login(user["password"], device_name="matrix-nio"), LoginResponse)
    expect(await client.sync(timeout=0, full_state=True), SyncResponse)
    return client


async def hear(client, body):
    """Syncs until a message with this body comes, and returns it."""
    heard = []
    client.add_event_callback(lambda room, event: heard.append(event), RoomMessageText)
    for _ in range(20):
        expect(await client.sync(timeout=1000), SyncResponse)
        for event in heard:
            if event.body == body:
                return event
    raise SystemExit(f"{client.user_id} never heard {body!r}")


async def say(client, room, body):
    content = {"msgtype": "m.text", "body": body}
    return expect(await client.room_send(room, "m.room.message", content), RoomSendResponse).event_id


async def main():
    alice, bob = await log_in("alice"), await log_in("bob")
    try:
        room = expect(await alice.room_create(name="Hall", invite=[bob.user_id]), RoomCreateResponse).room_id
        expect(await bob.sync(timeout=5000), SyncResponse)
        assert room in bob.invited_rooms, f"no invitation to {room} among {list(bob.invited_rooms)}"
        expect(await bob.join(room), JoinResponse)
        for sender, receiver, body in [(alice, bob, "Hello from nio"), (bob, alice, "Hello back")]:
            sent = await say(sender, room, body)
            event = await hear(receiver, body)
            assert event.event_id == sent and event.sender == sender.user_id, event
            print(f"{sender.user_id}: {body}")
        assert set(alice.rooms[room].users) == {alice.user_id, bob.user_id}, alice.rooms[room].users
    finally:
        await alice.close()
        await bob.close()


asyncio.run(main())
