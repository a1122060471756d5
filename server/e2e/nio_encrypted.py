#!/usr/bin/python3
"""matrix-nio with Olm: comes into encrypted rooms when invited, answers each text with one of its own, and prints what it could read."""
import asyncio
import json
import os
import sys
import tempfile

from nio import (
    AsyncClient, AsyncClientConfig, InviteMemberEvent, JoinResponse, LoginResponse, MegolmEvent, RoomMessageText, RoomSendResponse,
    SyncResponse,
)

given = json.loads(os.environ["PORCHLIGHT_E2E"])


def tell(**what):
    print(json.dumps(what), flush=True)


def expect(answer, kind):
    """nio returns errors instead of raising them."""
    if not isinstance(answer, kind):
        sys.exit(f"wanted {kind.__name__}, got {answer}")
    return answer


async def main(store):
    user = given["users"]["bob"]
    client = AsyncClient(
        given["server"], user["id"], store_path=store, config=AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True),
    )

    async def invited(room, event):
        if event.state_key == user["id"] and event.membership == "invite":
            expect(await client.join(room.room_id), JoinResponse)

    async def heard(room, event):
        if event.sender == user["id"]:
            return
        tell(read=event.body, decrypted=event.decrypted, by=event.sender)
        content = {"msgtype": "m.text", "body": f"nio read: {event.body}"}
        sent = await client.room_send(room.room_id, "m.room.message", content, ignore_unverified_devices=True)
        tell(sent=expect(sent, RoomSendResponse).event_id, encrypted=room.encrypted)

    async def unreadable(room, event):
        tell(unreadable=event.event_id)

    client.add_event_callback(invited, InviteMemberEvent)
    client.add_event_callback(heard, RoomMessageText)
    client.add_event_callback(unreadable, MegolmEvent)
    expect(await client.login(user["password"], device_name="matrix-nio"), LoginResponse)
    try:
        expect(await client.sync(timeout=0, full_state=True), SyncResponse)
        tell(ready=client.device_id)
        await client.sync_forever(timeout=10_000)  # with all that keys need: uploads, queries, claims
    finally:
        await client.close()


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
